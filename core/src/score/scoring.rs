//! One detector in one windows partition: open panes, groups, and the close of a pane in steps.
//!
//! ```text
//! merge ──► open panes ──► close (some groups) ──► … ──► close (the rest): pane gone, `closed` moves on
//!                             └─ ends a window ─► judge ─► rows
//! ```
//!
//! Invariants: groups close in the order of their keys; what a close does depends on the groups and the pane alone, so
//! one that is split over transactions, or resumed by another owner, gives the same rows.

use super::group::Group;
use super::judge::judge;
use super::left::Left;
use super::pane::{Pane, rank};
use super::state::Closing;
use super::{Anomaly, Closed, SeriesName};
use crate::pipeline::{Detector, Millis};
use crate::window::group::{OVERFLOW, label};
use crate::window::{Diff, LeftOut, Omission, closed_end, window_start};
use std::collections::btree_map::{BTreeMap, Entry};
use std::sync::Arc;

/// From so many groups in all partitions on, only rows that changed are written unless configured otherwise.
const MANY: i64 = 10_000;

/// What became of a difference.
pub(super) enum Merged {
    /// It is in an open pane; so many records went to the overflow.
    Open(u64),
    /// Its pane is closed.
    Closed,
}

pub(super) struct Scoring {
    pub detector: Detector,
    pub id: String,
    pub layout: u64,
    /// The windows partition, and how many there are.
    partition: i32,
    partitions: i64,
    /// Texts of the `by` fields, and of the measures.
    by: Vec<String>,
    measures: Vec<String>,
    /// End of the last pane that is closed; later differences for it are too late.
    pub closed: Option<Millis>,
    /// The pane that is closed in part.
    pub closing: Option<Closing>,
    /// Groups beyond the bound were moved away for the pane that is closing.
    settled: bool,
    /// Open panes by their end.
    open: BTreeMap<Millis, Pane>,
    pub groups: BTreeMap<Arc<str>, Group>,
    /// What groups were before the transaction under way changed them; `None` if they were not known.
    before: BTreeMap<Arc<str>, Option<Group>>,
    /// What is in no window.
    pub left: Left,
    /// Series that have no score yet.
    learning: u64,
    /// See [`super::Progress::resumed`].
    pub resumed: bool,
}

impl Scoring {
    pub fn new(detector: &Detector, partition: i32, partitions: i32) -> Self {
        Self {
            partition,
            partitions: i64::from(partitions.max(1)),
            id: detector.id(),
            layout: detector.layout(),
            by: detector.by.iter().map(ToString::to_string).collect(),
            measures: detector.measures.iter().map(ToString::to_string).collect(),
            detector: detector.clone(),
            closed: None,
            closing: None,
            settled: false,
            open: BTreeMap::new(),
            groups: BTreeMap::new(),
            before: BTreeMap::new(),
            left: Left::default(),
            learning: 0,
            resumed: false,
        }
    }

    /// Takes a difference in, unless its pane, or the part of it with its group, is closed.
    pub fn merge(&mut self, diff: &Diff, offset: i64) -> Merged {
        let end = window_start(diff.start, self.detector.pane()).saturating_add(self.detector.pane());
        let done = |closing: &Closing| end == closing.end && *diff.group <= *closing.through;
        if self.closed.is_some_and(|closed| end <= closed) || self.closing.as_ref().is_some_and(done) {
            return Merged::Closed;
        }
        let group = diff.group.as_str();
        let known = || self.groups.get_key_value(group).map_or_else(|| Arc::from(group), |(key, _)| key.clone());
        let pane = self.open.entry(end).or_insert_with(|| Pane::new(offset));
        Merged::Open(pane.merge(group, known, &diff.cells, self.detector.max_series))
    }

    /// Counts what was left out while its pane was current; `again`: its frame was read before, and what it said of panes
    /// that are closed by now is known.
    pub fn omit(&mut self, omission: &Omission, offset: i64, again: bool) {
        let end = window_start(omission.start, self.detector.pane()).saturating_add(self.detector.pane());
        match self.closed.filter(|closed| end <= *closed) {
            None => self.left.add(end, offset, &omission.left_out),
            Some(_) if again => {}
            Some(_) => self.omit_next(&omission.left_out),
        }
    }

    /// Counts what was left out, in the pane that closes next.
    pub fn omit_next(&mut self, left_out: &LeftOut) {
        if let Some(closed) = self.closed {
            self.left.keep(closed.saturating_add(self.detector.pane()), left_out, &self.detector);
        }
    }

    /// Offset of the first frame that an open pane needs.
    pub fn needs(&self) -> Option<i64> {
        self.open.values().map(|pane| pane.first).chain(self.left.needs()).min()
    }

    /// How many panes are open.
    pub fn open_panes(&self) -> usize {
        self.open.len()
    }

    /// End of the last pane that may close at event time `time`.
    pub fn due_end(&self, time: Millis) -> Millis {
        closed_end(time, self.detector.pane(), self.detector.lateness)
    }

