//! How far values scatter around the baseline: dispersion, and for amounts the scale and tail weight.
//!
//! Used by `model`: read for the prediction, then fed values that were clipped to the band, so that an
//! outlier widens it by a bounded amount. Invariants: state is `f32` exactly as it is encoded; dispersion and
//! scale are finite and above zero.

use crate::pipeline::Millis;
use libm::{fabs, sqrt};

/// Dispersion and how much is known about it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Spread {
    /// Variance over that of the pure distribution; of amounts, over the mean absolute level, below the mean.
    pub(super) dispersion: f32,
    /// Amounts: the same above the mean, for sums of skewed numbers are skewed.
    pub(super) above: f32,
    /// Windows' worth of evidence in `dispersion`, at most [`MEMORY`].
    pub(super) weight: f32,
    /// Amounts: mean absolute value.
    pub(super) scale: f32,
    /// Amounts: mean fourth power of standardised residuals.
    pub(super) kurtosis: f32,
}

/// Windows that the dispersion remembers, at most: three hours, in these bounds, for the dispersion of
/// traffic with a rhythm has one, too.
pub(super) const MEMORY: f64 = 500.0;
const MEMORY_LEAST: f64 = 150.0;
const MEMORY_TIME: f64 = 10_800_000.0;
/// Evidence that is kept when the level is given up.
const REOPENED: f32 = 20.0;
/// Evidence that the assumed start of dispersion and tail weight is worth.
const PRIOR: f64 = 10.0;
/// Bounds of the dispersion, far beyond natural values.
const BOUNDS: (f64, f64) = (1e-12, 1e33);
/// Amounts that never change are assumed to scatter by this part of their level.
const AMOUNT_FLOOR: f64 = 0.01;

impl Spread {
    pub(super) fn new() -> Self {
        Self { dispersion: 2.0, above: 2.0, weight: 0.0, scale: 1.0, kurtosis: 9.0 }
    }

    /// The first amount sets the scale.
    pub(super) fn start(&mut self, amount: f64) {
        self.scale = fabs(amount).max(1e-6) as f32;
        self.dispersion = 0.25 * self.scale;
        self.above = self.dispersion;
    }

    /// One standard error is added to the estimate: not knowing must not scream.
    fn caution(&self) -> f64 {
        1.0 + sqrt(2.0 / (f64::from(self.weight) + PRIOR))
    }

    /// Dispersion of counts and shares. Below 1 it makes up for an overestimated ignorance of the mean; the
    /// two together are never taken for less than the pure distribution's variance.
    pub(super) fn factor(&self) -> f64 {
        (f64::from(self.dispersion) * self.caution()).max(0.5)
    }

    /// Variance of an amount below and above this mean.
    pub(super) fn amount_variance(&self, mean: f64) -> [f64; 2] {
        let level = self.level(mean);
        let floor = AMOUNT_FLOOR * level;
        [self.dispersion, self.above].map(|d| (f64::from(d) * self.caution() * level).max(floor * floor))
    }

    /// Degrees of freedom of an amount's Student's t, from the kurtosis.
    pub(super) fn freedom(&self) -> f64 {
        4.0 + 6.0 / (f64::from(self.kurtosis) - 3.0).max(0.2)
    }

    fn level(&self, mean: f64) -> f64 {
        0.5 * (fabs(mean) + f64::from(self.scale))
    }

    fn gain(&mut self, information: f64, window: Millis) -> f64 {
        let memory = (MEMORY_TIME / window as f64).clamp(MEMORY_LEAST, MEMORY);
        self.weight = (f64::from(self.weight) + information).min(memory) as f32;
        information / (f64::from(self.weight) + PRIOR)
    }

    /// Learns from a squared residual: `pure` is the variance without dispersion, `unsure` the variance of
    /// the mean itself.
    pub(super) fn learn(&mut self, square: f64, pure: f64, unsure: f64, window: Millis) {
        // A Pearson residual of few events says little: its own variance is 2 + 1/pure.
        let gain = self.gain(2.0 * pure / (2.0 * pure + 1.0), window);
        self.dispersion = blend(self.dispersion, (square - unsure) / pure, gain);
    }

    /// Learns from an amount and its residual; `unsure` is the variance of the mean itself.
    pub(super) fn learn_amount(&mut self, amount: f64, residual: f64, unsure: f64, window: Millis) {
        let mean = amount - residual;
        let side = usize::from(residual > 0.0);
        let standard = residual * residual / (self.amount_variance(mean)[side] + unsure);
        let gain = self.gain(1.0, window);
        let (kurtosis, scale) = (f64::from(self.kurtosis), f64::from(self.scale));
        self.kurtosis = (kurtosis + gain * (standard * standard - kurtosis)).clamp(1.0, 1e6) as f32;
        let dispersion = (residual * residual - unsure) / self.level(mean);
        let own = if residual > 0.0 { &mut self.above } else { &mut self.dispersion };
        *own = blend(*own, dispersion, gain);
        self.scale = (scale + gain * (fabs(amount) - scale)).max(1e-6) as f32;
    }

    /// The level is given up: what comes next may scatter differently.
    pub(super) fn reopen(&mut self, amount: f64) {
        self.weight = self.weight.min(REOPENED);
        self.scale = self.scale.max(fabs(amount) as f32);
    }
}

fn blend(now: f32, seen: f64, gain: f64) -> f32 {
    let now = f64::from(now);
    (now + gain * (seen - now)).clamp(BOUNDS.0, BOUNDS.1) as f32
}
