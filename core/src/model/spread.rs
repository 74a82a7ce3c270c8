//! How far values scatter around the baseline: dispersion, and for amounts the scale and tail weight.
//!
//! Used by `model`: read for the prediction, then fed values that were clipped to the band, so that an
//! outlier widens it by a bounded amount. Invariants: state is `f32` exactly as it is encoded; dispersion and
//! scale are finite and above zero.

use crate::measure::Kind;
use crate::pipeline::Millis;
use libm::{exp, fabs, log};

/// Dispersion and how much is known about it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Spread {
    /// Variance over that of the pure distribution; of amounts, over the mean absolute level, below the mean.
    pub(super) dispersion: f32,
    /// Amounts: the same above the mean, for sums of skewed numbers are skewed.
    pub(super) above: f32,
    /// Windows' worth of evidence in `dispersion`, at most [`MEMORY`].
    pub(super) weight: f32,
    /// Amounts: mean absolute value. Counts and shares: the mean variance without dispersion, 0 if unknown.
    pub(super) scale: f32,
    /// Amounts: mean fourth power of standardised residuals.
    pub(super) kurtosis: f32,
    /// What is added to the assumed exponent with which the excess variance goes with the level.
    pub(super) bend: f32,
    /// What an outlier adds to the dispersion, below (of counts and shares: at all) and above, if it stays alone.
    pub(super) pending: [f32; 2],
}

/// Windows that the dispersion remembers, at most: three hours, in these bounds, for the dispersion of
/// traffic with a rhythm has one, too.
pub(super) const MEMORY: f64 = 1_000.0;
const MEMORY_LEAST: f64 = 300.0;
const MEMORY_TIME: f64 = 10_800_000.0;
/// Evidence that is kept when the level is given up.
const REOPENED: f32 = 20.0;
/// Evidence that the assumed start of dispersion and tail weight is worth.
const PRIOR: f64 = 10.0;
/// Bounds of the dispersion, far beyond natural values.
const BOUNDS: (f64, f64) = (1e-12, 1e33);
/// See [`Spread::caution`].
const CAUTION: f64 = 8.0;
/// Bound of the excess kurtosis that is reckoned with.
const MOST_EXCESS: f64 = 20.0;
/// Excess kurtosis that is reckoned with at least, beyond the half that is forgiven as chance: as good as none.
const LEAST_EXCESS: f64 = 0.005;
/// How fast the exponent is learned, in the end.
const LEAN: f64 = 0.01;
/// An amount's exponent is learned faster at first, by recursive least squares: over the evidence so far, which is the
/// prior's (a standard deviation of a half) and the mean square of the logarithm of the size with each window. At windows
/// of a minute the end is reached only after days.
const LEAN_PRIOR: f64 = 8.0;
const LEAN_EACH: f64 = 0.02;
/// Bound of the scale.
const MOST_SCALE: f64 = 1e33;
/// Amounts that never change are assumed to scatter by this part of their level.
const AMOUNT_FLOOR: f64 = 0.01;

impl Spread {
    pub(super) fn new(kind: Kind) -> Self {
        let scale = if kind == Kind::Amount { 1.0 } else { 0.0 };
        Self { dispersion: 2.0, above: 2.0, weight: 0.0, scale, kurtosis: 9.0, bend: 0.0, pending: [0.0; 2] }
    }

    /// The first amount sets the scale.
    pub(super) fn start(&mut self, amount: f64) {
        self.scale = fabs(amount).max(1e-6) as f32;
        self.dispersion = 0.25 * self.scale;
        self.above = self.dispersion;
    }

    /// What an estimated variance must be multiplied by so that the tail at the score of 75 is as likely as under
    /// Student's t: `1 + z²/2ν`, with `z² = 20` and about `1.2` degrees of freedom a window of weight, fewer where
    /// squares of residuals scatter more than a normal's.
    fn caution(&self, excess_kurtosis: f64) -> f64 {
        (1.0 + CAUTION * (1.0 + 0.5 * excess_kurtosis) / (f64::from(self.weight) + PRIOR)).min(2.0)
    }

    /// Dispersion of counts and shares whose variance without it is `pure`. What exceeds 1 goes with the root of
    /// `pure`, between a constant ratio of variance to mean and a constant relative scatter. Below 1 it makes up
    /// for an overestimated ignorance of the mean; the two together are never taken for less than `pure`.
    pub(super) fn factor(&self, pure: f64) -> f64 {
        let dispersion = f64::from(self.dispersion);
        let factor = dispersion * self.caution(self.excess_kurtosis(pure));
        if factor <= 1.0 || self.scale <= 0.0 {
            return factor.max(0.5);
        }
        1.0 + (factor - 1.0) * exp((0.5 + f64::from(self.bend)) * self.ln_size(pure))
    }

    /// Excess kurtosis of a negative binomial with this dispersion.
    fn excess_kurtosis(&self, pure: f64) -> f64 {
        (6.0 * (f64::from(self.dispersion) - 1.0) / pure).clamp(0.0, MOST_EXCESS)
    }

    /// Logarithm of a size over the one at which the dispersion was learned.
    fn ln_size(&self, size: f64) -> f64 {
        log((size / f64::from(self.scale)).clamp(0.04, 25.0))
    }

