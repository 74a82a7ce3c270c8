//! When records come: a Poisson process whose rate follows the time of day.
//!
//! First step of the generator. Invariant: event times never go back, and their spacing depends on nothing but
//! seed, start, rate and rhythm.

use super::rng::Rng;
use outlier_core::pipeline::Millis;
use std::f64::consts::TAU;

const DAY_MS: f64 = 86_400_000.0;

/// When the daily curve is lowest; milliseconds after midnight UTC.
const LOWEST_AT: f64 = 4.0 * 3_600_000.0;

/// How far the daily curve goes from its mean, up and down.
const SWING: f64 = 0.6;

/// How the rate changes with the time of day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Rhythm {
    /// From 0.4 of the mean rate at 04:00 UTC to 1.6 of it at 16:00 UTC
    #[default]
    Daily,
    /// The same rate all day
    Flat,
}

impl Rhythm {
    /// The factor by which the rate at this time differs from the mean; over a day they average 1.
    pub fn factor(self, at_ms: f64) -> f64 {
        match self {
            Self::Flat => 1.0,
            Self::Daily => 1.0 - SWING * libm::cos((at_ms - LOWEST_AT) / DAY_MS * TAU),
        }
    }
}

/// The times at which records come.
#[derive(Debug)]
pub(super) struct Arrivals {
    rng: Rng,
    rhythm: Rhythm,
    /// Mean time between records; milliseconds.
    mean_gap: f64,
    start: Millis,
    /// Of `start` in its day; milliseconds.
    time_of_day: f64,
    /// The next record's time after `start`; milliseconds, with a fraction so that high rates are met too.
    next: f64,
}

impl Arrivals {
    pub fn new(rng: Rng, start: Millis, rate: f64, rhythm: Rhythm) -> Self {
        let time_of_day = start.rem_euclid(DAY_MS as Millis) as f64;
        let mut arrivals = Self { rng, rhythm, mean_gap: 1000.0 / rate, start, time_of_day, next: 0.0 };
        arrivals.advance();
        arrivals
    }

    /// When the next record comes.
    pub fn next_at(&self) -> Millis {
        self.start.saturating_add(self.next as Millis)
    }

    /// Takes the next record's time.
    pub fn take(&mut self) -> Millis {
        let at = self.next_at();
        self.advance();
        at
    }

    /// The factor changes so slowly that it can be taken as constant between two records.
    fn advance(&mut self) {
        let factor = self.rhythm.factor(self.time_of_day + self.next);
        self.next += self.rng.exponential() * self.mean_gap / factor;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIDNIGHT: Millis = 1_795_392_000_000;

    #[test]
    fn the_daily_curve() {
        for (hour, expected) in [(4.0, 0.4), (10.0, 1.0), (16.0, 1.6), (22.0, 1.0), (28.0, 0.4)] {
            let got = Rhythm::Daily.factor(MIDNIGHT as f64 + hour * 3_600_000.0);
            assert!((got - expected).abs() < 1e-6, "{hour} h: {got}");
            assert_eq!(Rhythm::Flat.factor(hour), 1.0);
        }
    }

    /// Records of each hour of two days are as many as the curve's integral says, within five standard deviations.
    #[test]
    fn arrivals_follow_the_curve() {
        for rhythm in [Rhythm::Flat, Rhythm::Daily] {
            let mut arrivals = Arrivals::new(Rng::new(3), MIDNIGHT, 2.0, rhythm);
            let mut hours = [0u32; 48];
            let mut last = MIDNIGHT;
            while let Some(hour) = hours.get_mut(((arrivals.next_at() - MIDNIGHT) / 3_600_000) as usize) {
                *hour += 1;
                let at = arrivals.take();
                assert!(at >= last);
                last = at;
            }
            for (hour, got) in hours.into_iter().enumerate() {
                let minutes = (0..60).map(|minute| (hour * 60 + minute) as f64 * 60_000.0 + 30_000.0);
                let expected: f64 = minutes.map(|at| 120.0 * rhythm.factor(at)).sum();
                let off = (f64::from(got) - expected).abs();
                assert!(off < 5.0 * expected.sqrt(), "{rhythm:?} hour {hour}: {got}, not {expected}");
            }
        }
    }

    #[test]
    fn high_rates_are_met() {
        let mut arrivals = Arrivals::new(Rng::new(1), MIDNIGHT, 1e6, Rhythm::Flat);
        let last = (0..1_000_000).map(|_| arrivals.take()).last().unwrap();
        assert!((last - MIDNIGHT - 1000).abs() < 10, "{last}");
    }
}
