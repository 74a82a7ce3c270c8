//! The alerts of one partition of the scores topic: rows in, changed alerts out.
//!
//! Invariants: at most [`MOST_OPEN`] alerts are open, as many are kept after they were over until a channel takes their
//! message, and as many series are remembered after their alert was over; what is beyond is counted. A book that is made
//! from the records of the alerts topic goes on as the one that wrote them.

use super::Rules;
use super::record::{Alert, Occasion, Severity, State, Step};
use crate::pipeline::Millis;
use crate::score::{Score, SeriesName};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The most alerts of a partition that are open at a time.
pub const MOST_OPEN: usize = 10_000;

/// What a series that is not reported any more waits for beyond its windows; milliseconds of wall clock.
const PATIENCE: Millis = 60_000;
/// An alert whose series was not heard of for so long is over; milliseconds of wall clock.
const GONE: Millis = 86_400_000;

/// What happened since the last time that it was asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Alerts that began.
    pub began: u64,
    /// Alerts that are over.
    pub resolved: u64,
    /// Anomalies whose alert was not opened because too many are open.
    pub beyond: u64,
    /// Alerts that were over for so long, with so many after them, that what was to be told of them is given up.
    pub untold: u64,
}

/// The alerts of one partition.
#[derive(Debug, Clone)]
pub struct Book {
    rules: Arc<Rules>,
    /// Those that are open, and those that are over while a message is owed or they are not written yet.
    pub(super) alerts: BTreeMap<String, Alert>,
    /// The open alert of each series.
    open: BTreeMap<SeriesName, String>,
    past: Past,
    /// Ids of alerts that changed since they were last taken.
    changed: BTreeSet<String>,
    /// Ids of alerts with a message that is due and not made.
    pub(super) unmade: BTreeSet<String>,
    /// Ids of alerts with a message that is made and not delivered to everybody.
    pub(super) made: BTreeSet<String>,
    counts: Counts,
}

/// Up to which window series without an open alert were looked at; those whose alert was over last.
#[derive(Debug, Clone, Default)]
struct Past {
    through: BTreeMap<SeriesName, Millis>,
    oldest: BTreeSet<(Millis, SeriesName)>,
}

impl Past {
    fn insert(&mut self, name: &SeriesName, through: Millis) {
        let through = through.max(self.through(name));
        if let Some(earlier) = self.through.insert(name.clone(), through) {
            self.oldest.remove(&(earlier, name.clone()));
        }
        self.oldest.insert((through, name.clone()));
        if self.oldest.len() > MOST_OPEN
            && let Some((_, name)) = self.oldest.pop_first()
        {
            self.through.remove(&name);
        }
    }

    fn through(&self, name: &SeriesName) -> Millis {
        self.through.get(name).copied().unwrap_or(Millis::MIN)
    }
}

impl Book {
    /// A book without alerts.
    pub fn new(rules: Arc<Rules>) -> Self {
        Self {
            rules,
            alerts: BTreeMap::new(),
            open: BTreeMap::new(),
            past: Past::default(),
            changed: BTreeSet::new(),
            unmade: BTreeSet::new(),
            made: BTreeSet::new(),
            counts: Counts::default(),
        }
    }

    /// Takes in a record of the alerts topic, in the order of the topic, before the first row. `now` is the wall clock.
    pub fn restore(&mut self, mut alert: Alert, now: Millis) {
        alert.heard = now;
        let id = alert.id.clone();
        let silenced = !self.rules.tell && !alert.owed.is_empty();
        if silenced {
            // Somebody else notifies now.
            alert.owed.clear();
            alert.step(Step::Told);
        }
        if alert.open() {
            self.open.insert(alert.name.clone(), id.clone());
        } else if self.open.get(&alert.name) == Some(&id) {
            self.open.remove(&alert.name);
        }
        self.alerts.insert(id.clone(), alert);
        if silenced {
            self.touch(&id);
        } else {
            self.changed.remove(&id);
            self.settle(&id);
        }
    }

