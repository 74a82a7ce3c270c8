//! The full model: what is normal for a series at this time of the day, by nine views of it.
//!
//! It stands beside the compact model: the same point in, the same verdict out, about 12 KB a series.
//! Path of a point: `bins` (the day so far) → `surprise` (nine components) → `tail` and `record` (how rare
//! each is) → `calibrate` (a tail probability). `gate` turns surprise into alarms for the Numenta Anomaly
//! Benchmark only. [`Surprise`] over `f64` is the measured prototype to 1e-6; [`Full`] uses it over `f32`.
//!
//! Invariants: a verdict depends on what was learned before; a point that is not trusted changes nothing;
//! what is encoded is what is used. `score = 15 · decades`, so that it means what the compact model's does.

mod bins;
mod calibrate;
mod cell;
mod codec;
mod gate;
mod recent;
mod record;
mod surprise;
mod tail;
#[cfg(test)]
mod tests;

pub use cell::Cell;
pub use gate::{Gate, Habit};
pub use surprise::Surprise;

use super::{LARGEST, MOST, Point, Verdict, score};
use crate::measure::Kind;
use crate::pipeline::Millis;
use calibrate::Calibration;

/// Windows that the model only learns from; their score is 0.
pub const LEARNING: u64 = tail::WARM as u64;
/// Probability outside of the band.
const OUTSIDE: f64 = 1e-3;

/// The normal behaviour of one series, in full.
#[derive(Debug, Clone, PartialEq)]
pub struct Full {
    kind: Kind,
    surprise: Surprise<f32>,
    calibration: Calibration,
}

impl Full {
    /// A model that knows nothing.
    pub fn new(kind: Kind) -> Full {
        Full { kind, surprise: Surprise::new(), calibration: Calibration::default() }
    }

    /// Judges a window by what was learned before it, then learns it. A window that says nothing (not
    /// trusted, not a number, a share of no records) scores 0 and leaves the model as it is.
    pub fn observe(&mut self, point: &Point) -> Verdict {
        self.judge(point).0
    }

    /// The same, with the decades of the tail probability that the score is made of, not clamped; 0 while learning.
    pub(super) fn judge(&mut self, point: &Point) -> (Verdict, f64) {
        let time = point.start.div_euclid(1000);
        let mut verdict = self.forecast(point.start);
        let Some(value) = self.usable(point) else { return (verdict, 0.0) };
        let surprise = self.surprise.observe(time, value);
        if verdict.learning {
            return (verdict, 0.0);
        }
        let decades = self.calibration.decades(surprise);
        verdict.score = score(decades);
        self.calibration.learn(surprise);
        (verdict, decades)
    }

    /// The value in its kind's range, as precise as it is remembered, or nothing.
    fn usable(&self, point: &Point) -> Option<f64> {
        if !point.trusted || !point.value.is_finite() {
            return None;
        }
        let value = match self.kind {
            Kind::Count => point.value.clamp(0.0, MOST),
            Kind::Amount => point.value.clamp(-LARGEST, LARGEST),
            Kind::Share if point.count == 0 => return None,
            Kind::Share => point.value.clamp(0.0, 1.0),
        };
        Some(f64::from(value as f32))
    }

    /// Which values it judges.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Windows learned.
    pub fn learned(&self) -> u64 {
        self.surprise.seen
    }

    /// What is expected of a window that starts at `start`, epoch milliseconds; the score is 0.
    pub fn forecast(&self, start: Millis) -> Verdict {
        let time = start.div_euclid(1000);
        let (low, high) = match self.kind {
            Kind::Count => (0.0, MOST),
            Kind::Amount => (-LARGEST, LARGEST),
            Kind::Share => (0.0, 1.0),
        };
        let expected = self.surprise.expected(time).clamp(low, high);
        let reach = self.surprise.reach(OUTSIDE);
        let seen = self.surprise.seen as f64;
        Verdict {
            expected,
            lower: (expected - reach).max(low),
            upper: (expected + reach).min(high),
            score: 0.0,
            confidence: seen / (seen + 2.0 * LEARNING as f64),
            learning: self.surprise.seen < LEARNING,
        }
    }
}
