//! The predictive distribution of one window: what was learned, turned into surprise and a band.
//!
//! Used by `model` between the baseline and the score. Uncertainty about the parameters is part of the
//! variance: a negative binomial for counts (Poisson when there is no excess), a beta-binomial for shares,
//! a skewed Student's t for amounts. Invariant: for one prediction, surprise is monotone in the distance from the
//! median on each side, and everything is finite.

use super::discrete::{Discrete, SIDE_Z};
use super::skewed::Skewed;
use libm::fabs;

/// Fewer expected events than this in a window are judged as this many, so that a single event in a
/// series where almost nothing happens is no anomaly.
pub(super) const FEWEST: f64 = 3e-4;

/// The distribution of the next window's value.
pub(super) struct Tail {
    /// Predictive mean, in units of the value.
    pub(super) mean: f64,
    shape: Shape,
}

enum Shape {
    Count(Discrete),
    /// Trials, and the distribution of the successes, or of the failures when `flipped`.
    Share {
        n: f64,
        successes: Discrete,
        flipped: bool,
    },
    Amount(Skewed),
}

impl Tail {
    /// Counts of this mean with `dispersion` times its variance, known to a relative variance of `unsure`.
    pub(super) fn count(mean: f64, dispersion: f64, unsure: f64) -> Self {
        let mean = mean.max(FEWEST);
        let variance = mean * (dispersion + unsure * mean).max(1.0);
        Self { mean, shape: Shape::Count(Discrete::count(mean, variance)) }
    }

    /// The share of `n` records (1 or more), with `dispersion` times the binomial variance, whose log-odds
    /// are known to a variance of `unsure`.
    pub(super) fn share(p: f64, n: f64, dispersion: f64, unsure: f64) -> Self {
        let least = (FEWEST / n).max(1e-12);
        let p = p.clamp(least, 1.0 - least);
        let pure = n * p * (1.0 - p);
        let factor = (dispersion + unsure * pure).max(1.0);
        let rare = Discrete::needs_rare_form(n, p, factor);
        let flipped = rare && p > 0.5;
        let successes = if rare {
            let mean = n * p.min(1.0 - p);
            Discrete::count(mean, mean * factor)
        } else {
            Discrete::share(n, p, factor)
        };
        Self { mean: p, shape: Shape::Share { n, successes, flipped } }
    }

    /// An amount with this mean, variance below and above it, and degrees of freedom (above 2).
    pub(super) fn amount(mean: f64, variance: [f64; 2], freedom: f64) -> Self {
        Self { mean, shape: Shape::Amount(Skewed::new(variance, freedom)) }
    }

    /// Natural logarithm of the two-sided tail probability of a value, at most 0.
    pub(super) fn ln_p(&self, value: f64) -> f64 {
        match &self.shape {
            Shape::Count(d) => d.ln_p(value),
            Shape::Share { n, successes, flipped } => {
                let y = libm::round(value * n);
                successes.ln_p(if *flipped { n - y } else { y })
            }
            Shape::Amount(skewed) => skewed.ln_beyond(fabs(skewed.z(value - self.mean))),
        }
    }

    /// The squared distance of an amount on the scale of the tail, where its mean is 1 for a normal one.
    pub(super) fn standard_square(&self, amount: f64) -> f64 {
        match &self.shape {
            Shape::Amount(skewed) => skewed.standard_square(amount - self.mean),
            Shape::Count(_) | Shape::Share { .. } => 1.0,
        }
    }

    /// The central 99.9 % band, widened to hold the mean.
    pub(super) fn band(&self) -> (f64, f64) {
        let (lower, upper) = match &self.shape {
            Shape::Count(d) => d.band(),
            Shape::Share { n, successes, flipped } => {
                let (low, high) = successes.band();
                let (low, high) = if *flipped { (n - high, n - low) } else { (low, high) };
                ((low / n).clamp(0.0, 1.0), (high / n).clamp(0.0, 1.0))
            }
            Shape::Amount(skewed) => {
                let (below, above) = skewed.band(SIDE_Z);
                (self.mean - below, self.mean + above)
            }
        };
        (lower.min(self.mean), upper.max(self.mean))
    }
}
