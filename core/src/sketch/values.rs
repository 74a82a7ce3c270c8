//! `Values`: how often each value of a field was seen in a window; for reasons, new values and rare values.
//!
//! Exact up to a limit of different values and of their bytes; beyond it those with the smallest salted hashes stay
//! (bottom-k: a uniform sample of the distinct values) and the weights of the rest go into a count-min table, `other`.
//!
//! Invariant: a value that is among the smallest hashes of everything was among them at any time before, so its weight
//! is whole; one that was pushed out once can never come back, nor can any of a larger hash, so all of its weight is in
//! the table. What is kept does not depend on the order.

use super::hash;
use super::other::{Other, WIDTHS};
use crate::window::varint::{Damaged, Reader, put_text, put_unsigned};
use std::collections::BTreeMap;

/// Different values that are counted exactly, unless the pipeline says otherwise.
pub const DEFAULT_LIMIT: usize = 1_000;
/// The most that a limit can be.
const MAX_LIMIT: usize = 1_000_000;
/// Bytes of the longest value text; a longer value is cut and ends in `…` and its hash.
pub const MAX_TEXT: usize = 128;
/// What a value takes at most besides its text: its length and its weight.
const ENTRY: usize = 12;
/// Bytes of the numbers before and behind the values.
const AROUND: usize = 64;
/// The room that has no end.
const ENDLESS: usize = u32::MAX as usize;
/// Begins the bytes; those of earlier versions of frames and groups have no room and begin with their limit.
const WITH_ROOM: u8 = 0;
/// Bytes of `…` and 16 hexadecimal digits.
const SUFFIX: usize = 19;

/// Weights (records) of the values of one field.
#[derive(Debug, Clone, PartialEq)]
pub struct Values {
    limit: usize,
    /// Bytes that all of it may take.
    room: usize,
    salt: u32,
    /// By the salted hash of the text. Should two texts have one hash, they count as the longer, larger one: what a
    /// value takes never shrinks.
    kept: BTreeMap<u64, (Box<str>, u64)>,
    /// Bytes that they take.
    taken: usize,
    /// The smallest salted hash that was not kept.
    horizon: u64,
    other: Other,
}

impl Values {
    /// The least room that is of use: for a dozen of the longest values, and the smallest table of the others.
    pub const LEAST: usize = AROUND + Other::most_bytes(WIDTHS[2]) + 12 * (MAX_TEXT + ENTRY);

    /// No values yet; at least one and at most `limit` will be told apart.
    pub fn new(limit: usize) -> Self {
        Self::salted(limit, 0)
    }

    /// As [`Values::new`]; the salt chooses which values are kept beyond the limit. All parts of a window must have the
    /// same. When each window has its own, a heavy value is kept in some window, and [`Usual`](crate::explain::Usual)
    /// knows its text in the others.
    pub fn salted(limit: usize, salt: u32) -> Self {
        Self {
            limit: limit.clamp(1, MAX_LIMIT),
            room: ENDLESS,
            salt,
            kept: BTreeMap::new(),
            taken: 0,
            horizon: u64::MAX,
            other: Other::new(WIDTHS[0]),
        }
    }

    /// The same, encoded to at most `bytes`, which are at least [`Values::LEAST`].
    #[must_use]
    pub fn within(mut self, bytes: usize) -> Self {
        self.room = bytes.clamp(Self::LEAST, ENDLESS);
        self.other.narrow(self.width());
        self
    }

    /// The width of the table of others: it takes half of the room at most.
    fn width(&self) -> usize {
        WIDTHS.into_iter().find(|width| 2 * Other::most_bytes(*width) <= self.room).unwrap_or(WIDTHS[2])
    }

    /// Bytes for the values that are told apart: once there are others, their table takes its part. More room never
    /// gives less, or a merge of two rooms would depend on the order: where a wider table is near, what it will leave.
    fn most(&self) -> usize {
        if self.is_exact() {
            return self.room - AROUND;
        }
        let width = self.width();
        let wider = WIDTHS.into_iter().rev().find(|other| *other > width).map_or(usize::MAX, Other::most_bytes);
        (self.room - Other::most_bytes(width)).min(wider) - AROUND
    }

    /// Bytes that it is encoded to, about.
    pub(crate) fn size(&self) -> usize {
        AROUND + self.taken + if self.is_exact() { 0 } else { Other::most_bytes(self.width()) / 2 }
    }

    /// Counts `weight` records with this value.
    pub fn add(&mut self, value: &str, weight: u64) {
        if value.len() <= MAX_TEXT {
            self.put(hash(value.as_bytes()), value, weight);
        } else {
            let cut = shortened(value);
            self.put(hash(cut.as_bytes()), &cut, weight);
        }
    }

