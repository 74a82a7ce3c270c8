//! The two workers of an instance, each with at most one transaction under way.

use crate::topics::{Entry, Topics};
use outlier_core::measure::UNIT;
use outlier_core::pipeline::Pipeline;
use outlier_core::record::{Reject, Texts};
use outlier_core::score::{Position, Score, Scorer};
use outlier_core::window::{Counter, Frame, Observed, SourceTime};
use rand::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// How far partitions may be ahead of the slowest, in ms: little, so that many wait.
pub const ALIGN: i64 = 5_000;

/// A transaction of the transform stage that has written but not ended.
struct Written {
    id: u64,
    offsets: BTreeMap<i32, (usize, String)>,
    late: u64,
}

/// The transform worker of one instance.
pub struct Transforming {
    counter: Counter,
    positions: BTreeMap<i32, usize>,
    /// Too far ahead of the group's slowest partition to be read on.
    waiting: BTreeSet<i32>,
    pending: Option<Written>,
}

impl Transforming {
    pub fn new(pipeline: &Pipeline, idle_timeout: i64) -> Self {
        Self {
            counter: Counter::new(pipeline, idle_timeout),
            positions: BTreeMap::new(),
            waiting: BTreeSet::new(),
            pending: None,
        }
    }

    pub fn owns(&self) -> Vec<i32> {
        self.positions.keys().copied().collect()
    }

    /// From the committed offset and its metadata, as after a rebalance or an abort.
    pub fn assign(&mut self, partition: i32, topics: &Topics, now: i64) {
        let (offset, time) = match topics.raw_offsets.get(&partition) {
            Some((offset, metadata)) => (*offset, metadata.parse().unwrap()),
            None => (0, SourceTime::default()),
        };
        self.positions.insert(partition, offset);
        self.counter.assign(partition, time, now);
    }

    pub fn revoke(&mut self, partition: i32) {
        self.positions.remove(&partition);
        self.counter.revoke(partition);
    }

    pub fn busy(&self) -> bool {
        self.pending.is_some()
    }

    /// Reads some records and writes their frames in transaction `id`.
    pub fn write(&mut self, rng: &mut StdRng, topics: &mut Topics, now: i64, id: u64) {
        let partitions = topics.raw.len() as i32;
        let mut touched = Vec::new();
        for _ in 0..rng.random_range(1..=40) {
            self.waiting = self.counter.waiting(topics.limit, &self.waiting);
            let Some((&partition, position)) = self.positions.iter_mut().choose(rng) else { return };
            if self.waiting.contains(&partition) {
                continue;
            }
            match topics.raw[partition as usize].get(*position) {
                Some(event) if event.rejected => {
                    self.counter.reject(partition, &Reject::Tombstone);
                    *position += 1;
                    self.counter.passed(partition, *position as i64);
                    touched.push(partition);
                }
                Some(event) => {
                    let mut texts = Texts::default();
                    // In the order in which the pipeline's detectors name them.
                    texts.push(Some(event.number.to_string().as_bytes()));
                    texts.push((event.key > 0).then_some(&[b'a' + event.key]));
                    let numbers = [(event.number % 7 > 0).then_some(i128::from(event.number) * UNIT)];
                    let observed = Observed { flags: &[!event.bad, event.bad], numbers: &numbers, texts: &texts };
                    self.counter.add(partition, event.time, &observed);
                    *position += 1;
                    touched.push(partition);
                }
                None => self.counter.at_end(partition, now),
            }
        }
        for partition in self.counter.unsure(now) {
            // Now and then the broker does not answer.
            let end = rng.random_bool(0.9).then(|| topics.raw[partition as usize].len() as i64);
            self.counter.sure(partition, end, now);
        }
        self.counter.tick(now);
        let news = self.counter.has_news(partitions);
        let outgoing = self.counter.take(partitions);
        assert!(news || (outgoing.frames.is_empty() && outgoing.times.is_empty()));
        for (windows_partition, frame) in outgoing.frames {
            for message in frame.encode(rng.random_range(1..2_000)) {
                topics.windows[windows_partition as usize].push(Entry::Pending(id, message));
            }
        }
        let offset = |p: &i32| self.positions[p];
        let offsets: BTreeMap<_, _> =
            outgoing.times.iter().map(|(p, time)| (*p, (offset(p), time.to_string()))).collect();
        assert!(touched.iter().all(|p| offsets.contains_key(p)), "a read partition must commit its time");
        self.pending = Some(Written { id, offsets, late: outgoing.counts.late });
    }

