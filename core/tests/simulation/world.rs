//! A run: instances come and go, partitions move between them, transactions commit, abort or die, and records keep
//! arriving, all drawn from one seed.

use crate::stages::{ALIGN, Scoring, Transforming};
use crate::topics::{Entry, Event, Topics};
use outlier_core::measure::{Measure, Operand};
use outlier_core::model::Tier;
use outlier_core::pipeline::{Detector, Fallback, Flag, FlagGroup, Pipeline, TimeFormat, Timestamp, Topics as Names};
use outlier_core::score::{Score, Scorer};
use outlier_core::window::{Alignment, Frame, Standing};
use rand::prelude::*;

/// Whether partitions may be called idle. Idle decisions depend on the wall clock, so two runs differ by them.
#[derive(Clone, Copy, PartialEq)]
pub enum Idle {
    Never,
    Sometimes,
}

struct Instance {
    transforming: Transforming,
    scoring: Scoring,
}

pub struct World {
    pub topics: Topics,
    pub late: u64,
    pub enriched: Vec<usize>,
    pipeline: Pipeline,
    idle: Idle,
    input: StdRng,
    chance: StdRng,
    instances: Vec<Instance>,
    now: i64,
    alignment: Alignment,
    transactions: u64,
    /// Partitions that nothing is written to for a while.
    resting: Vec<bool>,
    /// A partition that nothing is written to before all windows are closed.
    silent: Option<usize>,
    /// A partition whose producer's clock is ahead.
    ahead: Option<usize>,
    /// The first key: which hash comes first differs by the course.
    keys_from: u8,
}

/// What a fresh scorer makes of the committed windows topic.
pub struct Replay {
    pub scores: Vec<Score>,
    pub after_close: u64,
}

const ROUNDS: usize = 60;
/// The clock at the start, milliseconds.
const START: i64 = 1_000_000;

impl World {
    /// The input depends on the seed alone, the faults on the seed too but on another stream of numbers.
    pub fn new(seed: u64, idle: Idle) -> Self {
        let mut input = StdRng::seed_from_u64(seed);
        let sources = input.random_range(1..=4);
        let windows_partitions = input.random_range(1..=3);
        let mut pipeline = pipeline(&mut input, windows_partitions);
        if idle == Idle::Never {
            // It does not count each record, as the ledger of the other world wants it.
            pipeline.detectors.push(numbers());
        }
        let silent = (idle == Idle::Sometimes && sources > 1 && input.random_bool(0.3)).then_some(sources - 1);
        let ahead = input.random_bool(0.3).then_some(0);
        let keys_from = input.random_range(0..20);
        let empty = |n: usize| (0..n).map(|_| Vec::new()).collect::<Vec<_>>();
        let topics = Topics {
            raw: vec![Vec::new(); sources],
            windows: (0..windows_partitions).map(|_| Vec::new()).collect(),
            state: empty(windows_partitions as usize),
            ..Topics::default()
        };
        Self {
            topics,
            late: 0,
            enriched: Vec::new(),
            pipeline,
            idle,
            input,
            chance: StdRng::seed_from_u64(seed ^ 0x5eed),
            instances: Vec::new(),
            now: START,
            alignment: Alignment::new(ALIGN),
            transactions: 0,
            resting: vec![false; sources],
            silent,
            ahead,
            keys_from,
        }
    }

    pub fn detectors(&self) -> u64 {
        self.pipeline.detectors.len() as u64
    }

    /// In how many windows of a detector a record is.
    pub fn overlap(&self, detector: &str) -> u64 {
        let detector = self.pipeline.detectors.iter().find(|d| d.name == detector).unwrap();
        (detector.window / detector.hop) as u64
    }

    pub fn scores(&self) -> Vec<Score> {
        sorted(self.topics.scores.clone())
    }

    /// One instance, no fault, everything read to the end.
    pub fn run_undisturbed(&mut self) {
        for _ in 0..ROUNDS {
            self.append();
        }
        self.finish();
    }

    pub fn run(&mut self) {
        for _ in 0..ROUNDS {
            self.append();
            for _ in 0..self.chance.random_range(0..6) {
                self.disturb();
                if self.chance.random_bool(0.3) {
                    self.look();
                }
                self.step();
            }
        }
        self.finish();
    }