    /// Counts all that `other` counted. The smaller limits of both hold from here on.
    pub fn merge(&mut self, other: &Self) {
        self.limit = self.limit.min(other.limit);
        self.room = self.room.min(other.room);
        self.horizon = self.horizon.min(other.horizon);
        self.other.narrow(self.width());
        self.other.merge(&other.other);
        self.trim();
        other.kept.values().for_each(|(text, weight)| self.put(hash(text.as_bytes()), text, *weight));
    }

    /// Records counted.
    pub fn total(&self) -> u64 {
        self.kept.values().fold(self.other.total(), |sum, (_, weight)| sum.saturating_add(*weight))
    }

    /// Records with a value; `None` when it is among those no longer told apart, or may be.
    pub fn weight(&self, value: &str) -> Option<u64> {
        let place = self.place(hash_of(value));
        let held = self.kept.get(&place).map(|(_, weight)| *weight);
        held.or((self.is_exact() || place < self.horizon).then_some(0))
    }

    /// Share (0 to 1) of the records that have this value; `None` as in [`Values::weight`], or when there are none.
    pub fn share(&self, value: &str) -> Option<f64> {
        let total = self.total();
        let weight = self.weight(value)?;
        (total > 0).then(|| weight as f64 / total as f64)
    }

    /// The values told apart with their weights, in the order of their hashes.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.kept.values().map(|(text, weight)| (&**text, *weight))
    }

    /// The values told apart, with the first 32 bits of their hashes.
    pub(crate) fn by_mark(&self) -> impl Iterator<Item = (u32, &str, u64)> {
        self.iter().map(|(text, weight)| (mark_of(text), text, weight))
    }

    /// The weight, about, of the value with this mark if it is among those not told apart; `None` if it is not.
    pub(crate) fn outside(&self, mark: u32) -> Option<f64> {
        let beyond = mixed(mark ^ self.salt) >= (self.horizon >> 32) as u32;
        (!self.is_exact() && beyond).then(|| self.other.estimate(mark))
    }

    /// Where a value stands in the order that decides what is kept.
    fn place(&self, hash: u64) -> u64 {
        u64::from(mixed(mark(hash) ^ self.salt)) << 32 | hash & 0xffff_ffff
    }

    /// How many different values there were: exact, or estimated from the share of all hashes that is kept.
    pub fn distinct(&self) -> f64 {
        let kept = self.len() as f64;
        if self.is_exact() { kept } else { (kept / (self.horizon as f64 / u64::MAX as f64)).max(kept + 1.0) }
    }

    /// Different values told apart.
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty() && self.is_exact()
    }

    /// Records whose values are not told apart; zero exactly when the counts are exact.
    pub fn other(&self) -> u64 {
        self.other.total()
    }

    /// Every value was told apart.
    pub fn is_exact(&self) -> bool {
        self.other.total() == 0
    }

    fn put(&mut self, hash: u64, text: &str, weight: u64) {
        if weight == 0 {
            return;
        }
        let place = self.place(hash);
        if place >= self.horizon {
            self.other.add(mark(hash), weight);
            return;
        }
        match self.kept.get_mut(&place) {
            Some((held, sum)) => {
                *sum = sum.saturating_add(weight);
                if (text.len(), text) > (held.len(), held) {
                    self.taken += text.len() - held.len();
                    *held = text.into();
                }
            }
            None => {
                self.taken += text.len() + ENTRY;
                self.kept.insert(place, (text.into(), weight));
            }
        }
        self.trim();
    }

    fn trim(&mut self) {
        while let Some((last, _)) = self.kept.last_key_value()
            && (self.kept.len() > self.limit || self.taken > self.most() || *last >= self.horizon)
        {
            let Some((place, (text, weight))) = self.kept.pop_last() else { return };
            self.horizon = self.horizon.min(place);
            self.taken -= text.len() + ENTRY;
            self.other.add(mark_of(&text), weight);
        }
    }

    /// Appends the canonical bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(WITH_ROOM);
        put_unsigned(out, self.limit as u128);
        put_unsigned(out, self.room as u128);
        put_unsigned(out, self.salt.into());
        put_unsigned(out, self.kept.len() as u128);
        for (text, weight) in self.kept.values() {
            put_text(out, text);
            put_unsigned(out, u128::from(*weight));
        }
        self.other.encode(out);
        if !self.is_exact() {
            out.extend(self.horizon.to_le_bytes());
        }
    }

    pub(crate) fn decode(from: &mut Reader) -> Result<Self, Damaged> {
        let first: usize = from.number()?;
        let former = first != usize::from(WITH_ROOM);
        let (limit, room) = if former { (first, ENDLESS) } else { (from.number()?, from.number()?) };
        if room < Self::LEAST {
            return Err(Damaged);
        }
        let mut values = Self::salted(limit, from.number()?).within(room);
        let length = from.length()?;
        if !(1..=MAX_LIMIT).contains(&limit) || length > limit {
            return Err(Damaged);
        }
        for _ in 0..length {
            let text = from.text()?;
            let weight = from.number()?;
            let place = values.place(hash(text.as_bytes()));
            let ascending = values.kept.last_key_value().is_none_or(|(last, _)| *last < place);
            if text.len() > MAX_TEXT || weight == 0 || !ascending {
                return Err(Damaged);
            }
            values.taken += text.len() + ENTRY;
            values.kept.insert(place, (text.into(), weight));
        }
        values.other = Other::decode(from, values.width())?;
        let beyond = values.kept.last_key_value().map_or(0, |(last, _)| last.saturating_add(1));
        match (values.is_exact(), former) {
            (true, _) => {}
            (false, true) if length < limit => return Err(Damaged),
            (false, true) => values.horizon = beyond,
            (false, false) => values.horizon = u64::from_le_bytes(from.array()?),
        }
        if values.taken > values.most() || values.horizon < beyond {
            return Err(Damaged);
        }
        Ok(values)
    }
}

