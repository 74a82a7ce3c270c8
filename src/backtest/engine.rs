//! Both stages of `process` in one thread and without a broker: records in, score rows out.
//!
//! ```text
//! record ─► Transform ─► Counter ─► frames ─► Scorer (one a windows partition) ─► Score
//!                           └─► marks ─► Watermark ──┘
//! ```
//!
//! Invariants: the decisions are those of the live service, as the code is: late by a partition's own stream time, closed
//! by the watermark over all partitions, in the order (end, detector, series) in each windows partition. So how records of
//! different partitions interleave, and how often [`Engine::settle`] is called, changes no row. No clock is asked: a
//! source that has ended is idle from then on, and never comes back.

use outlier_core::pipeline::{Detector, Millis, Pipeline};
use outlier_core::record::{Anomalies, Scratch, Transform};
use outlier_core::score::{Score, Scorer};
use outlier_core::window::{Counter, Frame, Mark, Observed, SourceTime, Watermark, closed_end, window_start};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// What became of the records.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Ledger {
    /// Records read; each is accepted or rejected.
    pub read: u64,
    /// Records that were counted in windows, apart from those that were late.
    pub accepted: u64,
    /// Records that could not be used, by reason.
    pub rejected: BTreeMap<&'static str, u64>,
    /// Records times detectors whose window had closed already.
    pub late: u64,
    /// Records of groups beyond `max_series`, which are part of the overflow series.
    pub overflow: u64,
    /// Records times detectors whose group has so long a key that its hash is used.
    pub hashed: u64,
    /// Smallest and largest event time of an accepted record; epoch milliseconds.
    pub first: Option<Millis>,
    /// See `first`.
    pub last: Option<Millis>,
}

/// Files and topic ranges are read as fast as they come: the wall clock stands still, at its end.
const NO_CLOCK: Millis = Millis::MAX;

impl Ledger {
    /// Records that could not be used.
    pub fn rejections(&self) -> u64 {
        self.rejected.values().sum()
    }
}

/// Scores one pipeline.
pub struct Engine {
    transform: Transform,
    scratch: Scratch,
    counter: Counter,
    watermark: Watermark,
    scorers: Vec<Scorer>,
    /// Frames applied so far: the next one's place in the log that there is none of.
    frames: i64,
    sources: i32,
    /// Stream time of each source partition.
    times: Vec<Option<Millis>>,
    windows: BTreeMap<String, Windows>,
    rows: Vec<Score>,
    /// Windows of series that were judged, whether a row was written or not.
    pub scored: u64,
    /// Records from this event time on are left out; what is before it is complete.
    pub until: Option<Millis>,
    /// Records that were left out because of `until`.
    pub beyond: u64,
    /// What became of the records so far.
    pub ledger: Ledger,
}

/// The windows of one detector.
struct Windows {
    hop: Millis,
    lateness: Millis,
    /// The hops that hold a record and whose end is not closed, by their starts.
    open: BTreeSet<Millis>,
}

impl Engine {
    /// An engine that has seen nothing. `starts` has an entry for each source partition: its first accepted record's event
    /// time, if that is known before the partition is read.
    pub fn new(pipeline: &Pipeline, starts: Vec<Option<Millis>>) -> Self {
        // Nothing waits for the wall clock: a source is idle as soon as it is said to have ended.
        let mut counter = Counter::new(pipeline, 0);
        for (source, time) in starts.iter().enumerate() {
            // The first record sets the stream time to just this: to know it before changes no decision.
            counter.assign(source as i32, SourceTime { time: *time, idle: false }, NO_CLOCK);
        }
        let windows = |d: &Detector| Windows { hop: d.hop, lateness: d.lateness, open: BTreeSet::new() };
        Self {
            transform: Transform::new(pipeline),
            scratch: Scratch::default(),
            counter,
            watermark: Watermark::default(),
            scorers: (0..pipeline.windows_partitions.max(1)).map(|p| Scorer::new(pipeline, p)).collect(),
            frames: 0,
            sources: starts.len() as i32,
            times: starts,
            windows: pipeline.detectors.iter().map(|d| (d.name.clone(), windows(d))).collect(),
            rows: Vec::new(),
            scored: 0,
            until: None,
            beyond: 0,
            ledger: Ledger::default(),
        }
    }

