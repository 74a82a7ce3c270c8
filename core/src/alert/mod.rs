//! From scores to alerts: what is told to people, once, and when it is over. The step behind `score`.
//!
//! An [`Alert`] is one incident of one series: it begins with an anomalous window and is over after
//! `alerting.resolve_after` windows without one. [`Book`] keeps those of one partition of the scores topic; what is to be
//! told of them is [`Owed`] within the alert itself, so that the alerts topic is the outbox as well ([`batch`], [`owed`]).
//!
//! ```text
//!                   ┌──────────── acknowledge ────────────┐
//!                   │                                     ▼
//!  anomaly ──► Pending ──── told ───► Firing ── ack ─► Acknowledged
//!                   │                   │                 │
//!                   └────── over ───────┴───── over ──────┴──► Resolved
//! ```
//!
//! Invariants:
//! - What becomes of an alert follows from its series' own rows and their event times; the wall clock decides only what
//!   rows cannot tell: whether it is still worth telling, and that a series is no longer reported.
//! - A row that comes again, or late, changes nothing; so the interleaving of series does not matter.
//! - An alert is told at its beginning, when it becomes critical, each `repeat_interval` while it goes on, and when it is
//!   over; each at most once.

mod book;
mod outbox;
mod record;
#[cfg(test)]
mod tests;

pub use book::{Book, Counts, MOST_OPEN};
pub use outbox::{Message, Recipient, Telling, batch, owed};
pub use record::{Alert, Occasion, Owed, Peak, Severity, State, Step};

use crate::pipeline::{Millis, Pipeline};
use std::collections::BTreeMap;

/// When alerts begin, end and are told.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// An anomaly of at least this score is critical; 0 to 100.
    pub critical: f64,
    /// An alert is over after so many windows in a row without an anomaly; at least 1.
    pub resolve_after: u32,
    /// A further message about an alert that goes on comes no sooner; milliseconds of event time.
    pub repeat: Millis,
    /// A window that ended longer ago, and its lateness, is history: its alert is recorded and not told, unless it goes on;
    /// milliseconds of wall clock.
    pub max_age: Millis,
    /// Alerts are told to people; else they are recorded only.
    pub tell: bool,
    /// Of each detector: the time between the ends of two windows, and how long a window stays open after its end.
    pub windows: BTreeMap<String, (Millis, Millis)>,
}

impl Rules {
    /// The windows of a pipeline's detectors, for [`Rules::windows`].
    pub fn windows_of(pipeline: &Pipeline) -> BTreeMap<String, (Millis, Millis)> {
        pipeline.detectors.iter().map(|d| (d.name.clone(), (d.hop, d.lateness))).collect()
    }

    /// How long a series must be without an anomaly, from the end of the last anomalous window to that of the window with
    /// which the alert is over; milliseconds. `length` is that of a window, for a detector that is not configured any more.
    fn quiet(&self, detector: &str, length: Millis) -> Millis {
        let hop = self.windows.get(detector).map_or(length, |(hop, _)| *hop);
        hop.max(1).saturating_mul(Millis::from(self.resolve_after.max(1)))
    }

    /// How long after its end a window may stay open; milliseconds.
    fn lateness(&self, detector: &str) -> Millis {
        self.windows.get(detector).map_or(0, |(_, lateness)| *lateness)
    }
}
