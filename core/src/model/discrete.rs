//! Distributions of whole numbers: exact tails by summation outwards, large spreads by saddlepoint, those of bursty counts
//! and of shares that are mostly at an end by the incomplete beta function.
//!
//! Used by `tail`. Invariant: which of them is used depends on the distribution alone, never on the value,
//! so that surprise is monotone in the value; every sum has at most [`MAX_TERMS`] terms.

use super::special::{binomial_z, ln_incomplete_beta, ln_normal_tail, negative_binomial_z};
use libm::{ceil, exp, fabs, floor, lgamma, log, log1p, sqrt};

/// Up to this variance tails are summed exactly.
const EXACT_VARIANCE: f64 = 256.0;
/// Bound of a sum; what is beyond is closed by a geometric series.
const MAX_TERMS: usize = 400;
/// A negative binomial of a smaller size is mostly 0 or far from it: a saddlepoint there is wrong by any factor.
const BURSTY_SIZE: f64 = 1.0;
/// A beta-binomial with a smaller pseudo-count is mostly at that end or far from it, as well.
const JAGGED: f64 = 1.0;
/// With a larger ratio of one term to the one before, a sum of [`MAX_TERMS`] does not come to its end.
const SLOW: f64 = 0.95;
/// A tail above exp(this), 2 %, is doubled whatever the other side looks like.
const ONE_SIDED: f64 = -3.9;
/// One side of the central 99.9 % band.
const SIDE: f64 = 5e-4;
/// Natural logarithm of [`SIDE`].
const LN_SIDE: f64 = -7.600_902_459_542_082;
/// Normal quantile of [`SIDE`].
pub(super) const SIDE_Z: f64 = 3.290_526_731_491_926;
/// Below this excess of variance over the pure distribution's there is no overdispersion.
const PURE: f64 = 1e-7;
/// More trials than this with few expected are judged as a negative binomial.
const MANY_TRIALS: f64 = 1e6;

/// A (beta-)binomial or negative-binomial/Poisson distribution.
pub(super) struct Discrete {
    mean: f64,
    sd: f64,
    skew: f64,
    family: Family,
}

enum Family {
    /// Constants: `ln mean` and nothing else.
    Poisson { ln_mean: f64 },
    /// `size`, success probability `mean / (mean + size)`, its logarithm, and the constant of `ln pmf`.
    NegativeBinomial { size: f64, q: f64, ln_q: f64, constant: f64 },
    /// Trials, odds' logarithm, constant of `ln pmf`.
    Binomial { n: f64, p: f64, ln_odds: f64, constant: f64 },
    /// Trials, both pseudo-counts, constant of `ln pmf`, variance factor over the binomial's.
    BetaBinomial { n: f64, a: f64, b: f64, constant: f64, factor: f64 },
}

impl Discrete {
    /// Counts of this mean (above zero) and variance; a variance up to the mean is Poisson's.
    pub(super) fn count(mean: f64, variance: f64) -> Self {
        let excess = variance / mean - 1.0;
        if excess < PURE {
            let (sd, family) = (sqrt(mean), Family::Poisson { ln_mean: log(mean) });
            return Self { mean, sd, skew: 1.0 / sd, family };
        }
        let (size, sd) = (mean / excess, sqrt(variance));
        let q = mean / (mean + size);
        let needed = variance <= EXACT_VARIANCE || size < BURSTY_SIZE;
        let constant = if needed { -size * log1p(mean / size) - lgamma(size) } else { 0.0 };
        Self {
            mean,
            sd,
            skew: (2.0 * excess + 1.0) / sd,
            family: Family::NegativeBinomial { size, q, ln_q: log(q), constant },
        }
    }

    /// Successes of `n` trials (1 or more) of probability `p` (inside 0 to 1), with `factor` times the
    /// binomial variance.
    pub(super) fn share(n: f64, p: f64, factor: f64) -> Self {
        let pure = n * p * (1.0 - p);
        let rho = if n > 1.0 { ((factor - 1.0) / (n - 1.0)).clamp(0.0, 0.9) } else { 0.0 };
        let factor = 1.0 + rho * (n - 1.0);
        let (mean, sd) = (n * p, sqrt(pure * factor));
        let exact = sd * sd <= EXACT_VARIANCE;
        let (skew, family) = if factor - 1.0 < PURE {
            let constant = if exact { lgamma(n + 1.0) + n * log1p(-p) } else { 0.0 };
            let ln_odds = log(p) - log1p(-p);
            ((1.0 - 2.0 * p) / sd, Family::Binomial { n, p, ln_odds, constant })
        } else {
            let total = 1.0 / rho - 1.0;
            let (a, b) = (p * total, (1.0 - p) * total);
            let needed = exact || a.min(b) < JAGGED;
            let constant =
                if needed { lgamma(n + 1.0) + lgamma(total) - lgamma(a) - lgamma(b) - lgamma(n + total) } else { 0.0 };
            ((1.0 - 2.0 * p) * (2.0 * factor - 1.0) / sd, Family::BetaBinomial { n, a, b, constant, factor })
        };
        Self { mean, sd, skew, family }
    }

