//! When windows close, and what is in none.

use super::*;

/// In windows of a day the second zero is the last: the anomaly that began with the first must not stay for ever.
#[test]
fn a_series_that_falls_silent_leaves_no_anomaly_behind() {
    let mut bench = Bench::new(Detector::new("d", vec![Measure::Count], DAY, 0));
    for day in 0..60 {
        if day < 50 {
            (0..500).for_each(|i| bench.add(day * DAY + i * 100_000, &[], None));
        } else {
            // A record of nothing else moves the clock: late for its own window by the next.
            bench.counter.reject(0, &Reject::Tombstone);
        }
        bench.flow();
    }
    bench.add(60 * DAY, &[], None);
    bench.flow();
    let rows = bench.rows("count");
    assert_eq!(rows.len(), 52, "fifty days with records and two zeros");
    assert!(rows[50..].iter().all(|row| row.anomaly && row.value == 0.0));
    assert!(bench.anomalous.is_empty(), "{:?}", bench.anomalous);
}

/// Late, skewed and after the close: the row of the window in which they came says so.
#[test]
fn what_is_left_out_is_told_in_the_window_that_was_current() {
    let pipeline = pipeline(Detector::new("d", vec![Measure::Count], MINUTE, 0));
    let mut bench = Bench { counter: Counter::new(&pipeline, 0), ..Bench::new(pipeline.detectors[0].clone()) };
    (0..2).for_each(|partition| bench.counter.assign(partition, Default::default(), 0));
    // The other partition is empty, and said to be so.
    bench.counter.at_end(1, DAY);
    (0..2).for_each(|_| bench.counter.sure(1, Some(0), DAY));
    bench.counter.tick(DAY);
    for time in [10_000, 70_000, 59_999, 20_000, 130_000] {
        bench.add(time, &[], None);
        if time == 70_000 {
            bench.counter.reject(0, &Reject::Skewed { ahead: 2, limit: 1 });
        }
        if time < 60_000 {
            bench.flow();
        }
    }
    bench.flow();
    let flags = [false; 10];
    let old = Observed { flags: &flags, numbers: &[None], texts: &Texts::default() };
    bench.counter.add(1, 5_000, &old);
    // It belongs to the others again: its own clock goes on, too.
    bench.counter.add(1, 200_000, &old);
    bench.add(190_000, &[], None);
    bench.flow();
    let told: Vec<_> = bench.rows("count").iter().map(|row| (row.window_start / MINUTE, row.left_out)).collect();
    let left = |late, skewed, after_close| LeftOut { late, skewed, after_close };
    assert_eq!(told, [(0, left(0, 0, 0)), (1, left(2, 1, 0)), (2, left(0, 0, 1))]);
    let row = serde_json::to_value(&bench.rows[1]).unwrap();
    assert_eq!(row["left_out"], serde_json::json!({"late": 2, "skewed": 1}));
    assert!(serde_json::to_value(&bench.rows[0]).unwrap().get("left_out").is_none());
    assert_eq!(bench.scorers.iter_mut().map(|scorer| scorer.take_counts().after_close).sum::<u64>(), 1);
}

/// One partition is a day ahead of the other and of the clock. Whoever falls idle first, windows close by the clock, so
/// that the other loses nothing when it comes back.
#[test]
fn a_day_ahead_closes_nothing_early() {
    for last in [0, 1] {
        let pipeline = pipeline(Detector::new("d", vec![Measure::Count], MINUTE, 0));
        let mut bench = Bench { counter: Counter::new(&pipeline, 0), ..Bench::new(pipeline.detectors[0].clone()) };
        (0..2).for_each(|partition| bench.counter.assign(partition, Default::default(), 0));
        let flags = [false; 10];
        let record = Observed { flags: &flags, numbers: &[None], texts: &Texts::default() };
        bench.counter.add(1, DAY, &record);
        for (minute, idle) in [(0, 0), (1, 0), (2, 1), (3, 2), (4, 0), (5, 0)] {
            let now = (minute + 1) * MINUTE;
            for partition in [1 - last, last].into_iter().take(idle) {
                bench.counter.at_end(partition, now);
                (0..2).for_each(|_| bench.counter.sure(partition, Some(1), now));
            }
            if idle == 0 {
                bench.add(now, &[], None);
            }
            bench.counter.tick(now);
            bench.flow();
        }
        let rows: Vec<_> = bench.rows("count").iter().map(|row| (row.window_start / MINUTE, row.value)).collect();
        assert_eq!(rows, [(1, 1.0), (2, 1.0), (3, 0.0), (4, 0.0), (5, 1.0)]);
        assert_eq!(bench.scorers.iter_mut().map(|scorer| scorer.take_counts().after_close).sum::<u64>(), 0);
    }
}

