//! `Quantiles`: a DDSketch, quantiles of any finite numbers within 1 % of their value.
//!
//! Source: Masson, Rim, Lee, "DDSketch: a fast and fully-mergeable quantile sketch with relative-error guarantees",
//! VLDB 2019. Magnitude `x` falls into bucket `ceil(ln x / ln γ)`, γ = 1.01 / 0.99; each sign has its own buckets.
//!
//! Invariant: a side keeps the [`BUCKETS`] buckets up to its largest one; smaller magnitudes count in the lowest of
//! them. As that largest one only grows, where a number ends up does not depend on the order.

use crate::window::varint::{Damaged, Reader, put_signed, put_unsigned};
use std::collections::BTreeMap;

/// Buckets a sign: the largest magnitude kept apart is 6·10¹⁷ times the smallest.
const BUCKETS: i32 = 2_048;
/// ln γ.
const LN_GAMMA: f64 = 0.020_000_666_706_669_524;
/// ln 0.99: from a bucket's upper end to the value that is within 1 % of all in it.
const LN_CENTRE: f64 = -0.010_050_335_853_501_442;
/// No finite number has a bucket beyond it.
const REACH: i32 = 40_000;

/// A sketch of numbers that answers quantiles within 1 % of their value.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Quantiles {
    negative: Side,
    zeros: u64,
    positive: Side,
}

/// The buckets of one sign that hold anything, with the numbers in each; never zero.
#[derive(Debug, Clone, Default, PartialEq)]
struct Side(BTreeMap<i32, u64>);

impl Quantiles {
    /// The most bytes that it is encoded to, up to 2³⁵ numbers a bucket.
    pub const MOST_BYTES: usize = 2 * BUCKETS as usize * 6 + 32;

    /// Adds a number; false, and nothing added, when it is not finite. Subnormal numbers count as zero.
    pub fn add(&mut self, value: f64) -> bool {
        if !value.is_finite() {
            return false;
        }
        let magnitude = value.abs();
        if magnitude < f64::MIN_POSITIVE {
            self.zeros = self.zeros.saturating_add(1);
            return true;
        }
        let bucket = libm::ceil(libm::log(magnitude) / LN_GAMMA) as i32;
        let side = if value < 0.0 { &mut self.negative } else { &mut self.positive };
        side.add(bucket, 1);
        true
    }

    /// Adds all that `other` holds.
    pub fn merge(&mut self, other: &Self) {
        self.zeros = self.zeros.saturating_add(other.zeros);
        for (side, other) in [(&mut self.negative, &other.negative), (&mut self.positive, &other.positive)] {
            // From the largest, so that a bucket is folded at most once.
            other.0.iter().rev().for_each(|(bucket, count)| side.add(*bucket, *count));
        }
    }

    /// Numbers added.
    pub fn count(&self) -> u64 {
        self.negative.count().saturating_add(self.zeros).saturating_add(self.positive.count())
    }

    /// The number below which the share `q` (0 to 1) of all lies, within 1 %; `None` when there is none.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let count = self.count();
        let last = count.checked_sub(1)?;
        let rank = ((q.clamp(0.0, 1.0) * last as f64) as u64).min(last);
        let value = |bucket: &i32| libm::exp(f64::from(*bucket) * LN_GAMMA + LN_CENTRE).min(f64::MAX);
        let negative = self.negative.0.iter().rev().map(|(bucket, count)| (-value(bucket), *count));
        let positive = self.positive.0.iter().map(|(bucket, count)| (value(bucket), *count));
        let mut below = 0u64;
        let mut all = negative.chain([(0.0, self.zeros)]).chain(positive);
        all.find_map(|(value, count)| {
            below = below.saturating_add(count);
            (below > rank).then_some(value)
        })
    }

    /// Bytes that it is encoded to, about.
    pub(crate) fn size(&self) -> usize {
        3 * (self.negative.0.len() + self.positive.0.len())
    }

    /// Appends the canonical bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_unsigned(out, self.zeros.into());
        for side in [&self.negative, &self.positive] {
            put_unsigned(out, side.0.len() as u128);
            let mut before = 0;
            for (bucket, count) in &side.0 {
                put_signed(out, i128::from(bucket - before));
                put_unsigned(out, u128::from(*count));
                before = *bucket;
            }
        }
    }

    pub(crate) fn decode(from: &mut Reader) -> Result<Self, Damaged> {
        let zeros = from.number()?;
        let negative = Side::decode(from)?;
        let positive = Side::decode(from)?;
        Ok(Self { negative, zeros, positive })
    }
}

