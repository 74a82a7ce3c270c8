//! What a partition makes of logs, from counted records to rows: groups, bounds, silence, long windows, bad input.

mod position;
mod silence;
mod time;

use super::{Changes, Position, Score, Scorer};
use crate::measure::{Measure, UNIT};
use crate::model::Tier;
use crate::pipeline::{Detector, Emit, Millis, Pipeline};
use crate::record::{Reject, Texts};
use crate::testing;
use crate::window::{Counter, LeftOut, Observed};
use std::collections::{BTreeMap, BTreeSet};

const MINUTE: Millis = 60_000;
const DAY: Millis = 86_400_000;

/// Both stages of one detector over one source partition, without anything between them.
struct Bench {
    counter: Counter,
    scorers: Vec<Scorer>,
    offset: i64,
    rows: Vec<Score>,
    /// Anomalies that are present.
    anomalous: BTreeSet<String>,
    /// How often the end of one was told.
    ended: usize,
}

fn pipeline(detector: Detector) -> Pipeline {
    let mut pipeline = testing::waf();
    (pipeline.detectors, pipeline.windows_partitions) = (vec![detector], 2);
    pipeline
}

impl Bench {
    fn new(detector: Detector) -> Self {
        let pipeline = pipeline(detector);
        let mut counter = Counter::new(&pipeline, i64::MAX);
        counter.assign(0, Default::default(), 0);
        let scorers = (0..2).map(|partition| Scorer::new(&pipeline, partition)).collect();
        Self { counter, scorers, offset: 0, rows: Vec::new(), anomalous: BTreeSet::new(), ended: 0 }
    }

    /// A record with these texts and one number.
    fn add(&mut self, time: Millis, texts: &[Option<&[u8]>], number: Option<f64>) {
        let mut buffer = Texts::default();
        texts.iter().for_each(|text| buffer.push(*text));
        let numbers = [number.and_then(crate::measure::to_units)];
        self.counter.add(0, time, &Observed { flags: &[false; 10], numbers: &numbers, texts: &buffer });
    }

    /// Ends a transaction: frames, then everything that is due. Gives what it wrote for each partition.
    fn flow(&mut self) -> Vec<(usize, Changes)> {
        let mut all = Vec::new();
        let outgoing = self.counter.take(1);
        for (partition, scorer) in self.scorers.iter_mut().enumerate() {
            if let Some(frame) = outgoing.frames.get(&(partition as i32)) {
                scorer.apply(self.offset, frame);
            }
            while let Some(closed) = scorer.close(3) {
                self.rows.extend(closed.scores);
                for (name, anomaly) in closed.anomalies {
                    self.ended += usize::from(anomaly.is_none());
                    match anomaly {
                        Some(_) => self.anomalous.insert(name.key()),
                        None => self.anomalous.remove(&name.key()),
                    };
                }
            }
            all.extend(scorer.take_changes(Position::Due).map(|changes| (partition, changes)));
            scorer.commit();
        }
        self.offset += 1;
        all
    }

    fn rows(&self, series: &str) -> Vec<&Score> {
        self.rows.iter().filter(|row| row.name.series == series).collect()
    }
}

fn by(measures: Vec<Measure>, fields: &[&str]) -> Detector {
    let by = fields.iter().map(|f| testing::field(f)).collect();
    Detector { by, ..Detector::new("d", measures, MINUTE, 0) }
}

/// What is exactly as expected has a probability of 1, whose logarithm is a zero with a sign.
#[test]
fn no_row_has_a_negative_zero() {
    for model in [Tier::Compact, Tier::Full, Tier::Both] {
        let measures = vec![Measure::Count, Measure::Mean(testing::field("size"))];
        let mut bench = Bench::new(Detector { model, ..Detector::new("d", measures, MINUTE, 0) });
        for minute in 0..300 {
            (0..3).for_each(|i| bench.add(minute * MINUTE + i, &[], Some(if minute % 2 == 0 { -0.0 } else { 0.0 })));
            bench.flow();
        }
        assert!(bench.rows.len() > 500, "{}", bench.rows.len());
        for row in &bench.rows {
            let text = serde_json::to_string(row).unwrap();
            assert!(!text.contains("-0.0"), "{model:?}: {text}");
        }
    }
}

