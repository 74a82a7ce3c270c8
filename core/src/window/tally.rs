//! What the records of one transaction add to panes, told apart only as far as some detector does.
//!
//! Between the transform and the frames. Records of the same *shape* (the same values of the fields that detectors
//! look at, the same flags, the same pane) are counted once, and only at the end of the transaction is each shape
//! given to every detector: most logs have few shapes, so a record costs one look-up however many detectors there
//! are. Invariant: what comes out, merged, does not depend on the order of the records nor on where transactions end: a
//! record that no measure of a detector counts adds nothing to it, whatever came with it.

use super::frame::{Cells, Diff, Origin};
use super::group;
use super::interner::Interner;
use super::{partition_of, window_start};
use crate::field::FieldPath;
use crate::measure::{Cell, Measure, Operand, Sketch, UNIT};
use crate::pipeline::{Detector, Millis, Pipeline};
use crate::record::Texts;
use crate::sketch::{Distinct, Quantiles, Values, hash};
use foldhash::fast::RandomState;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Index of a missing value.
const MISSING: u32 = u32::MAX;

/// What detectors look at in a record.
#[derive(Debug, Clone, Copy)]
pub struct Observed<'r> {
    /// In the order of [`Pipeline::flag_names`].
    pub flags: &'r [bool],
    /// In the order of [`Pipeline::number_fields`], in [`UNIT`]s.
    pub numbers: &'r [Option<i128>],
    /// In the order of [`Pipeline::text_fields`].
    pub texts: &'r Texts,
}

/// Shapes and how often each came.
pub(super) struct Tally {
    detectors: Vec<Counting>,
    /// Divides every pane.
    bucket: Millis,
    /// The values of each text field that came in this transaction.
    texts: Vec<Interner>,
    /// For each number field, whether a quantile of it is wanted.
    numbers: Vec<bool>,
    /// Which detectors a record is late for; the first is none.
    masks: Vec<Vec<bool>>,
    /// By the numbers of their keys: everything that tells them apart, written out. One look-up a record.
    shapes: Vec<Shape>,
    /// The records of each shape; apart, as it is all that most records touch.
    counts: Vec<u64>,
    keys: Interner,
    /// The key of the record at hand.
    key: Vec<u8>,
    partitions: i32,
}

/// A detector, with its fields as positions.
struct Counting {
    detector: Detector,
    origin: Arc<Origin>,
    by: Vec<usize>,
    explain: Vec<usize>,
    weights: Vec<Option<usize>>,
    /// For each measure, the position of its number or text field.
    operands: Vec<usize>,
    /// Bytes for the values of a field; see [`Detector::values_room`].
    room: usize,
}

struct Shape {
    /// Where its pane starts, to the smallest pane of all detectors.
    start: Millis,
    /// Its place in the masks.
    late: usize,
    flags: Box<[bool]>,
    /// For each text field, the number of its value, or [`MISSING`].
    texts: Box<[u32]>,
    /// For each number field: the records that have one, their sum, and their values where a quantile is wanted.
    numbers: Vec<Cell>,
}

/// What the shapes of one group and pane add up to.
#[derive(Default)]
struct Adding {
    cells: Cells,
    /// For each weight and explained field, the records of each value by its number plus one; 0 is a missing value.
    weights: Vec<Weighed>,
}

/// Records of values by their numbers.
#[derive(Clone)]
enum Weighed {
    /// Of the one group of all records: a place for each value.
    All(Vec<u64>),
    /// Of one group among many, which sees few of the values: one entry a shape.
    Few(Vec<(usize, u64)>),
}

impl Weighed {
    fn add(&mut self, value: usize, count: u64) {
        match self {
            Weighed::All(counts) => {
                if counts.len() <= value {
                    counts.resize(value + 1, 0);
                }
                counts[value] = counts[value].saturating_add(count);
            }
            Weighed::Few(counts) => counts.push((value, count)),
        }
    }

    fn each(&self, mut add: impl FnMut(usize, u64)) {
        match self {
            Weighed::All(counts) => counts.iter().enumerate().for_each(|(value, count)| add(value, *count)),
            Weighed::Few(counts) => counts.iter().for_each(|(value, count)| add(*value, *count)),
        }
    }
}

