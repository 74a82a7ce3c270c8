//! What a scored window changes in the model: the level, the spread, and suspicion of a new level.
//!
//! The last step of `observe`. Invariants: one value moves the level by no more than the 99.9 % band reaches,
//! unless a new level is accepted; suspicion is bounded by the patience of the window's length, so every
//! lasting change is accepted after a bounded number of windows.
//!
//! ```text
//!            outlier: suspicion + 1            suspicion reaches patience
//!  ordinary ───────────────────────► incident ───────────────────────────► accept: level reopened,
//!     ▲   ordinary window: − 1/8        │                                  suspicion halved
//!     └─────────────────────────────────┘◄────────────────────────────────────────┘
//! ```

use super::baseline::{LOG_REACH, Place, REACH};
use super::predict::Prediction;
use super::tail::FEWEST;
use super::{LARGEST, LEARNING, Model, PATIENCE};
use crate::measure::Kind;
use crate::pipeline::Millis;
use libm::{log, log1p, sqrt};

/// Suspicion that makes a new level, as a time.
const ACCEPT_AFTER: Millis = 1_800_000;
/// Outlying windows that are enough while the model only learns.
const IMPATIENCE: f32 = 3.0;
/// What an ordinary window takes from suspicion.
const CALM: f32 = 0.125;
/// Up to this suspicion an outlier is a chance of the series' own and widens its spread, clipped.
const ISOLATED: f32 = 2.0;
/// ln of the tail probability beyond which a value is unusual: 2 %.
const UNUSUAL: f64 = -3.9;
/// ln of the tail probability beyond which a value is an outlier: 1e-4.
const OUTLIER: f64 = -9.210_340_371_976_182;

/// A window as it is learned.
pub(super) struct Window {
    pub(super) start: Millis,
    pub(super) place: Place,
    /// Milliseconds, 1 to a day.
    pub(super) length: Millis,
    pub(super) value: f64,
    /// Records, 1 or more.
    pub(super) n: f64,
}

impl Model {
    /// The first window sets the level.
    pub(super) fn start(&mut self, window: &Window) {
        let (value, n) = (window.value, window.n);
        let level = match self.kind {
            Kind::Count => log(value.max(0.3)),
            Kind::Share => log((value * n + 0.3) / (n - value * n + 0.3)),
            Kind::Amount => {
                self.spread.start(value);
                value
            }
        };
        let (now, _) = self.baseline.at(&window.place);
        self.baseline.level = (f64::from(self.baseline.level) + level - now) as f32;
    }

    /// Learns a window that was predicted like this, with its band and tail probability.
    pub(super) fn learn(&mut self, window: &Window, prediction: &Prediction, band: (f64, f64), ln_p: f64) {
        let outlier = ln_p < OUTLIER;
        let learning = self.seen < LEARNING;
        let isolated = self.suspicion < ISOLATED;
        let patience = match learning {
            true => IMPATIENCE,
            false => PATIENCE.max((ACCEPT_AFTER / window.length) as f32),
        };
        // While something is going on, what is only unusual may be part of it: it does not move the level.
        let doubtful = !outlier && ln_p < UNUSUAL && !isolated;
        let change = if outlier { 1.0 } else { -CALM };
        self.suspicion = (self.suspicion + change).max(0.0);
        let before = self.run;
        self.run = if outlier { before.saturating_add(1) } else { 0 };
        if outlier && !learning && self.comes_back(window) {
            return;
        }
        if !outlier && !doubtful {
            self.returning = 0;
        }
        if self.suspicion >= patience {
            self.suspicion = 0.5 * patience;
            if !learning {
                self.remember(window.start);
            }
            self.accept(window);
            return;
        }
        // The next whole number is never clipped: where nothing is the rule, one must be learned.
        let whole = match self.kind {
            Kind::Count => 1.0,
            Kind::Share => 1.0 / window.n,
            Kind::Amount => 0.0,
        };
        let clipped = window.value.clamp(band.0 - whole, band.1 + whole);
        if !outlier && !doubtful || learning {
            self.learn_level(window, clipped, prediction);
        }
        // A run of outliers is an incident and says nothing of the ordinary scatter. Outliers that come back
        // again and again among ordinary windows say that the series scatters like this.
        let lasting = self.suspicion >= 0.5 * patience;
        if !outlier || learning {
            self.spread.settle();
            self.learn_spread(window, clipped, prediction, band);
        } else if before == 0 && (isolated || lasting) {
            // Whether it was alone only the next window tells.
            self.put_by(window, clipped, prediction, band);
        } else {
            self.spread.pending = [0.0; 2];
        }
    }