    /// Records arrive: around now, out of order, sometimes far too late.
    fn append(&mut self) {
        self.now += self.input.random_range(0..8_000);
        // New keys come when others have a history.
        let keys = 6.min(1 + (self.now - START) / 20_000) as u8;
        for partition in 0..self.topics.raw.len() {
            if self.input.random_bool(0.05) {
                self.resting[partition] = !self.resting[partition];
            }
            if self.input.random_bool(0.1) {
                self.reject(partition);
            }
            if self.resting[partition] || self.silent == Some(partition) {
                continue;
            }
            for _ in 0..self.input.random_range(0..6) {
                let delay = if self.input.random_bool(0.03) { 60_000 } else { 4_000 };
                let clock = if self.ahead == Some(partition) { self.now + 20_000 } else { self.now };
                let time = clock - self.input.random_range(0..delay);
                let input = &mut self.input;
                let (bad, number) = (input.random_bool(0.2), input.random_range(0..200));
                let key = self.keys_from + input.random_range(0..keys);
                self.topics.raw[partition].push(Event { time, bad, key, number, rejected: false });
            }
        }
    }

    /// A record arrives that cannot be used.
    fn reject(&mut self, partition: usize) {
        self.topics.raw[partition].push(Event { time: 0, bad: false, key: 0, number: 0, rejected: true });
    }

    fn start_instance(&mut self) {
        let timeout = if self.idle == Idle::Never { i64::MAX } else { 10_000 };
        self.instances.push(Instance {
            transforming: Transforming::new(&self.pipeline, timeout),
            scoring: Scoring::new(&self.pipeline),
        });
        self.rebalance();
    }

    fn disturb(&mut self) {
        match self.chance.random_range(0..100) {
            0..10 if self.instances.len() < 4 => self.start_instance(),
            10..20 => self.rebalance(),
            20..30 if !self.instances.is_empty() => {
                // kill -9: what is under way is aborted by the coordinator, the partitions move on.
                let dead = self.chance.random_range(0..self.instances.len());
                let mut instance = self.instances.swap_remove(dead);
                instance.transforming.end(&mut self.topics, self.now, false);
                instance.scoring.end(&mut self.chance, &mut self.topics, false);
                self.rebalance();
            }
            _ => {}
        }
    }

    /// Partitions change hands at random; what is under way on the old owner commits or aborts first.
    fn rebalance(&mut self) {
        if self.instances.is_empty() {
            return;
        }
        for partition in 0..self.topics.raw.len() as i32 {
            let to = self.chance.random_range(0..self.instances.len());
            let from = self.instances.iter().position(|i| i.transforming.owns().contains(&partition));
            if from == Some(to) && self.chance.random_bool(0.8) {
                continue;
            }
            if let Some(from) = from {
                let commit = self.chance.random_bool(0.5);
                self.end_transform(from, commit);
                self.instances[from].transforming.revoke(partition);
            }
            self.instances[to].transforming.assign(partition, &self.topics, self.now);
        }
        for partition in 0..self.topics.windows.len() as i32 {
            let to = self.chance.random_range(0..self.instances.len());
            let from = self.instances.iter().position(|i| i.scoring.owns().contains(&partition));
            if from == Some(to) && self.chance.random_bool(0.8) {
                continue;
            }
            if let Some(from) = from {
                let commit = self.chance.random_bool(0.5);
                let instance = &mut self.instances[from];
                instance.scoring.end(&mut self.chance, &mut self.topics, commit);
                instance.scoring.revoke(partition);
            }
            self.instances[to].scoring.assign(partition, &self.topics);
        }
    }

    fn end_transform(&mut self, index: usize, commit: bool) {
        let instance = &mut self.instances[index];
        self.late += instance.transforming.end(&mut self.topics, self.now, commit);
    }

    /// Somebody looks at what is committed for all partitions. Now and then the broker does not say where one ends.
    fn look(&mut self) {
        let standing = |(partition, (offset, metadata)): (&i32, &(usize, String))| {
            let end = self.chance.random_bool(0.9).then(|| self.topics.raw[*partition as usize].len() as i64);
            (*partition, Standing { offset: *offset as i64, time: metadata.parse().unwrap(), end })
        };
        let standings = self.topics.raw_offsets.iter().map(standing).collect();
        self.topics.limit = self.alignment.look(self.now, &standings);
    }

