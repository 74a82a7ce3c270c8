//! Whether an error of Kafka's is still in force. A record of one topic or partition says nothing of another one, so that
//! only this ends it.
//!
//! ```text
//!        error that an answer ends                good answer, and the group has us
//!   No ───────────────────────────► Ask ──────────────────────────────────────────────► No
//!    │                               ▲ └─ bad answer: again after CHECK
//!    │ another error                 │ nothing was said for CHECK after that
//!    └───────────────► Wait ─────────┴─ reading begins anew after RETRY
//! ```

use super::explain::an_answer_ends;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use std::time::{Duration, Instant};

/// A partition of ours has no leader, which the client does not say by itself.
pub const NO_LEADER: KafkaError = KafkaError::MetadataFetch(Code::LeaderNotAvailable);
/// How often a broker that did not answer is asked again, and how long it may take.
pub const CHECK: Duration = Duration::from_secs(2);
/// After how long reading begins anew when an error says that it may not: what was fetched ahead is then fetched again.
const RETRY: Duration = Duration::from_secs(10);

/// The error, by what ends it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Broken {
    /// There is none, or it is over.
    #[default]
    No,
    /// Asking the broker for the topics tells when it is over: then.
    Ask(Instant),
    /// No answer tells, as with a right to read. Then reading begins anew; once it did, and nothing was said until then, the
    /// broker is asked.
    Wait {
        /// When reading begins anew, or the broker is asked.
        until: Instant,
        /// Reading began anew.
        anew: bool,
    },
}

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Ask for the topics, and whether the group has us: it is over, or asked [again](Broken::again).
    Ask,
    /// Begin to read anew in all partitions of ours.
    Anew,
}

impl Broken {
    /// An error came. False if another one is still in force, which is not over because this one is.
    pub fn by(&mut self, error: &KafkaError) -> bool {
        let asks = an_answer_ends(error);
        if asks && matches!(self, Self::Wait { .. }) {
            return false;
        }
        *self = match asks {
            true => Self::Ask(Instant::now() + CHECK),
            false => Self::Wait { until: Instant::now() + RETRY, anew: false },
        };
        true
    }

    /// The group gave partitions, or took all: perhaps the error was the group's.
    pub fn reassigned(&mut self) {
        if matches!(self, Self::Wait { .. }) {
            *self = Self::Wait { until: Instant::now(), anew: false };
        }
    }

    /// When it must be looked at.
    pub fn due(self) -> Option<Instant> {
        match self {
            Self::No => None,
            Self::Ask(at) | Self::Wait { until: at, .. } => Some(at),
        }
    }

    /// What is to be done about it, if it is time.
    pub fn remedy(&mut self) -> Option<Remedy> {
        let now = Instant::now();
        if self.due().is_none_or(|due| due > now) {
            return None;
        }
        if let Self::Wait { anew: false, .. } = self {
            *self = Self::Wait { until: now + CHECK, anew: true };
            return Some(Remedy::Anew);
        }
        Some(Remedy::Ask)
    }

    /// The answer was not good.
    pub fn again(&mut self) {
        *self = Self::Ask(Instant::now() + CHECK);
    }
}