/// How many windows are still needed is in the rows, and how many series are learning is known, also after a restart.
#[test]
fn learning_is_told_until_it_ends() {
    let mut bench = Bench::new(by(vec![Measure::Count], &["a"]));
    let mut state = BTreeMap::new();
    let mut series = |bench: &mut Bench| {
        bench.flow();
        for (partition, scorer) in bench.scorers.iter().enumerate() {
            state.extend(scorer.state().map(|(key, value)| ((partition, key), value)));
        }
        let mut restored = Scorer::new(&pipeline(by(vec![Measure::Count], &["a"])), 0);
        state.iter().for_each(|((_, key), value)| restored.restore(key, Some(value)).unwrap());
        let sum = bench.scorers.iter().map(Scorer::series).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
        assert_eq!(restored.series(), sum);
        sum
    };
    assert_eq!(series(&mut bench), (0, 0));
    for minute in 0..=30 {
        bench.add(minute * MINUTE, &[Some(b"x")], None);
        if minute > 0 {
            bench.add(minute * MINUTE, &[Some(b"y")], None);
        }
        if minute == 1 {
            assert_eq!(series(&mut bench), (1, 1), "y has no window yet");
        }
    }
    assert_eq!(series(&mut bench), (2, 1), "x has its 30 windows, y has one less");
    bench.add(31 * MINUTE, &[Some(b"x")], None);
    assert_eq!(series(&mut bench), (2, 0));
    let told = |row: &&Score| (row.learning, row.learned, row.needed);
    let rows: Vec<_> = bench.rows("count{a=x}").iter().map(told).collect();
    assert_eq!((rows[0], rows[29], rows[30]), ((true, 1, 30), (true, 30, 30), (false, 0, 0)));
}

#[test]
fn each_group_is_a_series_of_its_own() {
    let mut bench = Bench::new(by(vec![Measure::Count, Measure::Mean(testing::field("size"))], &["a", "b"]));
    for minute in 0..3 {
        for (texts, number) in [
            ([Some(&b"x"[..]), Some(&b"1"[..])], Some(2.0)),
            ([Some(b"x"), Some(b"1")], Some(4.0)),
            ([Some(b"x"), None], None),
            ([None, Some(b"y,\x1f\\")], Some(-1.5)),
        ] {
            bench.add(minute * MINUTE, &texts, number);
        }
        bench.flow();
    }
    for (series, value, count) in [
        ("count{a=x,b=1}", 2.0, 2),
        ("mean(size){a=x,b=1}", 3.0, 2),
        ("count{a=x,b=}", 1.0, 1),
        ("mean(size){a=x,b=}", 0.0, 0),
        ("count{a=,b=y\\,\u{1f}\\\\}", 1.0, 1),
        ("mean(size){a=,b=y\\,\u{1f}\\\\}", -1.5, 1),
    ] {
        let rows = bench.rows(series);
        assert_eq!(rows.iter().map(|r| (r.value, r.count)).collect::<Vec<_>>(), [(value, count); 2], "{series}");
    }
    let by =
        |bench: &Bench, series| bench.rows(series)[0].by.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>();
    assert_eq!(by(&bench, "count{a=x,b=1}"), ["a=x", "b=1"]);
    let mut bench = Bench::new(self::by(vec![Measure::Count], &["a"]));
    (0..3).for_each(|minute| bench.add(minute * MINUTE, &[None], None));
    bench.flow();
    assert_eq!(by(&bench, "count{a=}"), ["a="]);
}

