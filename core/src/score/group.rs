//! What is known of one group of a detector: the models of its measures, and what its panes gave so far.
//!
//! Used by `scoring` when a pane closes; a record of the state topic. Invariant: `decode(encode(g))` is `g` to the bit
//! for the same measures and explained fields; of others, what still fits is taken over: models, and what the measures
//! counted in panes that still belong to a window, by the measures' names.

use super::state::SILENT;
use crate::explain::Usual;
use crate::model::SeriesModel;
use crate::pipeline::{Detector, Millis};
use crate::sketch::hash;
use crate::window::Cells;
use crate::window::varint::{Damaged, Reader, put_signed, put_unsigned};

const VERSION: u8 = 3;
/// With values without room.
const FORMER: u8 = 2;

/// One group's state.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Group {
    /// One for each measure.
    pub series: Vec<Series>,
    /// Windows in a row that closed without a record.
    pub empty: u64,
    /// Panes that closed and still belong to a window to come, merged by the hop they end in.
    pub slots: Vec<(Millis, Cells)>,
    /// For each weight and explained field, the usual shares of the values.
    pub usual: Vec<Usual>,
}

/// One measure's state.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Series {
    pub model: SeriesModel,
    /// End of the window in which the present anomaly began.
    pub anomalous_since: Option<Millis>,
    /// The value of the newest window.
    pub last: f64,
    /// Of new and rare values: those seen.
    pub history: Option<Box<Usual>>,
}

impl Group {
    pub fn new(detector: &Detector) -> Self {
        let series = |measure: &crate::measure::Measure| Series {
            model: SeriesModel::new(detector.model, measure.kind()),
            anomalous_since: None,
            last: 0.0,
            history: None,
        };
        Self {
            series: detector.measures.iter().map(series).collect(),
            empty: 0,
            slots: Vec::new(),
            usual: vec![Usual::default(); detector.weights().len() * detector.explain.len()],
        }
    }

    /// How many of the series have no score yet.
    pub fn learning(&self, detector: &Detector) -> u64 {
        let needed = detector.model.learning();
        self.series.iter().filter(|series| series.model.learned() < needed).count() as u64
    }

    /// No record came for so long that the group is not given zeros any more until it comes back. The first window without
    /// any is never the last, however long it is: nobody would be told that its anomaly began.
    pub fn silent(&self, hop: Millis) -> bool {
        self.empty > 1 && i64::try_from(self.empty).unwrap_or(i64::MAX).saturating_mul(hop) >= SILENT
    }

    /// Takes the panes that another group kept.
    pub fn take_over(&mut self, slots: Vec<(Millis, Cells)>) {
        for (slot, cells) in slots {
            match self.slots.binary_search_by_key(&slot, |(own, _)| *own) {
                Ok(at) => self.slots[at].1.merge(&cells),
                Err(at) => self.slots.insert(at, (slot, cells)),
            }
        }
    }

    /// Keeps a closed pane for the windows it belongs to.
    pub fn keep(&mut self, end: Millis, cells: &Cells, detector: &Detector) {
        // The end of the hop that the pane lies in.
        let slot = end.saturating_sub(1).div_euclid(detector.hop).saturating_add(1).saturating_mul(detector.hop);
        match self.slots.last_mut() {
            Some((last, own)) if *last == slot => own.merge(cells),
            _ if cells.records() > 0 => self.slots.push((slot, cells.clone())),
            _ => {}
        }
    }

    /// The window that ends now, merged from its panes; what no later window needs is forgotten.
    pub fn window(&mut self, end: Millis, detector: &Detector) -> Cells {
        let begin = end.saturating_sub(detector.window);
        let mut window = Cells::default();
        for (_, cells) in self.slots.iter().filter(|(slot, _)| *slot > begin && *slot <= end) {
            window.merge(cells);
        }
        self.slots.retain(|(slot, _)| *slot > begin.saturating_add(detector.hop));
        window
    }

