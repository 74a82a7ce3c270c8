//! What is normal for one series, and how surprising its next closed window is.
//!
//! The score stage feeds each series' windows in event-time order; a verdict depends on what was learned
//! before, then the window is learned. Two invariants: the state is at most 300 bytes encoded, and what is
//! encoded is what is used (`f32` in memory), so that a model that went through the state topic continues
//! to the bit like one that did not. All transcendental functions come from `libm`.
//!
//! **Baseline.** A level and 24 slots over the day, interpolated between slot centres, on a logarithmic
//! scale for counts, log-odds for shares, linear for amounts (`baseline`).
//!
//! **Surprise.** The two-sided predictive tail probability `p` (mid-p where values are whole) under a
//! negative binomial, beta-binomial or Student's t whose variance includes what is not known yet (`tail`).
//! `score = 15 · −log10 p`, from 0 to 100. It is calibrated: a quiet series reaches
//!
//! | score | p | by chance, one window of | at 10 s windows |
//! |---|---|---|---|
//! | 50 | 4.6e-4 | 2,150 | 4 a day |
//! | 75 | 1.0e-5 | 100,000 | once in 12 days |
//! | 90 | 1.0e-6 | 1,000,000 | once in 4 months |
//! | 100 | 2.2e-7 | 4,600,000 | once in 18 months |
//!
//! and less often where events are rare, because a whole number cannot hit every probability. A single event
//! where almost nothing happens stays below 60. Nothing scores in the first [`LEARNING`] windows.
//!
//! **Robustness.** Values are clipped to the 99.9 % band before they are learned; beyond p = 1e-4 the level
//! does not learn at all, but suspicion grows by one, and falls by 1/8 with each ordinary window. When it is
//! worth half an hour (at least [`PATIENCE`] windows; three while learning), the new level is accepted.

mod baseline;
mod codec;
mod discrete;
mod special;
mod spread;
mod tail;
#[cfg(test)]
mod tests;

pub use codec::DecodeError;

use crate::measure::Kind;
use crate::pipeline::Millis;
use baseline::{Baseline, Place};
use libm::{exp, log, log1p, round};
use spread::Spread;
use tail::{FEWEST, Tail};

/// Windows that a model only learns from; their score is 0.
pub const LEARNING: u32 = 30;
/// Outlying windows, at least, before a new level is accepted.
pub const PATIENCE: f32 = 12.0;
/// Suspicion that makes a new level, as a time.
const ACCEPT_AFTER: Millis = 1_800_000;
/// Outlying windows that are enough while the model only learns.
const IMPATIENCE: f32 = 3.0;
/// What an ordinary window takes from suspicion.
const CALM: f32 = 0.125;
/// Up to this suspicion an outlier is a chance of the series' own and widens its spread, clipped.
const ISOLATED: f32 = 2.0;
/// ln of the tail probability beyond which a value is an outlier: 1e-4.
const OUTLIER: f64 = -9.210_340_371_976_182;
/// Score per natural logarithm of the tail probability.
const SCORE: f64 = 15.0 * std::f64::consts::LOG10_E;
/// Amounts are clipped to this size, counts to [`MOST`].
const LARGEST: f64 = 1e30;
/// The largest count.
const MOST: f64 = 1e15;
/// Bound of a logarithm or log-odds before it is used.
const MOST_LOG: f64 = 60.0;
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
}

/// A prediction in the terms that learning needs.
struct Prediction {
    tail: Tail,
    /// Variance of the value without dispersion (amounts: with), and with it.
    pure: f64,
    scatter: f64,
    /// Variance of the mean on the link's scale, and how much the value moves per unit of that scale.
    unsure: f64,
    slope: f64,
}

impl Prediction {
    /// Variance of the mean, in units of the value (shares: of the successes).
    fn ignorance(&self) -> f64 {
        self.unsure * self.slope * self.slope
    }
}

impl Model {
    /// A model that knows nothing.
    pub fn new(kind: Kind) -> Model {
        Model { kind, seen: 0, newest: 0, baseline: Baseline::new(), spread: Spread::new(), suspicion: 0.0 }
    }