    /// Takes one record of a source partition in. `kafka_ms` is its Kafka timestamp; below zero, it has none.
    pub fn record(&mut self, source: usize, record: Option<&[u8]>, kafka_ms: Millis) {
        self.ledger.read += 1;
        let partition = source as i32;
        match self.transform.apply(record, kafka_ms, &Anomalies::default(), &mut self.scratch) {
            Ok(enriched) => {
                let time = enriched.event_time;
                if self.until.is_some_and(|until| time >= until) {
                    self.beyond += 1;
                    return;
                }
                let observed = Observed { flags: enriched.flags, numbers: enriched.numbers, texts: enriched.texts };
                self.counter.add(partition, time, &observed);
                if let Some(stream_time) = self.times.get_mut(source) {
                    *stream_time = (*stream_time).max(Some(time));
                }
                self.ledger.accepted += 1;
                self.ledger.first = Some(self.ledger.first.map_or(time, |first| first.min(time)));
                self.ledger.last = self.ledger.last.max(Some(time));
            }
            Err(reject) => {
                self.counter.reject(partition, &reject);
                self.rejected(reject.code(), 1);
            }
        }
    }

    /// Lines that were skipped unread, as they are longer than the pipeline allows.
    pub fn too_long(&mut self, lines: u64) {
        self.ledger.read += lines;
        self.rejected("too-large", lines);
    }

    fn rejected(&mut self, code: &'static str, records: u64) {
        *self.ledger.rejected.entry(code).or_default() += records;
    }

    /// A source partition has no more records.
    pub fn ended(&mut self, source: usize) {
        let partition = source as i32;
        self.counter.at_end(partition, NO_CLOCK);
        // The end is known, not guessed: both of the questions are answered alike.
        self.counter.sure(partition, Some(0), NO_CLOCK);
        self.counter.sure(partition, Some(0), NO_CLOCK);
    }

    /// The largest event time read from a source partition.
    pub fn stream_time(&self, source: usize) -> Option<Millis> {
        self.times.get(source).copied().flatten()
    }

    /// Closes what is due. Rows go to `each` in the order of (close, end, detector, series), across calls as well.
    ///
    /// # Errors
    /// Those of `each`.
    pub fn settle(&mut self, each: &mut dyn FnMut(&Score) -> anyhow::Result<()>) -> anyhow::Result<()> {
        self.counter.tick(NO_CLOCK);
        let mut outgoing = self.counter.take(self.sources);
        self.ledger.late += outgoing.counts.late;
        self.ledger.hashed += outgoing.counts.hashed;
        let before = self.watermark.time();
        // Marks go to every windows partition alike.
        if let Some((_, frame)) = outgoing.frames.first_key_value() {
            frame.marks.iter().for_each(|mark| self.watermark.apply(mark));
        }
        let time = self.watermark.time();
        // Scorers get the watermark as the mark of a single source, so that thousands of files cost them nothing.
        let marks: Vec<Mark> = time
            .filter(|_| time != before)
            .map(|time| Mark { partition: 0, partitions: 1, time: Some(time), idle: false })
            .into_iter()
            .collect();
        for (partition, scorer) in self.scorers.iter_mut().enumerate() {
            let frame = outgoing.frames.remove(&(partition as i32)).unwrap_or_default();
            let frame = Frame { marks: marks.clone(), ..frame };
            if frame == Frame::default() {
                continue;
            }
            for diff in &frame.diffs {
                if let Some(windows) = self.windows.get_mut(&diff.origin.detector) {
                    windows.open.insert(window_start(diff.start, windows.hop));
                }
            }
            scorer.apply(self.frames, &frame);
            while let Some(closed) = scorer.close(usize::MAX) {
                self.rows.extend(closed.scores);
            }
            // There is nothing to go back to.
            scorer.commit();
            let counts = scorer.take_counts();
            self.scored += counts.scores;
            self.ledger.overflow += counts.overflow;
        }
        self.frames += 1;
        if let Some(time) = time {
            for windows in self.windows.values_mut() {
                let end = closed_end(time, windows.hop, windows.lateness);
                windows.open = windows.open.split_off(&(end - windows.hop + 1));
            }
        }
        let lateness = |row: &Score| self.windows.get(&row.name.detector).map_or(0, |windows| windows.lateness);
        let mut rows = std::mem::take(&mut self.rows);
        rows.sort_by(|a, b| {
            let key = |row: &Score| (row.window_end + lateness(row), row.window_end);
            key(a).cmp(&key(b)).then_with(|| a.name.cmp(&b.name))
        });
        rows.iter().try_for_each(each)?;
        rows.clear();
        self.rows = rows;
        Ok(())
    }

