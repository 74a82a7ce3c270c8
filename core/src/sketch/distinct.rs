//! `Distinct`: how many different values there were; exact for few, a HyperLogLog for many.
//!
//! Sources: Flajolet, Fusy, Gandouet, Meunier, "HyperLogLog", 2007; the estimator is Ertl's, "New cardinality
//! estimation algorithms for HyperLogLog sketches", 2017, algorithm 6: no bias tables, no switch between ranges.
//! 4,096 registers give a standard error of 1.6 %.
//!
//! Invariant: the form follows from the set of hashes alone: up to [`EXACT`] hashes, then registers, sparse until
//! [`SPARSE`] of them are set.

use crate::window::varint::{Damaged, Reader, put_unsigned};
use std::collections::{BTreeMap, BTreeSet};

/// Different hashes that are kept as they are.
const EXACT: usize = 64;
const PRECISION: u32 = 12;
const REGISTERS: usize = 1 << PRECISION;
/// Bits of a hash that make the rank.
const TAIL: u32 = 64 - PRECISION;
/// Registers set, from which all of them are kept.
const SPARSE: usize = 1_024;

/// The number of distinct values, by their [hashes](super::hash).
#[derive(Debug, Clone, PartialEq)]
pub struct Distinct(Form);

#[derive(Debug, Clone, PartialEq)]
enum Form {
    Exact(BTreeSet<u64>),
    Sparse(BTreeMap<u16, u8>),
    Dense(Box<[u8]>),
}

impl Default for Distinct {
    fn default() -> Self {
        Self(Form::Exact(BTreeSet::new()))
    }
}

impl Distinct {
    /// The most bytes that it is encoded to.
    pub const MOST_BYTES: usize = REGISTERS + 4;

    /// Adds a value by its hash; the same one again changes nothing.
    pub fn add_hash(&mut self, hash: u64) {
        match &mut self.0 {
            Form::Exact(hashes) => {
                hashes.insert(hash);
                if hashes.len() > EXACT {
                    let hashes = std::mem::take(hashes);
                    self.0 = Form::Sparse(BTreeMap::new());
                    hashes.into_iter().for_each(|hash| self.add_hash(hash));
                }
            }
            Form::Sparse(_) | Form::Dense(_) => {
                let register = (hash >> TAIL) as u16;
                let rank = (hash << PRECISION).leading_zeros().min(TAIL) + 1;
                self.raise(register, rank as u8);
            }
        }
    }

    /// Adds all that `other` saw.
    pub fn merge(&mut self, other: &Self) {
        if let (Form::Exact(_), Form::Sparse(_) | Form::Dense(_)) = (&self.0, &other.0) {
            let hashes = std::mem::replace(self, other.clone());
            self.merge(&hashes);
            return;
        }
        match &other.0 {
            Form::Exact(hashes) => hashes.iter().for_each(|hash| self.add_hash(*hash)),
            Form::Sparse(set) => set.iter().for_each(|(register, rank)| self.raise(*register, *rank)),
            Form::Dense(ranks) => {
                (0..).zip(ranks.iter()).for_each(|(register, rank)| self.raise(register, *rank));
            }
        }
    }

    /// True while the number is exact.
    pub fn is_exact(&self) -> bool {
        matches!(self.0, Form::Exact(_))
    }

    /// The number of different values: exact up to 64, with a standard error of 1.6 % beyond.
    pub fn estimate(&self) -> f64 {
        let mut multiplicity = [0u32; TAIL as usize + 2];
        let mut count = |rank: u8| {
            if let Some(held) = multiplicity.get_mut(usize::from(rank)) {
                *held += 1;
            }
        };
        match &self.0 {
            Form::Exact(hashes) => return hashes.len() as f64,
            Form::Sparse(set) => set.values().for_each(|rank| count(*rank)),
            Form::Dense(ranks) => ranks.iter().for_each(|rank| count(*rank)),
        }
        if let Form::Sparse(set) = &self.0 {
            multiplicity[0] = (REGISTERS - set.len()) as u32;
        }
        ertl(&multiplicity)
    }

    fn raise(&mut self, register: u16, rank: u8) {
        match &mut self.0 {
            Form::Sparse(set) if rank > 0 => {
                let held = set.entry(register).or_default();
                *held = rank.max(*held);
                if set.len() > SPARSE {
                    let mut ranks = vec![0; REGISTERS].into_boxed_slice();
                    set.iter().for_each(|(register, rank)| ranks[usize::from(*register)] = *rank);
                    self.0 = Form::Dense(ranks);
                }
            }
            Form::Dense(ranks) => {
                if let Some(held) = ranks.get_mut(usize::from(register)) {
                    *held = rank.max(*held);
                }
            }
            Form::Sparse(_) | Form::Exact(_) => {}
        }
    }

    /// Bytes that it is encoded to, about.
    pub(crate) fn size(&self) -> usize {
        match &self.0 {
            Form::Exact(hashes) => 8 * hashes.len(),
            Form::Sparse(set) => 3 * set.len(),
            Form::Dense(ranks) => ranks.len(),
        }
    }