impl Side {
    fn add(&mut self, bucket: i32, count: u64) {
        let Some((&largest, _)) = self.0.last_key_value() else {
            self.0.insert(bucket, count);
            return;
        };
        let lowest = largest.max(bucket) - (BUCKETS - 1);
        if lowest > largest - (BUCKETS - 1) {
            let kept = self.0.split_off(&lowest);
            let folded = std::mem::replace(&mut self.0, kept);
            folded.values().for_each(|count| self.put(lowest, *count));
        }
        self.put(bucket.max(lowest), count);
    }

    fn put(&mut self, bucket: i32, count: u64) {
        let held = self.0.entry(bucket).or_default();
        *held = held.saturating_add(count);
    }

    fn count(&self) -> u64 {
        self.0.values().fold(0, |sum, count| sum.saturating_add(*count))
    }

    fn decode(from: &mut Reader) -> Result<Self, Damaged> {
        let mut buckets = BTreeMap::new();
        let mut bucket = 0i128;
        for index in 0..from.length()? {
            let step = from.signed()?;
            bucket = bucket.checked_add(step).ok_or(Damaged)?;
            let count = from.number()?;
            let reached = bucket.unsigned_abs() <= REACH as u128;
            if count == 0 || !reached || index > 0 && step <= 0 {
                return Err(Damaged);
            }
            buckets.insert(bucket as i32, count);
        }
        if let (Some((first, _)), Some((last, _))) = (buckets.first_key_value(), buckets.last_key_value())
            && last - first >= BUCKETS
        {
            return Err(Damaged);
        }
        Ok(Self(buckets))
    }
}

#[cfg(test)]
mod tests {
    use super::super::laws::Sketch;
    use super::*;
    use proptest::prelude::*;

    const SKETCH: Sketch<Quantiles> =
        Sketch { merge: Quantiles::merge, encode: Quantiles::encode, decode: Quantiles::decode };

    fn of(values: &[f64]) -> Quantiles {
        let mut sketch = Quantiles::default();
        values.iter().for_each(|value| assert!(sketch.add(*value)));
        sketch
    }

    fn number() -> impl Strategy<Value = f64> {
        let any = any::<f64>().prop_filter("finite", |value| value.is_finite());
        prop_oneof![Just(0.0), -1e3..1e3, any]
    }

    proptest! {
        #[test]
        fn order_does_not_matter(
            parts in [0, 1, 2].map(|_| prop::collection::vec(number(), 0..40)),
        ) {
            let whole: Vec<f64> = parts.iter().flatten().rev().copied().collect();
            let [a, b, c] = parts.map(|part| of(&part));
            SKETCH.check([&a, &b, &c], &of(&whole));
        }

        #[test]
        fn a_quantile_is_within_one_percent(
            mut values in prop::collection::vec(prop_oneof![Just(0.0), -1e6..1e6, 1e-3..1.0], 1..200),
            q in 0.0..=1.0,
        ) {
            let found = of(&values).quantile(q).unwrap();
            values.sort_by(f64::total_cmp);
            let exact = values[(q * (values.len() - 1) as f64) as usize];
            prop_assert!((found - exact).abs() <= 0.01 * exact.abs() * (1.0 + 1e-9), "{found} for {exact}");
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            SKETCH.check_hostile(&bytes);
        }
    }

    #[test]
    fn extremes_are_kept() {
        let sketch = of(&[f64::MAX, f64::MIN, f64::MIN_POSITIVE, 5e-324, -0.0]);
        assert_eq!(sketch.count(), 5);
        assert_eq!(sketch.zeros, 2);
        for (q, expected) in [(0.0, f64::MIN), (0.25, 0.0), (0.5, 0.0), (1.0, f64::MAX)] {
            let found = sketch.quantile(q).unwrap();
            assert!((found - expected).abs() <= 0.01 * f64::abs(expected), "{q}: {found}");
        }
        assert_eq!(Quantiles::default().quantile(0.5), None);
    }

    #[test]
    fn what_is_not_finite_is_refused() {
        let mut sketch = Quantiles::default();
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(!sketch.add(value));
        }
        assert_eq!(sketch, Quantiles::default());
    }

    #[test]
    fn damage_is_refused_and_size_is_bounded() {
        let many: Vec<f64> = (-37_000..37_000).map(|n| libm::exp(f64::from(n) * 0.019)).collect();
        let sketch = of(&many);
        assert_eq!(sketch.positive.0.len(), BUCKETS as usize);
        assert!(SKETCH.bytes(&sketch).len() < 3 * BUCKETS as usize);
        SKETCH.check_damaged(&of(&[1.0, 5.0, -3.0, 0.0, 1e9, 5.0]));
    }
}