    /// Takes in a row. `now` is the wall clock.
    pub fn row(&mut self, row: &Score, now: Millis) {
        let quiet = self.rules.quiet(&row.name.detector, row.window_end - row.window_start);
        if let Some(id) = self.open.get(&row.name).cloned()
            && let Some(alert) = self.alerts.get_mut(&id)
        {
            if row.window_end <= alert.updated {
                return;
            }
            alert.heard = now;
            let since = row.window_end.saturating_sub(alert.end);
            if row.anomaly && since <= quiet {
                alert.updated = row.window_end;
                alert.grow(row);
                self.goes_on(&id, row, now);
                return;
            }
            if !row.anomaly {
                alert.updated = row.window_end;
            }
            if since < quiet {
                self.changed.insert(id);
                return;
            }
            self.over(&id, now);
        }
        if row.anomaly && row.window_end > self.past.through(&row.name) {
            self.begin(row, now);
        }
    }

    fn begin(&mut self, row: &Score, now: Millis) {
        if self.open.len() >= MOST_OPEN {
            self.counts.beyond += 1;
            return;
        }
        let alert = Alert::begin(row, now);
        let id = alert.id.clone();
        self.counts.began += 1;
        self.open.insert(row.name.clone(), id.clone());
        self.alerts.insert(id.clone(), alert);
        self.goes_on(&id, row, now);
    }

    /// What an anomalous row of an open alert means beyond its numbers.
    fn goes_on(&mut self, id: &str, row: &Score, now: Millis) {
        let Some(alert) = self.alerts.get_mut(id) else { return };
        let age = now.saturating_sub(row.window_end).saturating_sub(self.rules.lateness(&row.name.detector));
        let fresh = age <= self.rules.max_age;
        let first = alert.windows == 1;
        let escalated = row.score >= self.rules.critical && alert.severity == Severity::Normal;
        if escalated {
            alert.severity = Severity::Critical;
            alert.sequence += u32::from(!first);
        }
        let untold = alert.unmade().any(|owed| owed.occasion == Occasion::Began);
        if self.rules.tell && !alert.tell {
            if fresh && alert.state != State::Acknowledged {
                ring(alert, now);
            }
        } else if self.rules.tell && !untold && alert.state != State::Acknowledged {
            let told = alert.told.unwrap_or(alert.start);
            if escalated {
                alert.forget_repeat();
                alert.owe(Occasion::Escalated, now);
            } else if fresh && alert.end.saturating_sub(told) >= self.rules.repeat {
                alert.owe(Occasion::Repeated, now);
            }
        }
        self.touch(id);
    }

    fn over(&mut self, id: &str, now: Millis) {
        let Some(alert) = self.alerts.get_mut(id) else { return };
        if alert.step(Step::Over) {
            alert.forget_repeat();
            if self.rules.tell && alert.tell {
                alert.owe(Occasion::Over, now);
            }
            self.counts.resolved += 1;
            self.past.insert(&alert.name, alert.updated);
            self.open.remove(&alert.name);
        }
        self.touch(id);
    }

    /// Owes nothing any more of the alerts that were over first, where too many wait for a channel. Looks at all of them: once
    /// for each transaction.
    fn bound_untold(&mut self) {
        if self.alerts.len() - self.open.len() <= MOST_OPEN {
            return;
        }
        let waiting = self.alerts.values().filter(|alert| !alert.open() && !alert.owed.is_empty());
        let mut waiting: Vec<(Millis, String)> = waiting.map(|alert| (alert.updated, alert.id.clone())).collect();
        waiting.sort_unstable();
        waiting.truncate(waiting.len().saturating_sub(MOST_OPEN));
        for (_, id) in waiting {
            if let Some(alert) = self.alerts.get_mut(&id) {
                alert.owed.clear();
                self.counts.untold += 1;
                self.touch(&id);
            }
        }
    }

