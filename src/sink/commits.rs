//! Commits what is done: one commit at a time, again until the broker has taken it.
//!
//! The broker refuses commits for a moment of each rebalance, and only who waits for a commit learns what became of it
//! (ADR 35).
//! Invariant: what is done is committed, sooner or later, though nothing follows it.

use super::assignment::Assignment;
use super::batch::{Partition, Position};
use crate::kafka::explain::explain;
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How often it is committed while there is more to do, and tried again.
const EVERY: Duration = Duration::from_secs(1);

/// For how long the last commit is tried, and how often: refusals of a rebalance are over by then.
const LAST: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_millis(100);

/// The commits of a consumer.
pub struct Commits {
    consumer: Arc<StreamConsumer<Assignment>>,
    /// On its way.
    running: Option<JoinHandle<KafkaResult<()>>>,
    /// Since when something may be done that is not committed.
    owed: Option<Instant>,
    /// How many were refused, one after the other.
    refused: u32,
    /// The last one was, and not for a moment only.
    stuck: bool,
    began: Option<Instant>,
}

impl Commits {
    /// Nothing is done yet.
    pub fn new(consumer: Arc<StreamConsumer<Assignment>>) -> Self {
        Self { consumer, running: None, owed: None, refused: 0, stuck: false, began: None }
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
        let next = self.began.filter(|_| self.refused > 0 || !idle).map(|began| began + EVERY);
        Some(next.map_or(owed, |next| next.max(owed)))
    }

    /// Begins one.
    pub fn begin(&mut self) {
        self.owed = None;
        self.began = Some(Instant::now());
        let consumer = Arc::clone(&self.consumer);
        self.running = Some(tokio::task::spawn_blocking(move || consumer.context().commit(&*consumer)));
    }

    /// True while one is on its way.
    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Waits for the end of the one that is on its way. Nothing is lost if it is dropped.
    pub async fn ended(&mut self) {
        let Some(running) = &mut self.running else { return };
        let ended = running.await;
        self.running = None;
        let (reason, passes) = match ended {
            Ok(Ok(())) => return (self.refused, self.stuck) = (0, false),
            Ok(Err(error)) => (explain(&error), passes(&error)),
            Err(error) => (error.to_string(), false),
        };
        self.refused += 1;
        self.stuck = !passes;
        self.owed.get_or_insert_with(Instant::now);
        // The first of a rebalance is nothing to speak of, and one that lasts is said less and less often.
        if self.refused.is_power_of_two() && (self.refused > 1 || self.stuck) {
            tracing::warn!(times = self.refused, "sink: offsets were not committed, which is tried again: {reason}");
        }
    }

    /// Commits the rest, unless that has just failed for more than a moment, and leaves the group. Blocks until Kafka has
    /// answered.
    pub fn leave(self) {
        let assignment = self.consumer.context();
        let until = Instant::now() + LAST;
        while !self.stuck
            && let Err(error) = assignment.commit(&*self.consumer)
        {
            if !passes(&error) || Instant::now() >= until {
                tracing::warn!("sink: offsets were not committed, so some is read again: {}", explain(&error));
                break;
            }
            std::thread::sleep(LAST_PAUSE);
        }
        assignment.leave();
    }
}

/// The group or its coordinator is between two states.
fn passes(error: &KafkaError) -> bool {
    use Code::{CoordinatorLoadInProgress, IllegalGeneration, RebalanceInProgress};
    let code = error.rdkafka_error_code();
    matches!(code, Some(CoordinatorLoadInProgress | IllegalGeneration | RebalanceInProgress))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Stage;

    const PLACE: Partition = (Stage::Raw, 0);

    #[tokio::test(start_paused = true)]
    async fn a_commit_begins_at_once_or_a_second_after_the_last() {
        let consumer =
            rdkafka::ClientConfig::new().set("group.id", "g").create_with_context(Assignment::new(Vec::new()));
        let mut commits = Commits::new(Arc::new(consumer.unwrap()));
        let start = Instant::now();
        let after = |seconds: u64| Some(start + Duration::from_secs(seconds));
        let due = |commits: &Commits| [commits.due(true), commits.due(false)];
        let position = BTreeMap::from([(PLACE, Position { next: 1, turn: 1 })]);

        commits.note(&BTreeMap::new());
        assert_eq!(due(&commits), [None, None], "nothing is done");
        commits.note(&position);
        assert_eq!(due(&commits), [after(0), after(0)], "the first");
        commits.begin();
        commits.note(&position);
        assert_eq!(due(&commits), [None, None], "one is on its way");
        // Nothing of an assignment that has no partitions is asked of a broker.
        commits.ended().await;
        assert_eq!(due(&commits), [after(0), after(1)], "done during a commit");
        commits.refused = 1;
        assert_eq!(due(&commits), [after(1), after(1)], "refused");
        commits.refused = 0;
        commits.owed = None;
        tokio::time::advance(Duration::from_secs(5)).await;
        commits.note(&position);
        assert_eq!(due(&commits), [after(5), after(5)], "after a rest");
    }
}