    /// Gives the level up for that of this window.
    fn accept(&mut self, window: &Window) {
        self.baseline.reopen();
        self.spread.reopen(self.kind, window.value);
        let open = self.predict(&window.place, window.n);
        let slots = self.baseline.slots;
        self.learn_level(window, window.value, &open);
        // The whole step is the level's: it says nothing of the rhythm.
        let (after, _) = self.baseline.at(&window.place);
        let level = f64::from(self.baseline.level);
        self.baseline.slots = slots;
        let (now, _) = self.baseline.at(&window.place);
        let reach = if self.kind == Kind::Amount { REACH } else { LOG_REACH };
        let level = (level + after - now).clamp(-reach, reach);
        self.baseline.settle(level as f32, self.baseline.variance);
    }

    /// Keeps what the spread would learn from an outlier until an ordinary window follows.
    fn put_by(&mut self, window: &Window, clipped: f64, prediction: &Prediction, band: (f64, f64)) {
        let mut wider = self.spread.clone();
        std::mem::swap(&mut wider, &mut self.spread);
        self.learn_spread(window, clipped, prediction, band);
        std::mem::swap(&mut wider, &mut self.spread);
        self.spread.put_by(&wider);
    }

    fn learn_spread(&mut self, window: &Window, clipped: f64, prediction: &Prediction, band: (f64, f64)) {
        let Prediction { tail, pure, .. } = prediction;
        let (spread, length, seen) = (&mut self.spread, window.length, self.seen);
        let ignorance = prediction.ignorance();
        let residual = clipped - tail.mean;
        match self.kind {
            Kind::Count => spread.learn(residual * residual, *pure, ignorance, length),
            Kind::Share => {
                let successes = residual * window.n;
                spread.learn(successes * successes, *pure, ignorance, length);
            }
            Kind::Amount => {
                // Twice the band: what lies just outside says how heavy the tail is.
                let (low, high) = (2.0 * band.0 - tail.mean, 2.0 * band.1 - tail.mean);
                let amount = window.value.clamp(low, high);
                spread.learn_amount(amount, amount - tail.mean, ignorance, tail.standard_square(amount), length, seen);
            }
        }
    }

    /// Moves the baseline to its conjugate posterior: gamma for counts, beta for shares, normal for amounts.
    pub(super) fn learn_level(&mut self, window: &Window, value: f64, prediction: &Prediction) {
        let Prediction { tail, pure, scatter, unsure, .. } = prediction;
        let ignorance = prediction.ignorance();
        let gain = ignorance / (ignorance + scatter);
        let mean = tail.mean;
        let (step, limit) = match self.kind {
            Kind::Count => (log1p(gain * (value - mean) / mean), (log(FEWEST), 40.0)),
            Kind::Share => {
                let evidence = unsure * window.n * pure / scatter;
                let good = evidence * (1.0 - mean) * value;
                let bad = evidence * mean * (1.0 - value);
                (log1p(good) - log1p(bad), (-30.0, 30.0))
            }
            Kind::Amount => (gain * (value - mean), (-LARGEST, LARGEST)),
        };
        self.baseline.learn(&window.place, step, gain, limit);
        let (unit, sd) = (if self.kind == Kind::Share { window.n } else { 1.0 }, sqrt(ignorance + scatter));
        self.baseline.hurry((value - mean) * unit / sd, gain);
    }
}
