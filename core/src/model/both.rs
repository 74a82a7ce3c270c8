//! Both models of one series, and one score: what either finds.
//!
//! The compact model knows how counts scatter and finds what a single window shows; the full one finds what lasts
//! or what is unlike every other day. Their tail probabilities are combined by the harmonic mean, which is twice the
//! smaller one where only one of them is surprised and their common value where both are: a score keeps its meaning,
//! and what only one of the two finds scores 4.5 less. While one still learns the other judges alone. The band is
//! the compact model's, once that has learned.
//!
//! Invariants: those of both; a half that a state lacks learns anew beside the one that it has.

use super::full::Full;
use super::{DecodeError, Model, Point, Verdict, score};
use crate::measure::Kind;
use crate::pipeline::Millis;
use libm::{exp10, fabs, log10};

/// Set apart from the first byte of either model.
pub(super) const VERSION: u8 = 255;

/// A compact and a full model of one series.
#[derive(Debug, Clone, PartialEq)]
pub struct Both {
    pub(super) compact: Model,
    pub(super) full: Full,
}

impl Both {
    /// Models that know nothing.
    pub fn new(kind: Kind) -> Both {
        Both { compact: Model::new(kind), full: Full::new(kind) }
    }

    /// Judges a window by what was learned before it, then learns it.
    pub fn observe(&mut self, point: &Point) -> Verdict {
        let (compact, decades) = self.compact.judge(point);
        let (full, others) = self.full.judge(point);
        let decades = match (compact.learning, full.learning) {
            (false, false) => harmonic(decades, others),
            (false, true) => decades,
            (true, _) => others,
        };
        Verdict { score: score(decades), ..told(compact, full) }
    }

    /// What is expected of a window of `count` records that starts at `start`; the score is 0.
    pub fn forecast(&self, start: Millis, window: Millis, count: u64) -> Verdict {
        told(self.compact.forecast(start, window, count), self.full.forecast(start))
    }

    /// Appends the bytes: a version, the length of the compact model's, then both models' own.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut compact = Vec::new();
        self.compact.encode(&mut compact);
        out.push(VERSION);
        out.extend((compact.len() as u16).to_le_bytes());
        out.extend(compact);
        self.full.encode(out);
    }

    /// Reads what [`Both::encode`] wrote.
    ///
    /// # Errors
    /// Those of both models.
    pub fn decode(bytes: &[u8]) -> Result<Both, DecodeError> {
        let (&[version, low, high], rest) = bytes.split_first_chunk().ok_or(DecodeError::Damaged)?;
        if version != VERSION {
            return Err(DecodeError::Version(version));
        }
        let length = usize::from(u16::from_le_bytes([low, high]));
        let (compact, full) = rest.split_at_checked(length).ok_or(DecodeError::Damaged)?;
        let both = Both { compact: Model::decode(compact)?, full: Full::decode(full)? };
        if both.compact.kind() == both.full.kind() { Ok(both) } else { Err(DecodeError::Damaged) }
    }
}

/// The verdict of the one that has learned, the compact one's if both have, or none.
fn told(compact: Verdict, full: Verdict) -> Verdict {
    if compact.learning && !full.learning { full } else { compact }
}

/// Decades of the harmonic mean of two probabilities from theirs.
fn harmonic(one: f64, other: f64) -> f64 {
    one.max(other) + log10(0.5 * (1.0 + exp10(-fabs(one - other))))
}
