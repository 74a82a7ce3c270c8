//! One alert: a message of the alerts topic as JSON.
//!
//! Invariant: it is all that there is to know of the incident, so a restart goes on from the last record of each id.

use crate::explain::Reason;
use crate::pipeline::Millis;
use crate::score::{Score, SeriesName};
use crate::sketch::hash;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Where an alert stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It waits a moment for others, to share one message with them.
    Pending,
    /// It goes on; if it is told at all, its message is on the way or was delivered.
    Firing,
    /// Somebody takes care: it goes on and is not repeated.
    Acknowledged,
    /// It is over.
    Resolved,
}

impl State {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Firing => "firing",
            Self::Acknowledged => "acknowledged",
            Self::Resolved => "resolved",
        }
    }
}

impl Severity {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Critical => "critical",
        }
    }
}

/// What moves an alert on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Its first message was made.
    Told,
    /// Somebody takes care.
    Acknowledge,
    /// Its series was long enough without an anomaly.
    Over,
}

impl State {
    /// The state after a step; the same where the step changes nothing.
    pub fn after(self, step: Step) -> Self {
        match (self, step) {
            (Self::Pending, Step::Told) => Self::Firing,
            (Self::Firing | Self::Acknowledged | Self::Resolved, Step::Told) => self,
            (Self::Pending | Self::Firing, Step::Acknowledge) => Self::Acknowledged,
            (Self::Acknowledged | Self::Resolved, Step::Acknowledge) => self,
            (Self::Pending | Self::Firing | Self::Acknowledged, Step::Over) => Self::Resolved,
            (Self::Resolved, Step::Over) => self,
        }
    }
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// An anomaly.
    Normal,
    /// The score reached `alerting.critical`.
    Critical,
}

/// Why a message is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Occasion {
    /// The alert began.
    Began,
    /// It became critical after that was told.
    Escalated,
    /// It goes on for longer than `alerting.repeat_interval`.
    Repeated,
    /// It is over.
    Over,
}

/// A message that was not delivered to everybody yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owed {
    /// Why it is made.
    pub occasion: Occasion,
    /// When that was seen, by the wall clock; epoch milliseconds.
    pub since: Millis,
    /// The messages made together have one batch; absent until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<String>,
    /// The channels that did not get it yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<String>,
}

/// The window with the highest score, the first of them if there are several.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Peak {
    /// End of the window, epoch milliseconds.
    pub window_end: Millis,
    /// The measure's value.
    pub value: f64,
    /// The value that was to be expected.
    pub expected: f64,
    /// Lower end of the band that holds 99.9 % of normal values.
    pub lower: f64,
    /// Upper end of that band.
    pub upper: f64,
    /// 0 to 100.
    pub score: f64,
    /// The values whose share changed most, the most important first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub why: Vec<Reason>,
}

impl Peak {
    fn of(row: &Score) -> Self {
        let Score { window_end, value, expected, lower, upper, score, .. } = *row;
        Self { window_end, value, expected, lower, upper, score, why: row.why.clone() }
    }
}

/// One incident of one series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// Of this incident alone, and the same whenever its rows are read: 16 hexadecimal digits.
    pub id: String,
    /// Where it stands.
    pub state: State,
    /// How often state or severity changed; with the id the identity of a document.
    pub sequence: u32,
    /// How bad it was at its worst.
    pub severity: Severity,
    /// The series.
    #[serde(flatten)]
    pub name: SeriesName,
    /// The group's values by the fields that the detector splits by.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub by: BTreeMap<String, String>,
    /// Start of the first anomalous window; epoch milliseconds.
    pub start: Millis,
    /// End of the last anomalous window so far; epoch milliseconds, exclusive.
    pub end: Millis,
    /// End of the last window that was looked at; epoch milliseconds.
    pub updated: Millis,
    /// Anomalous windows so far.
    pub windows: u64,
    /// The worst window.
    pub peak: Peak,
    /// People are told of it.
    pub tell: bool,
    /// The window end at which the last message was due; epoch milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<Millis>,
    /// Messages that were not delivered to everybody yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub owed: Vec<Owed>,
    /// When this process last heard of the series, by the wall clock.
    #[serde(skip)]
    pub(super) heard: Millis,
}

impl Alert {
    /// The alert that begins with an anomalous row.
    pub(super) fn begin(row: &Score, now: Millis) -> Self {
        Self {
            id: format!("{:016x}", hash(format!("{}\n{}", row.name.key(), row.window_start).as_bytes())),
            state: State::Firing,
            sequence: 0,
            severity: Severity::Normal,
            name: row.name.clone(),
            by: row.by.clone(),
            start: row.window_start,
            end: row.window_end,
            updated: row.window_end,
            windows: 1,
            peak: Peak::of(row),
            tell: false,
            told: None,
            owed: Vec::new(),
            heard: now,
        }
    }

    /// Takes a further anomalous row in.
    pub(super) fn grow(&mut self, row: &Score) {
        self.end = row.window_end;
        self.windows += 1;
        if row.score > self.peak.score {
            self.peak = Peak::of(row);
        }
    }

    /// True until it is over.
    pub fn open(&self) -> bool {
        self.state != State::Resolved
    }

    /// Moves on; true if the state changed.
    pub(super) fn step(&mut self, step: Step) -> bool {
        let state = self.state.after(step);
        let changed = state != self.state;
        self.state = state;
        self.sequence += u32::from(changed);
        changed
    }

    /// Notes that a message is due. One of the same occasion that is still owed gives way.
    pub(super) fn owe(&mut self, occasion: Occasion, since: Millis) {
        self.told = Some(self.updated);
        self.owed.retain(|owed| owed.occasion != occasion);
        self.owed.push(Owed { occasion, since, batch: None, channels: Vec::new() });
    }

    /// That it goes on is not worth saying any more, as something else is.
    pub(super) fn forget_repeat(&mut self) {
        self.owed.retain(|owed| owed.batch.is_some() || owed.occasion != Occasion::Repeated);
    }

    /// A message is due and not made yet.
    pub(super) fn unmade(&self) -> impl Iterator<Item = &Owed> {
        self.owed.iter().filter(|owed| owed.batch.is_none())
    }

    /// Reads a message of the alerts topic.
    ///
    /// # Errors
    /// It is not an alert.
    pub fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }
}