impl Tally {
    pub fn new(pipeline: &Pipeline) -> Self {
        let (numbers, texts) = (pipeline.number_fields(), pipeline.text_fields());
        let number = |path: &FieldPath| numbers.iter().position(|n| **n == *path).unwrap_or(usize::MAX);
        let text = |path: &FieldPath| texts.iter().position(|t| **t == *path).unwrap_or(usize::MAX);
        let operand = |m: &Measure| m.number().map(number).or(m.text().map(text)).unwrap_or(usize::MAX);
        let counting = |detector: &Detector| Counting {
            origin: Arc::new(Origin::from(detector)),
            by: detector.by.iter().map(text).collect(),
            explain: detector.explain.iter().map(text).collect(),
            weights: detector.weights(),
            operands: detector.measures.iter().map(operand).collect(),
            room: detector.values_room().unwrap_or_default(),
            detector: detector.clone(),
        };
        let quantile = |path| {
            let mut measures = pipeline.detectors.iter().flat_map(|d| &d.measures);
            measures.any(|m| matches!(m, Measure::Quantile(_, of) if of == path))
        };
        Self {
            detectors: pipeline.detectors.iter().map(counting).collect(),
            bucket: pipeline.detectors.iter().map(Detector::pane).fold(0, gcd).max(1),
            numbers: numbers.iter().map(|path| quantile(*path)).collect(),
            texts: texts.iter().map(|_| Interner::default()).collect(),
            masks: vec![Vec::new()],
            shapes: Vec::new(),
            counts: Vec::new(),
            keys: Interner::default(),
            key: Vec::new(),
            partitions: pipeline.windows_partitions,
        }
    }

    /// What differences of the detector with this index say that they belong to.
    pub fn origin(&self, detector: usize) -> Arc<Origin> {
        self.detectors[detector].origin.clone()
    }

    pub fn is_empty(&self) -> bool {
        self.shapes.is_empty()
    }

    pub fn clear(&mut self) {
        self.shapes.clear();
        self.counts.clear();
        self.masks.truncate(1);
        self.keys.clear();
        self.texts.iter_mut().for_each(Interner::clear);
    }

    /// Counts one record. `late` says for each detector whether the record is late for it; empty means for none.
    pub fn add(&mut self, event_time: Millis, late: &[bool], observed: &Observed<'_>) {
        let mask = match late.is_empty() {
            true => 0,
            false => self.masks.iter().position(|mask| mask == late).unwrap_or_else(|| {
                self.masks.push(late.to_vec());
                self.masks.len() - 1
            }),
        };
        let start = window_start(event_time, self.bucket);
        self.key.clear();
        self.key.extend_from_slice(&start.to_le_bytes());
        self.key.extend_from_slice(&(mask as u32).to_le_bytes());
        for flags in observed.flags.chunks(8) {
            self.key.push(flags.iter().fold(0, |bits, flag| bits << 1 | u8::from(*flag)));
        }
        for numbers in observed.numbers.chunks(8) {
            self.key.push(numbers.iter().fold(0, |bits, number| bits << 1 | u8::from(number.is_some())));
        }
        observed.texts.write_to(&mut self.key);
        let number = self.keys.number(&self.key) as usize;
        if number == self.shapes.len() {
            let text = |(i, values): (usize, &mut Interner)| {
                observed.texts.get(i).map_or(MISSING, |value| values.number(value))
            };
            self.shapes.push(Shape {
                start,
                late: mask,
                flags: observed.flags.into(),
                texts: self.texts.iter_mut().enumerate().map(text).collect(),
                numbers: Vec::new(),
            });
            self.counts.push(0);
        }
        self.counts[number] += 1;
        if self.numbers.is_empty() {
            return;
        }
        let shape = &mut self.shapes[number];
        shape.numbers.resize(self.numbers.len(), Cell::default());
        for ((cell, number), quantile) in shape.numbers.iter_mut().zip(observed.numbers).zip(&self.numbers) {
            let Some(number) = number else { continue };
            cell.merge(&Cell::one(*number));
            if *quantile {
                let sketch = cell.sketch.get_or_insert_with(|| Box::new(Sketch::Quantiles(Quantiles::default())));
                if let Sketch::Quantiles(sketch) = sketch.as_mut() {
                    sketch.add(*number as f64 / UNIT as f64);
                }
            }
        }
    }