    /// What the wall clock decides, once the partition is read to its end: alerts of series that are no longer reported
    /// are over, and those that go on although they are old are told.
    pub fn caught_up(&mut self, now: Millis) {
        let mut over = Vec::new();
        let mut late = Vec::new();
        for id in self.open.values() {
            let Some(alert) = self.alerts.get(id) else { continue };
            let silence = now.saturating_sub(alert.heard);
            let detector = &alert.name.detector;
            let length = alert.peak.window_end.saturating_sub(alert.start);
            // Where only what changed is written, quiet windows are not: the last one that is known is quiet.
            let quiet = alert.updated > alert.end
                && silence >= self.rules.quiet(detector, length) + self.rules.lateness(detector) + PATIENCE;
            if quiet || silence >= GONE {
                over.push(id.clone());
            } else if self.rules.tell
                && !alert.tell
                // Its last window was anomalous: it goes on.
                && alert.updated <= alert.end
                && silence >= PATIENCE
                && now - alert.updated <= GONE
            {
                late.push(id.clone());
            }
        }
        over.iter().for_each(|id| self.over(id, now));
        for id in late {
            if let Some(alert) = self.alerts.get_mut(&id).filter(|alert| alert.state != State::Acknowledged) {
                ring(alert, now);
                self.touch(&id);
            }
        }
    }

    /// Somebody takes care of an alert; false if there is no open one of this id.
    pub fn acknowledge(&mut self, id: &str) -> bool {
        let Some(alert) = self.alerts.get_mut(id).filter(|alert| alert.open()) else { return false };
        if alert.step(Step::Acknowledge) {
            alert.owed.retain(|owed| owed.batch.is_some());
            self.touch(id);
        }
        true
    }

    /// The message of a batch that told of these alerts was delivered to a channel, or given up.
    pub fn delivered(&mut self, batch: &str, channel: &str, ids: &BTreeSet<String>) {
        let ids: Vec<String> = self.made.intersection(ids).cloned().collect();
        for id in ids {
            let Some(alert) = self.alerts.get_mut(&id) else { continue };
            let mut found = false;
            for owed in &mut alert.owed {
                if owed.batch.as_deref() == Some(batch) {
                    let before = owed.channels.len();
                    owed.channels.retain(|name| name != channel);
                    found |= owed.channels.len() != before;
                }
            }
            if found {
                alert.owed.retain(|owed| owed.batch.is_none() || !owed.channels.is_empty());
                self.touch(&id);
            }
        }
    }

    /// The alerts that changed since the last call, to be written.
    pub fn take_changes(&mut self) -> Vec<Alert> {
        self.bound_untold();
        let changed = std::mem::take(&mut self.changed);
        let alerts = changed.iter().filter_map(|id| self.alerts.get(id)).cloned().collect();
        changed.iter().for_each(|id| self.settle(id));
        alerts
    }

    /// True if there is something to write.
    pub fn has_changes(&self) -> bool {
        !self.changed.is_empty()
    }

    /// When the first message became due that is not made yet, by the wall clock.
    pub fn due_since(&self) -> Option<Millis> {
        let alerts = self.unmade.iter().filter_map(|id| self.alerts.get(id));
        alerts.flat_map(|alert| alert.unmade().map(|owed| owed.since)).min()
    }

    /// Open alerts, in the order of their ids.
    pub fn open_alerts(&self) -> impl ExactSizeIterator<Item = &String> {
        self.open.values()
    }

    /// What happened since the last call.
    pub fn take_counts(&mut self) -> Counts {
        std::mem::take(&mut self.counts)
    }

    /// Notes a change.
    pub(super) fn touch(&mut self, id: &str) {
        self.changed.insert(id.to_owned());
        self.note(id);
    }

    fn note(&mut self, id: &str) {
        let Some(alert) = self.alerts.get(id) else { return };
        let (unmade, made) = (alert.unmade().next().is_some(), alert.owed.iter().any(|owed| owed.batch.is_some()));
        for (set, belongs) in [(&mut self.unmade, unmade), (&mut self.made, made)] {
            if belongs {
                set.insert(id.to_owned());
            } else {
                set.remove(id);
            }
        }
    }

    /// Notes what is written: an alert that is over and told is forgotten but for its series.
    fn settle(&mut self, id: &str) {
        self.note(id);
        if let Some(alert) = self.alerts.get(id).filter(|alert| !alert.open()) {
            self.past.insert(&alert.name, alert.updated);
            if alert.owed.is_empty() {
                self.alerts.remove(id);
            }
        }
    }
}

/// From now on people are told.
fn ring(alert: &mut Alert, now: Millis) {
    alert.tell = true;
    if alert.sequence == 0 && alert.windows == 1 {
        alert.state = State::Pending;
    }
    alert.owe(Occasion::Began, now);
}