    /// True when the sums of `share` are exact but its terms would lose their digits.
    pub(super) fn needs_rare_form(n: f64, p: f64, factor: f64) -> bool {
        n > MANY_TRIALS && n * p * (1.0 - p) * factor <= EXACT_VARIANCE
    }

    /// Natural logarithm of the two-sided mid-p of `y`, at most 0: twice the tail on its side of the mean, or
    /// that tail alone where nothing on the other side is as surprising.
    pub(super) fn ln_p(&self, y: f64) -> f64 {
        let up = y > self.mean;
        let tail = if self.exact() {
            self.ln_pmf(y) + log(0.5 + self.beyond(y, if up { 1.0 } else { -1.0 }))
        } else if self.bursty().is_some() {
            self.ln_bursty_tail(y, up)
        } else if let Some(scatter) = self.jagged() {
            self.ln_jagged_tail(y, scatter, up)
        } else {
            let tail = ln_normal_tail(fabs(self.z(y)));
            // Of a very wide distribution, most of whose values are 0, a saddlepoint there is wrong.
            if up { tail } else { tail.max(self.ln_end(false)) }
        };
        let two_sided = tail > ONE_SIDED || tail >= self.ln_end(!up);
        (if two_sided { tail + std::f64::consts::LN_2 } else { tail }).min(0.0)
    }

    /// The size of a negative binomial that is neither summed nor fit for a saddlepoint.
    fn bursty(&self) -> Option<f64> {
        match self.family {
            Family::NegativeBinomial { size, .. } if size < BURSTY_SIZE && !self.exact() => Some(size),
            _ => None,
        }
    }

    /// Pseudo-counts of the beta distribution with the mean and variance of the share, where a beta-binomial is neither
    /// summed nor fit for a saddlepoint.
    fn jagged(&self) -> Option<(f64, f64)> {
        match self.family {
            Family::BetaBinomial { n, a, b, factor, .. } if a.min(b) < JAGGED && !self.exact() => {
                let total = n / factor - 1.0;
                Some((total * a / (a + b), total * b / (a + b)))
            }
            _ => None,
        }
    }

    /// Natural logarithm of the tail of `y` under a beta distribution of the share; of the last value, its mid-p.
    fn ln_jagged_tail(&self, y: f64, (a, b): (f64, f64), up: bool) -> f64 {
        let n = self.most();
        // Near an end the sum of terms like k^(a - 1) is what an integral of them is half an `a` further out.
        let (low, high) = (y + 0.5 * a.min(1.0), n - y + 0.5 * b.min(1.0));
        let (share, rest) = (low / (low + high), high / (low + high));
        match up {
            true if y < n => ln_incomplete_beta(rest, share, b, a),
            false if y > 0.0 => ln_incomplete_beta(share, rest, a, b),
            _ => self.ln_pmf(y) - std::f64::consts::LN_2,
        }
    }

    /// Natural logarithm of the mid-p tail of `y`, which need not be whole, under a bursty negative binomial.
    fn ln_bursty_tail(&self, y: f64, up: bool) -> f64 {
        let (half, beyond) = (self.ln_pmf(y) - std::f64::consts::LN_2, self.ln_outside(y, up));
        let (more, less) = if beyond > half { (beyond, half) } else { (half, beyond) };
        more + log1p(exp(less - more))
    }

    /// Natural logarithm of the probability beyond `y`.
    fn ln_outside(&self, y: f64, up: bool) -> f64 {
        if (up && y >= self.most()) || (!up && y <= 0.0) {
            f64::NEG_INFINITY
        } else if self.exact() {
            self.ln_pmf(y) + log(self.beyond(y, if up { 1.0 } else { -1.0 }))
        } else if let Some(size) = self.bursty() {
            let (q, rest) = (self.mean / (self.mean + size), size / (self.mean + size));
            if up { ln_incomplete_beta(q, rest, y + 1.0, size) } else { ln_incomplete_beta(rest, q, size, y) }
        } else if let Some(scatter) = self.jagged() {
            if up && y == 0.0 { log1p(-exp(self.ln_pmf(0.0))) } else { self.ln_jagged_tail(y, scatter, up) }
        } else {
            let z = self.z(y);
            ln_normal_tail(if up { z } else { -z })
        }
    }

