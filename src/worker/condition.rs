//! What health says of a worker: of all that keeps it from working, what matters most.
//!
//! Invariant: health follows from what is noted here and from nothing else; what is over for one partition ends nothing that
//! another one, the group or the broker still waits for.

use super::held_up::HeldUp;
use super::stage::Progress;
use crate::kafka::broken::{Broken, NO_LEADER};
use crate::kafka::explain::explain;
use crate::telemetry::health::{Health, State};
use rdkafka::error::{KafkaError, KafkaResult};
use std::time::Duration;

/// What is noted.
pub struct Condition<'a> {
    health: &'a Health,
    worker: &'a str,
    /// What a worker without partitions waits for.
    joining: &'static str,
    member: bool,
    held_up: HeldUp,
    /// Why the last transaction was aborted.
    aborted: String,
    /// Whether an error of the client's is still in force.
    pub broken: Broken,
    /// The error and what to do.
    error: String,
}

impl<'a> Condition<'a> {
    /// It joins its group.
    pub fn new(health: &'a Health, worker: &'a str) -> Self {
        let condition = Self {
            health,
            worker,
            joining: "joining the group",
            member: false,
            held_up: HeldUp::default(),
            aborted: String::new(),
            broken: Broken::No,
            error: String::new(),
        };
        condition.show();
        condition
    }

    /// The group gave it partitions, or none.
    pub fn joined(&mut self) {
        self.member = true;
        self.broken.reassigned();
        self.show();
    }

    /// The group took all partitions away, as it did not hear of the worker in time.
    pub fn left(&mut self) {
        (self.member, self.joining) = (false, "joining the group again, which did not hear of this instance in time");
        self.broken.reassigned();
        self.show();
    }

    /// An error of the client's.
    pub fn trouble(&mut self, error: &KafkaError) {
        if self.broken.by(error) {
            self.error = explain(error);
            self.show();
        }
    }

    /// The broker was asked for the topic. If it answers that all of our partitions have leaders, and the group has us, the
    /// error is over.
    pub fn asked(&mut self, answer: KafkaResult<bool>) {
        let no_leader = explain(&NO_LEADER);
        match answer {
            Ok(true) if self.member || self.error == no_leader => self.broken = Broken::No,
            Ok(true) => self.broken.again(),
            Ok(false) => {
                self.error = no_leader;
                self.broken.again();
            }
            Err(error) => {
                // Of what is asked for, the first error says more.
                if matches!(self.broken, Broken::Wait { .. }) {
                    self.error = explain(&error);
                }
                self.broken.again();
            }
        }
        self.show();
    }

    /// A transaction that would have come so far was aborted: how long to rest, if it was not the first in a row. Then an
    /// operator must see it, and there is no use in haste.
    pub fn aborted(&mut self, progress: &[Progress], reason: String) -> Option<Duration> {
        let worker = self.worker;
        let Some(rest) = self.held_up.aborted(progress) else {
            tracing::info!(worker, reason, "transaction aborted, going back to the last commit");
            return None;
        };
        tracing::warn!(worker, reason, "transactions are aborted again and again");
        self.aborted = reason;
        self.show();
        Some(rest)
    }

    /// A transaction was committed.
    pub fn committed(&mut self, progress: &[Progress]) {
        if self.held_up.committed(progress) {
            self.show();
        }
    }

    /// The partition belongs to somebody else.
    pub fn released(&mut self, partition: i32) {
        if self.held_up.released(partition) {
            self.show();
        }
    }

    /// It reads what was kept, and is so far with it. [`Self::show`] ends that.
    pub fn restoring(&self, progress: &str) {
        let reason = format!("reading what was kept, {progress}");
        // What holds it up matters more.
        if self.held_up.is_shown() {
            tracing::info!(worker = self.worker, reason);
        } else {
            self.health.set(self.worker, State::Starting { reason });
        }
    }

    /// Shows how it is.
    pub fn show(&self) {
        let state = if self.held_up.is_shown() {
            State::Waiting { reason: self.aborted.clone() }
        } else if self.broken != Broken::No {
            State::Waiting { reason: self.error.clone() }
        } else if !self.member {
            State::Starting { reason: self.joining.to_owned() }
        } else {
            State::Ready
        };
        self.health.set(self.worker, state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::error::RDKafkaErrorCode as Code;

    #[test]
    fn what_is_over_ends_nothing_else() {
        let health = Health::default();
        let shown = || health.components().remove("w").unwrap();
        let waits = |part: &str| matches!(shown(), State::Waiting { reason } if reason.contains(part));
        let at = |offset| vec![Progress { partition: 0, offset, metadata: String::new() }];
        let mut condition = Condition::new(&health, "w");
        assert!(matches!(shown(), State::Starting { .. }));
        condition.trouble(&KafkaError::MessageConsumption(Code::TopicAuthorizationFailed));
        condition.joined();
        assert!(waits("may not use the topic"), "an assignment gives no right");
        condition.joined();
        let before = condition.broken;
        condition.trouble(&NO_LEADER);
        assert!(waits("may not use the topic") && condition.broken == before, "nor does a leader");
        assert_eq!(condition.aborted(&at(7), "first".into()), None);
        assert!(condition.aborted(&at(7), "second".into()).is_some() && waits("second"));
        condition.restoring("1 record");
        assert!(waits("second"));
        condition.asked(Ok(true));
        condition.committed(&at(3));
        assert!(waits("second"), "it did not come as far");
        condition.trouble(&KafkaError::MessageConsumption(Code::AllBrokersDown));
        condition.committed(&at(7));
        assert!(waits("no broker answers"));
        condition.asked(Err(KafkaError::Global(Code::OperationTimedOut)));
        assert!(waits("no broker answers"));
        condition.asked(Ok(false));
        assert!(waits("has no leader"));
        condition.left();
        condition.asked(Ok(true));
        assert!(matches!(shown(), State::Starting { .. }), "the group does not have it");
        condition.trouble(&KafkaError::MessageConsumption(Code::AllBrokersDown));
        condition.asked(Ok(true));
        assert!(waits("no broker answers"));
        condition.joined();
        condition.asked(Ok(true));
        assert_eq!(shown(), State::Ready);
        condition.left();
        assert!(matches!(shown(), State::Starting { reason } if reason.contains("again")));
        condition.joined();
        assert_eq!(shown(), State::Ready);
        condition.restoring("2 records");
        assert!(matches!(shown(), State::Starting { reason } if reason.contains("2 records")));
        condition.show();
        assert_eq!(shown(), State::Ready);
    }
}
