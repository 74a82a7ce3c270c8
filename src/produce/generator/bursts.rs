//! Now and then a burst of bad values in a random field, planned in event time.
//!
//! Beside `rhythm` in the generator. Invariant: the plan depends on seed and start alone, not on the rate nor on
//! what else is drawn.

use super::fields::{Field, Table};
use super::rng::Rng;
use outlier_core::pipeline::Millis;

/// No burst begins sooner after the last one (or after the start); milliseconds.
const QUIET: f64 = 10.0 * 60_000.0;

/// On average this much more passes until the next burst; milliseconds.
const MEAN_PAUSE: f64 = 50.0 * 60_000.0;

/// A burst lasts from the first to the sum of both; milliseconds.
const SHORTEST: f64 = 30_000.0;
const LONGER: f64 = 90_000.0;

/// The plan: the burst that is on or comes next.
#[derive(Debug)]
pub(super) struct Bursts {
    rng: Rng,
    field: Field,
    from: Millis,
    until: Millis,
    tables: [Table; Field::ALL.len()],
}

impl Bursts {
    pub fn new(rng: Rng, start: Millis) -> Self {
        let tables = Field::ALL.map(Table::bad);
        let mut bursts = Self { rng, field: Field::Action, from: start, until: start, tables };
        bursts.plan();
        bursts
    }

    fn plan(&mut self) {
        let pause = QUIET + self.rng.exponential() * MEAN_PAUSE;
        self.from = self.until.saturating_add(pause as Millis);
        let span = SHORTEST + self.rng.unit() * LONGER;
        self.until = self.from.saturating_add(span as Millis);
        self.field = self.rng.pick(&Field::ALL);
    }

    /// The field that bursts at this time and its weights. Times must not go back.
    pub fn at(&mut self, time: Millis) -> Option<(Field, &Table)> {
        while time >= self.until {
            self.plan();
        }
        (time >= self.from).then(|| (self.field, &self.tables[self.field as usize]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bursts_are_rare_short_and_on_every_field() {
        let mut bursts = Bursts::new(Rng::new(11), 0);
        let mut seconds = [0; Field::ALL.len()];
        let mut lengths = vec![0];
        for second in 0..100 * 86_400 {
            match bursts.at(second * 1000) {
                Some((field, _)) => {
                    seconds[field as usize] += 1;
                    *lengths.last_mut().unwrap() += 1;
                }
                None if lengths.last() != Some(&0) => lengths.push(0),
                None => {}
            }
        }
        lengths.pop();
        assert!((2000..2800).contains(&lengths.len()), "{}", lengths.len());
        assert!(lengths.iter().all(|seconds| (29..=121).contains(seconds)), "{lengths:?}");
        assert!(seconds.iter().all(|seconds| *seconds > 10_000), "{seconds:?}");
    }
}
