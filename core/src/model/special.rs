//! Special functions of the tails: logarithms of normal tails and saddlepoint signed roots.
//!
//! Used by `tail`, on the path from a closed window to its score. Everything is closed form or a bounded loop, takes its
//! transcendental functions from `libm`, and is finite for every finite input in its documented range.
//!
//! Sources: Barndorff-Nielsen's r* (Biometrika 73, 1986); Loader's deviance (2000); Wallace's normal
//! approximation of Student's t (Ann. Math. Stat. 30, 1959); the continued fraction of the incomplete beta function
//! (DLMF 8.17.22) by Lentz's method.

use libm::{erfc, exp, fabs, lgamma, log, log1p, sqrt};

/// Bound of a continued fraction; it needs some tens of terms.
const MAX_FRACTIONS: u32 = 1_000;

/// Natural logarithm of the normal tail `P(Z > z)`.
pub(super) fn ln_normal_tail(z: f64) -> f64 {
    if z < 25.0 {
        log(0.5 * erfc(z * std::f64::consts::FRAC_1_SQRT_2))
    } else {
        -0.5 * z * z - log(z) - 0.918_938_533_204_672_7
    }
}

/// `x ln(x/m) + m - x` without cancellation near `x = m`; both above zero.
fn deviance(x: f64, m: f64) -> f64 {
    let d = x - m;
    if fabs(d) >= 0.1 * (x + m) {
        return x * log(x / m) - d;
    }
    let v = d / (x + m);
    let (mut sum, mut term) = (d * v, 2.0 * x * v);
    for j in 1..12 {
        term *= v * v;
        sum += term / f64::from(2 * j + 1);
    }
    sum
}

/// r* from the signed root `w` and the Wald root `u`; `x` is the standardised distance from the mean and
/// `skew` the skewness, whose sixth is the limit of the correction at the mean.
fn r_star(x: f64, half_deviance: f64, u: f64, skew: f64) -> f64 {
    if fabs(x) < 0.01 {
        return x - skew * (x * x - 1.0) / 6.0;
    }
    let w = sqrt(2.0 * half_deviance.max(1e-300)) * if x < 0.0 { -1.0 } else { 1.0 };
    let ratio = u / w;
    if ratio.is_finite() && ratio > 0.0 { w + log(ratio) / w } else { w }
}

/// Normal score of `y` under a negative binomial of this mean and size (infinite: Poisson); the tail
/// beyond it is close to the mid-p. Meant for standard deviations above about ten.
pub(super) fn negative_binomial_z(y: f64, mean: f64, size: f64, sd: f64, skew: f64) -> f64 {
    let y = y.max(0.25);
    let x = (y - mean) / sd;
    let (dev, slope, var) = if size.is_finite() {
        (
            deviance(y, mean) - deviance(y + size, mean + size),
            log1p(size * (y - mean) / (mean * (y + size))),
            y * (1.0 + y / size),
        )
    } else {
        (deviance(y, mean), log1p((y - mean) / mean), y)
    };
    r_star(x, dev, slope * sqrt(var), skew)
}

/// Normal score of `y` successes of `n` trials of probability `p`; none of the three need be whole.
pub(super) fn binomial_z(y: f64, n: f64, p: f64) -> f64 {
    let q = 1.0 - p;
    let sd = sqrt(n * p * q);
    let share = y / n;
    let dev = deviance(y, n * p) + deviance(n - y, n * q);
    let slope = log1p((share - p) / (p * (1.0 - share)));
    r_star((y - n * p) / sd, dev, slope * sqrt(y * (1.0 - share)), (q - p) / sd)
}

/// Natural logarithm of the regularised incomplete beta function of `x` inside 0 to 1; `rest` is `1 - x`, which may be too
/// small to be seen in it. `a` and `b` above zero.
pub(super) fn ln_incomplete_beta(x: f64, rest: f64, a: f64, b: f64) -> f64 {
    if x > (a + 1.0) / (a + b + 2.0) {
        // Where the fraction converges slowly, the complement's does not.
        return log1p(-exp(ln_incomplete_beta(rest, x, b, a)).min(1.0));
    }
    let ln = |x: f64, rest: f64| if x > 0.5 { log1p(-rest) } else { log(x) };
    let front = a * ln(x, rest) + b * ln(rest, x) + lgamma(a + b) - lgamma(a + 1.0) - lgamma(b);
    let (mut c, mut d) = (1.0, 1.0 / (1.0 - (a + b) * x / (a + 1.0)));
    let mut fraction = d;
    for m in (1..MAX_FRACTIONS).map(f64::from) {
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let mut step = 1.0;
        for term in [even, odd] {
            (c, d) = (1.0 + term / c, 1.0 / (1.0 + term * d));
            step = c * d;
            fraction *= step;
        }
        if fabs(step - 1.0) < 1e-12 {
            break;
        }
    }
    front + log(fraction)
}

/// Normal score of Student's t with `nu` degrees of freedom.
pub(super) fn student_z(t: f64, nu: f64) -> f64 {
    let z = wallace(nu) * sqrt(nu * log1p(t * t / nu));
    if t < 0.0 { -z } else { z }
}

/// The t value of a normal score: inverse of [`student_z`].
pub(super) fn student_t(z: f64, nu: f64) -> f64 {
    let root = z / wallace(nu);
    sqrt(nu * (exp(root * root / nu) - 1.0))
}

fn wallace(nu: f64) -> f64 {
    (8.0 * nu + 1.0) / (8.0 * nu + 3.0)
}
