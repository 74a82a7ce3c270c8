//! What one measure accumulates in one window of one group.
//!
//! Invariant: merging is commutative and associative to the bit, so the order of partitions, transactions and
//! instances cannot change a score; no float is summed.

use super::{Kind, Measure};
use crate::sketch::{Distinct, Quantiles, Values};
use crate::window::varint::{Damaged, Reader, put_signed, put_unsigned};

/// Fixed-point units per 1.0 in [`Cell::sum`].
pub const UNIT: i128 = 1_000_000;

/// Of a sum that was out of range, and nobody knows how far: more than any number of records can bring back.
const NOTED: i64 = 1 << 60;

/// The accumulated records of one measure in one window.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Cell {
    /// Records counted: of a measure of a numeric field, those that have a number.
    pub count: u64,
    /// Fixed-point sum of the operand in [`UNIT`]s; of a flag, the records whose flag is 1. Modulo 2^128.
    pub sum: i128,
    /// How often the sum went around its range, upwards less downwards: with it the sum is exact, so that whether it is out
    /// of range does not depend on the order either.
    pub wraps: i64,
    /// What a number cannot hold.
    pub sketch: Option<Box<Sketch>>,
}

/// The accumulated values behind a measure that is no count and no sum.
#[derive(Debug, Clone, PartialEq)]
pub enum Sketch {
    /// Of a quantile.
    Quantiles(Quantiles),
    /// Of a number of distinct values.
    Distinct(Distinct),
    /// Of new and rare values.
    Values(Values),
}

impl Cell {
    /// One record whose operand is `sum` fixed-point units.
    pub fn one(sum: i128) -> Self {
        Self { count: 1, sum, ..Self::default() }
    }

    /// Adds another cell of the same measure.
    pub fn merge(&mut self, other: &Cell) {
        self.count = self.count.saturating_add(other.count);
        let (sum, wrapped) = self.sum.overflowing_add(other.sum);
        self.sum = sum;
        let turn = i64::from(wrapped) * if other.sum < 0 { -1 } else { 1 };
        self.wraps = self.wraps.wrapping_add(other.wraps).wrapping_add(turn);
        match (&mut self.sketch, &other.sketch) {
            (_, None) => {}
            (None, Some(sketch)) => self.sketch = Some(sketch.clone()),
            (Some(own), Some(other)) => match (own.as_mut(), other.as_ref()) {
                (Sketch::Quantiles(own), Sketch::Quantiles(other)) => own.merge(other),
                (Sketch::Distinct(own), Sketch::Distinct(other)) => own.merge(other),
                (Sketch::Values(own), Sketch::Values(other)) => own.merge(other),
                // Cells are merged within one measure only: the layout of a frame is checked.
                _ => {}
            },
        }
    }

    /// The sum is out of the range of the fixed-point number; the value is not to be trusted.
    pub fn overflows(&self) -> bool {
        self.wraps != 0
    }

    /// The window's value, where the cell alone tells it: a count, an amount, or a share from 0 to 1 (0 of no records
    /// is 0). What no record says anything about is 0 with no count; new and rare values depend on the history.
    pub fn value(&self, measure: &Measure) -> f64 {
        let sum = self.sum as f64 / UNIT as f64;
        match measure {
            Measure::Count | Measure::Silence => self.count as f64,
            Measure::Sum(_) => sum,
            Measure::Ratio(_) | Measure::Mean(_) if self.count == 0 => 0.0,
            Measure::Ratio(_) | Measure::Mean(_) => sum / self.count as f64,
            Measure::Quantile(thousandths, _) => match self.sketch.as_deref() {
                Some(Sketch::Quantiles(sketch)) => sketch.quantile(f64::from(*thousandths) / 1000.0).unwrap_or(0.0),
                _ => 0.0,
            },
            Measure::Distinct(_) => match self.sketch.as_deref() {
                Some(Sketch::Distinct(sketch)) => libm::round(sketch.estimate()),
                _ => 0.0,
            },
            Measure::New(_) | Measure::Rare(_) => 0.0,
        }
    }

    /// True if the cell says something about the measure: an empty window has a count, but no mean.
    pub fn tells(&self, measure: &Measure) -> bool {
        let needs_records = matches!(measure, Measure::Mean(_) | Measure::Quantile(..));
        !self.overflows() && (self.count > 0 || !needs_records || measure.kind() == Kind::Share)
    }