    /// After the last record: closes what ends before `until`, but no window after the last record's.
    pub fn finish(&mut self) {
        let Some((until, last)) = self.until.zip(self.ledger.last) else { return };
        for scorer in &mut self.scorers {
            while scorer.close_until(until, last, usize::MAX).is_some() {}
            scorer.commit();
            self.scored += scorer.take_counts().scores;
        }
    }

    /// What was learned, one for each windows partition.
    pub fn scorers(&self) -> &[Scorer] {
        &self.scorers
    }

    /// Windows that hold records and are the next to close, over all detectors, whatever their series; what is left after
    /// the last `settle` is incomplete, and the live service would wait for more.
    pub fn open_windows(&self) -> usize {
        self.windows.values().map(|windows| windows.open.len()).sum()
    }
}

/// Says when records happened, without counting them: what an engine will take for its first record's time.
pub struct Clock(Transform, Scratch);

impl Clock {
    /// For records of a pipeline.
    pub fn new(pipeline: &Pipeline) -> Self {
        Self(Transform::new(pipeline), Scratch::default())
    }

    /// The event time of a record of a file, if it would be accepted.
    pub fn time(&mut self, record: &[u8]) -> Option<Millis> {
        self.0.apply(Some(record), -1, &Anomalies::default(), &mut self.1).ok().map(|enriched| enriched.event_time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use outlier_core::testing;
    use proptest::prelude::*;

    const SOURCES: usize = 4;

    /// Records of each source, as event times; some are late, one source is short and one is empty.
    fn times(seed: u64) -> Vec<Vec<Millis>> {
        let mut state = seed | 1;
        let mut random = move |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let mut source = |n: usize| {
            let mut at = 1_795_392_000_000 + random(50_000) as Millis;
            let mut next = || {
                at += random(400) as Millis;
                at - if random(10) == 0 { random(30_000) as Millis } else { 0 }
            };
            (0..n).map(|_| next()).collect()
        };
        vec![source(900), source(700), source(40), Vec::new()]
    }

    /// Rows when the sources are read as `order` says, closing after every `settle` records.
    fn rows(times: &[Vec<Millis>], order: &[usize], settle: usize, announced: bool) -> (Vec<String>, Ledger) {
        let starts = times.iter().map(|times| times.first().copied().filter(|_| announced)).collect();
        let mut pipeline = testing::waf();
        for detector in &mut pipeline.detectors {
            (detector.window, detector.hop, detector.lateness) = (10_000, 10_000, 2_000);
        }
        let mut engine = Engine::new(&pipeline, starts);
        let got = std::cell::RefCell::new(Vec::new());
        let mut each = |row: &Score| {
            got.borrow_mut().push(serde_json::to_string(row)?);
            Ok(())
        };
        let mut left: Vec<_> = times.iter().map(|times| times.iter()).collect();
        let mut over = [false; SOURCES];
        // Whatever the order leaves is read at the end, source by source.
        let rest = (0..SOURCES).flat_map(|source| std::iter::repeat_n(source, times[source].len() + 1));
        for (n, source) in order.iter().copied().chain(rest).enumerate() {
            match left[source].next() {
                Some(at) => {
                    let record =
                        format!(r#"{{"timestamp":{at},"action":"{}"}}"#, if at % 7 == 0 { "BLOCK" } else { "ALLOW" });
                    engine.record(source, Some(record.as_bytes()), -1);
                }
                None if !std::mem::replace(&mut over[source], true) => engine.ended(source),
                None => {}
            }
            if n % settle == 0 {
                engine.settle(&mut each).unwrap();
            }
        }
        engine.settle(&mut each).unwrap();
        (got.into_inner(), engine.ledger)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn interleaving_changes_no_row(
            seed in any::<u64>(),
            order in prop::collection::vec(0..SOURCES, 0..2_000),
            settle in 1usize..500,
            announced in any::<bool>(),
        ) {
            let times = times(seed);
            let (expected, ledger) = rows(&times, &[], 10_000, false);
            prop_assert!(expected.len() > 100);
            let (got, again) = rows(&times, &order, settle, announced);
            prop_assert_eq!(got, expected);
            prop_assert_eq!(again, ledger);
        }
    }
}