#[test]
fn memory_is_bounded_whatever_the_keys() {
    let mut detector = by(vec![Measure::Count], &["key"]);
    detector.max_series = 50;
    let mut bench = Bench::new(detector);
    let huge = "k".repeat(1 << 20);
    let mut sent = 0u64;
    let mut hashed = 0;
    for minute in 0..20i64 {
        for key in 0..200 {
            bench.add(minute * MINUTE, &[Some(format!("{}", minute * 37 + key).as_bytes())], None);
        }
        bench.add(minute * MINUTE, &[Some(huge.as_bytes())], None);
        sent += if minute < 19 { 201 } else { 0 };
        let outgoing = bench.counter.take(1);
        hashed += outgoing.counts.hashed;
        for (partition, scorer) in bench.scorers.iter_mut().enumerate() {
            if let Some(frame) = outgoing.frames.get(&(partition as i32)) {
                scorer.apply(bench.offset, frame);
            }
            while let Some(closed) = scorer.close(7) {
                bench.rows.extend(closed.scores);
            }
            assert!(scorer.groups() <= 51);
            let state = scorer.take_changes(Position::Due).map_or(Vec::new(), |changes| changes.state);
            assert!(
                state.iter().all(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len) < 400),
                "small records"
            );
            scorer.commit();
        }
        bench.offset += 1;
    }
    assert_eq!(hashed, 20);
    let counted: u64 = bench.rows.iter().map(|row| row.count).sum();
    assert_eq!(counted, sent, "what is beyond the bound is in the overflow");
    let overflow: u64 = bench.scorers.iter_mut().map(|scorer| scorer.take_counts().overflow).sum();
    assert!(overflow > 0, "and is counted");
    assert!(bench.rows.iter().any(|row| row.name.series.contains("(hash ")) || overflow > 19);
}

/// A group that moves to the overflow has records in windows that are still to come.
#[test]
fn what_moves_to_the_overflow_stays_in_its_windows() {
    let mut detector = by(vec![Measure::Count], &["key"]);
    (detector.window, detector.hop, detector.max_series) = (3 * MINUTE, MINUTE, 1);
    let mut bench = Bench::new(detector);
    // Each takes the place of the one before it in its partition.
    let mut keys: Vec<String> = (0..30).map(|key| key.to_string()).collect();
    keys.sort_by_key(|key| std::cmp::Reverse(super::pane::rank(key)));
    for (minute, key) in (0..).zip(&keys) {
        for record in 0..4 {
            bench.add(minute * MINUTE + record, &[Some(key.as_bytes())], None);
        }
        bench.flow();
    }
    let mut windows = BTreeMap::new();
    bench.rows.iter().for_each(|row| *windows.entry(row.window_end / MINUTE).or_insert(0) += row.count);
    assert!(windows.len() == 29 && windows.range(3..).all(|(_, count)| *count == 12), "{windows:?}");
    let overflow: u64 = bench.scorers.iter_mut().map(|scorer| scorer.take_counts().overflow).sum();
    assert!(overflow > 30, "{overflow}");
}

/// Keys that are gone make room for those that come.
#[test]
fn groups_that_are_silent_go_first() {
    const HOUR: Millis = 60 * MINUTE;
    let mut detector = by(vec![Measure::Count], &["key"]);
    (detector.window, detector.hop, detector.max_series) = (HOUR, HOUR, 10);
    let mut bench = Bench::new(detector);
    let keys = |bench: &mut Bench, hour: i64, name: &str, keys: usize| {
        for key in 0..keys {
            bench.add(hour * HOUR, &[Some(format!("{name}{key}").as_bytes())], None);
        }
        bench.flow();
    };
    keys(&mut bench, 0, "old", 40);
    (1..30).for_each(|hour| keys(&mut bench, hour, "steady", 2));
    keys(&mut bench, 30, "fresh", 6);
    keys(&mut bench, 31, "fresh", 6);
    for key in 0..6 {
        assert_eq!(bench.rows(&format!("count{{key=fresh{key}}}")).len(), 1, "fresh{key}");
    }
    assert!(bench.scorers.iter().all(|scorer| scorer.groups() <= 11));
}

