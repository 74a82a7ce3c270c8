//! How [`Usual`] learns a closed window.
//!
//! Weights halve in [`HALF_LIFE`] of event time, at least [`MEMORY`] windows. A window counts at most [`MOST`] times as
//! much as a usual one, an anomalous one a sixteenth of that, and pushes nothing out that was known before.
//!
//! Invariant: no weight gets lost but by decay and age-out: what a value brings in that was not kept is taken from
//! `rest`, and goes back there when it is pushed out.

use super::Usual;
use super::usual::{Entry, NAMED, Name};
use crate::pipeline::Millis;
use crate::sketch::Values;
use std::collections::BTreeMap;

/// Event time in which what was learned loses half its weight.
const HALF_LIFE: f64 = 86_400_000.0;
/// Windows in which it does, at least.
const MEMORY: f64 = 64.0;
/// A window counts at most as much as so many usual ones.
const MOST: f64 = 3.0;
/// What an anomalous window counts.
const ANOMALOUS: f64 = 1.0 / 16.0;
/// Windows over which noise is averaged.
const NOISE_MEMORY: f64 = 128.0;
/// The most that one window's squared standard score teaches about noise.
const NOISE_MOST: f64 = 1_024.0;

/// What is to be known of a window besides its values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lesson {
    /// Start of the window; epoch milliseconds of event time.
    pub start: Millis,
    /// Its length; milliseconds.
    pub window: Millis,
    /// It was judged anomalous, so it should teach little.
    pub anomalous: bool,
    /// Values that were not seen for so long are forgotten; milliseconds of event time.
    pub age_out: Millis,
    /// How many values are remembered besides those of the largest weight.
    pub besides: usize,
}

impl Usual {
    /// Learns the values of a closed window. Windows come in the order of event time.
    pub fn learn(&mut self, now: &Values, lesson: &Lesson) {
        self.decay(lesson);
        let count = now.total() as f64;
        if count > 0.0 {
            let usual = self.records() / self.windows().max(1e-3);
            let cap = if self.windows >= 3.0 { (MOST * usual / count).min(1.0) } else { 1.0 };
            let scale = cap * if lesson.anomalous { ANOMALOUS } else { 1.0 };
            self.add(now, count, scale, lesson);
            self.windows += if lesson.anomalous { ANOMALOUS as f32 } else { 1.0 };
        }
        self.newest = self.newest.max(lesson.start);
        let horizon = self.newest.saturating_sub(lesson.age_out);
        self.entries.retain(|_, entry| entry.seen >= horizon);
    }

    fn decay(&mut self, lesson: &Lesson) {
        if self.newest == Millis::MIN {
            return;
        }
        let elapsed = lesson.start.saturating_sub(self.newest).max(0) as f64;
        let half_lives = elapsed / HALF_LIFE.max(MEMORY * lesson.window as f64);
        // A long pause leaves the shares as they are, and some weight to them.
        let factor = libm::exp2(-half_lives.min(4.0)) as f32;
        self.windows *= factor;
        self.rest *= factor;
        self.entries.values_mut().for_each(|entry| entry.weight *= factor);
    }

    fn add(&mut self, now: &Values, count: f64, scale: f64, lesson: &Lesson) {
        let records = self.records();
        let unkept = self.rest_weight();
        let present: BTreeMap<u32, (&str, u64)> =
            now.by_mark().map(|(mark, text, weight)| (mark, (text, weight))).collect();
        let mut added = 0.0;
        for (mark, entry) in &mut self.entries {
            let share = f64::from(entry.weight) / records.max(0.5);
            let held = present.get(mark);
            let weight = match (held, now.outside(*mark)) {
                (Some((_, weight)), _) => *weight as f64,
                (None, Some(about)) => about,
                (None, None) => 0.0,
            };
            if let Some(name) = &mut entry.name
                && !lesson.anomalous
                && records > 0.0
            {
                let mean = count * share;
                let variance = mean * (1.0 - share) * (1.0 + count / records);
                let square = ((weight - mean) * (weight - mean) / variance.max(1e-9)).min(NOISE_MOST);
                let rate = 1.0 / (f64::from(self.windows) + 8.0).min(NOISE_MEMORY);
                name.noise += (rate * (square - f64::from(name.noise))) as f32;
            }
            if weight > 0.5 {
                entry.seen = entry.seen.max(lesson.start);
            }
            entry.weight += (weight * scale) as f32;
            added += weight;
        }
        let known = present.keys().filter(|mark| self.entries.contains_key(mark)).count();
        let unknown = (now.distinct() - known as f64).max(0.0);
        // A value that is not kept brings its part of `rest` along.
        let prior = unkept.min(f64::from(self.rest) / unknown.max(1.0));
        let mut rest = f64::from(self.rest);
        for (mark, (_, weight)) in &present {
            if !self.entries.contains_key(mark) {
                let weight = *weight as f64;
                added += weight;
                rest -= prior;
                let weight = (prior + weight * scale) as f32;
                self.entries.insert(*mark, Entry { weight, seen: lesson.start, name: None });
            }
        }
        rest += (count - added).max(0.0) * scale;
        if !now.is_exact() {
            self.forgotten = self.forgotten.max(lesson.start);
        }
        self.rest = rest.max(0.0) as f32;
        self.trim(lesson);
        self.name(&present);
        let unkept = present.keys().filter(|mark| !self.entries.contains_key(mark)).count() as f64;
        let unkept = unkept + (now.distinct() - now.len() as f64).max(0.0);
        let rate = 1.0 / (f64::from(self.windows) + 1.0).min(MEMORY);
        self.rest_values += (rate * (unkept - f64::from(self.rest_values))) as f32;
    }

    /// Keeps the values of the largest weight, and of the others those seen last. What an anomalous window brought
    /// stays only where there is room.
    fn trim(&mut self, lesson: &Lesson) {
        let excess = self.entries.len().saturating_sub(NAMED + lesson.besides);
        if excess == 0 {
            return;
        }
        let newest = if lesson.anomalous { self.entries.values().map(|entry| entry.seen).max() } else { None };
        let mut order: Vec<(u32, f32, Millis)> =
            self.entries.iter().map(|(mark, entry)| (*mark, entry.weight, entry.seen)).collect();
        order.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let tail = &mut order[NAMED..];
        let late = |seen: Millis| if newest == Some(seen) { Millis::MIN } else { seen };
        tail.sort_unstable_by(|a, b| late(b.2).cmp(&late(a.2)).then(b.1.total_cmp(&a.1)).then(a.0.cmp(&b.0)));
        for (mark, weight, seen) in &tail[lesson.besides..] {
            self.entries.remove(mark);
            self.rest += weight;
            self.forgotten = self.forgotten.max(*seen);
        }
    }

    /// Gives the values of the largest weight their text as soon as it is there, and takes it from others.
    fn name(&mut self, present: &BTreeMap<u32, (&str, u64)>) {
        let mut order: Vec<(u32, f32)> = self.entries.iter().map(|(mark, entry)| (*mark, entry.weight)).collect();
        order.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        for (index, (mark, _)) in order.iter().enumerate() {
            let Some(entry) = self.entries.get_mut(mark) else { continue };
            if index >= NAMED {
                entry.name = None;
            } else if let (None, Some((text, _))) = (&entry.name, present.get(mark)) {
                entry.name = Some(Name { text: (*text).into(), noise: 1.0 });
            }
        }
    }
}