/// One scorer learns from history and hands over; the other goes on, at once or after a gap.
#[test]
fn a_scorer_goes_on_from_history() {
    let detector = |window| {
        let mut detector = Detector::new("d", vec![Measure::Count], window, 10_000);
        detector.hop = MINUTE;
        detector
    };
    let records = |bench: &mut Bench, minutes: std::ops::Range<i64>| {
        for minute in minutes {
            (0..20 + minute * 7 % 5).for_each(|i| bench.add(minute * MINUTE + i * 1_000, &[], None));
            bench.flow();
        }
    };
    for (window, gap) in [(MINUTE, 0), (3 * MINUTE, 0), (MINUTE, 300), (3 * MINUTE, 300)] {
        let mut whole = Bench::new(detector(window));
        records(&mut whole, 0..100);
        let mut history = Bench::new(detector(window));
        records(&mut history, 0..50);
        let mut live = Bench::new(detector(window));
        live.offset = 7;
        for (new, old) in live.scorers.iter_mut().zip(&mut history.scorers) {
            while old.close_until(60 * MINUTE, 50 * MINUTE - 1, 1).is_some() {}
            assert_eq!(old.closed().collect::<Vec<_>>(), [("d", 50 * MINUTE)]);
            for (key, value) in old.state().chain([old.handover(7)]) {
                new.restore(&key, Some(&value)).unwrap();
            }
            new.restored(Some(7)).unwrap();
        }
        records(&mut live, 50 + gap..100 + gap);
        let rows = |bench: &Bench, from: i64| {
            bench.rows.iter().filter(|row| row.window_end > from * MINUTE).cloned().collect::<Vec<_>>()
        };
        let got = rows(&live, 0);
        assert!(got.len() >= 48, "{}", got.len());
        if gap == 0 {
            assert_eq!(got, rows(&whole, 50));
        } else {
            let first = got[0].window_end / MINUTE;
            assert_eq!(first, 51 + gap, "no zeros for the gap");
            assert!(got.iter().all(|row| !row.learning));
            if window == MINUTE {
                assert!(got.iter().all(|row| row.score < 60.0), "{got:?}");
            }
        }
    }
}

/// What it had before, with other windows, may have been anomalous when it was no more: its first window ends that.
#[test]
fn a_new_series_ends_what_was_known_under_its_name() {
    for (fields, ended) in [(&[][..], 1), (&["key"], 0)] {
        let mut bench = Bench::new(by(vec![Measure::Count], fields));
        for minute in 0..3 {
            bench.add(minute * MINUTE, &[Some(b"a")], None);
            bench.flow();
        }
        assert_eq!(bench.rows.len(), 2);
        assert_eq!(bench.ended, ended, "by {fields:?}");
    }
}

/// A detector is taken out of the configuration for hours, then put back as it was.
#[test]
fn a_detector_that_comes_back_has_no_zeros_for_the_time_between() {
    for (window, gap) in [(MINUTE, 1), (MINUTE, 300), (3 * MINUTE, 300)] {
        let mut detector = Detector::new("d", vec![Measure::Count], window, 10_000);
        detector.hop = MINUTE;
        let both = || [detector.clone(), Detector::new("other", vec![Measure::Count], MINUTE, 0)];
        let mut bench = Bench::new(detector.clone());
        let mut state: [BTreeMap<String, Vec<u8>>; 2] = Default::default();
        for (detectors, minutes) in [(&both()[..], 0..50), (&both()[1..], 50..50 + gap), (&both(), 50 + gap..80 + gap)]
        {
            let pipeline = Pipeline { detectors: detectors.to_vec(), ..pipeline(detector.clone()) };
            bench.counter = Counter::new(&pipeline, i64::MAX);
            bench.counter.assign(0, Default::default(), 0);
            for (partition, state) in state.iter_mut().enumerate() {
                let mut scorer = Scorer::new(&pipeline, partition as i32);
                state.iter().for_each(|(key, value)| scorer.restore(key, Some(value)).unwrap());
                scorer.restored((bench.offset > 0).then_some(bench.offset)).unwrap();
                bench.scorers[partition] = scorer;
            }
            for minute in minutes {
                (0..20 + minute * 7 % 5).for_each(|i| bench.add(minute * MINUTE + i * 1_000, &[], None));
                for (partition, changes) in bench.flow() {
                    state[partition].extend(changes.state.into_iter().filter_map(|(key, value)| Some((key, value?))));
                }
            }
        }
        let rows: Vec<_> = bench.rows.iter().filter(|row| row.name.detector == "d").collect();
        let minutes = |row: &&&Score| row.window_end > 50 * MINUTE && row.window_end <= (50 + gap) * MINUTE;
        assert_eq!(rows.iter().filter(minutes).count(), 0, "rows for the time between, {window} {gap}");
        let last = rows.last().unwrap();
        assert!(!last.anomaly && (last.expected - last.value).abs() < last.value / 4.0, "{last:?}");
        assert!(rows.len() >= 76, "{} rows", rows.len());
    }
}

#[test]
fn long_windows_are_the_sum_of_their_minutes() {
    for (window, hop) in [(600_000, 600_000), (600_000, 120_000), (300_000, 60_000), (30_000, 10_000)] {
        let mut detector = Detector::new("d", vec![Measure::Count, Measure::Distinct(testing::field("v"))], window, 0);
        detector.hop = hop;
        let mut bench = Bench::new(detector);
        let records: Vec<(Millis, i64)> = (0..4_000i64).map(|i| (i * 997 + i * i % 613, i * i % 97)).collect();
        for (time, value) in &records {
            bench.add(*time, &[Some(value.to_string().as_bytes())], None);
            if time % 7 == 0 {
                bench.flow();
            }
        }
        bench.add(10_000_000, &[None], None);
        bench.flow();
        let rows = bench.rows("count");
        assert!(rows.len() as i64 >= 3_900_000 / hop, "{} rows", rows.len());
        for row in rows {
            let inside = records.iter().filter(|(time, _)| (row.window_start..row.window_end).contains(time));
            assert_eq!(row.count, inside.clone().count() as u64, "{window}/{hop} at {}", row.window_end);
            assert_eq!(row.window_end - row.window_start, window);
            let distinct = inside.map(|(_, value)| value).collect::<BTreeSet<_>>().len() as f64;
            let counted = bench.rows("distinct(v)").iter().find(|r| r.window_end == row.window_end).unwrap().value;
            assert!((counted - distinct).abs() <= 0.03 * distinct, "{counted} of {distinct} distinct values");
        }
    }
}
