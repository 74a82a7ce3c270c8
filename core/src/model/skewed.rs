//! The tail of an amount: Student's t on the scale of a shifted log-normal, bent by how skewed the values are.
//!
//! Used by `tail`. `h` is the standard deviation of the logarithm that makes the mean square above the mean and
//! the one below differ as they do; 0 is symmetric, below 0 the long tail is the lower one. On the short side the
//! less surprising of this and the plain distance counts, for where a log-normal ends is not known.
//!
//! Invariant: the score is finite and never falls with the value.

use super::special::{ln_normal_tail, student_t, student_z};
use libm::{exp, fabs, log, log1p, sqrt};

/// Bound of `h`: the mean square above is then sixty times the one below.
const MOST: f64 = 1.5;
/// Below this, `h` is zero.
const LEAST: f64 = 0.01;
/// Bound of a normal score.
const FURTHEST: f64 = 40.0;

/// The distribution of a distance from the mean.
pub(super) struct Skewed {
    /// Skewness, 0 or more; the distances are mirrored when the long tail is the lower one.
    h: f64,
    mirrored: bool,
    /// Scale on the short side, and of the logarithm.
    short: f64,
    scale: f64,
    /// Scale on the long side where `h` is 0.
    long: f64,
    freedom: f64,
}

impl Skewed {
    /// Of a mean square below and above the mean, and degrees of freedom above 2.
    pub(super) fn new(variance: [f64; 2], freedom: f64) -> Self {
        let log_ratio = log(variance[1] / variance[0]);
        // Numerically: the ratio's logarithm is h (2.394 + 0.155 h²), and the root of the mean square on the
        // short side exp(h (0.6 h - 0.597)), to 1 %.
        let guess = (fabs(log_ratio) / 2.394).min(MOST);
        let h = (fabs(log_ratio) / (2.394 + 0.155 * guess * guess)).min(MOST);
        let mirrored = log_ratio < 0.0;
        let [below, above] = variance.map(|v| sqrt(v * (freedom - 2.0) / freedom));
        let (short, long) = if mirrored { (above, below) } else { (below, above) };
        let h = if h < LEAST { 0.0 } else { h };
        Self { h, mirrored, short, scale: short / exp(h * (0.6 * h - 0.597)), long, freedom }
    }

    /// Score on the scale of Student's t.
    pub(super) fn t(&self, distance: f64) -> f64 {
        let h = self.h;
        let d = if self.mirrored { -distance } else { distance };
        let plain = d / if d > 0.0 { self.long } else { self.short };
        let t = if h == 0.0 {
            plain
        } else {
            let bent = exp(0.5 * h * h) + h * d / self.scale;
            let bent = if bent > 0.0 { log(bent) / h } else { f64::NEG_INFINITY };
            if d > 0.0 { bent } else { bent.max(plain) }
        };
        if self.mirrored { -t } else { t }
    }

    /// Normal score.
    pub(super) fn z(&self, distance: f64) -> f64 {
        student_z(self.t(distance), self.freedom).clamp(-FURTHEST, FURTHEST)
    }

    /// Natural logarithm of the probability of a value at least as surprising as one with this normal score (0 or more), on
    /// either side. On the short side that is less than on the long one, by what the plain distance takes from it.
    pub(super) fn ln_beyond(&self, z: f64) -> f64 {
        let long = ln_normal_tail(z);
        if self.h == 0.0 {
            return (long + std::f64::consts::LN_2).min(0.0);
        }
        let t = student_t(z, self.freedom);
        let bent = exp(0.5 * self.h * self.h) - self.h * t * self.short / self.scale;
        let short = if bent > 0.0 {
            ln_normal_tail(student_z((-log(bent) / self.h).max(t), self.freedom))
        } else {
            f64::NEG_INFINITY
        };
        (long + log1p(exp(short - long))).min(0.0)
    }

    /// Distances of a normal score (above zero) below and above the mean, both 0 or more.
    pub(super) fn band(&self, z: f64) -> (f64, f64) {
        let (h, t) = (self.h, student_t(z, self.freedom));
        let (short, long) = if h == 0.0 {
            (self.short * t, self.long * t)
        } else {
            let middle = exp(0.5 * h * h);
            let bent = |t: f64| (exp(h * t) - middle) / h * self.scale;
            ((-bent(-t)).max(self.short * t), bent(t).max(0.0))
        };
        if self.mirrored { (long, short) } else { (short, long) }
    }

    /// The square of a distance as it would be with a variance of 1 and no skewness.
    pub(super) fn standard_square(&self, distance: f64) -> f64 {
        let t = self.t(distance);
        (t * t * (self.freedom - 2.0) / self.freedom).min(1e6)
    }
}