/// A close that another owner goes on with moves the same groups to the overflow, though one that it closed is silent by then.
#[test]
fn a_close_that_goes_on_moves_the_same_groups() {
    const HOUR: Millis = 60 * MINUTE;
    let mut pipeline = pipeline(by(vec![Measure::Count], &["key"]));
    pipeline.windows_partitions = 1;
    let detector = &mut pipeline.detectors[0];
    (detector.window, detector.hop, detector.max_series) = (HOUR, HOUR, 2);
    // By hash: the one that speaks all the time, the one that falls silent, the one that comes; the second closes before
    // the third.
    let mut keys: Vec<String> = (0..100).map(|key| key.to_string()).collect();
    keys.sort_by_key(|key| super::pane::rank(key));
    let later = (2..).find(|late| keys[*late] > keys[1]).unwrap();
    let [steady, old, new] = [0, 1, later].map(|at| keys[at].clone());
    let run = |moves: bool| {
        let mut counter = Counter::new(&pipeline, i64::MAX);
        counter.assign(0, Default::default(), 0);
        let (mut scorer, mut state, mut frames, mut rows) =
            (Scorer::new(&pipeline, 0), BTreeMap::new(), Vec::new(), Vec::new());
        for hour in 0..30i64 {
            let mut all = vec![&steady];
            all.extend((hour == 0).then_some(&old));
            all.extend((hour == 24).then_some(&new));
            for key in all {
                let mut texts = Texts::default();
                texts.push(Some(key.as_bytes()));
                // In the pane with which the window closes.
                let time = hour * HOUR + 59 * MINUTE;
                counter.add(0, time, &Observed { flags: &[false; 10], numbers: &[None], texts: &texts });
            }
            frames.push(counter.take(1).frames.remove(&0).unwrap());
            scorer.apply(hour, frames.last().unwrap());
            while let Some(closed) = scorer.close(1) {
                rows.extend(closed.scores.into_iter().map(|row| (row.window_end, row.name.series, row.count)));
                let Some(changes) = scorer.take_changes(Position::Due) else { continue };
                state.extend(changes.state);
                scorer.commit();
                if moves {
                    scorer = Scorer::new(&pipeline, 0);
                    state.iter().for_each(|(key, value)| scorer.restore(key, value.as_deref()).unwrap());
                    scorer.restored(Some(changes.offset)).unwrap();
                    (changes.offset..=hour).for_each(|at| scorer.apply(at, &frames[at as usize]));
                }
            }
        }
        rows.sort();
        rows
    };
    let calm = run(false);
    assert!(calm.iter().any(|(end, series, count)| (*end, *count) == (25 * HOUR, 1) && series.contains("beyond")));
    assert_eq!(run(true), calm);
}

/// A pipeline that falls silent is told by its own measure, and only then.
#[test]
fn silence_is_an_anomaly_and_a_flood_is_none() {
    let mut bench = Bench::new(Detector::new("d", vec![Measure::Count, Measure::Silence], MINUTE, 0));
    for minute in 0..200i64 {
        let records = match minute {
            150 => 2_000,
            160..170 => 0,
            _ => 95 + minute * 7 % 11,
        };
        (0..records).for_each(|i| bench.add(minute * MINUTE + i % 59_000, &[], None));
        bench.flow();
    }
    let anomalies = |series: &str| {
        let rows = bench.rows(series).into_iter().filter(|row| row.anomaly);
        rows.map(|row| row.window_start / MINUTE).collect::<Vec<_>>()
    };
    assert_eq!(anomalies("count")[0], 150);
    assert_eq!(anomalies("silence"), (160..170).collect::<Vec<_>>());
}

#[test]
fn rows_are_written_as_configured() {
    for (emit, expected) in [(Emit::All, 30), (Emit::Auto, 30), (Emit::Changed, 11), (Emit::Anomalous, 0)] {
        let mut detector = Detector::new("d", vec![Measure::Count], MINUTE, 0);
        detector.emit = emit;
        let mut bench = Bench::new(detector);
        for minute in 0..=30i64 {
            // Ten windows of one, two, … records, then the same again and again.
            (0..minute.min(10) + 1).for_each(|_| bench.add(minute * MINUTE, &[], None));
            bench.flow();
        }
        assert_eq!(bench.rows("count").len(), expected, "{emit:?}");
    }
}

