//! What is normal for one series, and how surprising its next closed window is.
//!
//! The score stage feeds each series' windows in event-time order; a verdict depends on what was learned
//! before, then the window is learned. Two invariants: the state is at most 300 bytes encoded, and what is
//! encoded is what is used (`f32` in memory), so that a model that went through the state topic continues
//! to the bit like one that did not. All transcendental functions come from `libm`.
//!
//! **Baseline.** A level and 24 slots over the day, interpolated between slot centres, on a logarithmic
//! scale for counts, log-odds for shares, linear for amounts; how fast the level drifts is learned (`baseline`).
//!
//! **Surprise.** The two-sided predictive tail probability `p` (mid-p where values are whole) under a
//! negative binomial, beta-binomial or skewed Student's t whose variance includes what is not known yet (`tail`);
//! one-sided where nothing on the other side is as improbable.
//! `score = 15 · −log10 p`, from 0 to 100. It is calibrated: a quiet series reaches
//!
//! | score | p | by chance, one window of | at 10 s windows |
//! |---|---|---|---|
//! | 50 | 4.6e-4 | 2,150 | 4 a day |
//! | 75 | 1.0e-5 | 100,000 | once in 12 days |
//! | 90 | 1.0e-6 | 1,000,000 | once in 4 months |
//! | 100 | 2.2e-7 | 4,600,000 | once in 18 months |
//!
//! The chance that ordinary windows of the second and third day reach a score, over the table's `p`, computed
//! exactly (`tests/exact.rs`, asserted by `tests/calibration.rs`) at windows of 10 s or 60 s, steady or with three times
//! as much by day as by night:
//!
//! | traffic | at 50 | at 75 | at 90 |
//! |---|---|---|---|
//! | Poisson, mean 0.05 to 1 | 0.3 to 0.8 | 0.2 to 0.6 | 0.2 to 0.6 |
//! | Poisson, mean 2 to 5,000 | 0.7 to 1.1 | 0.6 to 1.2 | 0.5 to 1.3 |
//! | Poisson, mean 100,000 | 0.9 to 1.2 | 0.9 to 1.5 | 0.9 to 1.8 |
//! | negative binomial, size 1 to 20 or variance 2 to 4 times the mean | 0.8 to 1.1 | 0.7 to 1.3 | 0.7 to 1.8 |
//! | shares of 50 or 5,000 records, 20 % | 0.8 to 1.0 | 0.7 to 1.0 | 0.7 to 1.1 |
//! | shares of 50 records, 0.5 % or 99.5 % | 0.3 | 0.4 | 0.2 |
//! | shares whose log-odds are normal, too | 0.9 to 1.0 | 1.2 to 1.3 | 1.5 to 1.7 |
//! | amounts, normal or log-normal to a standard deviation of 1 | 0.6 to 1.2 | 0.7 to 1.5 | 0.6 to 1.9 |
//!
//! Where few events are expected, the rate is at most the documented one, because a whole number cannot hit every
//! probability. A single event where almost nothing happens stays below 60. Nothing scores in the first
//! [`LEARNING`] windows.
//!
//! **Robustness.** Values are clipped to the 99.9 % band before they are learned; beyond p = 1e-4 the level
//! does not learn at all, but suspicion grows by one, and falls by 1/8 with each ordinary window. An outlier widens
//! the scatter only if it stays alone. When suspicion is worth half an hour (at least [`PATIENCE`] windows; three
//! while learning), the new level is accepted (`learn`); the old one is remembered for a week, and taken up again
//! after three outliers in a row that fit it (`former`).

mod baseline;
mod both;
mod codec;
mod discrete;
mod former;
pub mod full;
mod learn;
mod predict;
mod skewed;
mod special;
mod spread;
mod tail;
#[cfg(test)]
mod tests;
mod tier;

pub use both::Both;
pub use codec::DecodeError;
pub use tier::{SeriesModel, Tier};

use crate::measure::Kind;
use crate::pipeline::Millis;
use baseline::{Baseline, Place};
use former::Former;
use learn::Window;
use libm::round;
use predict::Prediction;
use spread::Spread;

/// Windows that a model only learns from; their score is 0.
pub const LEARNING: u32 = 30;
/// Outlying windows, at least, before a new level is accepted; the time is half an hour.
pub const PATIENCE: f32 = 12.0;
/// Amounts are clipped to this size, counts to [`MOST`].
const LARGEST: f64 = 1e30;
/// The largest count.
const MOST: f64 = 1e15;
/// Longest window: a day.
const LONGEST: Millis = 86_400_000;

/// One closed window of a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Start of the window in event time.
    pub start: Millis,
    /// Length of the window; lengths beyond 1 ms to 1 d are taken for the nearest of them.
    pub window: Millis,
    /// The measure's value: a count, an amount, or a share from 0 to 1.
    pub value: f64,
    /// Records in the window: what a share is a share of.
    pub count: u64,
    /// False when the value overflowed: it is neither scored nor learned.
    pub trusted: bool,
}

