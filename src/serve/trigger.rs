//! The page's button: asks the demo's generator for an anomaly.
//!
//! Invariants: only a configured field can be asked for; at most one request in [`PAUSE`]; nobody waits: a generator
//! that does not take requests makes the answer "later".

use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// The time between two anomalies by button.
pub const PAUSE: Duration = Duration::from_secs(2);

/// Where the button's requests go: each message is one of the fields.
pub struct Trigger {
    fields: Vec<String>,
    requests: mpsc::Sender<String>,
    last: Mutex<Option<Instant>>,
}

/// Why no anomaly was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The field is not one of [`Trigger::fields`].
    UnknownField,
    /// The last request was less than [`PAUSE`] ago, or the generator is busy.
    TooSoon,
    /// The generator has ended.
    Gone,
}

impl Trigger {
    /// A button for these fields; `requests` is a small bounded channel to the generator.
    pub fn new(fields: Vec<String>, requests: mpsc::Sender<String>) -> Self {
        Self { fields, requests, last: Mutex::new(None) }
    }

    /// What can be asked for.
    pub fn fields(&self) -> &[String] {
        &self.fields
    }

    /// Asks for an anomaly in the field.
    ///
    /// # Errors
    /// Why it was not passed on.
    pub fn pull(&self, field: &str) -> Result<(), Refused> {
        let field = self.fields.iter().find(|known| *known == field).ok_or(Refused::UnknownField)?;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_some_and(|last| last.elapsed() < PAUSE) {
            return Err(Refused::TooSoon);
        }
        self.requests.try_send(field.clone()).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Refused::TooSoon,
            mpsc::error::TrySendError::Closed(_) => Refused::Gone,
        })?;
        *last = Some(Instant::now());
        Ok(())
    }
}