    /// One worker of one instance begins or ends a transaction.
    fn step(&mut self) {
        if self.instances.is_empty() {
            return;
        }
        let index = self.chance.random_range(0..self.instances.len());
        let commit = self.chance.random_bool(0.8);
        if self.chance.random_bool(0.5) {
            if self.instances[index].transforming.busy() {
                return self.end_transform(index, commit);
            }
            self.transactions += 1;
            let instance = &mut self.instances[index];
            instance.transforming.write(&mut self.chance, &mut self.topics, self.now, self.transactions);
        } else {
            let instance = &mut self.instances[index];
            if instance.scoring.busy() {
                instance.scoring.end(&mut self.chance, &mut self.topics, commit);
            } else {
                instance.scoring.work(&mut self.chance, &self.topics);
            }
        }
    }

    /// Reads everything to the end with whoever is there; event time moves past every window that holds a record.
    fn finish(&mut self) {
        if self.instances.is_empty() {
            self.start_instance();
        }
        let longest = self.pipeline.detectors.iter().map(|d| d.window + d.lateness).max().unwrap_or_default();
        let closes = longest + 60_000;
        if self.idle == Idle::Never {
            // A last record in each partition, some minutes later, closes everything before it.
            for partition in &mut self.topics.raw {
                partition.push(Event { time: self.now + closes, bad: false, key: 1, number: 1, rejected: false });
            }
            self.now += closes;
        }
        // Idle timeouts, also of new owners, longest window and lateness pass in this many seconds; as many again once no
        // rejects come, during which stream time stands still now and then.
        for second in 0.. {
            let unread = (0..self.topics.raw.len()).any(|p| self.committed(p) < self.topics.raw[p].len());
            if !unread && (self.idle == Idle::Never || second > 4 * closes / 1_000) {
                break;
            }
            self.look();
            for index in 0..self.instances.len() {
                self.end_transform(index, true);
                self.transactions += 1;
                let (now, id) = (self.now, self.transactions);
                let instance = &mut self.instances[index];
                instance.transforming.write(&mut self.chance, &mut self.topics, now, id);
                self.end_transform(index, true);
                let instance = &mut self.instances[index];
                instance.scoring.end(&mut self.chance, &mut self.topics, true);
                instance.scoring.work(&mut self.chance, &self.topics);
                instance.scoring.end(&mut self.chance, &mut self.topics, true);
            }
            self.now += 1_000;
            assert!(second < 10_000, "all partitions wait for each other");
            // Partitions change hands while what came after the close waits for its row.
            if self.silent.is_some() && matches!(second, 202 | 205 | 220 | 235) {
                self.rebalance();
            }
            // What cannot be used holds nobody up, however often it comes.
            if let Some(partition) = self.silent.filter(|_| second < 2 * closes / 1_000) {
                self.reject(partition);
            }
            if let Some(partition) = self.silent.filter(|_| second == 200) {
                // Its first records are older than what the others have closed.
                for _ in 0..self.input.random_range(1..20) {
                    let time = self.now - self.input.random_range(0..300_000);
                    let (key, number) = (self.input.random_range(0..6), self.input.random_range(0..200));
                    self.topics.raw[partition].push(Event { time, bad: false, key, number, rejected: false });
                }
            }
        }
        // The scores catch up with what was written.
        while !self.instances.iter().all(|instance| instance.scoring.caught_up(&self.topics)) {
            for instance in &mut self.instances {
                instance.scoring.work(&mut self.chance, &self.topics);
                instance.scoring.end(&mut self.chance, &mut self.topics, true);
            }
        }
        self.enriched = (0..self.topics.raw.len()).map(|p| self.committed(p)).collect();
    }

    fn committed(&self, partition: usize) -> usize {
        self.topics.raw_offsets.get(&(partition as i32)).map_or(0, |(offset, _)| *offset)
    }

