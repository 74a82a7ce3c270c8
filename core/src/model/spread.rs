//! How far values scatter around the baseline: dispersion, and for amounts the scale and tail weight.
//!
//! Used by `model`: read for the prediction, then fed values that were clipped to the band, so that an
//! outlier widens it by a bounded amount. Invariants: state is `f32` exactly as it is encoded; dispersion and
//! scale are finite and above zero.

use libm::{fabs, sqrt};

/// Dispersion and how much is known about it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Spread {
    /// Variance over that of the pure distribution; of amounts, over the mean absolute level.
    pub(super) dispersion: f32,
    /// Windows' worth of evidence in `dispersion`, at most [`MEMORY`].
    pub(super) weight: f32,
    /// Amounts: mean absolute value.
    pub(super) scale: f32,
    /// Amounts: mean fourth power of standardised residuals.
    pub(super) kurtosis: f32,
}

/// Windows that the dispersion remembers.
pub(super) const MEMORY: f64 = 1000.0;
/// Evidence that is kept when the level is given up.
const REOPENED: f32 = 20.0;
/// Evidence that the assumed start of dispersion and tail weight is worth.
const PRIOR: f64 = 10.0;
/// Bounds of the dispersion, far beyond natural values.
const BOUNDS: (f64, f64) = (1e-3, 1e12);
/// Amounts that never change are assumed to scatter by this part of their level.
const AMOUNT_FLOOR: f64 = 0.01;

impl Spread {
    pub(super) fn new() -> Self {
        Self {
            dispersion: 2.0,
            weight: 0.0,
            scale: 1.0,
            kurtosis: 9.0,
        }
    }

    /// The first amount sets the scale.
    pub(super) fn start(&mut self, amount: f64) {
        self.scale = fabs(amount).max(1e-6) as f32;
        self.dispersion = (0.25 * self.scale).clamp(BOUNDS.0 as f32, BOUNDS.1 as f32);
    }

    /// One standard error above the estimate: not knowing must not scream.
    fn cautious(&self) -> f64 {
        f64::from(self.dispersion) * (1.0 + sqrt(2.0 / (f64::from(self.weight) + PRIOR)))
    }

    /// Dispersion of counts and shares, 1 or more.
    pub(super) fn factor(&self) -> f64 {
        self.cautious().max(1.0)
    }

    /// Variance of an amount around this mean.
    pub(super) fn amount_variance(&self, mean: f64) -> f64 {
        let level = self.level(mean);
        let floor = AMOUNT_FLOOR * level;
        (self.cautious() * level).max(floor * floor)
    }

    /// Degrees of freedom of an amount's Student's t, from the kurtosis.
    pub(super) fn freedom(&self) -> f64 {
        4.0 + 6.0 / (f64::from(self.kurtosis) - 3.0).max(0.2)
    }

    fn level(&self, mean: f64) -> f64 {
        0.5 * (fabs(mean) + f64::from(self.scale))
    }

    fn gain(&mut self, information: f64) -> f64 {
        self.weight = (f64::from(self.weight) + information).min(MEMORY) as f32;
        information / (f64::from(self.weight) + PRIOR)
    }

    /// Learns from a squared residual: `pure` is the variance without dispersion, `unsure` the variance of
    /// the mean itself.
    pub(super) fn learn(&mut self, square: f64, pure: f64, unsure: f64) {
        // A Pearson residual of few events says little: its own variance is 2 + 1/pure.
        let gain = self.gain(2.0 * pure / (2.0 * pure + 1.0));
        self.blend((square - unsure).max(0.0) / pure, gain);
    }

    /// Learns from an amount and its residual.
    pub(super) fn learn_amount(&mut self, amount: f64, residual: f64, mean: f64, unsure: f64) {
        let standard = residual * residual / (self.amount_variance(mean) + unsure);
        let gain = self.gain(1.0);
        let (kurtosis, scale) = (f64::from(self.kurtosis), f64::from(self.scale));
        self.kurtosis = (kurtosis + gain * (standard * standard - kurtosis)).clamp(1.0, 1e6) as f32;
        let level = self.level(mean);
        self.blend((residual * residual - unsure).max(0.0) / level, gain);
        self.scale = (scale + gain * (fabs(amount) - scale)).max(1e-6) as f32;
    }

    fn blend(&mut self, dispersion: f64, gain: f64) {
        let now = f64::from(self.dispersion);
        self.dispersion = (now + gain * (dispersion - now)).clamp(BOUNDS.0, BOUNDS.1) as f32;
    }

    /// The level is given up: what comes next may scatter differently.
    pub(super) fn reopen(&mut self, amount: f64) {
        self.weight = self.weight.min(REOPENED);
        self.scale = self.scale.max(fabs(amount) as f32);
    }
}