    /// The differences by windows partition, in the order (detector, group, pane), and how many had their keys hashed.
    pub fn take(&mut self) -> (BTreeMap<i32, Vec<Diff>>, u64) {
        let mut found = Found::new(self.detectors.len());
        let mut hashed = 0;
        for (shape, &count) in self.shapes.iter().zip(&self.counts) {
            let late = &self.masks[shape.late];
            let set = |flag: usize| shape.flags.get(flag).is_some_and(|set| *set);
            let text = |field: usize| {
                let number = shape.texts.get(field).filter(|number| **number != MISSING)?;
                Some(self.texts[field].get(*number))
            };
            for (index, counting) in self.detectors.iter().enumerate() {
                if late.get(index).is_some_and(|late| *late) || !counting.counts(shape) {
                    continue;
                }
                let pane = window_start(shape.start, counting.origin.pane);
                let (adding, long) = found.adding(index, counting, pane, &text);
                hashed += u64::from(long) * count;
                counting.add(&mut adding.cells, shape, count, pane, &set, &text);
                counting.weigh(&mut adding.weights, count, &set, &shape.texts);
            }
        }
        let mut diffs: BTreeMap<i32, Vec<Diff>> = BTreeMap::new();
        for ((index, group, start), Adding { mut cells, weights }) in found.sorted() {
            let counting = &self.detectors[index];
            let origin = self.origin(index);
            cells.values = counting.values(start, &weights, &self.texts);
            let partition = partition_of(&origin.detector, &group, self.partitions);
            diffs.entry(partition).or_default().push(Diff { origin, group, start, cells });
        }
        self.clear();
        (diffs, hashed)
    }
}

/// What was found, by detector, group and pane.
struct Found {
    places: HashMap<(usize, String, Millis), usize, RandomState>,
    adding: Vec<Adding>,
    /// For each detector, the pane of the last shape and its place: nearly all that have no groups are in one.
    last: Vec<Option<(Millis, usize)>>,
}

impl Found {
    fn new(detectors: usize) -> Self {
        Self { places: HashMap::default(), adding: Vec::new(), last: vec![None; detectors] }
    }

    /// Where a shape is to be added, and whether the key of its group had to be hashed.
    fn adding<'t>(
        &mut self,
        index: usize,
        counting: &Counting,
        pane: Millis,
        text: &impl Fn(usize) -> Option<&'t [u8]>,
    ) -> (&mut Adding, bool) {
        let Self { places, adding, last } = self;
        let (place, long) = match last[index] {
            Some((of, place)) if of == pane && counting.by.is_empty() => (place, false),
            _ => {
                let (group, long) = counting.group(text);
                let next = adding.len();
                (*places.entry((index, group, pane)).or_insert(next), long)
            }
        };
        last[index] = Some((pane, place));
        if place == adding.len() {
            adding.push(counting.empty());
        }
        (&mut adding[place], long)
    }

    /// In the order (detector, group, pane).
    fn sorted(mut self) -> impl Iterator<Item = ((usize, String, Millis), Adding)> {
        let mut places: Vec<_> = self.places.drain().collect();
        places.sort_unstable();
        places.into_iter().map(move |(key, place)| (key, std::mem::take(&mut self.adding[place])))
    }
}

impl Counting {
    /// Whether a measure counts the records of this shape: one of a number, those that have one.
    fn counts(&self, shape: &Shape) -> bool {
        let has = |operand: &usize| shape.numbers.get(*operand).is_some_and(|number| number.count > 0);
        self.detector.measures.iter().zip(&self.operands).any(|(m, operand)| m.number().is_none() || has(operand))
    }

    /// No values of a pane yet. Beyond the limit another sample of the values is kept in each window, so that no value
    /// stays out for good; the panes of one window must keep the same one.
    fn no_values(&self, pane: Millis) -> Values {
        let Detector { why_values, window, hop, .. } = self.detector;
        let salt = if hop == window { pane.div_euclid(window) as u32 } else { 0 };
        Values::salted(why_values, salt).within(self.room)
    }