    /// The committed windows topic through a fresh scorer, from the beginning.
    pub fn replay(&self) -> Replay {
        let mut replay = Replay { scores: Vec::new(), after_close: 0 };
        for (number, partition) in self.topics.windows.iter().enumerate() {
            let mut scorer = Scorer::new(&self.pipeline, number as i32);
            for (offset, entry) in partition.iter().enumerate() {
                match entry {
                    Entry::Frame(bytes) => scorer.apply(offset as i64, &Frame::decode(bytes).unwrap()),
                    Entry::Gap => {}
                    Entry::Pending(..) => panic!("a transaction was left open"),
                }
                while let Some(closed) = scorer.close(3) {
                    replay.scores.extend(closed.scores);
                }
            }
            replay.after_close += scorer.take_counts().after_close;
        }
        replay.scores = sorted(replay.scores);
        replay
    }
}

fn sorted(mut scores: Vec<Score>) -> Vec<Score> {
    scores.sort_by(|a, b| (a.window_end, &a.name).cmp(&(b.window_end, &b.name)));
    scores
}

/// Short and long windows, overlapping ones, split by a field with and without an overflow, every measure.
fn detectors(rng: &mut StdRng) -> Vec<Detector> {
    let flag = || Operand::Flag(1, "bad".into());
    let field = |path: &str| path.parse().unwrap();
    let plain = || vec![Measure::Count, Measure::Sum(flag()), Measure::Ratio(flag())];
    let mut seconds = |from: i64, to: i64| 1_000 * rng.random_range(from..=to);
    let mut short = Detector::new("short", plain(), seconds(1, 5), seconds(0, 6));
    (short.explain, short.why_values, short.threshold) = (vec![field("value"), field("key")], 10, 1.0);
    // Short enough that the full model judges for most of the course.
    let mut full = Detector::new("full", plain(), 1_000, seconds(0, 6));
    (full.model, full.threshold) = (Tier::Full, 1.0);
    let mut long = Detector::new("long", plain(), seconds(10, 60), seconds(0, 6));
    long.model = Tier::Both;
    let mut keys = Detector::new("keys", vec![Measure::Count, Measure::Silence], seconds(2, 9), seconds(0, 6));
    (keys.by, keys.max_series) = (vec![field("key")], seconds(1, 6) as usize / 1_000);
    let number = || field("number");
    let all = vec![
        Measure::Count,
        Measure::Sum(Operand::Field(number())),
        Measure::Mean(number()),
        Measure::Quantile(950, number()),
        Measure::Distinct(field("value")),
        Measure::New(field("value")),
        Measure::Rare(field("value")),
    ];
    let mut hopping = Detector::new("hopping", all, 180_000, seconds(0, 6));
    (hopping.hop, hopping.by) = (60_000, vec![field("key")]);
    hopping.max_series = seconds(1, 6) as usize / 1_000;
    let mut panes = Detector::new("panes", plain(), 120_000, seconds(0, 6));
    panes.explain = vec![field("key")];
    vec![short, full, long, keys, hopping, panes]
}

/// Records without a number count for no measure; nearly every window has reasons.
fn numbers() -> Detector {
    let field = |path: &str| path.parse().unwrap();
    let mut numbers = Detector::new("numbers", vec![Measure::Mean(field("number"))], 5_000, 2_000);
    (numbers.explain, numbers.why_values) = (vec![field("value"), field("key")], 10);
    numbers.threshold = 1.0;
    numbers
}

fn pipeline(rng: &mut StdRng, windows_partitions: i32) -> Pipeline {
    let name = |stage: &str| format!("sim.{stage}");
    Pipeline {
        name: "sim".into(),
        topics: Names {
            raw: name("raw"),
            enriched: name("enriched"),
            windows: name("windows"),
            scores: name("scores"),
            state: name("state"),
            anomalies: name("anomalies"),
            alerts: name("alerts"),
            rejected: name("rejected"),
        },
        timestamp: Timestamp { field: "t".parse().unwrap(), format: TimeFormat::EpochMillis, max_skew: 0 },
        max_record_bytes: 1 << 20,
        max_depth: 16,
        flags: vec![FlagGroup {
            name: "g".into(),
            field: "f".parse().unwrap(),
            good: Flag { name: "good".into(), matchers: Vec::new() },
            bad: Flag { name: "bad".into(), matchers: Vec::new() },
            other: Fallback::Neither,
            missing: Fallback::Neither,
            ignore_case: false,
        }],
        detectors: detectors(rng),
        windows_partitions,
    }
}