#[test]
fn new_and_rare_values_are_told_from_known_ones() {
    let measures = vec![Measure::New(testing::field("v")), Measure::Rare(testing::field("v"))];
    let mut bench = Bench::new(Detector::new("d", measures, MINUTE, 0));
    for minute in 0..120i64 {
        for i in 0..100 {
            bench.add(minute * MINUTE, &[Some(format!("v{}", i % 5).as_bytes())], None);
        }
        if minute == 100 {
            (0..7).for_each(|i| bench.add(minute * MINUTE, &[Some(format!("odd{i}").as_bytes())], None));
        }
        bench.flow();
    }
    for series in ["new(v)", "rare(v)"] {
        let rows = bench.rows(series);
        let values: Vec<_> = rows.iter().skip(1).filter(|row| row.value > 0.0).collect();
        assert_eq!(
            values.iter().map(|r| (r.window_start / MINUTE, r.value)).collect::<Vec<_>>(),
            [(100, 7.0)],
            "{series}"
        );
        assert!(values[0].anomaly, "{series}: {:?}", values[0]);
    }
}

/// A series remembers many values, but not all of a field that has ever more of them, and says so.
#[test]
fn what_is_not_remembered_any_more_is_said() {
    for (distinct, found, forgot) in [(5_000, 3.0, false), (20_000, 0.0, true)] {
        let mut detector = Detector::new("d", vec![Measure::New(testing::field("v"))], MINUTE, 0);
        detector.why_values = 1_000;
        let mut bench = Bench::new(detector);
        for minute in 0..60i64 {
            // Each value comes once in so many windows.
            for i in 0..500 {
                let value = (minute * 500 + i) % distinct;
                bench.add(minute * MINUTE, &[Some(format!("v{value}").as_bytes())], None);
            }
            if minute == 55 {
                (0..3).for_each(|i| bench.add(minute * MINUTE, &[Some(format!("odd{i}").as_bytes())], None));
            }
            bench.flow();
        }
        let row = bench.rows("new(v)").into_iter().find(|row| row.window_start == 55 * MINUTE).unwrap();
        assert_eq!((row.value, row.forgot), (found, forgot), "{distinct}");
    }
}

