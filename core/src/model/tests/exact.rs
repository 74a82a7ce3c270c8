//! The exact chance that the next window of known traffic reaches a score, without drawing it.
//!
//! Surprise is monotone on each side of the mean, so the values that reach a score are two tails; their
//! probability under the true law is summed. Averaged over the states a model goes through, this is the expected
//! rate of false alarms with the variance of the states alone: 1e-6 is as easy to see as 1e-2.

use super::support::*;
use crate::measure::Kind;
use crate::model::baseline::Place;
use crate::model::tail::Tail;
use crate::model::{Model, Point};
use crate::pipeline::Millis;
use libm::{erfc, exp, lgamma, log, log1p};

/// The thresholds whose rates are documented.
pub(super) const THRESHOLDS: [f64; 3] = [50.0, 75.0, 90.0];

/// The tail probability that is documented for a score.
pub(super) fn documented(threshold: f64) -> f64 {
    10f64.powf(-threshold / 15.0)
}

/// The chance that this window reaches each threshold, and the least that two of its tails could have.
pub(super) fn chances(model: &Model, traffic: &Traffic, start: Millis) -> [f64; 3] {
    let mut model = model.clone();
    let place = Place::of(start, traffic.window);
    model.baseline.advance(&place, traffic.window, traffic.window);
    let n = traffic.law.records();
    let tail = model.predict(&place, n as f64).tail;
    let mean = traffic.mean_at(start);
    THRESHOLDS.map(|threshold| {
        let critical = log(documented(threshold));
        let unit = match traffic.law.kind() {
            Kind::Count => 1.0,
            Kind::Share => 1.0 / n as f64,
            Kind::Amount => tail.mean.abs() * 1e-6,
        };
        let least = if traffic.law.kind() == Kind::Amount { f64::MIN } else { 0.0 };
        let most = if traffic.law.kind() == Kind::Share { 1.0 } else { f64::MAX };
        let above = edge(&tail, critical, unit, most);
        let below = edge(&tail, critical, -unit, least);
        above.map_or(0.0, |v| traffic.law.beyond(mean, v, true))
            + below.map_or(0.0, |v| traffic.law.beyond(mean, v, false))
    })
}

/// The value nearest to the mean, in steps of `unit` (negative: downwards), that is at least this surprising.
fn edge(tail: &Tail, critical: f64, unit: f64, last: f64) -> Option<f64> {
    let middle = if unit.abs() == 1.0 || last == 1.0 || last == 0.0 {
        (tail.mean / unit.abs()).round() * unit.abs()
    } else {
        tail.mean
    };
    let at = |steps: f64| middle + steps * unit;
    let inside = |v: f64| if unit > 0.0 { v <= last + 1e-12 } else { v >= last - 1e-12 };
    let reaches = |steps: f64| !inside(at(steps)) || tail.ln_p(at(steps)) <= critical;
    assert!(tail.ln_p(at(0.0)).is_finite() && middle.is_finite(), "{middle}");
    let mut high = 1.0;
    while !reaches(high) {
        high *= 2.0;
    }
    let mut low = 0.0;
    while high - low > 1.0 {
        let half = ((low + high) / 2.0).floor();
        if reaches(half) { high = half } else { low = half }
    }
    inside(at(high)).then(|| at(high))
}

impl Law {
    /// Records of a window.
    pub(super) fn records(self) -> u64 {
        match self {
            Law::Share(n) | Law::MixedShare(n, _) => n,
            _ => 100,
        }
    }

    /// Probability of a value at or beyond this one, upwards or downwards, with this mean.
    fn beyond(self, mean: f64, value: f64, up: bool) -> f64 {
        let gauss = |z: f64| 0.5 * erfc(if up { z } else { -z } / std::f64::consts::SQRT_2);
        match self {
            Law::Poisson => negative(mean, f64::INFINITY, value, up),
            Law::Negative(size) => negative(mean, size, value, up),
            Law::Dispersed(d) => negative(mean, mean / (d - 1.0), value, up),
            Law::Share(n) => binomial(n as f64, mean, (value * n as f64).round(), up),
            Law::MixedShare(n, spread) => {
                // Trapezoids over the normal logarithm of the odds.
                let step = 0.125;
                (-64..=64)
                    .map(|i| {
                        let z = f64::from(i) * step;
                        let odds = mean / (1.0 - mean) * exp(spread.sqrt() * z);
                        let weight = step * exp(-0.5 * z * z) / std::f64::consts::TAU.sqrt();
                        weight * binomial(n as f64, odds / (1.0 + odds), (value * n as f64).round(), up)
                    })
                    .sum()
            }
            Law::Normal(sd) => gauss((value / mean - 1.0) / sd),
            Law::LogNormal(_) if value <= 0.0 => {
                if up {
                    1.0
                } else {
                    0.0
                }
            }
            Law::LogNormal(sd) => gauss(log(value / mean) / sd),
        }
    }
}

fn sum(mut pmf: f64, mut k: f64, up: bool, ratio: impl Fn(f64) -> f64) -> f64 {
    let mut sum = 0.0;
    loop {
        sum += pmf;
        let next = if up { ratio(k) } else { 1.0 / ratio(k - 1.0) };
        assert!(sum.is_finite(), "{sum} {k} {up}");
        if (!up && k == 0.0) || !next.is_finite() || pmf * next < 1e-9 * sum && next < 0.999 || pmf == 0.0 {
            return sum.min(1.0);
        }
        pmf *= next;
        k += if up { 1.0 } else { -1.0 };
    }
}

fn negative(mean: f64, size: f64, k: f64, up: bool) -> f64 {
    let k = k.max(0.0);
    if size.is_infinite() {
        return sum(exp(k * log(mean) - mean - lgamma(k + 1.0)), k, up, |k| mean / (k + 1.0));
    }
    let q = mean / (mean + size);
    let constant = lgamma(k + size) - lgamma(size) - lgamma(k + 1.0);
    sum(exp(constant + k * log(q) - size * log1p(mean / size)), k, up, |k| (k + size) * q / (k + 1.0))
}

fn binomial(n: f64, p: f64, k: f64, up: bool) -> f64 {
    let constant = lgamma(n + 1.0) - lgamma(k + 1.0) - lgamma(n - k + 1.0);
    let pmf = exp(constant + k * log(p) + (n - k) * log1p(-p));
    sum(pmf, k, up, |k| (n - k) * p / ((k + 1.0) * (1.0 - p)))
}

/// Mean chances over the last of `days` of so many series, looked at every `stride`-th window.
pub(super) fn rates(traffic: &Traffic, series: u64, days: i64, stride: i64) -> [f64; 3] {
    let (mut sums, mut n) = ([0.0; 3], 0.0);
    for seed in 0..series {
        let (mut model, mut rng) = traffic.learned(seed, DAY);
        for i in 0..(days - 1) * DAY / traffic.window {
            let start = BEGIN + DAY + i * traffic.window;
            if i % stride == seed as i64 % stride {
                let chances = chances(&model, traffic, start);
                (0..3).for_each(|t| sums[t] += chances[t]);
                n += 1.0;
            }
            let point: Point = traffic.point(&mut rng, start);
            model.observe(&point);
        }
    }
    sums.map(|s| s / n)
}
