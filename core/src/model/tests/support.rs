//! Seeded traffic for the model's tests.

use crate::measure::Kind;
use crate::model::{Model, Point, Verdict};
use crate::pipeline::Millis;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

pub(super) const HOUR: Millis = 3_600_000;
pub(super) const DAY: Millis = 24 * HOUR;
/// 2025-06-01T00:00:00Z.
pub(super) const BEGIN: Millis = 1_748_736_000_000;

/// How a window's value is drawn from its mean.
#[derive(Debug, Clone, Copy)]
pub(super) enum Law {
    Poisson,
    /// Negative binomial of this size.
    Negative(f64),
    /// Negative binomial with this ratio of variance to mean.
    Dispersed(f64),
    /// Successes of this many records; the mean is the probability.
    Share(u64),
    /// Shares whose probability itself is drawn with this relative variance of the odds.
    MixedShare(u64, f64),
    /// Normal with this relative standard deviation.
    Normal(f64),
    /// Log-normal with this standard deviation of the logarithm.
    LogNormal(f64),
}

impl Law {
    pub(super) fn kind(self) -> Kind {
        match self {
            Law::Poisson | Law::Negative(_) | Law::Dispersed(_) => Kind::Count,
            Law::Share(_) | Law::MixedShare(..) => Kind::Share,
            Law::Normal(_) | Law::LogNormal(_) => Kind::Amount,
        }
    }
}

/// Traffic: `mean` at noon's slope, times up to the square root of `rhythm` by day and its inverse by night.
#[derive(Debug, Clone, Copy)]
pub(super) struct Traffic {
    pub(super) law: Law,
    pub(super) mean: f64,
    /// Day over night.
    pub(super) rhythm: f64,
    pub(super) window: Millis,
}

impl Traffic {
    pub(super) fn mean_at(&self, start: Millis) -> f64 {
        let phase = (start + self.window / 2).rem_euclid(DAY) as f64 / DAY as f64;
        self.mean * (0.5 * self.rhythm.ln() * (std::f64::consts::TAU * phase).sin()).exp()
    }

    pub(super) fn point(&self, rng: &mut StdRng, start: Millis) -> Point {
        let mean = self.mean_at(start);
        let (value, count) = match self.law {
            Law::Poisson => (poisson(rng, mean), 100),
            Law::Negative(size) => (negative(rng, mean, size), 100),
            Law::Dispersed(d) => (negative(rng, mean, mean / (d - 1.0)), 100),
            Law::Share(n) => (binomial(rng, n, mean) / n as f64, n),
            Law::MixedShare(n, spread) => {
                let odds = mean / (1.0 - mean) * (spread.sqrt() * normal(rng)).exp();
                (binomial(rng, n, odds / (1.0 + odds)) / n as f64, n)
            }
            Law::Normal(sd) => (mean * (1.0 + sd * normal(rng)), 100),
            Law::LogNormal(sd) => (mean * (sd * normal(rng)).exp(), 100),
        };
        point(start, self.window, value, count)
    }

    /// Runs the model over windows from `from` on and gives the verdicts.
    pub(super) fn run(&self, model: &mut Model, rng: &mut StdRng, from: Millis, span: Millis) -> Vec<Verdict> {
        (0..span / self.window).map(|i| model.observe(&self.point(rng, from + i * self.window))).collect()
    }

    /// A model after this span of the traffic, and the generator to go on with.
    pub(super) fn learned(&self, seed: u64, span: Millis) -> (Model, StdRng) {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut model = Model::new(self.law.kind());
        self.run(&mut model, &mut rng, BEGIN, span);
        (model, rng)
    }
}

pub(super) fn point(start: Millis, window: Millis, value: f64, count: u64) -> Point {
    Point { start, window, value, count, trusted: true }
}

/// Windows that score at least this.
pub(super) fn reaching(verdicts: &[Verdict], score: f64) -> usize {
    verdicts.iter().filter(|v| v.score >= score).count()
}

fn uniform(rng: &mut StdRng) -> f64 {
    rng.random::<f64>().max(1e-300)
}

fn normal(rng: &mut StdRng) -> f64 {
    (-2.0 * uniform(rng).ln()).sqrt() * (std::f64::consts::TAU * uniform(rng)).cos()
}

/// Exponential gaps while few, else a Poisson from halves: exact for every mean.
pub(super) fn poisson(rng: &mut StdRng, mean: f64) -> f64 {
    if mean > 30.0 {
        // The k-th arrival is a gamma; what is left is Poisson before it, binomial within.
        let k = (mean * 0.875).floor();
        let arrival = gamma(rng, k);
        return if arrival > mean {
            binomial(rng, (k - 1.0) as u64, mean / arrival)
        } else {
            k + poisson(rng, mean - arrival)
        };
    }
    let (mut n, mut product) = (0.0, uniform(rng));
    let limit = (-mean).exp();
    while product > limit {
        n += 1.0;
        product *= uniform(rng);
    }
    n
}

fn negative(rng: &mut StdRng, mean: f64, size: f64) -> f64 {
    let rate = gamma(rng, size) * mean / size;
    poisson(rng, rate)
}

/// Marsaglia and Tsang.
fn gamma(rng: &mut StdRng, shape: f64) -> f64 {
    if shape < 1.0 {
        return gamma(rng, shape + 1.0) * uniform(rng).powf(1.0 / shape);
    }
    let d = shape - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    loop {
        let x = normal(rng);
        let v = (1.0 + c * x).powi(3);
        if v > 0.0 && uniform(rng).ln() < 0.5 * x * x + d - d * v + d * v.ln() {
            return d * v;
        }
    }
}

/// By order statistics while many, else one by one: exact for every n.
fn binomial(rng: &mut StdRng, n: u64, p: f64) -> f64 {
    if n > 50 {
        let i = n / 2 + 1;
        let (a, b) = (gamma(rng, i as f64), gamma(rng, (n - i + 1) as f64));
        let median = a / (a + b);
        return if median <= p {
            i as f64 + binomial(rng, n - i, ((p - median) / (1.0 - median)).clamp(0.0, 1.0))
        } else {
            binomial(rng, i - 1, (p / median).min(1.0))
        };
    }
    (0..n).filter(|_| rng.random::<f64>() < p).count() as f64
}
