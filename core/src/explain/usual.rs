//! `Usual`: the usual share of each value of one field in one series, and when each was seen last.
//!
//! Up to [`NAMED`] values of the largest weight are kept with their text and their noise, and more by mark and weight
//! alone, as many as the lesson says; the weight of all others is one number, `rest`. `learn` fills it.
//!
//! Invariant: the marks (first half of the hash) are unique; values between them and `rest` hold all that was learned.

use crate::pipeline::Millis;
use crate::sketch::{MAX_TEXT, mark_of};
use std::collections::BTreeMap;

/// Values that are kept with their text: those of the largest weight.
pub(super) const NAMED: usize = 64;
/// The most that are kept besides for any purpose.
pub(super) const MOST_TAIL: usize = 1 << 16;
/// What a value takes at most: its mark, when it was seen, its weight.
const ENTRY: usize = 5 + 8 + 4;

/// What is usual for the values of one field in one series.
#[derive(Debug, Clone, PartialEq)]
pub struct Usual {
    /// Windows learned, of which old ones count less.
    pub(super) windows: f32,
    /// Start of the newest window learned; epoch milliseconds.
    pub(super) newest: Millis,
    /// Records whose values are not kept, of which old ones count less.
    pub(super) rest: f32,
    /// Different values in a window, usually, that are not kept.
    pub(super) rest_values: f32,
    /// When a value may have been seen last that is not kept; `Millis::MIN` for never.
    pub(super) forgotten: Millis,
    pub(super) entries: BTreeMap<u32, Entry>,
}

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    /// Records, of which old ones count less.
    pub weight: f32,
    /// Start of the newest window that had it.
    pub seen: Millis,
    /// The text of a value of large weight.
    pub name: Option<Name>,
}

/// What is known more of a value of large weight.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Name {
    pub text: Box<str>,
    /// How much more the share scatters than chance alone lets it: the mean of the squared standard score, 1 or more
    /// for a value that comes in bursts.
    pub noise: f32,
}

impl Default for Usual {
    fn default() -> Self {
        Self {
            windows: 0.0,
            newest: Millis::MIN,
            rest: 0.0,
            rest_values: 0.0,
            forgotten: Millis::MIN,
            entries: BTreeMap::new(),
        }
    }
}

impl Usual {
    /// Values that are kept besides those of the largest weight to explain an anomaly: those seen last.
    pub const BESIDES: usize = 256;
    /// The most bytes with those.
    pub const MOST_BYTES: usize = Self::bytes(Self::BESIDES);

    /// The most bytes with so many values besides those of the largest weight.
    pub const fn bytes(besides: usize) -> usize {
        Self::encoded(NAMED + besides)
    }

    const fn encoded(values: usize) -> usize {
        let named = if values < NAMED { values } else { NAMED };
        64 + values * ENTRY + named * (MAX_TEXT + 6)
    }

    /// Bytes that it is encoded to, about.
    pub(crate) fn size(&self) -> usize {
        Self::encoded(self.entries.len())
    }

    /// The usual share (0 to 1) of a value: how rare it is. For one that is not kept, what it can be at most on
    /// average; above zero for every value once anything was learned, 1 before.
    pub fn rarity(&self, value: &str) -> f64 {
        self.share(mark_of(value))
    }

    /// The value was certainly not seen in the `age_out` milliseconds of event time before `at`. Where a field has more
    /// values than are remembered this is never certain, and nothing is new.
    pub fn is_new(&self, value: &str, at: Millis, age_out: Millis) -> bool {
        let seen = self.entries.get(&mark_of(value)).map_or(Millis::MIN, |entry| entry.seen);
        is_before(seen.max(self.forgotten), at, age_out)
    }

    /// A value that was seen in the `age_out` milliseconds before `at` may not be remembered, so none is new but those
    /// that are known to be older.
    pub fn forgets(&self, at: Millis, age_out: Millis) -> bool {
        !is_before(self.forgotten, at, age_out)
    }

    /// Windows learned, of which old ones count less.
    pub fn windows(&self) -> f64 {
        f64::from(self.windows)
    }

    /// Records learned, of which old ones count less.
    pub fn records(&self) -> f64 {
        self.entries.values().fold(f64::from(self.rest), |sum, entry| sum + f64::from(entry.weight))
    }

    pub(super) fn share(&self, mark: u32) -> f64 {
        self.share_of(mark, self.records())
    }

    /// [`Usual::share`] when `records` are known already.
    pub(super) fn share_of(&self, mark: u32, records: f64) -> f64 {
        let weight = match self.entries.get(&mark) {
            Some(entry) => f64::from(entry.weight),
            None => self.rest_weight(),
        };
        // Half a record for what was never seen (Krichevsky and Trofimov).
        (weight.max(0.5) / records.max(0.5)).min(1.0)
    }

    /// Weight, about, of a value that is not kept.
    pub(super) fn rest_weight(&self) -> f64 {
        f64::from(self.rest) / f64::from(self.rest_values).max(1.0)
    }

    /// Different values that a reason is chosen from.
    pub(super) fn candidates(&self) -> f64 {
        self.entries.len() as f64 + f64::from(self.rest_values)
    }
}

/// Never, or longer than `age_out` before `at`.
fn is_before(seen: Millis, at: Millis, age_out: Millis) -> bool {
    seen < at.saturating_sub(age_out) || seen == Millis::MIN
}

#[cfg(test)]
mod tests {
    use super::super::{DecodeError, Lesson};
    use super::*;
    use crate::sketch::Values;
    use proptest::prelude::*;

    const HOUR: Millis = 3_600_000;
    const DAY: Millis = 24 * HOUR;