    /// The innermost whole number beyond which there is at most [`SIDE`], to 1 % of its way from its end: by halving,
    /// where nothing faster finds it.
    fn end(&self, up: bool) -> f64 {
        let outside = |y: f64| self.ln_outside(y, up) > LN_SIDE;
        let (mut low, mut high) = (0.0, ceil(self.mean).clamp(1.0, self.most()));
        if up {
            if !outside(low) {
                return low;
            }
            while outside(high) && high < 1e15 {
                (low, high) = (high, (2.0 * high).min(self.most()));
            }
        }
        while high - low > (0.01 * high.min(self.most() - low)).max(1.0) {
            let middle = floor(0.5 * (low + high));
            if outside(middle) == up { low = middle } else { high = middle }
        }
        if up { high } else { low }
    }

    /// Natural logarithm of the mid-p tail of the last value upwards or downwards.
    fn ln_end(&self, up: bool) -> f64 {
        let smooth = !self.exact() && self.jagged().is_none();
        match (up, self.most()) {
            (true, f64::MAX) => f64::NEG_INFINITY,
            (true, most) if smooth => ln_normal_tail(fabs(self.z(most))),
            (true, most) => self.ln_pmf(most) - std::f64::consts::LN_2,
            (false, _) => match self.family {
                Family::Poisson { .. } => -self.mean - std::f64::consts::LN_2,
                Family::NegativeBinomial { size, .. } => -size * log1p(self.mean / size) - std::f64::consts::LN_2,
                _ if smooth => ln_normal_tail(fabs(self.z(0.0))),
                _ => self.ln_pmf(0.0) - std::f64::consts::LN_2,
            },
        }
    }

    /// The central 99.9 % band: the smallest and largest values that are not in a tail of 0.05 %.
    pub(super) fn band(&self) -> (f64, f64) {
        if self.bursty().is_some() || self.jagged().is_some() {
            return (self.end(false), self.end(true));
        }
        let bend = self.skew * (SIDE_Z * SIDE_Z - 1.0) / 6.0;
        let guess = |z: f64| (self.mean + self.sd * (z + bend)).clamp(0.0, self.most());
        let (low, high) = if self.exact() {
            (self.quantile(floor(guess(-SIDE_Z)), -1.0), self.quantile(ceil(guess(SIDE_Z)), 1.0))
        } else {
            let nothing_below = self.skew > 0.3 && self.ln_end(false) > LN_SIDE;
            let low = if nothing_below { Some(0.0) } else { self.solve(guess(-SIDE_Z), -SIDE_Z) };
            (low, self.solve(guess(SIDE_Z), SIDE_Z))
        };
        (low.unwrap_or_else(|| self.end(false)), high.unwrap_or_else(|| self.end(true)))
    }

    fn exact(&self) -> bool {
        let slow = matches!(self.family, Family::NegativeBinomial { size, q, .. } if size < BURSTY_SIZE && q > SLOW);
        self.sd * self.sd <= EXACT_VARIANCE && !slow
    }

    fn most(&self) -> f64 {
        match self.family {
            Family::Poisson { .. } | Family::NegativeBinomial { .. } => f64::MAX,
            Family::Binomial { n, .. } | Family::BetaBinomial { n, .. } => n,
        }
    }

    fn ln_pmf(&self, y: f64) -> f64 {
        match self.family {
            Family::Poisson { ln_mean } => y * ln_mean - self.mean - lgamma(y + 1.0),
            Family::NegativeBinomial { size, ln_q, constant, .. } => {
                constant + lgamma(y + size) - lgamma(y + 1.0) + y * ln_q
            }
            Family::Binomial { n, ln_odds, constant, .. } => {
                constant + y * ln_odds - lgamma(y + 1.0) - lgamma(n - y + 1.0)
            }
            Family::BetaBinomial { n, a, b, constant, .. } => {
                constant + lgamma(y + a) + lgamma(n - y + b) - lgamma(y + 1.0) - lgamma(n - y + 1.0)
            }
        }
    }

    /// `pmf(k + 1) / pmf(k)`.
    fn up(&self, k: f64) -> f64 {
        match self.family {
            Family::Poisson { .. } => self.mean / (k + 1.0),
            Family::NegativeBinomial { size, q, .. } => (k + size) * q / (k + 1.0),
            Family::Binomial { n, p, .. } => (n - k) * p / ((k + 1.0) * (1.0 - p)),
            Family::BetaBinomial { n, a, b, .. } => (n - k) * (k + a) / ((k + 1.0) * (n - k - 1.0 + b)),
        }
    }