    /// Variance of an amount below and above this mean.
    pub(super) fn amount_variance(&self, mean: f64) -> [f64; 2] {
        let level = self.level(mean);
        let floor = AMOUNT_FLOOR * level;
        let size = if self.bend == 0.0 { level } else { level * exp(f64::from(self.bend) * self.ln_size(level)) };
        let kurtosis = self.side_kurtosis();
        let caution = self.caution(kurtosis);
        let [below, above] = [self.dispersion, self.above].map(f64::from);
        // The ratio of the sides as far as it is more than chance (shrunk by its sampling variance): a skewness that is
        // not there would take the tail from one of them.
        let ratio = log(above / below);
        let chance = 4.0 * kurtosis / (f64::from(self.weight) + PRIOR);
        let ratio = exp(ratio * ratio * ratio / (ratio * ratio + chance));
        let below = (below + above) / (1.0 + ratio);
        [below, below * ratio].map(|d| (d * caution * size).max(floor * floor))
    }

    /// Degrees of freedom of an amount's Student's t: from the kurtosis, and from how much is known of the scatter, for
    /// skewness and tail weight are learned from the same windows (as [`Spread::caution`] has it: `z²/2ν`, `z² = 20`).
    pub(super) fn freedom(&self) -> f64 {
        let own = 4.0 + 6.0 / (f64::from(self.kurtosis) - 3.5).max(LEAST_EXCESS);
        1.0 / (1.0 / own + 0.1 * (self.caution(self.side_kurtosis()) - 1.0))
    }

    /// Excess kurtosis that the squares of one side count with: each side has half of the windows.
    fn side_kurtosis(&self) -> f64 {
        (f64::from(self.kurtosis) - 1.0).clamp(0.0, MOST_EXCESS)
    }

    fn level(&self, mean: f64) -> f64 {
        0.5 * (fabs(mean) + f64::from(self.scale))
    }

    /// Keeps what `wider` learned of an outlier for later.
    pub(super) fn put_by(&mut self, wider: &Spread) {
        let most = |now: f32, then: f32| (then - now).clamp(0.0, BOUNDS.1 as f32);
        self.pending = [most(self.dispersion, wider.dispersion), most(self.above, wider.above)];
    }

    /// Learns the outlier that was put by: an ordinary window followed it.
    pub(super) fn settle(&mut self) {
        let [below, above] = std::mem::take(&mut self.pending);
        let add = |now: f32, more: f32| (now + more).min(BOUNDS.1 as f32);
        (self.dispersion, self.above) = (add(self.dispersion, below), add(self.above, above));
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
        let information = 2.0 * pure / (2.0 * pure + 1.0);
        if self.scale > 0.0 {
            let scatter = pure * self.factor(pure);
            let part = information * (1.0 - pure / scatter).max(0.0) / (1.0 + 0.5 * self.excess_kurtosis(pure));
            self.lean(square / (scatter + unsure), self.ln_size(pure) * part, 0.5, LEAN);
        }
        let gain = self.gain(information, window);
        self.dispersion = blend(self.dispersion, (square - unsure) / pure, gain);
        let scale = f64::from(self.scale);
        self.scale = (if scale > 0.0 { scale + gain * (pure - scale) } else { pure }).clamp(1e-6, MOST_SCALE) as f32;
    }

    /// Learns the exponent from a standardised square and the logarithm of the size it was found at.
    fn lean(&mut self, square: f64, ln_size: f64, most: f64, gain: f64) {
        let miss = (square - 1.0).min(4.0);
        self.bend = (f64::from(self.bend) + gain * miss * ln_size).clamp(-most, 2.0 * most) as f32;
    }

    /// Learns from an amount and its residual; `unsure` is the variance of the mean itself, `standard` the square
    /// on the scale of the tail.
    pub(super) fn learn_amount(
        &mut self,
        amount: f64,
        residual: f64,
        unsure: f64,
        standard: f64,
        window: Millis,
        seen: u32,
    ) {
        let mean = amount - residual;
        let side = usize::from(residual > 0.0);
        let square = residual * residual / (self.amount_variance(mean)[side] + unsure);
        let haste = LEAN.max(1.0 / (LEAN_PRIOR + LEAN_EACH * f64::from(seen)));
        self.lean(square, self.ln_size(self.level(mean)), 1.0, haste);
        let gain = self.gain(1.0, window);
        let (kurtosis, scale) = (f64::from(self.kurtosis), f64::from(self.scale));
        self.kurtosis = (kurtosis + gain * (standard * standard - kurtosis)).clamp(1.0, 1e6) as f32;
        let dispersion = (residual * residual - unsure) / self.level(mean);
        let own = if residual > 0.0 { &mut self.above } else { &mut self.dispersion };
        *own = blend(*own, dispersion, gain);
        self.scale = (scale + gain * (fabs(amount) - scale)).max(1e-6) as f32;
    }

    /// The level is given up: what comes next may scatter differently.
    pub(super) fn reopen(&mut self, kind: Kind, amount: f64) {
        self.weight = self.weight.min(REOPENED);
        self.pending = [0.0; 2];
        self.scale = match kind {
            Kind::Amount => self.scale.max(fabs(amount) as f32),
            Kind::Count | Kind::Share => 0.0,
        };
    }
}

fn blend(now: f32, seen: f64, gain: f64) -> f32 {
    let now = f64::from(now);
    (now + gain * (seen - now)).clamp(BOUNDS.0, BOUNDS.1) as f32
}
