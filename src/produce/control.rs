//! What another task can do with a running generator: start an anomaly, watch the progress.
//!
//! Invariant: bounded: of several anomalies on one field that were not yet taken, the last one counts.

use super::generator::Field;
use outlier_core::pipeline::Millis;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Records handed on so far.
    pub records: u64,
    /// Event time at which the history begins; epoch milliseconds.
    pub from: Millis,
    /// Event time of the last record handed on.
    pub reached: Millis,
    /// Event time at which the history ends and live records begin.
    pub until: Millis,
    /// The history is written: records are live now, or the run is over.
    pub live: bool,
}

impl Progress {
    /// The part of the history that is written, 0 to 1.
    pub fn share(&self) -> f64 {
        let whole = self.until - self.from;
        if self.live || whole <= 0 {
            return 1.0;
        }
        ((self.reached - self.from) as f64 / whole as f64).clamp(0.0, 1.0)
    }
}

/// Shared between the generator and whoever controls it. Cheap to clone; all clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Control(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    waiting: Mutex<BTreeMap<Field, Trigger>>,
    progress: watch::Sender<Progress>,
}

/// An anomaly that somebody wants now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trigger {
    pub value: Option<String>,
    pub lasts: Duration,
}

impl Control {
    /// Makes the field anomalous from the generator's next record on, for this long in event time: mostly bad values,
    /// or mostly `value`. It replaces an anomaly of the same field that is on. A replay of files ignores it.
    pub fn trigger(&self, field: Field, value: Option<String>, lasts: Duration) {
        let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.insert(field, Trigger { value, lasts });
    }

    /// How far the run is, and each change; changes come at most every few hundred records.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.0.progress.subscribe()
    }

    /// The anomalies that were triggered since the last call.
    pub(super) fn take(&self) -> BTreeMap<Field, Trigger> {
        std::mem::take(&mut *self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn report(&self, progress: Progress) {
        self.0.progress.send_replace(progress);
    }
}
