//! `Other`: the weights of the values that [`Values`](super::Values) does not keep, as a count-min table.
//!
//! Source: Cormode, Muthukrishnan, "An improved data stream summary: the count-min sketch", 2005; the mean of the
//! other values is taken off an estimate, as in Deng, Rafiei, "New estimation algorithms for streaming data", 2007.
//!
//! Invariant: each row sums to the total; the table is there exactly when the total is not zero.

use crate::window::varint::{Damaged, Reader, put_unsigned};

const ROWS: usize = 3;
const BITS: usize = 10;
const COLUMNS: usize = 1 << BITS;

/// Weights of values by ten bits of the first half of their hash, three times.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Other {
    total: u64,
    table: Box<[u64]>,
}

impl Other {
    /// The most bytes of the table, up to 2³⁸ records: four a cell.
    pub const MOST_BYTES: usize = 4 * ROWS * COLUMNS + 8;

    pub fn total(&self) -> u64 {
        self.total
    }

    pub fn add(&mut self, mark: u32, weight: u64) {
        if self.table.is_empty() {
            self.table = vec![0; ROWS * COLUMNS].into();
        }
        self.total = self.total.saturating_add(weight);
        for cell in cells(mark) {
            if let Some(held) = self.table.get_mut(cell) {
                *held = held.saturating_add(weight);
            }
        }
    }

    pub fn merge(&mut self, other: &Self) {
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
            held - (total - held) / (COLUMNS - 1) as f64
        };
        cells(mark).map(alone).into_iter().fold(f64::INFINITY, f64::min).max(0.0)
    }

    /// Appends the canonical bytes: the total, then each row.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_unsigned(out, self.total.into());
        self.table.iter().for_each(|weight| put_unsigned(out, u128::from(*weight)));
    }

    pub fn decode(from: &mut Reader) -> Result<Self, Damaged> {
        let total = from.number()?;
        if total == 0 {
            return Ok(Self::default());
        }
        if from.0.len() < ROWS * COLUMNS {
            return Err(Damaged);
        }
        let mut table = vec![0u64; ROWS * COLUMNS];
        for row in table.chunks_mut(COLUMNS) {
            let mut sum = 0u64;
            for held in row {
                *held = from.number()?;
                sum = sum.saturating_add(*held);
            }
            if sum != total {
                return Err(Damaged);
            }
        }
        Ok(Self { total, table: table.into() })
    }
}

fn cells(mark: u32) -> [usize; ROWS] {
    [0, 1, 2].map(|row| row * COLUMNS + (mark >> (row * BITS)) as usize % COLUMNS)
}