    /// Bytes that its state takes, about.
    pub fn bytes(&self, detector: &Detector) -> usize {
        let learned: usize =
            self.series.iter().filter_map(|s| s.history.as_deref()).chain(&self.usual).map(Usual::size).sum();
        let cells: usize = self.slots.iter().map(|(_, cells)| cells.size()).sum();
        self.series.len() * detector.model.most_bytes() + learned + cells
    }

    pub fn encode(&self, detector: &Detector, out: &mut Vec<u8>) {
        out.push(VERSION);
        put_unsigned(out, u128::from(self.empty));
        put_unsigned(out, self.series.len() as u128);
        for (series, measure) in self.series.iter().zip(&detector.measures) {
            out.extend(name_hash(&measure.to_string()).to_le_bytes());
            out.push(u8::from(series.anomalous_since.is_some()) | u8::from(series.history.is_some()) << 1);
            if let Some(since) = series.anomalous_since {
                put_signed(out, i128::from(since));
            }
            out.extend(series.last.to_le_bytes());
            if let Some(history) = &series.history {
                put_bytes(out, |out| history.encode(out));
            }
            put_bytes(out, |out| series.model.encode(out));
        }
        if self.slots.is_empty() && self.usual.is_empty() {
            return;
        }
        // Panes and usual values mean something for one layout only.
        out.extend(detector.layout().to_le_bytes());
        put_unsigned(out, self.slots.len() as u128);
        for (slot, cells) in &self.slots {
            put_signed(out, i128::from(*slot));
            cells.encode(out);
        }
        put_unsigned(out, self.usual.len() as u128);
        self.usual.iter().for_each(|usual| put_bytes(out, |out| usual.encode(out)));
    }

    /// # Errors
    /// A text that says what is wrong.
    pub fn decode(bytes: &[u8], detector: &Detector) -> Result<Self, String> {
        let mut reader = Reader(bytes);
        let damaged = |e: Damaged| e.to_string();
        match reader.byte().map_err(damaged)? {
            VERSION | FORMER => {}
            other => return Err(format!("format version {other}, this outlier reads {VERSION}")),
        }
        let mut group = Self::new(detector);
        group.empty = reader.number().map_err(damaged)?;
        let names: Vec<u32> = detector.measures.iter().map(|m| name_hash(&m.to_string())).collect();
        // Where each measure of the record is now.
        let mut places = Vec::new();
        for _ in 0..reader.length().map_err(damaged)? {
            let (name, head, model) = read_series(&mut reader).map_err(damaged)?;
            let model = SeriesModel::decode(model).map_err(|e| e.to_string())?;
            // It may not be configured any more; and what was a flag may be a field now, which learns anew.
            let fits = |index: &usize| names[*index] == name && detector.measures[*index].kind() == model.kind();
            let place = (0..names.len()).find(fits);
            places.push(place);
            let Some(index) = place else { continue };
            // The configuration may have changed.
            let model = model.in_tier(detector.model);
            let history = head.2.map(Usual::decode).transpose().map_err(|e| e.to_string())?.map(Box::new);
            group.series[index] = Series { model, anomalous_since: head.0, last: head.1, history };
        }
        let (same, slots, usual) = read_rest(&mut reader, detector.layout()).map_err(damaged)?;
        if same {
            group.slots = slots;
            for (own, bytes) in group.usual.iter_mut().zip(usual) {
                *own = Usual::decode(bytes).map_err(|e| e.to_string())?;
            }
        } else {
            let moved = |(slot, cells): (Millis, Cells)| (slot, cells.moved(&places, names.len()));
            group.slots = slots.into_iter().map(moved).collect();
        }
        Ok(group)
    }
}

type Head<'a> = (Option<Millis>, f64, Option<&'a [u8]>);

fn read_series<'a>(reader: &mut Reader<'a>) -> Result<(u32, Head<'a>, &'a [u8]), Damaged> {
    let name = u32::from_le_bytes(reader.array()?);
    let flags = reader.byte()?;
    if flags > 3 {
        return Err(Damaged);
    }
    let since = (flags & 1 != 0).then(|| reader.millis()).transpose()?;
    let last = f64::from_le_bytes(reader.array()?);
    let history = (flags & 2 != 0).then(|| reader.bytes()).transpose()?;
    Ok((name, (since, last, history), reader.bytes()?))
}

