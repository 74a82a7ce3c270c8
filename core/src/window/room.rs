//! How large the record of one group may get, and what of it each part has.
//!
//! A group's state and its difference to a pane are one record each, and Kafka takes a record only up to a limit that a
//! topic sets. Invariant: whatever the logs hold, a record of a detector that [`Detector::values_room`] has room for is
//! within [`LARGEST_RECORD`]; the room follows from the configuration alone, so every instance keeps the same values.

use crate::explain::Usual;
use crate::measure::Measure;
use crate::pipeline::Detector;
use crate::sketch::{Distinct, Quantiles, Values};

/// The most bytes of a record of the windows and state topics, its key included.
pub const LARGEST_RECORD: usize = 4 << 20;
/// What is around the parts: keys, versions, names and lengths.
const AROUND: usize = 8 << 10;
/// Numbers of a measure in a pane, and what tells its series.
const CELL: usize = 80;

impl Detector {
    /// Bytes for the values of one field, weight and pane; at least [`Values::LEAST`]. `None`: not even that has room, as
    /// there are too many fields, flags, measures and windows that overlap.
    pub fn values_room(&self) -> Option<usize> {
        let panes = usize::try_from(self.window / self.hop.max(1)).unwrap_or(usize::MAX).max(1);
        let remembered = self.measures.iter().filter(|m| matches!(m, Measure::New(_) | Measure::Rare(_))).count();
        let explained = self.weights().len() * self.explain.len();
        let cell = |measure: &Measure| match measure {
            Measure::Quantile(..) => CELL + Quantiles::MOST_BYTES,
            Measure::Distinct(_) => CELL + Distinct::MOST_BYTES,
            _ => CELL,
        };
        let fixed = AROUND
            + self.measures.len() * (CELL + self.model.most_bytes())
            + explained * Usual::MOST_BYTES
            + remembered * Usual::bytes(self.remembered())
            + panes * self.measures.iter().map(cell).sum::<usize>();
        // Without any values the room is of no use, and of no harm.
        let room = LARGEST_RECORD.checked_sub(fixed)? / (panes * (explained + remembered)).max(1);
        (room >= Values::LEAST).then_some(room)
    }

    /// Values of a field that `new` and `rare` remember in one series, besides those of the largest weight: one of all
    /// records may take more than one of many.
    pub fn remembered(&self) -> usize {
        if self.by.is_empty() { 16_384 } else { 1_024 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_and_what_does_not() {
        let flag = |index: usize| Measure::Sum(crate::measure::Operand::Flag(index, format!("f{index}")));
        let field = |name: &str| name.parse().unwrap();
        let detector = |measures: Vec<Measure>, hops: i64, explain: usize| {
            let mut detector = Detector::new("d", measures, 3_600_000, 0);
            detector.hop = detector.window / hops;
            detector.explain = (0..explain).map(|n| field(&format!("f{n}"))).collect();
            detector
        };
        for (detector, fits) in [
            (detector(vec![Measure::Count], 1, 16), true),
            (detector(vec![flag(0), flag(1), flag(2)], 1, 5), true),
            (detector(vec![flag(0), flag(1), flag(2)], 12, 5), true),
            (detector(vec![flag(0), flag(1), flag(2)], 60, 5), true),
            (detector((0..10).map(flag).collect(), 60, 5), false),
            (detector((0..64).map(flag).collect(), 1, 16), false),
            (detector(vec![Measure::New(field("a")), Measure::Rare(field("a"))], 60, 0), true),
            (detector((1..65).map(|n| Measure::Quantile(n, field("a"))).collect(), 1, 0), true),
            (detector((1..65).map(|n| Measure::Quantile(n, field("a"))).collect(), 60, 0), false),
        ] {
            assert_eq!(detector.values_room().is_some(), fits, "{detector:?}");
        }
    }
}