    /// The name of a record's group, and whether it was so long that its hash is used.
    fn group<'t>(&self, text: &impl Fn(usize) -> Option<&'t [u8]>) -> (String, bool) {
        let mut group = Vec::new();
        for (i, field) in self.by.iter().enumerate() {
            group::push_value(&mut group, text(*field).unwrap_or_default(), i == 0);
        }
        group::finish(group)
    }

    fn empty(&self) -> Adding {
        let measures = vec![Cell::default(); self.detector.measures.len()];
        Adding {
            cells: Cells { measures, values: Vec::new() },
            weights: vec![
                if self.by.is_empty() { Weighed::All(Vec::new()) } else { Weighed::Few(Vec::new()) };
                self.weights.len() * self.explain.len()
            ],
        }
    }

    /// Counts the records of one shape for the values that may explain them; `numbers` has those of its fields.
    fn weigh(&self, weights: &mut [Weighed], count: u64, set: &impl Fn(usize) -> bool, numbers: &[u32]) {
        for (weight, of_weight) in self.weights.iter().zip(weights.chunks_mut(self.explain.len().max(1))) {
            if weight.is_some_and(|flag| !set(flag)) {
                continue;
            }
            for (field, of_value) in self.explain.iter().zip(of_weight) {
                // A missing value comes first, so that all are small.
                let value = numbers.get(*field).map_or(0, |number| number.wrapping_add(1) as usize);
                of_value.add(value, count);
            }
        }
    }

    /// The counts of [`Counting::weigh`] with the values' texts; a missing value is an empty text.
    fn values(&self, pane: Millis, weights: &[Weighed], texts: &[Interner]) -> Vec<Values> {
        let fields = self.explain.iter().cycle();
        let sketch = |(of_value, field): (&Weighed, &usize)| {
            let mut values = self.no_values(pane);
            of_value.each(|value, count| {
                let text = value.checked_sub(1).map_or(&b""[..], |number| texts[*field].get(number as u32));
                values.add(&String::from_utf8_lossy(text), count);
            });
            values
        };
        weights.iter().zip(fields).map(sketch).collect()
    }

    /// Adds the records of one shape.
    fn add<'t>(
        &self,
        cells: &mut Cells,
        shape: &Shape,
        count: u64,
        pane: Millis,
        set: &impl Fn(usize) -> bool,
        text: &impl Fn(usize) -> Option<&'t [u8]>,
    ) {
        for ((cell, measure), operand) in cells.measures.iter_mut().zip(&self.detector.measures).zip(&self.operands) {
            match measure {
                Measure::Count | Measure::Silence => cell.count = cell.count.saturating_add(count),
                Measure::Sum(Operand::Flag(flag, _)) | Measure::Ratio(Operand::Flag(flag, _)) => {
                    let sum = if set(*flag) { i128::from(count) * UNIT } else { 0 };
                    cell.merge(&Cell { count, sum, ..Cell::default() });
                }
                Measure::Quantile(..) => {
                    if let Some(number) = shape.numbers.get(*operand) {
                        cell.merge(number);
                    }
                }
                Measure::Sum(Operand::Field(_)) | Measure::Ratio(Operand::Field(_)) | Measure::Mean(_) => {
                    if let Some(Cell { count, sum, wraps, .. }) = shape.numbers.get(*operand) {
                        cell.merge(&Cell { count: *count, sum: *sum, wraps: *wraps, sketch: None });
                    }
                }
                Measure::Distinct(_) => {
                    cell.count = cell.count.saturating_add(count);
                    let sketch = cell.sketch.get_or_insert_with(|| Box::new(Sketch::Distinct(Distinct::default())));
                    if let (Sketch::Distinct(sketch), Some(value)) = (sketch.as_mut(), text(*operand)) {
                        sketch.add_hash(hash(value));
                    }
                }
                Measure::New(_) | Measure::Rare(_) => {
                    cell.count = cell.count.saturating_add(count);
                    let new = || Box::new(Sketch::Values(self.no_values(pane)));
                    let sketch = cell.sketch.get_or_insert_with(new);
                    if let (Sketch::Values(sketch), Some(value)) = (sketch.as_mut(), text(*operand)) {
                        sketch.add(&String::from_utf8_lossy(value), count);
                    }
                }
            }
        }
    }
}

fn gcd(a: Millis, b: Millis) -> Millis {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests;