/// What a model says about a window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verdict {
    /// Predictive mean, in units of the value.
    pub expected: f64,
    /// Lower end of the central 99.9 % band, at most `expected`; 0 or more for counts and shares.
    pub lower: f64,
    /// Upper end of the band, at least `expected`; at most 1 for shares.
    pub upper: f64,
    /// Surprise, 0 to 100; see the module's table.
    pub score: f64,
    /// How much has been learned, 0 to 1: windows seen, times the part of the band that is the series' own
    /// scatter rather than ignorance.
    pub confidence: f64,
    /// True while the model only learns; the score is 0.
    pub learning: bool,
}

/// The normal behaviour of one series.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    kind: Kind,
    /// Windows learned.
    seen: u32,
    /// Start of the newest window.
    newest: Millis,
    baseline: Baseline,
    spread: Spread,
    /// Outlying windows, less what ordinary ones took.
    suspicion: f32,
    /// Outliers in a row up to now.
    run: u8,
    /// What the level was before it changed, and when it did. Few series have one.
    former: Option<Box<Former>>,
    changed: Millis,
    /// Outliers in a row that fit the former level.
    returning: u8,
}

/// The score, 0 to 100, of a value whose tail probability is ten to the power of minus `decades`.
fn score(decades: f64) -> f64 {
    (15.0 * decades).clamp(0.0, 100.0)
}

impl Model {
    /// A model that knows nothing.
    pub fn new(kind: Kind) -> Model {
        Model {
            kind,
            seen: 0,
            newest: 0,
            baseline: Baseline::new(),
            spread: Spread::new(kind),
            suspicion: 0.0,
            run: 0,
            former: None,
            changed: 0,
            returning: 0,
        }
    }

    /// Which values it judges.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Windows learned.
    pub fn learned(&self) -> u32 {
        self.seen
    }

    /// Start of the newest window; epoch milliseconds.
    pub fn newest(&self) -> Millis {
        self.newest
    }

    /// What is expected of a window of `count` records that starts at `start`; the score is 0.
    pub fn forecast(&self, start: Millis, window: Millis, count: u64) -> Verdict {
        let length = window.clamp(1, LONGEST);
        let place = Place::of(start, length);
        let mut next = self.clone();
        next.baseline.advance(&place, length, length);
        let prediction = next.predict(&place, (count as f64).clamp(1.0, MOST));
        next.verdict(&prediction, prediction.tail.band(), 0.0)
    }

    /// Judges a window by what was learned before it, then learns it. A window that says nothing (not
    /// trusted, not a number, a share of no records) scores 0 and leaves the model as it is.
    pub fn observe(&mut self, point: &Point) -> Verdict {
        self.judge(point).0
    }

    /// The same, with the decades of the tail probability that the score is made of, not clamped; 0 while learning.
    fn judge(&mut self, point: &Point) -> (Verdict, f64) {
        let length = point.window.clamp(1, LONGEST);
        let place = Place::of(point.start, length);
        let n = (point.count as f64).clamp(1.0, MOST);
        let Some(value) = self.usable(point, n) else {
            return (self.forecast(point.start, point.window, point.count), 0.0);
        };
        let elapsed = match self.seen {
            0 => length,
            _ => point.start.saturating_sub(self.newest).max(length),
        };
        self.baseline.advance(&place, elapsed, length);
        let prediction = self.predict(&place, n);
        let (ln_p, band) = (prediction.tail.ln_p(value), prediction.tail.band());
        let decades = if self.seen < LEARNING { 0.0 } else { -ln_p * std::f64::consts::LOG10_E };
        let verdict = self.verdict(&prediction, band, decades);
        let window = Window { start: point.start, place, length, value, n };
        if self.seen == 0 {
            self.start(&window);
            self.changed = point.start;
        } else {
            self.learn(&window, &prediction, band, ln_p);
        }
        self.newest = self.newest.max(point.start);
        self.seen = self.seen.saturating_add(1);
        (verdict, decades)
    }

    /// The value in its kind's range, or nothing.
    fn usable(&self, point: &Point, n: f64) -> Option<f64> {
        if !point.trusted || !point.value.is_finite() {
            return None;
        }
        match self.kind {
            Kind::Count => Some(round(point.value.clamp(0.0, MOST))),
            Kind::Amount => Some(point.value.clamp(-LARGEST, LARGEST)),
            Kind::Share if point.count == 0 => None,
            Kind::Share => Some(round(point.value.clamp(0.0, 1.0) * n) / n),
        }
    }

    fn verdict(&self, prediction: &Prediction, (lower, upper): (f64, f64), decades: f64) -> Verdict {
        let ignorance = prediction.ignorance();
        let seen = f64::from(self.seen);
        Verdict {
            expected: prediction.tail.mean,
            lower,
            upper,
            score: score(decades),
            confidence: seen / (seen + 60.0) * prediction.scatter / (prediction.scatter + ignorance),
            learning: self.seen < LEARNING,
        }
    }
}