    /// Bytes that it is encoded to, about.
    pub(crate) fn size(&self) -> usize {
        20 + match self.sketch.as_deref() {
            None => 0,
            Some(Sketch::Quantiles(sketch)) => sketch.size(),
            Some(Sketch::Distinct(sketch)) => sketch.size(),
            Some(Sketch::Values(sketch)) => sketch.size(),
        }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let sketch = match self.sketch.as_deref() {
            None => 0,
            Some(Sketch::Quantiles(_)) => 1,
            Some(Sketch::Distinct(_)) => 2,
            Some(Sketch::Values(_)) => 3,
        };
        out.push(u8::from(self.wraps != 0) << 5 | u8::from(self.sum != 0) << 3 | sketch);
        put_unsigned(out, u128::from(self.count));
        if self.sum != 0 {
            put_signed(out, self.sum);
        }
        if self.wraps != 0 {
            put_signed(out, i128::from(self.wraps));
        }
        match self.sketch.as_deref() {
            None => {}
            Some(Sketch::Quantiles(sketch)) => sketch.encode(out),
            Some(Sketch::Distinct(sketch)) => sketch.encode(out),
            Some(Sketch::Values(sketch)) => sketch.encode(out),
        }
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let head = reader.byte()?;
        if head > 0x3f {
            return Err(Damaged);
        }
        let count = reader.number()?;
        let sum = if head & 8 != 0 { reader.signed()? } else { 0 };
        // An earlier version noted only that the sum had been out of range; that version does not read what this one writes
        // of such sums.
        let noted = if head & 0x10 != 0 { NOTED } else { 0 };
        let wraps = if head & 0x20 != 0 { i64::try_from(reader.signed()?).map_err(|_| Damaged)? } else { noted };
        let sketch = match head & 7 {
            0 => None,
            1 => Some(Box::new(Sketch::Quantiles(Quantiles::decode(reader)?))),
            2 => Some(Box::new(Sketch::Distinct(Distinct::decode(reader)?))),
            3 => Some(Box::new(Sketch::Values(Values::decode(reader)?))),
            _ => return Err(Damaged),
        };
        Ok(Self { count, sum, wraps, sketch })
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
        let numbers = prop::collection::vec(-1e6..1e6, 0..4);
        let sketch = (0..4u8, numbers).prop_map(|(kind, numbers)| match kind {
            0 => None,
            1 => {
                let mut sketch = Quantiles::default();
                for n in numbers {
                    sketch.add(n);
                }
                Some(Box::new(Sketch::Quantiles(sketch)))
            }
            2 => {
                let mut sketch = Distinct::default();
                numbers.iter().for_each(|n| sketch.add_hash(n.to_bits()));
                Some(Box::new(Sketch::Distinct(sketch)))
            }
            _ => {
                let mut sketch = Values::new(2);
                numbers.iter().for_each(|n| sketch.add(&n.to_string(), 1));
                Some(Box::new(Sketch::Values(sketch)))
            }
        });
        (0u64..1 << 40, any::<i128>(), any::<i64>(), sketch).prop_map(|(count, sum, wraps, sketch)| Cell {
            count,
            sum,
            wraps,
            sketch,
        })
    }

    fn merged(cells: &[Cell]) -> Cell {
        cells.iter().fold(Cell::default(), |mut sum, c| {
            sum.merge(c);
            sum
        })
    }

    proptest! {
        #[test]
        fn the_order_of_merging_does_not_matter(a in any::<i128>(), b in any::<i128>(), c in cell()) {
            let cells = [Cell::one(a), Cell::one(b), c];
            let all = merged(&cells);
            for order in [[0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
                let other = merged(&order.map(|i| cells[i].clone()));
                prop_assert_eq!(&all, &other);
            }
        }

        #[test]
        fn bytes_round_trip(cell in cell()) {
            let mut bytes = Vec::new();
            cell.encode(&mut bytes);
            let mut reader = Reader(&bytes);
            prop_assert_eq!(Cell::decode(&mut reader), Ok(cell));
            prop_assert_eq!(reader.end(), Ok(()));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = Cell::decode(&mut Reader(&bytes));
        }
    }

    #[test]
    fn a_sum_that_comes_back_into_its_range_is_whole() {
        let most = || Cell::one(i128::MAX);
        let least = || Cell::one(i128::MIN);
        assert!(merged(&[most(), most()]).overflows() && merged(&[least(), least()]).overflows());
        let back = merged(&[most(), most(), least(), Cell::one(-5), least()]);
        assert_eq!((back.overflows(), back.sum), (false, -7));
        assert!(Cell::decode(&mut Reader(&[0x10, 1])).unwrap().overflows(), "as an earlier version wrote it");
    }

    #[test]
    fn numbers_that_are_none_have_no_units() {
        for v in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300] {
            assert_eq!(to_units(v), None);
        }
        assert_eq!(to_units(-1.5), Some(-1_500_000));
    }
}