    /// End of the next pane to close, if one is due at event time `time`.
    ///
    /// While a known group is not silent for too long, every window closes, with zeros if need be; but not before the
    /// first record after a bootstrap.
    pub fn next_end(&self, time: Millis) -> Option<Millis> {
        if let Some(closing) = &self.closing {
            return Some(closing.end);
        }
        let hop = self.detector.hop;
        let speaking = || self.groups.values().any(|group| !group.silent(hop));
        let with_records = self.open.keys().next().copied();
        let following =
            self.closed.filter(|_| !self.resumed && speaking()).map(|c| window_start(c, hop).saturating_add(hop));
        let next = [with_records, following].into_iter().flatten().min()?;
        (next <= self.due_end(time)).then_some(next)
    }

    /// Nothing up to `end` will give a row any more; true if that is news.
    pub fn close_through(&mut self, end: Millis) -> bool {
        let moved = self.closed.is_none_or(|closed| closed < end);
        if moved {
            self.closed = Some(end);
            self.left.close(end, &self.detector);
        }
        moved
    }

    /// Closes the pane that ends at `end`, or goes on closing it, for groups that cost at most `most` but for the last.
    pub fn close(&mut self, end: Millis, most: usize) -> Closed {
        let mut closed = Closed::default();
        if !std::mem::replace(&mut self.settled, true) {
            self.settle(end, &mut closed);
        }
        let ends_window = window_start(end, self.detector.hop) == end;
        let left_out = if ends_window { self.left.window(end, &self.detector) } else { LeftOut::default() };
        let mut keys = self.next_groups(end, ends_window, most).into_iter();
        let mut last = None;
        while closed.cost < most
            && let Some(key) = keys.next()
        {
            last = Some(key.clone());
            self.close_group(end, key, ends_window.then_some(left_out), &mut closed);
        }
        // There may be more.
        let last = last.filter(|_| closed.cost >= most);
        closed.cost = closed.cost.max(1);
        match last {
            Some(key) => self.closing = Some(Closing { end, through: key.to_string() }),
            None => {
                (self.closing, self.settled, self.resumed) = (None, false, false);
                self.open.remove(&end);
                self.close_through(end);
            }
        }
        closed
    }

    /// The next groups in order: those with records in the pane and, at the end of a window, all that are not silent.
    fn next_groups(&mut self, end: Millis, ends_window: bool, most: usize) -> Vec<Arc<str>> {
        use std::ops::Bound::{Excluded, Unbounded};
        let through = self.closing.as_ref().map(|closing| closing.through.as_str());
        let mut keys = Vec::new();
        if let Some(pane) = self.open.get_mut(&end) {
            keys.extend(pane.after(through).take(most).cloned());
        }
        if ends_window {
            let range = (through.map_or(Unbounded, Excluded), Unbounded);
            let speaking = self.groups.range::<str, _>(range).filter(|(_, group)| !group.silent(self.detector.hop));
            keys.extend(speaking.map(|(key, _)| key.clone()).take(most));
        }
        // Two sorted runs, which a stable sort merges.
        keys.sort();
        keys.dedup();
        keys.truncate(most);
        keys
    }

    /// Moves the groups beyond the bound to the overflow, with what they still have in windows to come: first those that are
    /// silent, then by the hashes of their keys.
    fn settle(&mut self, end: Millis, closed: &mut Closed) {
        let most = self.detector.max_series;
        let pane = self.open.get(&end).map(|pane| &pane.groups);
        if self.groups.len() + pane.map_or(0, |groups| groups.len()) <= most {
            return;
        }
        let spoke = |key: &str| pane.is_some_and(|groups| groups.contains_key(key));
        let new = pane.into_iter().flat_map(|groups| groups.keys()).filter(|key| !self.groups.contains_key(*key));
        let overflow = usize::from(self.groups.contains_key(OVERFLOW) || spoke(OVERFLOW));
        if self.groups.len() + new.clone().count() - overflow <= most {
            return;
        }
        // When the close goes on, groups that it has closed may be silent by now. Who was not silent at its beginning was
        // moved by hash alone, so the same ones are again.
        let fresh = self.closing.is_none();
        let hop = self.detector.hop;
        let known = self.groups.iter().map(|(key, group)| (fresh && group.silent(hop) && !spoke(key), key));
        let all = known.chain(new.map(|key| (false, key))).filter(|(_, key)| &***key != OVERFLOW);
        let mut ranked: Vec<_> = all.map(|(silent, key)| (silent, rank(key), key.clone())).collect();
        ranked.sort_unstable();
        let mut slots = Vec::new();
        for (.., key) in ranked.split_off(most) {
            if let Some(pane) = self.open.get_mut(&end) {
                closed.overflow += pane.evict(&key);
            }
            if let Some(group) = self.groups.remove(&key) {
                self.learning -= group.learning(&self.detector);
                for (series, measure) in group.series.iter().zip(&self.measures) {
                    if series.anomalous_since.is_some() {
                        closed.anomalies.push((self.name(&key, measure), None));
                    }
                }
                slots.extend_from_slice(&group.slots);
                self.before.entry(key).or_insert(Some(group));
            }
        }
        if slots.is_empty() {
            return;
        }
        closed.overflow += slots.iter().map(|(_, cells)| cells.records()).sum::<u64>();
        let key: Arc<str> = Arc::from(OVERFLOW);
        let known = self.groups.get(&key).cloned();
        self.before.entry(key.clone()).or_insert_with(|| known.clone());
        let mut group = known.unwrap_or_else(|| Group::new(&self.detector));
        group.empty = 0;
        group.take_over(slots);
        self.put(key, Some(group));
    }