    fn values(limit: usize, weights: &[(&str, u64)]) -> Values {
        let mut values = Values::new(limit);
        weights.iter().for_each(|(value, weight)| values.add(value, *weight));
        values
    }

    fn lesson(start: Millis) -> Lesson {
        Lesson { start, window: 60_000, anomalous: false, age_out: DAY, besides: Usual::BESIDES }
    }

    fn bytes(usual: &Usual) -> Vec<u8> {
        let mut bytes = Vec::new();
        usual.encode(&mut bytes);
        bytes
    }

    #[test]
    fn shares_are_learned_and_values_age_out() {
        let mut usual = Usual::default();
        assert_eq!((usual.rarity("GET"), usual.is_new("GET", 0, DAY)), (1.0, true));
        for window in 0..10 {
            usual.learn(&values(1_000, &[("GET", 90), ("POST", 10)]), &lesson(window * 60_000));
        }
        assert!((usual.rarity("GET") - 0.9).abs() < 1e-6);
        assert!(usual.rarity("PUT") < 0.001);
        usual.learn(&values(1_000, &[("GET", 100)]), &lesson(20 * HOUR));
        for (value, at, age_out, new) in [
            ("GET", 20 * HOUR, DAY, false),
            ("POST", 20 * HOUR, DAY, false),
            ("POST", 20 * HOUR, HOUR, true),
            ("PUT", 20 * HOUR, DAY, true),
        ] {
            assert_eq!(usual.is_new(value, at, age_out), new, "{value} {age_out}");
        }
        usual.learn(&values(1_000, &[("GET", 100)]), &lesson(30 * HOUR));
        assert!(usual.is_new("POST", 30 * HOUR, DAY) && usual.entries.len() == 1);
    }

    #[test]
    fn an_anomalous_window_teaches_little() {
        let mut usual = Usual::default();
        (0..50).for_each(|window| usual.learn(&values(1_000, &[("a", 50), ("b", 50)]), &lesson(window * 60_000)));
        let attack = values(1_000, &[("a", 50), ("b", 1_000_000)]);
        usual.learn(&attack, &Lesson { anomalous: true, ..lesson(50 * 60_000) });
        assert!((usual.rarity("b") - 0.5).abs() < 0.01, "{}", usual.rarity("b"));
    }

    #[test]
    fn a_change_of_the_mix_is_learned() {
        let mut usual = Usual::default();
        for window in 0..2_000 {
            let value = if window < 500 { "old" } else { "new" };
            usual.learn(&values(1_000, &[(value, 100)]), &lesson(window * 3_600_000 / 4));
        }
        assert!(usual.rarity("new") > 0.99, "{}", usual.rarity("new"));
    }

    #[test]
    fn a_million_values_stay_bounded() {
        let mut usual = Usual::default();
        for window in 0..5u32 {
            let mut now = Values::new(1_000);
            (0..200_000).for_each(|n| now.add(&format!("v{}", window * 200_000 + n), 1));
            now.add("heavy", 100_000);
            usual.learn(&now, &lesson(Millis::from(window) * 60_000));
        }
        assert!(usual.entries.len() <= NAMED + Usual::BESIDES);
        assert!(bytes(&usual).len() < 5_000, "{}", bytes(&usual).len());
        assert!((usual.records() - 1_500_000.0).abs() < 5_000.0, "{}", usual.records());
        assert!(!usual.is_new("never seen", 300_000, DAY));
        assert!(usual.rarity("never seen") < 1e-4);
    }

    proptest! {
        #[test]
        fn a_restart_changes_nothing_and_order_within_a_window_neither(
            windows in prop::collection::vec((
                prop::collection::vec((0u16..700, 1u64..50), 0..200), any::<bool>(), 1i64..4_000_000), 1..9),
            limit in prop_oneof![Just(40usize), Just(1_000)],
        ) {
            let (mut through, mut restarted) = (Usual::default(), Usual::default());
            let mut start = 0;
            for (adds, anomalous, step) in windows {
                start += step;
                let lesson = Lesson { anomalous, ..lesson(start) };
                let (mut now, mut merged) = (Values::new(limit), Values::new(limit));
                adds.iter().for_each(|(value, weight)| now.add(&value.to_string(), *weight));
                for part in adds.chunks(7).rev() {
                    let mut values = Values::new(limit);
                    part.iter().rev().for_each(|(value, weight)| values.add(&value.to_string(), *weight));
                    values.merge(&merged);
                    merged = values;
                }
                through.learn(&now, &lesson);
                restarted = Usual::decode(&bytes(&restarted)).unwrap();
                restarted.learn(&merged, &lesson);
                prop_assert_eq!(bytes(&through), bytes(&restarted));
                prop_assert_eq!(&through, &restarted);
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            let _ = Usual::decode(&bytes);
            if let Some(version) = bytes.first_mut() {
                *version = 1;
            }
            let _ = Usual::decode(&bytes);
        }
    }

    #[test]
    fn damage_is_refused() {
        let mut usual = Usual::default();
        usual.learn(&values(1_000, &[("a", 50), ("b", 50), ("c", 1)]), &lesson(60_000));
        let whole = bytes(&usual);
        for at in 0..whole.len() {
            assert_eq!(Usual::decode(&whole[..at]), Err(DecodeError::Damaged));
            for change in [1, 0x40, 0x80, 0xff] {
                let mut damaged = whole.clone();
                damaged[at] ^= change;
                if let Ok(mut read) = Usual::decode(&damaged) {
                    read.learn(&values(1_000, &[("a", 5)]), &lesson(120_000));
                }
            }
        }
        assert_eq!(Usual::decode(&[9]), Err(DecodeError::Version(9)));
    }
}