/// The finaliser of MurmurHash3, 32 bits: one to one, every bit depends on all.
fn mixed(mut bits: u32) -> u32 {
    bits = (bits ^ (bits >> 16)).wrapping_mul(0x85eb_ca6b);
    bits = (bits ^ (bits >> 13)).wrapping_mul(0xc2b2_ae35);
    bits ^ (bits >> 16)
}

/// The mark of a value: the first half of its hash.
pub(crate) fn mark(hash: u64) -> u32 {
    (hash >> 32) as u32
}

/// The mark of a value's text.
pub(crate) fn mark_of(value: &str) -> u32 {
    mark(hash_of(value))
}

fn hash_of(value: &str) -> u64 {
    if value.len() <= MAX_TEXT { hash(value.as_bytes()) } else { hash(shortened(value).as_bytes()) }
}

/// The first bytes of a long value and its hash, at most [`MAX_TEXT`] bytes.
fn shortened(value: &str) -> String {
    let end = value.floor_char_boundary(MAX_TEXT - SUFFIX);
    format!("{}…{:016x}", &value[..end], hash(value.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::super::laws::Sketch;
    use super::*;
    use proptest::prelude::*;

    const SKETCH: Sketch<Values> = Sketch { merge: Values::merge, encode: Values::encode, decode: Values::decode };

    fn of(limit: usize, adds: &[(u32, u64)]) -> Values {
        let mut values = Values::salted(limit, 7);
        adds.iter().for_each(|(value, weight)| values.add(&format!("v{value}"), *weight));
        values
    }

    /// With values of different lengths.
    fn within(limit: usize, room: usize, adds: &[(u32, u64)]) -> Values {
        let mut values = Values::salted(limit, 7).within(room);
        adds.iter().for_each(|(value, weight)| {
            let width = *value as usize % 100 + 20;
            values.add(&format!("{value:0width$}"), *weight);
        });
        values
    }

    /// Around those from which on the table of the others is wider.
    fn rooms() -> impl Strategy<Value = usize> {
        prop_oneof![Values::LEAST..Values::LEAST + 3_000, 7_600usize..7_800, 30_600usize..30_900, 7_000usize..40_000]
    }

    #[test]
    fn more_room_never_gives_less() {
        let most = |room: usize| {
            let mut values = within(1, room, &[(1, 1), (2, 1)]);
            values.limit = 2;
            assert!(!values.is_exact());
            values.most()
        };
        let all: Vec<usize> = (Values::LEAST..40_000).step_by(2).map(most).collect();
        assert!(all.is_sorted());
    }

    proptest! {
        #[test]
        fn order_does_not_matter(
            parts in [0, 1, 2].map(|_| (prop_oneof![1usize..80, Just(1_000)], rooms(), prop::collection::vec(
                (0u32..400, 0u64..12), 0..200))),
            heavy in prop_oneof![Just(1u64 << 26), Just(u64::MAX / 2)],
            rotate in 0usize..90,
        ) {
            let parts = parts.map(|(limit, room, adds)| {
                let weight = |small: u64| if small < 9 { small } else { heavy };
                (limit, room, adds.into_iter().map(|(value, small)| (value, weight(small))).collect::<Vec<_>>())
            });
            let limit = parts.iter().map(|part| part.0).min().unwrap();
            let room = parts.iter().map(|part| part.1).min().unwrap();
            let mut all: Vec<(u32, u64)> = parts.iter().flat_map(|part| part.2.iter().copied()).collect();
            let middle = rotate.min(all.len());
            all.rotate_left(middle);
            let [a, b, c] = parts.map(|(limit, room, adds)| within(limit, room, &adds));
            let whole = within(limit, room, &all);
            SKETCH.check([&a, &b, &c], &whole);
            // Sums that saturate keep the order; the bytes are bounded for counts that can occur.
            prop_assert!(heavy == u64::MAX / 2 || SKETCH.bytes(&whole).len() <= room);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            SKETCH.check_hostile(&bytes);
        }

        #[test]
        fn a_long_value_is_cut_and_stays_itself(a in "\\PC{0,200}", b in "\\PC{0,200}") {
            let mut values = Values::new(9);
            values.add(&a, 1);
            values.add(&b, 1);
            prop_assert_eq!(values.len(), if a == b { 1 } else { 2 });
            prop_assert!(values.iter().all(|(text, _)| text.len() <= MAX_TEXT));
            let (text, weight) = values.iter().next().unwrap();
            prop_assert_eq!(values.weight(text), Some(weight));
        }
    }

    #[test]
    fn weights_and_shares() {
        let mut values = of(3, &[(1, 6), (2, 3), (3, 1)]);
        assert_eq!((values.total(), values.is_exact(), values.share("v1")), (10, true, Some(0.6)));
        assert_eq!(values.weight("none"), Some(0));
        values.merge(&of(3, &[(4, 10), (5, 10)]));
        assert_eq!((values.total(), values.is_exact(), values.len()), (30, false, 3));
        let told_apart: u64 = values.iter().map(|(_, weight)| weight).sum();
        assert_eq!(told_apart + values.other(), 30);
        let mut unknown = (1..=5).filter(|value| values.weight(&format!("v{value}")).is_none());
        assert_eq!((unknown.next().is_some(), unknown.next().is_some(), unknown.next()), (true, true, None));
        assert_eq!(Values::new(5).share("v1"), None);
    }

    #[test]
    fn a_heavy_value_that_is_not_kept_is_estimated() {
        for heavy in 0..40 {
            let mut values = Values::new(DEFAULT_LIMIT);
            (0..5_000).for_each(|n| values.add(&format!("v{n}"), 1 + n % 3));
            values.add(&format!("v{heavy}"), 500);
            let Some(estimate) = values.outside(mark_of(&format!("v{heavy}"))) else { continue };
            assert!((estimate - 502.0).abs() < 10.0, "{heavy}: {estimate}");
        }
    }

    #[test]
    fn two_texts_of_one_hash_count_as_the_larger() {
        for texts in [["a", "b"], ["b", "a"], ["z", "bb"]] {
            let mut values = Values::new(5);
            texts.iter().for_each(|text| values.put(7, text, 1));
            assert_eq!(values.iter().collect::<Vec<_>>(), [(if texts[0] == "z" { "bb" } else { "b" }, 2)]);
        }
    }

    /// As versions before the room wrote them.
    #[test]
    fn bytes_without_room_are_read() {
        for values in [of(3, &[(1, 6), (2, 3)]), of(3, &[(1, 6), (2, 3), (3, 1), (4, 1), (5, 70)])] {
            let mut former = Vec::new();
            put_unsigned(&mut former, 3);
            put_unsigned(&mut former, 7);
            put_unsigned(&mut former, values.len() as u128);
            for (text, weight) in values.iter() {
                put_text(&mut former, text);
                put_unsigned(&mut former, weight.into());
            }
            values.other.encode(&mut former);
            let mut read = Values::decode(&mut Reader(&former)).unwrap();
            let more = of(3, &[(1, 1), (9, 4), (10, 2)]);
            read.merge(&more);
            let merged = SKETCH.merged(&values, &more);
            assert_eq!((read.iter().collect::<Vec<_>>(), read.total()), (merged.iter().collect(), merged.total()));
        }
    }

    #[test]
    fn each_salt_keeps_other_values() {
        let kept = (0..100).filter(|salt| {
            let mut values = Values::salted(100, *salt);
            (0..1_000).for_each(|n| values.add(&n.to_string(), 1));
            values.weight("5").is_some()
        });
        let kept = kept.count();
        assert!((3..=20).contains(&kept), "{kept}");
    }

    #[test]
    fn a_million_values_stay_bounded() {
        let mut values = Values::new(DEFAULT_LIMIT);
        (0..1_000_000u32).for_each(|n| values.add(&n.to_string(), 1));
        assert_eq!((values.len(), values.total(), values.is_exact()), (DEFAULT_LIMIT, 1_000_000, false));
        assert!(SKETCH.bytes(&values).len() < 17 * DEFAULT_LIMIT);
        assert!((values.distinct() - 1e6).abs() < 1e5, "{}", values.distinct());
    }

    #[test]
    fn damage_is_refused() {
        SKETCH.check_damaged(&of(30, &[(1, 300), (2, 5), (3, 1)]));
        let approximate = SKETCH.bytes(&of(2, &[(1, 300), (2, 5), (3, 1)]));
        for length in 0..approximate.len() {
            assert_eq!(Values::decode(&mut Reader(&approximate[..length])), Err(Damaged));
        }
    }
}
