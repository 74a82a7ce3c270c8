//! Commits what is done: one commit at a time, again until the broker has taken it.
//!
//! The broker refuses commits for a moment of each rebalance, and librdkafka tells nobody what became of a commit that
//! was not waited for. Invariant: what is done is committed a second later at most, if the broker takes it.

use super::assignment::Assignment;
use super::batch::{Partition, Position};
use crate::kafka::explain::explain;
use rdkafka::consumer::{Consumer, StreamConsumer};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How often it is committed while there is more to do, and tried again.
const EVERY: Duration = Duration::from_secs(1);

/// How often the last commit is tried, and how long after the one before; a rebalance is over by then.
const LAST_TRIES: usize = 10;
const LAST_PAUSE: Duration = Duration::from_millis(100);

/// The commits of a consumer.
pub struct Commits {
    consumer: Arc<StreamConsumer<Assignment>>,
    /// On its way: true if the broker takes it.
    running: Option<JoinHandle<bool>>,
    /// Since when something may be done that is not committed.
    owed: Option<Instant>,
    /// The last one was refused.
    refused: bool,
    began: Option<Instant>,
}

impl Commits {
    /// Nothing is done yet.
    pub fn new(consumer: Arc<StreamConsumer<Assignment>>) -> Self {
        Self { consumer, running: None, owed: None, refused: false, began: None }
    }

    /// Notes what is done.
    pub fn note(&mut self, positions: &BTreeMap<Partition, Position>) {
        self.consumer.context().done(positions);
        if !positions.is_empty() {
            self.owed.get_or_insert_with(Instant::now);
        }
    }

    /// When the next may begin, if there is something to commit: at once when nothing else is to be done.
    pub fn due(&self, idle: bool) -> Option<Instant> {
        let owed = self.owed.filter(|_| !self.is_running())?;
        let next = self.began.filter(|_| self.refused || !idle).map(|began| began + EVERY);
        Some(next.map_or(owed, |next| next.max(owed)))
    }

    /// Begins one.
    pub fn begin(&mut self) {
        self.owed = None;
        self.began = Some(Instant::now());
        let consumer = Arc::clone(&self.consumer);
        self.running = Some(tokio::task::spawn_blocking(move || commit(&consumer)));
    }

    /// True while one is on its way.
    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Waits for the end of the one that is on its way. Nothing is lost if it is dropped.
    pub async fn ended(&mut self) {
        let Some(running) = &mut self.running else { return };
        self.refused = !running.await.unwrap_or(false);
        self.running = None;
        if self.refused {
            self.owed.get_or_insert_with(Instant::now);
        }
    }

    /// Commits the rest, and leaves the group. Blocks.
    pub fn leave(self) {
        for left in (0..LAST_TRIES).rev() {
            if commit(&self.consumer) {
                break;
            }
            if left > 0 {
                std::thread::sleep(LAST_PAUSE);
            }
        }
        self.consumer.context().leave();
    }
}

/// True if nothing is left to commit.
fn commit(consumer: &StreamConsumer<Assignment>) -> bool {
    let committed = consumer.context().commit(consumer);
    if let Err(error) = &committed {
        tracing::warn!("sink: offsets were not committed, which is tried again: {}", explain(error));
    }
    committed.is_ok()
}
