//! What a detector counts in a window: measures and the cells they accumulate in.
//!
//! Invariant: merging cells is commutative and associative, so the order of partitions, transactions and
//! instances cannot change a score.

use crate::field::FieldPath;
use std::fmt;

/// Fixed-point units per 1.0 in [`Cell::sum`].
pub const UNIT: i128 = 1_000_000;

/// What a detector measures in each window; each measure of a detector is a series of its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Measure {
    /// Number of records: `count`.
    Count,
    /// Sum of a flag or of a numeric field: `sum(B_action)`.
    Sum(Operand),
    /// Share of the records whose flag is 1: `ratio(B_action)`, 0 to 1.
    Ratio(Operand),
}

/// What a sum or a ratio adds up.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Operand {
    /// A flag of the pipeline: its index among [`crate::pipeline::Pipeline::flag_names`], and its name.
    Flag(usize, String),
    /// A numeric field of the record; a record without a finite number there is not counted.
    Field(FieldPath),
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Operand::Flag(_, name) => f.write_str(name),
            Operand::Field(path) => write!(f, "{path}"),
        }
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Measure::Count => f.write_str("count"),
            Measure::Sum(operand) => write!(f, "sum({operand})"),
            Measure::Ratio(operand) => write!(f, "ratio({operand})"),
        }
    }
}

/// How a model must judge a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A count of events: whole, zero or more, with a count's own spread.
    Count,
    /// A sum of arbitrary numbers.
    Amount,
    /// A share between 0 and 1 of a known number of records.
    Share,
}

impl Measure {
    /// How a model must judge this measure's values.
    pub fn kind(&self) -> Kind {
        match self {
            Measure::Count | Measure::Sum(Operand::Flag(..)) => Kind::Count,
            Measure::Sum(Operand::Field(_)) => Kind::Amount,
            Measure::Ratio(_) => Kind::Share,
        }
    }
}

/// The accumulated records of one series in one window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cell {
    /// Records counted.
    pub count: u64,
    /// Fixed-point sum of the operand in [`UNIT`]s; of a flag or a count, the records whose flag is 1.
    pub sum: i128,
    /// The sum left the range of the fixed-point number at least once; the value is not to be trusted.
    pub overflow: bool,
}

impl Cell {
    /// One record whose operand is `sum` fixed-point units.
    pub fn one(sum: i128) -> Self {
        Self { count: 1, sum, overflow: false }
    }

    /// Adds another cell; an overflow of the sum is remembered in [`Cell::overflow`].
    pub fn merge(&mut self, other: &Cell) {
        self.count = self.count.saturating_add(other.count);
        let (sum, overflow) = self.sum.overflowing_add(other.sum);
        self.sum = sum;
        self.overflow |= other.overflow | overflow;
    }

    /// The window's value for a measure of this kind: a count, an amount, or a share from 0 to 1
    /// (0 of no records is 0).
    pub fn value(&self, kind: Kind) -> f64 {
        let sum = self.sum as f64 / UNIT as f64;
        match kind {
            Kind::Count | Kind::Amount => sum,
            Kind::Share if self.count == 0 => 0.0,
            Kind::Share => sum / self.count as f64,
        }
    }
}

/// A finite number as fixed-point units, rounded to the nearest; `None` for NaN, infinities and beyond ±10^27.
pub fn to_units(value: f64) -> Option<i128> {
    let scaled = libm::round(value * UNIT as f64);
    (scaled.is_finite() && libm::fabs(scaled) <= 1e33).then_some(scaled as i128)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cell() -> impl Strategy<Value = Cell> {
        (0u64..1 << 40, any::<i128>(), any::<bool>()).prop_map(|(count, sum, overflow)| Cell { count, sum, overflow })
    }

    fn merged(cells: &[Cell]) -> Cell {
        cells.iter().fold(Cell::default(), |mut sum, c| {
            sum.merge(c);
            sum
        })
    }

    proptest! {
        #[test]
        fn the_order_of_merging_does_not_matter(a in (-1i128 << 100)..(1 << 100), b in (-1i128 << 100)..(1 << 100), c in cell()) {
            let cells = [Cell::one(a), Cell::one(b), c];
            let all = merged(&cells);
            for order in [[0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
                let other = merged(&order.map(|i| cells[i]));
                prop_assert_eq!((all.count, all.sum), (other.count, other.sum));
            }
        }
    }

    #[test]
    fn numbers_that_are_none_have_no_units() {
        for v in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300] {
            assert_eq!(to_units(v), None);
        }
        assert_eq!(to_units(-1.5), Some(-1_500_000));
    }
}