    /// `pmf(k + direction) / pmf(k)`.
    fn outward(&self, k: f64, direction: f64) -> f64 {
        if direction > 0.0 { self.up(k) } else { 1.0 / self.up(k - 1.0) }
    }

    /// Probability beyond `y` in this direction (1 or -1), in units of `pmf(y)`.
    fn beyond(&self, y: f64, direction: f64) -> f64 {
        let (mut k, mut term, mut sum) = (y, 1.0, 0.0);
        let last = if direction > 0.0 { self.most() } else { 0.0 };
        for _ in 0..MAX_TERMS {
            if k == last {
                return sum;
            }
            let ratio = self.outward(k, direction);
            k += direction;
            term *= ratio;
            sum += term;
            // What is left is below a geometric series, for the ratios fall on the way out.
            if ratio < 1.0 && term < 1e-9 * sum * (1.0 - ratio) {
                return sum;
            }
        }
        let ratio = self.outward(k, direction);
        sum + term * ratio / (1.0 - ratio.min(0.999))
    }

    /// The innermost value in this direction beyond which there is at most [`SIDE`], from a guess that is not far off.
    fn quantile(&self, guess: f64, direction: f64) -> Option<f64> {
        let (mut k, mut pmf) = (guess, exp(self.ln_pmf(guess)));
        let mut outside = pmf * self.beyond(guess, direction);
        let (first, last) = if direction > 0.0 { (0.0, self.most()) } else { (self.most(), 0.0) };
        for _ in 0..MAX_TERMS {
            if outside > SIDE && k != last {
                let ratio = self.outward(k, direction);
                k += direction;
                pmf *= ratio;
                outside -= pmf;
            } else if outside + pmf <= SIDE && k != first {
                let ratio = self.outward(k, -direction);
                outside += pmf;
                k -= direction;
                pmf *= ratio;
            } else {
                return Some(k);
            }
        }
        None
    }

    /// Normal score of `y` where the spread is large; zero at about the median.
    fn z(&self, y: f64) -> f64 {
        match self.family {
            Family::Poisson { .. } => negative_binomial_z(y, self.mean, f64::INFINITY, self.sd, self.skew),
            Family::NegativeBinomial { size, .. } => negative_binomial_z(y, self.mean, size, self.sd, self.skew),
            Family::Binomial { n, p, .. } => binomial_z(y.clamp(0.25, n - 0.25), n, p),
            Family::BetaBinomial { n, a, b, factor, .. } => {
                // Between the binomial of n/factor trials and the beta that is left for a large factor,
                // whose tail is a binomial's with the parts of value and parameter exchanged.
                let (y, trials, p) = (y.clamp(0.25, n - 0.25), n / factor, a / (a + b));
                let binomial = binomial_z(y / factor, trials, p);
                let successes = (trials * p - 0.5).max(0.25);
                let failures = (trials * (1.0 - p) - 0.5).max(0.25);
                let beta = -binomial_z(successes, successes + failures, y / n);
                let beta = self.scattered(n, p, factor, y / n, beta);
                (binomial + (factor - 1.0) * beta) / factor
            }
        }
    }

    /// Normal score of a share whose probability scatters, from that under a beta. Which law it scatters by is not known:
    /// where normal log-odds have the heavier tail, the score lies half way to theirs. The half becomes nothing towards
    /// distributions that are summed exactly, and to those so wide that the two laws differ in the middle, too.
    fn scattered(&self, n: f64, p: f64, factor: f64, share: f64, beta: f64) -> f64 {
        let log_odds = |share: f64| log(share) - log1p(-share);
        let variance = factor / (n * p * (1.0 - p));
        let middle = log_odds(p) - 0.5 * variance * (1.0 - 2.0 * p);
        let normal = (log_odds(share) - middle) / sqrt(variance);
        let weight = 0.5 * (1.0 - variance).max(0.0) * (1.0 - EXACT_VARIANCE / (self.sd * self.sd)).max(0.0);
        if fabs(normal) < fabs(beta) { beta + weight * (normal - beta) } else { beta }
    }

    /// The value of a normal score, by Newton steps from a guess, where they come there.
    fn solve(&self, guess: f64, z: f64) -> Option<f64> {
        let mut y = guess;
        for _ in 0..6 {
            let miss = self.z(y) - z;
            if fabs(miss) < 0.02 {
                return Some(y);
            }
            // The local spread grows with the value.
            let sd = self.sd * sqrt((y / self.mean).clamp(0.05, 20.0));
            y = (y - miss * sd).clamp(0.0, self.most());
        }
        None
    }
}

#[cfg(test)]
mod tests;