    /// Commits or aborts; gives the late records of a committed transaction.
    pub fn end(&mut self, topics: &mut Topics, now: i64, commit: bool) -> u64 {
        let Some(written) = self.pending.take() else { return 0 };
        topics.end(written.id, commit);
        if commit {
            topics.raw_offsets.extend(written.offsets);
            return written.late;
        }
        self.counter.discard();
        for partition in self.owns() {
            self.assign(partition, topics, now);
        }
        0
    }
}

/// Scores and state of a transaction that has not ended.
#[derive(Default)]
struct Scored {
    scores: Vec<Score>,
    state: Vec<(i32, String, Option<Vec<u8>>)>,
    offsets: BTreeMap<i32, i64>,
}

/// The score worker of one instance.
pub struct Scoring {
    pipeline: Pipeline,
    partitions: BTreeMap<i32, (Scorer, usize)>,
    pending: Option<Scored>,
}

impl Scoring {
    pub fn new(pipeline: &Pipeline) -> Self {
        Self { pipeline: pipeline.clone(), partitions: BTreeMap::new(), pending: None }
    }

    pub fn owns(&self) -> Vec<i32> {
        self.partitions.keys().copied().collect()
    }

    pub fn assign(&mut self, partition: i32, topics: &Topics) {
        let mut scorer = Scorer::new(&self.pipeline, partition);
        for (key, value) in &topics.state[partition as usize] {
            scorer.restore(key, value.as_deref()).unwrap();
        }
        let committed = topics.windows_offsets.get(&partition).copied();
        scorer.restored(committed).unwrap();
        self.partitions.insert(partition, (scorer, committed.unwrap_or(0) as usize));
    }

    pub fn revoke(&mut self, partition: i32) {
        self.partitions.remove(&partition);
    }

    pub fn busy(&self) -> bool {
        self.pending.is_some()
    }

    /// Everything was read and nothing is due.
    pub fn caught_up(&self, topics: &Topics) -> bool {
        self.partitions
            .iter()
            .all(|(partition, (scorer, position))| *position == topics.stable(*partition) && !scorer.due_now())
    }

    /// Reads some frames of its partitions, closes some windows.
    pub fn work(&mut self, rng: &mut StdRng, topics: &Topics) {
        let mut scored = Scored::default();
        for (&partition, (scorer, position)) in &mut self.partitions {
            let stable = topics.stable(partition);
            // Everything due closes before the next frame, but a transaction may end in between.
            let mut closes = rng.random_range(0..30);
            for _ in 0..rng.random_range(0..12) {
                let entry = topics.windows[partition as usize].get(*position).filter(|_| *position < stable);
                if let Some(Entry::Frame(bytes)) = entry {
                    scorer.passed(*position as i64);
                    if !close(scorer, &mut closes, &mut scored.scores) {
                        break;
                    }
                    scorer.apply(*position as i64, &Frame::decode(bytes).unwrap());
                } else if entry.is_none() {
                    scorer.passed(*position as i64);
                    break;
                }
                *position += 1;
            }
            close(scorer, &mut closes, &mut scored.scores);
            let position = if rng.random_bool(0.3) { Position::Due } else { Position::MayWait };
            if let Some(changes) = scorer.take_changes(position) {
                scored.state.extend(changes.state.into_iter().map(|(key, value)| (partition, key, value)));
                scored.offsets.insert(partition, changes.offset);
            }
        }
        self.pending = Some(scored);
    }

    /// Commits or aborts; after an abort a partition goes back by itself, or is restored as by a new owner.
    pub fn end(&mut self, rng: &mut StdRng, topics: &mut Topics, commit: bool) {
        let Some(scored) = self.pending.take() else { return };
        if commit {
            self.partitions.values_mut().for_each(|(scorer, _)| {
                scorer.commit();
            });
            topics.scores.extend(scored.scores);
            topics.windows_offsets.extend(scored.offsets);
            for (partition, key, value) in scored.state {
                topics.state[partition as usize].push((key, value));
            }
            return;
        }
        for partition in self.owns() {
            if rng.random_bool(0.5) {
                self.assign(partition, topics);
            } else if let Some((scorer, position)) = self.partitions.get_mut(&partition) {
                let offset = scorer.rollback();
                assert_eq!(offset, topics.windows_offsets.get(&partition).copied());
                *position = offset.unwrap_or(0) as usize;
            }
        }
    }
}

/// Closes what is due within the budget; false when more is due.
fn close(scorer: &mut Scorer, budget: &mut usize, scores: &mut Vec<Score>) -> bool {
    while *budget > 0 {
        let Some(closed) = scorer.close(*budget) else { return true };
        scores.extend(closed.scores);
        *budget -= closed.cost.clamp(1, *budget);
    }
    false
}
