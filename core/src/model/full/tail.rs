//! How rare a component's value is: an adaptive threshold over which the logarithm is exponential.
//!
//! Third step of a point, once for each component. Peaks over a threshold that holds 2 % of the values;
//! the rarity is `-log10` of the tail probability, 0 below the threshold. Invariants: a rarity lies between
//! 0 and [`MOST`]; one value moves the tail by at most five times its scale.

use super::cell::Cell;
use libm::{exp, log, log10, sqrt};

/// Values that the first tail is fitted to.
pub(super) const WARM: usize = 100;
/// Share of the values above the threshold.
const ABOVE: f64 = 0.02;
/// Gain that halves in 3,000 points: 1 - 2^(-1/3000).
const SLOW: f64 = 2.310_223_430_713_637_6e-4;
/// Offset of the logarithm, of the mean value.
pub(super) const OFFSET: f64 = 0.05;
/// The largest rarity.
const MOST: f64 = 15.0;
/// Rarity of the first change of a component that never changed.
const FIRST: f64 = 3.0;

/// The upper tail of one component.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tail<C> {
    /// While not started: the values so far and their sum.
    pub(super) buffer: Vec<C>,
    pub(super) sum: f64,
    pub(super) fit: Option<Fit>,
}

/// A fitted tail.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Fit {
    /// Offset of the logarithm.
    pub(super) offset: f64,
    /// Threshold, of the logarithm.
    pub(super) threshold: f64,
    /// Mean excess.
    pub(super) scale: f64,
    /// Step of the threshold.
    pub(super) step: f64,
    /// Share above the threshold.
    pub(super) rate: f64,
}

impl<C: Cell> Tail<C> {
    pub(super) fn new() -> Tail<C> {
        Tail { buffer: Vec::new(), sum: 0.0, fit: None }
    }

    /// Rarity of the value of point `i`; then learns it.
    pub(super) fn observe(&mut self, value: f64, i: f64) -> f64 {
        match &mut self.fit {
            Some(fit) => fit.observe(value, i),
            None => self.gather(value, i),
        }
    }

    fn gather(&mut self, value: f64, i: f64) -> f64 {
        let first = value > 0.0 && self.sum == 0.0 && i > WARM as f64;
        self.buffer.push(C::of(value));
        self.sum += value;
        if self.buffer.len() >= WARM {
            if self.sum > 0.0 {
                self.fit = Some(Fit::new(&self.buffer, self.sum / WARM as f64));
            }
            // Gives the memory back.
            self.buffer = Vec::new();
            self.sum = 0.0;
        }
        if first { FIRST } else { 0.0 }
    }
}

impl Fit {
    fn new<C: Cell>(values: &[C], mean: f64) -> Fit {
        let offset = OFFSET * mean;
        let mut logs: Vec<f64> = values.iter().map(|value| log(value.get() + offset)).collect();
        logs.sort_by(f64::total_cmp);
        let n = logs.len() as f64;
        let place = (1.0 - ABOVE) * (n - 1.0);
        let below = place as usize;
        let above = (below + 1).min(logs.len() - 1);
        // Written so that between equal values it is not below them, not even by a rounding: they must not count as over.
        let part = place - below as f64;
        let threshold = logs[below] * (1.0 - part) + logs[above] * part;
        let over: Vec<f64> = logs.iter().filter(|&&l| l > threshold).map(|l| l - threshold).collect();
        let middle = logs.iter().sum::<f64>() / n;
        let variance = logs.iter().map(|l| (l - middle) * (l - middle)).sum::<f64>() / n;
        Fit {
            offset,
            threshold,
            scale: (over.iter().sum::<f64>() + 0.3) / (over.len() as f64 + 1.0),
            step: sqrt(variance) + 0.01,
            rate: ABOVE,
        }
    }

    fn observe(&mut self, value: f64, i: f64) -> f64 {
        let l = log(value + self.offset);
        let above = l > self.threshold;
        let rarity = match above {
            true => (-log10(self.rate) + (l - self.threshold) / self.scale * std::f64::consts::LOG10_E).min(MOST),
            false => 0.0,
        };
        let gain = SLOW.max(1.0 / (i + 1.0));
        let hit = f64::from(u8::from(above));
        self.threshold += 8.0 * gain * self.step * (hit - ABOVE);
        self.rate = (0.2 * ABOVE).max(self.rate + gain * (hit - self.rate));
        if above {
            let excess = (l - self.threshold).clamp(0.0, 5.0 * self.scale);
            let gain = (SLOW / ABOVE * 0.5).max(1.0 / (i * ABOVE + 10.0));
            self.scale = (self.scale + gain * (excess - self.scale)).max(0.02);
        }
        self.offset += 0.001_f64.max(1.0 / (i + 1.0)) * (OFFSET * value - self.offset);
        rarity
    }

    /// The value that is exceeded with this probability, at most the threshold's share.
    pub(super) fn quantile(&self, p: f64) -> f64 {
        let l = self.threshold + self.scale * log(self.rate / p).max(0.0);
        (exp(l.min(80.0)) - self.offset).max(0.0)
    }
}
