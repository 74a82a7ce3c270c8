//! The model of a series in the tier that its detector chose.
//!
//! What the score stage keeps for each series. Invariant: a state of another tier is told apart, never misread.

use super::both::{self, Both};
use super::full::Full;
use super::{DecodeError, Model, Point, Verdict};
use crate::measure::Kind;
use crate::pipeline::Millis;

/// How much is spent on a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// [`Model`]: 300 bytes, count-aware; for many series.
    Compact,
    /// [`Full`]: 12 to 18 KB, nine views of the series; for few.
    Full,
    /// [`Both`] and one score: what either finds; for few.
    Both,
}

impl Tier {
    /// The most bytes that a model of this tier is encoded to.
    pub fn most_bytes(self) -> usize {
        match self {
            Self::Compact => 320,
            // Of a constant series no tail is ever fitted: each keeps the values it waits with.
            Self::Full => 17_600,
            Self::Both => 17_920,
        }
    }

    /// Windows that a model of this tier only learns from.
    pub fn learning(self) -> u64 {
        match self {
            // Of both, the one that learns sooner judges alone at first.
            Self::Compact | Self::Both => u64::from(super::LEARNING),
            Self::Full => super::full::LEARNING,
        }
    }
}

/// A model of any tier.
#[allow(clippy::large_enum_variant)] // the small model is the one of a million series, and stays beside its group
#[derive(Debug, Clone, PartialEq)]
pub enum SeriesModel {
    /// See [`Tier::Compact`].
    Compact(Model),
    /// See [`Tier::Full`].
    Full(Box<Full>),
    /// See [`Tier::Both`].
    Both(Box<Both>),
}

impl SeriesModel {
    /// A model that knows nothing.
    pub fn new(tier: Tier, kind: Kind) -> Self {
        match tier {
            Tier::Compact => Self::Compact(Model::new(kind)),
            Tier::Full => Self::Full(Box::new(Full::new(kind))),
            Tier::Both => Self::Both(Box::new(Both::new(kind))),
        }
    }

    /// The model in this tier: what it has learned is kept where the tiers share a model, the rest learns anew.
    pub fn in_tier(self, tier: Tier) -> Self {
        let kind = self.kind();
        match (tier, self) {
            (Tier::Compact, Self::Both(both)) => Self::Compact(both.compact),
            (Tier::Full, Self::Both(both)) => Self::Full(Box::new(both.full)),
            (Tier::Both, Self::Compact(compact)) => Self::Both(Box::new(Both { compact, full: Full::new(kind) })),
            (Tier::Both, Self::Full(full)) => Self::Both(Box::new(Both { compact: Model::new(kind), full: *full })),
            (_, model) if model.tier() == tier => model,
            _ => Self::new(tier, kind),
        }
    }

    /// Its tier.
    pub fn tier(&self) -> Tier {
        match self {
            Self::Compact(_) => Tier::Compact,
            Self::Full(_) => Tier::Full,
            Self::Both(_) => Tier::Both,
        }
    }

    /// Which values it judges.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Compact(model) => model.kind(),
            Self::Full(model) => model.kind(),
            Self::Both(both) => both.compact.kind(),
        }
    }

    /// Judges a window by what was learned before it, then learns it.
    pub fn observe(&mut self, point: &Point) -> Verdict {
        match self {
            Self::Compact(model) => model.observe(point),
            Self::Full(model) => model.observe(point),
            Self::Both(both) => both.observe(point),
        }
    }

    /// Windows learned.
    pub fn learned(&self) -> u64 {
        match self {
            Self::Compact(model) => u64::from(model.learned()),
            Self::Full(model) => model.learned(),
            Self::Both(both) => u64::from(both.compact.learned()).max(both.full.learned()),
        }
    }

    /// Start of the newest window, where the model remembers it.
    pub fn newest(&self) -> Option<Millis> {
        match self {
            Self::Compact(model) => Some(model.newest()),
            Self::Full(_) => None,
            Self::Both(both) => Some(both.compact.newest()),
        }
    }

    /// What is expected of a window of `count` records that starts at `start`; the score is 0.
    pub fn forecast(&self, start: Millis, window: Millis, count: u64) -> Verdict {
        match self {
            Self::Compact(model) => model.forecast(start, window, count),
            Self::Full(model) => model.forecast(start),
            Self::Both(both) => both.forecast(start, window, count),
        }
    }

    /// Appends the model's bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Compact(model) => model.encode(out),
            Self::Full(model) => model.encode(out),
            Self::Both(both) => both.encode(out),
        }
    }

    /// Reads what [`SeriesModel::encode`] wrote.
    ///
    /// # Errors
    /// Those of every tier.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        // The first byte is a version: the full model's begin where the compact one's will never come.
        match bytes.first() {
            Some(&both::VERSION) => Both::decode(bytes).map(|both| Self::Both(Box::new(both))),
            Some(128..) => Full::decode(bytes).map(|model| Self::Full(Box::new(model))),
            _ => Model::decode(bytes).map(Self::Compact),
        }
    }
}