    /// Appends the canonical bytes, at most about 4 KiB.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match &self.0 {
            Form::Exact(hashes) => {
                out.push(0);
                put_unsigned(out, hashes.len() as u128);
                hashes.iter().for_each(|hash| out.extend(hash.to_le_bytes()));
            }
            Form::Sparse(set) => {
                out.push(1);
                put_unsigned(out, set.len() as u128);
                let mut next = 0;
                for (register, rank) in set {
                    put_unsigned(out, u128::from(register - next));
                    out.push(*rank);
                    next = register + 1;
                }
            }
            Form::Dense(ranks) => {
                out.push(2);
                out.extend_from_slice(ranks);
            }
        }
    }

    pub(crate) fn decode(from: &mut Reader) -> Result<Self, Damaged> {
        let ranked = |rank: u8| u32::from(rank) <= TAIL + 1;
        match from.byte()? {
            0 => {
                let mut hashes = BTreeSet::new();
                for _ in 0..from.length()? {
                    let (bytes, rest) = from.0.split_first_chunk().ok_or(Damaged)?;
                    from.0 = rest;
                    let hash = u64::from_le_bytes(*bytes);
                    if hashes.last().is_some_and(|last| *last >= hash) {
                        return Err(Damaged);
                    }
                    hashes.insert(hash);
                }
                (hashes.len() <= EXACT).then_some(Self(Form::Exact(hashes))).ok_or(Damaged)
            }
            1 => {
                let mut set = BTreeMap::new();
                let mut next = 0usize;
                for _ in 0..from.length()? {
                    let register = next.checked_add(from.number()?).filter(|r| *r < REGISTERS).ok_or(Damaged)?;
                    let rank = from.byte()?;
                    if rank == 0 || !ranked(rank) {
                        return Err(Damaged);
                    }
                    set.insert(register as u16, rank);
                    next = register + 1;
                }
                (1..=SPARSE).contains(&set.len()).then_some(Self(Form::Sparse(set))).ok_or(Damaged)
            }
            2 => {
                let (ranks, rest) = from.0.split_at_checked(REGISTERS).ok_or(Damaged)?;
                from.0 = rest;
                let set = ranks.iter().filter(|rank| **rank > 0).count();
                if set <= SPARSE || !ranks.iter().all(|rank| ranked(*rank)) {
                    return Err(Damaged);
                }
                Ok(Self(Form::Dense(ranks.into())))
            }
            _ => Err(Damaged),
        }
    }
}

/// Ertl's improved estimator, from how many registers hold each rank.
fn ertl(multiplicity: &[u32; TAIL as usize + 2]) -> f64 {
    let m = REGISTERS as f64;
    let share = |rank: usize| f64::from(multiplicity[rank]) / m;
    let mut z = m * tau(1.0 - share(TAIL as usize + 1));
    for rank in (1..=TAIL as usize).rev() {
        z = 0.5 * (z + f64::from(multiplicity[rank]));
    }
    z += m * sigma(share(0));
    m * m / (2.0 * core::f64::consts::LN_2 * z)
}

fn sigma(mut x: f64) -> f64 {
    if x >= 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        let before = z;
        x *= x;
        z += x * y;
        y += y;
        if z == before {
            return z;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        let before = z;
        x = libm::sqrt(x);
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if z == before {
            return z / 3.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{hash, laws::Sketch};
    use super::*;
    use proptest::prelude::*;

    const SKETCH: Sketch<Distinct> =
        Sketch { merge: Distinct::merge, encode: Distinct::encode, decode: Distinct::decode };

    fn of(numbers: impl IntoIterator<Item = u64>) -> Distinct {
        let mut sketch = Distinct::default();
        numbers.into_iter().for_each(|number| sketch.add_hash(hash(&number.to_le_bytes())));
        sketch
    }

    proptest! {
        #[test]
        fn order_does_not_matter(
            parts in [0, 1, 2].map(|_| (0u64..3_000, prop_oneof![0u64..70, 0u64..2_000])),
        ) {
            let numbers = parts.map(|(from, count)| from..from + count);
            let whole = of(numbers.iter().cloned().flatten().collect::<BTreeSet<_>>().into_iter().rev());
            let [a, b, c] = numbers.map(of);
            SKETCH.check([&a, &b, &c], &whole);
        }

        #[test]
        fn any_bytes_are_read_or_refused(mut bytes in prop::collection::vec(any::<u8>(), 1..90)) {
            bytes[0] %= 3;
            SKETCH.check_hostile(&bytes);
        }
    }

    #[test]
    fn the_estimate_is_near() {
        for (count, tolerance) in
            [(0, 0.0), (1, 0.0), (64, 0.0), (65, 0.05), (500, 0.05), (4_000, 0.05), (10_000, 0.05), (300_000, 0.05)]
        {
            for from in [0, 1 << 40] {
                let sketch = of(from..from + count);
                let estimate = sketch.estimate();
                let error = (estimate - count as f64).abs();
                assert!(error <= tolerance * count as f64, "{count}: {estimate}");
                assert!(SKETCH.bytes(&sketch).len() <= 1 + REGISTERS);
            }
        }
    }

    #[test]
    fn extreme_hashes_are_held() {
        let mut sketch = of(0..65);
        [0, u64::MAX, 1 << TAIL].into_iter().for_each(|hash| sketch.add_hash(hash));
        assert!(sketch.estimate() > 60.0);
        SKETCH.check([&sketch, &of([]), &of(3..9)], &sketch);
    }

    #[test]
    fn damage_is_refused() {
        SKETCH.check_damaged(&of(0..9));
        SKETCH.check_damaged(&of(0..80));
        let dense = SKETCH.bytes(&of(0..9_000));
        for bytes in [&dense[..4_000], &[vec![2], vec![0; REGISTERS]].concat()] {
            assert_eq!(Distinct::decode(&mut Reader(bytes)), Err(Damaged));
        }
    }
}