type Rest<'a> = (bool, Vec<(Millis, Cells)>, Vec<&'a [u8]>);

fn read_rest<'a>(reader: &mut Reader<'a>, layout: u64) -> Result<Rest<'a>, Damaged> {
    if reader.0.is_empty() {
        return Ok((false, Vec::new(), Vec::new()));
    }
    let same = u64::from_le_bytes(reader.array()?) == layout;
    let slots =
        (0..reader.length()?).map(|_| Ok((reader.millis()?, Cells::decode(reader)?))).collect::<Result<_, _>>()?;
    let usual = (0..reader.length()?).map(|_| reader.bytes()).collect::<Result<_, _>>()?;
    reader.end()?;
    Ok((same, slots, usual))
}

/// Writes something with its length before it.
fn put_bytes(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = Vec::new();
    write(&mut bytes);
    put_unsigned(out, bytes.len() as u128);
    out.extend(bytes);
}

fn name_hash(measure: &str) -> u32 {
    hash(measure.as_bytes()) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::{Cell, Measure};
    use proptest::prelude::*;

    fn detector() -> Detector {
        let mut detector =
            Detector::new("d", vec![Measure::Count, "a".parse().map(Measure::Mean).unwrap()], 600_000, 0);
        (detector.hop, detector.explain) = (120_000, vec!["x".parse().unwrap()]);
        detector
    }

    #[test]
    fn state_round_trips_and_follows_the_measures() {
        let detector = detector();
        let mut group = Group::new(&detector);
        (group.empty, group.series[1].last, group.series[0].anomalous_since) = (300, 2.5, Some(-5));
        let cells = Cells { measures: vec![Cell::one(1), Cell::one(2)], values: Vec::new() };
        group.keep(60_000, &cells, &detector);
        let mut bytes = Vec::new();
        group.encode(&detector, &mut bytes);
        assert_eq!(Group::decode(&bytes, &detector), Ok(group.clone()));
        // A record of the version before says the same.
        assert_eq!(Group::decode(&[&[FORMER], &bytes[1..]].concat(), &detector), Ok(group.clone()));
        let mut other = detector.clone();
        other.measures.swap(0, 1);
        other.measures.push(Measure::Silence);
        let moved = Group::decode(&bytes, &other).unwrap();
        assert_eq!(
            (moved.series[1].clone(), moved.series[0].clone()),
            (group.series[0].clone(), group.series[1].clone())
        );
        // What the measures counted stays theirs; what a new one would have counted is not known.
        let cells = Cells { measures: vec![Cell::one(2), Cell::one(1), Cell::default()], values: Vec::new() };
        assert_eq!(moved.slots, [(120_000, cells)]);
        assert!(Group::decode(&[1, 0], &detector).is_err_and(|e| e.contains("version 1")));
    }

    #[test]
    fn a_group_is_silent_after_a_day_and_two_windows() {
        let day = 24 * 3_600_000;
        for (hop, empty, silent) in [
            (60_000, 1_439, false),
            (60_000, 1_440, true),
            (day / 2, 1, false),
            (day / 2, 2, true),
            (day, 1, false),
            (day, 2, true),
            (day, u64::MAX, true),
        ] {
            let group = Group { empty, ..Group::new(&detector()) };
            assert_eq!(group.silent(hop), silent, "{empty} of {hop} ms");
        }
    }

    #[test]
    fn a_flag_that_became_a_field_learns_anew() {
        use crate::measure::Operand;
        let of = |operand| Detector {
            hop: 60_000,
            explain: vec!["y".parse().unwrap()],
            ..Detector::new("d", vec![Measure::Count, Measure::Sum(operand)], 120_000, 0)
        };
        let (flag, field) = (of(Operand::Flag(0, "x".to_owned())), of(Operand::Field("x".parse().unwrap())));
        assert_ne!(flag.layout(), field.layout());
        let mut group = Group::new(&flag);
        let cells = Cells { measures: vec![Cell::one(0), Cell::one(7)], values: Vec::new() };
        group.keep(60_000, &cells, &flag);
        group.usual[0].learn(
            &crate::sketch::Values::new(2),
            &crate::explain::Lesson { start: 0, window: 60_000, anomalous: false, age_out: i64::MAX, besides: 1 },
        );
        let point = crate::model::Point { start: 0, window: 60_000, value: 3.0, count: 3, trusted: true };
        group.series.iter_mut().for_each(|series| _ = series.model.observe(&point));
        let mut bytes = Vec::new();
        group.encode(&flag, &mut bytes);
        let read = Group::decode(&bytes, &field).unwrap();
        assert_eq!(read.series[0], group.series[0]);
        let new = Group::new(&field);
        assert_eq!((&read.series[1], &read.usual), (&new.series[1], &new.usual));
        assert_eq!(read.slots[0].1.measures, [Cell::one(0), Cell::default()]);
    }

    /// What a series of a detector with many costs in the state topic, its key apart.
    #[test]
    fn a_series_is_a_small_record() {
        for (measure, most) in [(Measure::Count, 300), (Measure::Mean("a".parse().unwrap()), 320)] {
            let detector = Detector::new("d", vec![measure], 60_000, 0);
            let mut group = Group::new(&detector);
            let mut largest = 0;
            for minute in 0..3_000i64 {
                // An hour without records now and then, so that there is a former level to remember.
                let value = if minute / 60 % 13 == 12 { 0.0 } else { 50.0 + (minute % 7) as f64 };
                let point =
                    crate::model::Point { start: minute * 60_000, window: 60_000, value, count: 9, trusted: true };
                group.series[0].model.observe(&point);
                group.series[0].anomalous_since = Some(1_795_399_680_000);
                let mut bytes = Vec::new();
                group.encode(&detector, &mut bytes);
                assert_eq!(Group::decode(&bytes, &detector).as_ref(), Ok(&group));
                largest = largest.max(bytes.len());
            }
            assert!(largest <= most, "{largest} bytes");
            // A step more of the allocator is 64 bytes.
            assert!(size_of::<Group>() <= 80 && size_of::<Series>() <= 320, "in memory, its key apart");
        }
    }

    /// What [`Group::bytes`] says, in parts of the record.
    fn costs(group: &Group, detector: &Detector) -> f64 {
        let mut bytes = Vec::new();
        group.encode(detector, &mut bytes);
        group.bytes(detector) as f64 / bytes.len() as f64
    }

    /// Values as long and as many as logs can make them, in every place where values are kept.
    #[test]
    fn no_logs_make_a_record_too_large() {
        use crate::explain::Lesson;
        use crate::measure::{Operand, Sketch};
        use crate::model::Tier;
        use crate::sketch::Values;
        use crate::window::{Diff, Frame, LARGEST_RECORD, Origin};
        let flag = |index: usize| Measure::Sum(Operand::Flag(index, format!("flag{index}")));
        let field = |name: &str| name.parse().unwrap();
        let remembering = vec![Measure::New(field("a")), Measure::Rare(field("b")), Measure::Count];
        for (measures, hops, explain, tier) in [
            (vec![flag(0), flag(1), Measure::Count], 1, 5, Tier::Both),
            (vec![Measure::Count], 1, 16, Tier::Both),
            (vec![flag(0), flag(1)], 12, 5, Tier::Compact),
            (remembering.clone(), 20, 2, Tier::Both),
            (remembering, 60, 0, Tier::Compact),
            ((0..32).map(flag).collect(), 1, 2, Tier::Full),
        ] {
            let mut detector = Detector::new("d", measures, 3_600_000, 0);
            (detector.hop, detector.why_values) = (detector.window / hops, 100_000);
            detector.explain = (0..explain).map(|n| field(&format!("f{n}"))).collect();
            detector.model = tier;
            let room = detector.values_room().expect("it fits");
            let mut values = Values::new(detector.why_values).within(room);
            (0..40_000).for_each(|n| values.add(&format!("{n:0>128}"), 1 << 22));
            let with_values = |measure: &Measure| match measure {
                Measure::New(_) | Measure::Rare(_) => Cell {
                    count: u64::MAX >> 8,
                    sum: 0,
                    wraps: 0,
                    sketch: Some(Box::new(Sketch::Values(values.clone()))),
                },
                _ => Cell { count: u64::MAX >> 8, sum: i128::MAX >> 8, wraps: i64::MAX, sketch: None },
            };
            let cells = Cells {
                measures: detector.measures.iter().map(with_values).collect(),
                values: vec![values.clone(); detector.weights().len() * explain],
            };
            let mut group = Group::new(&detector);
            let before = costs(&group, &detector);
            assert!((0.3..12.0).contains(&before), "nothing learned: {before} of its bytes");
            for n in 0..40i64 {
                let point = crate::model::Point {
                    start: n * 60_000,
                    window: 60_000,
                    value: (n * 977 % 83) as f64 * 1e9,
                    count: 1 << 40,
                    trusted: true,
                };
                group.series.iter_mut().for_each(|series| _ = series.model.observe(&point));
            }
            let mut lesson =
                Lesson { start: 0, window: 60_000, anomalous: false, age_out: i64::MAX, besides: Usual::BESIDES };
            for n in 0..20 {
                let mut other = Values::new(2_000);
                (0..2_000).for_each(|m| other.add(&format!("{:0>128}", n * 2_000 + m), 1 << 40));
                lesson.start += 3_600_000 * 24 * 100;
                group.usual.iter_mut().for_each(|usual| usual.learn(&other, &lesson));
                let remembered = Lesson { besides: detector.remembered(), ..lesson };
                for (series, measure) in group.series.iter_mut().zip(&detector.measures) {
                    if matches!(measure, Measure::New(_) | Measure::Rare(_)) {
                        series.history.get_or_insert_default().learn(&other, &remembered);
                    }
                }
            }
            (1..=hops).for_each(|hop| group.keep(hop * detector.hop, &cells, &detector));
            let full = costs(&group, &detector);
            assert!((0.3..3.0).contains(&full), "full: {full} of its bytes");
            let mut state = Vec::new();
            group.encode(&detector, &mut state);
            let origin = std::sync::Arc::new(Origin::from(&detector));
            let diff = Diff { origin, group: "g".repeat(1_024), start: i64::MAX, cells };
            let frame = Frame { diffs: vec![diff], ..Frame::default() }.encode(0).remove(0);
            for (name, bytes) in [("state", state.len()), ("windows", frame.len())] {
                assert!(bytes + 2_048 < LARGEST_RECORD, "{name}: {bytes} of {detector:?}");
            }
            assert!(state.len() > LARGEST_RECORD / 2, "much less than there is room for: {}", state.len());
        }
    }

    #[test]
    fn windows_are_merged_from_the_panes_they_cover() {
        let detector = detector();
        let mut group = Group::new(&detector);
        let mut seen = Vec::new();
        for minute in 1..=20i64 {
            // Nothing in the minutes 6 to 11.
            let records = if (6..=11).contains(&minute) { 0 } else { 1u64 << minute };
            let cells = Cells { measures: vec![Cell { count: records, ..Cell::default() }], values: Vec::new() };
            group.keep(minute * 60_000, &cells, &detector);
            if minute % 2 == 0 {
                let count = group.window(minute * 60_000, &detector).records();
                let due: u64 =
                    (minute - 9..=minute).filter(|m| *m > 0 && !(6..=11).contains(m)).map(|m| 1u64 << m).sum();
                seen.push((count, due));
            }
        }
        assert!(seen.iter().all(|(count, due)| count == due), "{seen:?}");
        assert!(group.slots.len() <= 5);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = Group::decode(&bytes, &detector());
            bytes.insert(0, VERSION);
            let _ = Group::decode(&bytes, &detector());
        }
    }
}