/// What came in the window before is not new, however short values are remembered.
#[test]
fn a_value_of_the_window_before_is_known() {
    let mut detector = Detector::new("d", vec![Measure::New(testing::field("v"))], 60 * MINUTE, 0);
    detector.forget = detector.window;
    let mut bench = Bench::new(detector);
    for minute in (0..600i64).step_by(20) {
        bench.add(minute * MINUTE, &[Some(b"a")], None);
        bench.flow();
    }
    let new: Vec<_> = bench.rows("new(v)").iter().map(|row| row.value).collect();
    assert_eq!(new, [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
}

/// One source partition is a day ahead: nothing closes before the others come there, and nothing is lost.
#[test]
fn numbers_without_end_are_flagged_not_believed() {
    let mut bench = Bench::new(Detector::new(
        "d",
        vec!["n".parse().map(crate::measure::Operand::Field).map(Measure::Sum).unwrap()],
        MINUTE,
        0,
    ));
    for minute in 0..5i64 {
        bench.add(minute * MINUTE, &[], Some(1e27));
        bench.add(minute * MINUTE, &[], Some(-1e27));
        bench.add(minute * MINUTE, &[], Some(f64::NAN));
        bench.add(minute * MINUTE, &[], Some(f64::INFINITY));
        bench.add(minute * MINUTE, &[], Some(-3.0));
        bench.flow();
    }
    for row in bench.rows("sum(n)") {
        assert_eq!((row.value, row.count), (-3.0, 3));
    }
    assert_eq!(crate::measure::to_units(-3.0), Some(-3 * UNIT));
    // So many of the largest numbers are too much for the sum, too: the row says that it is not to be believed.
    (0..180_000).for_each(|_| bench.add(5 * MINUTE, &[], Some(1e27)));
    bench.add(6 * MINUTE, &[], None);
    bench.flow();
    let rows = bench.rows("sum(n)");
    assert_eq!(rows.iter().map(|row| row.overflow).collect::<Vec<_>>(), [false, false, false, false, false, true]);
    assert_eq!((rows[5].score, rows[5].learned), (0.0, rows[4].learned), "neither scored nor learned");
    assert_eq!(bench.scorers.iter_mut().map(|scorer| scorer.take_counts().sum_overflow).sum::<u64>(), 1);
}

/// What the state says of a series is what was learned.
#[test]
fn state_is_told_in_numbers_that_people_know() {
    let detector = by(vec![Measure::Count], &["key"]);
    let pipeline = pipeline(detector.clone());
    let mut bench = Bench::new(detector);
    let mut state = Vec::new();
    for minute in 0..300i64 {
        (0..20 + minute % 3).for_each(|i| bench.add(minute * MINUTE + i, &[Some(b"a")], None));
        let frames = bench.counter.take(1).frames;
        for (partition, scorer) in bench.scorers.iter_mut().enumerate() {
            let Some(frame) = frames.get(&(partition as i32)) else { continue };
            scorer.apply(minute, frame);
            while scorer.close(9).is_some() {}
            for (key, value) in scorer.take_changes(Position::Due).map_or(Vec::new(), |changes| changes.state) {
                state.extend(value.map(|value| (partition as i32, key, value)));
            }
            scorer.commit();
        }
    }
    let told =
        |(partition, key, value): &(i32, String, Vec<u8>)| super::inspect(&pipeline, *partition, key, value).unwrap();
    let last = state.iter().flat_map(told).next_back().unwrap();
    assert_eq!((last.name.series.as_str(), last.windows, last.newest), ("count{key=a}", 299, Some(299 * MINUTE)));
    assert!((last.next.expected - 21.0).abs() < 1.0 && last.next.lower < 20.0 && last.next.upper > 22.0, "{last:?}");
    assert!(last.by_hour[..5].iter().all(|value| (value - 21.0).abs() < 2.0), "{:?}", last.by_hour);
    assert!(super::inspect(&pipeline, 0, "group/other-00000000/x", b"").unwrap().is_empty());
}

/// A flag that rises while the records with it are what they always were: among all records its value rose.
#[test]
fn a_flag_that_rises_alone_is_explained_among_all_records() {
    let flag = crate::measure::Operand::Flag(1, "B_action".into());
    let mut detector = Detector::new("d", vec![Measure::Sum(flag)], MINUTE, 0);
    detector.explain = vec![testing::field("action"), testing::field("country")];
    let mut bench = Bench::new(detector);
    for minute in 0..60i64 {
        for i in 0..200 {
            let block = if minute == 55 { i % 2 == 0 } else { i % 50 == 0 };
            let mut texts = Texts::default();
            texts.push(Some(if block { b"BLOCK" } else { b"ALLOW" }));
            texts.push(Some(if i % 4 < 2 { b"US" } else { b"UK" }));
            let flags = [false, block, false, false, false, false, false, false, false, false];
            bench.counter.add(0, minute * MINUTE + i, &Observed { flags: &flags, numbers: &[], texts: &texts });
        }
        bench.flow();
    }
    let rows = bench.rows("sum(B_action)");
    let row = rows.iter().find(|row| row.anomaly).unwrap();
    assert_eq!((row.window_start, row.value), (55 * MINUTE, 100.0));
    let first = row.why.first().expect("a reason");
    assert_eq!((first.field.as_str(), first.value.as_str()), ("action", "BLOCK"));
    assert!(first.now == 0.5 && (first.usual - 0.02).abs() < 0.005, "{first:?}");
}