    /// Makes a group what it is said to be; `None`: it is not known.
    pub fn put(&mut self, key: Arc<str>, group: Option<Group>) {
        let learning = |group: &Group| group.learning(&self.detector);
        let new = group.as_ref().map_or(0, learning);
        let old = match group {
            Some(group) => self.groups.insert(key, group),
            None => self.groups.remove(&key),
        };
        self.learning = self.learning + new - old.as_ref().map_or(0, learning);
    }

    /// Series known, and those of them that have no score yet.
    pub fn series(&self) -> (u64, u64) {
        (self.groups.len() as u64 * self.measures.len() as u64, self.learning)
    }

    fn name(&self, key: &str, measure: &str) -> SeriesName {
        SeriesName {
            detector: self.detector.name.clone(),
            series: format!("{measure}{}", label(&self.by, key, self.partition)),
        }
    }

    /// Closes one group's pane; with `window`, what was left out, a window ends.
    fn close_group(&mut self, end: Millis, key: Arc<str>, window: Option<LeftOut>, closed: &mut Closed) {
        let left_out = window.unwrap_or_default();
        let detector = &self.detector;
        let cells = self.open.get_mut(&end).and_then(|pane| pane.groups.get_mut(&key)).map(std::mem::take);
        let cells = cells.unwrap_or_default();
        let groups = self.groups.len() as i64 * self.partitions;
        let before = self.before.entry(key.clone());
        let first = matches!(before, Entry::Vacant(_));
        let (group, learning) = match self.groups.entry(key.clone()) {
            Entry::Occupied(known) => {
                let group = known.into_mut();
                before.or_insert_with(|| Some(group.clone()));
                let learning = group.learning(detector);
                (group, learning)
            }
            Entry::Vacant(new) => {
                before.or_insert(None);
                (new.insert(Group::new(detector)), 0)
            }
        };
        if cells.records() > 0 {
            group.empty = 0;
        }
        let cells = if detector.pane() == detector.window {
            Some(cells)
        } else {
            group.keep(end, &cells, detector);
            window.map(|_| group.window(end, detector))
        };
        let rows = cells.map_or_else(Vec::new, |cells| {
            if cells.records() == 0 {
                group.empty = group.empty.saturating_add(1);
            }
            judge(detector, group, end, &cells, groups > MANY, left_out)
        });
        self.learning = self.learning + group.learning(detector) - learning;
        closed.cost += 1 + if first { group.bytes(detector) / 1_024 } else { 0 };
        for (index, mut row) in rows {
            let name = self.name(&key, &self.measures[index]);
            if let Some(change) = row.change.take() {
                let anomaly = change.map(|(score, since)| Anomaly { name: name.clone(), score, since });
                closed.anomalies.push((name.clone(), anomaly));
            }
            closed.scored += 1;
            closed.anomalous += u64::from(row.score.anomaly);
            closed.sum_overflow += u64::from(row.score.overflow);
            closed.forgot += u64::from(row.score.forgot);
            if row.emit {
                row.score.name = name;
                if !self.by.is_empty() {
                    row.score.by = self.by_values(&key);
                }
                closed.scores.push(row.score);
            }
        }
    }

    /// The values of a key by their fields.
    fn by_values(&self, key: &str) -> BTreeMap<String, String> {
        let values = crate::window::group::values(key, self.partition);
        if values.len() == self.by.len() && key != OVERFLOW {
            return self.by.iter().cloned().zip(values).collect();
        }
        self.by.iter().cloned().map(|field| (field, values.join(","))).collect()
    }

    /// Groups that the transaction under way changed, as they are now; `None` for those that are gone.
    pub fn changed(&self) -> impl Iterator<Item = (&Arc<str>, Option<&Group>)> {
        self.before.keys().map(|key| (key, self.groups.get(key)))
    }

    /// The transaction is durable.
    pub fn commit(&mut self) {
        self.before.clear();
    }

    /// The transaction was aborted: groups are what they were, and open panes are to be read again.
    pub fn rollback(&mut self) {
        for (key, group) in std::mem::take(&mut self.before) {
            self.put(key, group);
        }
        self.open.clear();
        self.settled = false;
    }
}