    /// Judges a window by what was learned before it, then learns it. A window that says nothing (not
    /// trusted, not a number, a share of no records) scores 0 and leaves the model as it is.
    pub fn observe(&mut self, point: &Point) -> Verdict {
        let window = point.window.clamp(1, LONGEST);
        let place = Place::of(point.start, window);
        let n = (point.count as f64).clamp(1.0, MOST);
        let Some(value) = self.usable(point, n) else {
            let mut silent = self.clone();
            silent.baseline.advance(&place, window, window);
            let prediction = silent.predict(&place, n);
            return silent.verdict(&prediction, prediction.tail.band(), 0.0);
        };
        let elapsed = match self.seen {
            0 => window,
            _ => point.start.saturating_sub(self.newest).max(window),
        };
        self.baseline.advance(&place, elapsed, window);
        let prediction = self.predict(&place, n);
        let (ln_p, band) = (prediction.tail.ln_p(value), prediction.tail.band());
        let verdict = self.verdict(&prediction, band, ln_p);
        if self.seen == 0 {
            self.start(&place, value, n);
        } else {
            self.learn(&place, window, value, n, &prediction, band, ln_p < OUTLIER);
        }
        self.newest = self.newest.max(point.start);
        self.seen = self.seen.saturating_add(1);
        verdict
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

    fn predict(&self, place: &Place, n: f64) -> Prediction {
        let (link, unsure) = self.baseline.at(place);
        let factor = self.spread.factor();
        let link = match self.kind {
            Kind::Amount => link,
            Kind::Count | Kind::Share => link.clamp(-MOST_LOG, MOST_LOG),
        };
        match self.kind {
            Kind::Count => {
                let tail = Tail::count(exp(link), factor, unsure);
                let mean = tail.mean;
                Prediction { tail, pure: mean, scatter: mean * factor, unsure, slope: mean }
            }
            Kind::Share => {
                let tail = Tail::share(1.0 / (1.0 + exp(-link)), n, factor, unsure);
                let pure = n * tail.mean * (1.0 - tail.mean);
                Prediction { tail, pure, scatter: pure * factor, unsure, slope: pure }
            }
            Kind::Amount => {
                let slope = f64::from(self.spread.scale);
                let own = self.spread.amount_variance(link);
                let variance = own.map(|v| v + unsure * slope * slope);
                Prediction {
                    tail: Tail::amount(link, variance, self.spread.freedom()),
                    pure: 0.5 * (own[0] + own[1]),
                    scatter: 0.5 * (own[0] + own[1]),
                    unsure,
                    slope,
                }
            }
        }
    }

    fn verdict(&self, prediction: &Prediction, (lower, upper): (f64, f64), ln_p: f64) -> Verdict {
        let learning = self.seen < LEARNING;
        let ignorance = prediction.ignorance();
        let seen = f64::from(self.seen);
        Verdict {
            expected: prediction.tail.mean,
            lower,
            upper,
            score: if learning { 0.0 } else { (-SCORE * ln_p).clamp(0.0, 100.0) },
            confidence: seen / (seen + 60.0) * prediction.scatter / (prediction.scatter + ignorance),
            learning,
        }
    }

    /// The first window sets the level.
    fn start(&mut self, place: &Place, value: f64, n: f64) {
        let level = match self.kind {
            Kind::Count => log(value.max(0.3)),
            Kind::Share => log((value * n + 0.3) / (n - value * n + 0.3)),
            Kind::Amount => {
                self.spread.start(value);
                value
            }
        };
        let (now, _) = self.baseline.at(place);
        self.baseline.level = (f64::from(self.baseline.level) + level - now) as f32;
    }

    #[allow(clippy::too_many_arguments)]
    fn learn(
        &mut self,
        place: &Place,
        window: Millis,
        value: f64,
        n: f64,
        prediction: &Prediction,
        band: (f64, f64),
        outlier: bool,
    ) {
        let learning = self.seen < LEARNING;
        let isolated = self.suspicion < ISOLATED;
        let patience = match learning {
            true => IMPATIENCE,
            false => PATIENCE.max((ACCEPT_AFTER / window) as f32),
        };
        self.suspicion = if outlier { self.suspicion + 1.0 } else { (self.suspicion - CALM).max(0.0) };
        let accept = self.suspicion >= patience;
        if accept {
            self.suspicion = 0.5 * patience;
            self.baseline.reopen();
            self.spread.reopen(value);
            let reopened = self.predict(place, n);
            self.learn_level(place, value, n, &reopened);
            return;
        }
        // The next whole number is never clipped: where nothing is the rule, one must be learnt.
        let whole = match self.kind {
            Kind::Count => 1.0,
            Kind::Share => 1.0 / n,
            Kind::Amount => 0.0,
        };
        let clipped = value.clamp(band.0 - whole, band.1 + whole);
        if !outlier || learning {
            self.learn_level(place, clipped, n, prediction);
        }
        // A run of outliers is an incident, but one that lasts says that the series scatters like this.
        let lasting = self.suspicion >= 0.5 * patience;
        if !outlier || learning || isolated || lasting {
            self.learn_spread(window, value, clipped, n, prediction, band);
        }
    }

    fn learn_spread(
        &mut self,
        window: Millis,
        value: f64,
        clipped: f64,
        n: f64,
        prediction: &Prediction,
        band: (f64, f64),
    ) {
        let Prediction { tail, pure, .. } = prediction;
        let ignorance = prediction.ignorance();
        let residual = clipped - tail.mean;
        match self.kind {
            Kind::Count => self.spread.learn(residual * residual, *pure, ignorance, window),
            Kind::Share => {
                let square = residual * n * (residual * n);
                self.spread.learn(square, *pure, ignorance, window);
            }
            Kind::Amount => {
                // Twice the band: what lies just outside says how heavy the tail is.
                let (low, high) = (2.0 * band.0 - tail.mean, 2.0 * band.1 - tail.mean);
                let amount = value.clamp(low, high);
                self.spread.learn_amount(amount, amount - tail.mean, ignorance, window);
            }
        }
    }

    /// Moves the baseline to its conjugate posterior: gamma for counts, beta for shares, normal for amounts.
    fn learn_level(&mut self, place: &Place, value: f64, n: f64, prediction: &Prediction) {
        let Prediction { tail, scatter, unsure, .. } = prediction;
        let ignorance = prediction.ignorance();
        let gain = ignorance / (ignorance + scatter);
        let mean = tail.mean;
        let factor = self.spread.factor();
        let (step, limit) = match self.kind {
            Kind::Count => (log1p(gain * (value - mean) / mean), (log(FEWEST), 40.0)),
            Kind::Share => {
                let good = unsure * (1.0 - mean) * value * n / factor;
                let bad = unsure * mean * (1.0 - value) * n / factor;
                (log1p(good) - log1p(bad), (-30.0, 30.0))
            }
            Kind::Amount => (gain * (value - mean), (-LARGEST, LARGEST)),
        };
        self.baseline.learn(place, step, gain, limit);
    }
}
