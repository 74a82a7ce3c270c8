//! `Other`: the weights of the values that [`Values`](super::Values) does not keep, as a count-min table.
//!
//! Source: Cormode, Muthukrishnan, "An improved data stream summary: the count-min sketch", 2005; the mean of the
//! other values is taken off an estimate, as in Deng, Rafiei, "New estimation algorithms for streaming data", 2007.
//!
//! Invariant: each row sums to the total; the table is there exactly when the total is not zero. A wider table folds into
//! a narrower one as if everything had been added there.

use crate::window::varint::{Damaged, Reader, put_unsigned};

const ROWS: usize = 3;
const BITS: usize = 10;
/// The widths that a table may have; each divides the one before.
pub(super) const WIDTHS: [usize; 3] = [1 << BITS, 256, 64];

/// Weights of values by up to ten bits of the first half of their hash, three times.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Other {
    width: usize,
    total: u64,
    table: Box<[u64]>,
}

impl Other {
    /// Nothing yet, for a table of one of [`WIDTHS`].
    pub fn new(width: usize) -> Self {
        Self { width, total: 0, table: Box::default() }
    }

    /// The most bytes of a table, up to 2³⁵ records a cell.
    pub const fn most_bytes(width: usize) -> usize {
        5 * ROWS * width + 10
    }

    pub fn total(&self) -> u64 {
        self.total
    }

    pub fn add(&mut self, mark: u32, weight: u64) {
        if self.table.is_empty() {
            self.table = vec![0; ROWS * self.width].into();
        }
        self.total = self.total.saturating_add(weight);
        for cell in cells(mark, self.width) {
            if let Some(held) = self.table.get_mut(cell) {
                *held = held.saturating_add(weight);
            }
        }
    }

    /// Folds the table to this width, if it is wider.
    pub fn narrow(&mut self, width: usize) {
        if width >= self.width {
            return;
        }
        let mut narrow = Self { width, total: self.total, table: Box::default() };
        if !self.table.is_empty() {
            narrow.table = vec![0; ROWS * width].into();
            for (row, from) in narrow.table.chunks_mut(width).zip(self.table.chunks(self.width)) {
                for part in from.chunks(width) {
                    row.iter_mut().zip(part).for_each(|(held, weight)| *held = held.saturating_add(*weight));
                }
            }
        }
        *self = narrow;
    }

    /// Adds what another one holds; the narrower table stays.
    pub fn merge(&mut self, other: &Self) {
        self.narrow(other.width);
        if other.width > self.width {
            let mut folded = other.clone();
            folded.narrow(self.width);
            return self.merge(&folded);
        }
        if self.table.is_empty() {
            self.table.clone_from(&other.table);
        } else {
            let both = self.table.iter_mut().zip(&other.table);
            both.for_each(|(held, weight)| *held = held.saturating_add(*weight));
        }
        self.total = self.total.saturating_add(other.total);
    }

    /// The weight, about, of the value whose hash begins with `mark`.
    pub fn estimate(&self, mark: u32) -> f64 {
        let total = self.total as f64;
        let alone = |cell: usize| {
            let held = self.table.get(cell).map_or(0.0, |held| *held as f64);
            held - (total - held) / (self.width - 1) as f64
        };
        cells(mark, self.width).map(alone).into_iter().fold(f64::INFINITY, f64::min).max(0.0)
    }

    /// Appends the canonical bytes: the total, then each row.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_unsigned(out, self.total.into());
        self.table.iter().for_each(|weight| put_unsigned(out, u128::from(*weight)));
    }

    /// Reads a table of this width.
    pub fn decode(from: &mut Reader, width: usize) -> Result<Self, Damaged> {
        let total = from.number()?;
        if total == 0 {
            return Ok(Self::new(width));
        }
        if from.0.len() < ROWS * width {
            return Err(Damaged);
        }
        let mut table = vec![0u64; ROWS * width];
        for row in table.chunks_mut(width) {
            let mut sum = 0u64;
            for held in row {
                *held = from.number()?;
                sum = sum.saturating_add(*held);
            }
            if sum != total {
                return Err(Damaged);
            }
        }
        Ok(Self { width, total, table: table.into() })
    }
}

fn cells(mark: u32, width: usize) -> [usize; ROWS] {
    [0, 1, 2].map(|row| row * width + (mark >> (row * BITS)) as usize % width)
}
