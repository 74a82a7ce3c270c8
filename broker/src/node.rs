//! The broker's whole state behind one lock, and the steps that touch several parts of it.
//!
//! The APIs lock it for the short time of one step; nothing waits and nothing is decoded while it is held. Readers and
//! group members that have to wait do so outside, on a handle that a later step rings.
//!
//! Invariants: a transaction's markers and offsets are written in one step, so nobody sees half of it; every deadline
//! that comes nearer wakes the timer.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kafka_protocol::error::ResponseError;
use tokio::sync::{Notify, oneshot};
use uuid::Uuid;

use crate::Config;
use crate::clock::{Clock, Millis};
use crate::group::{Answer, Answers, Group, Ticket};
use crate::log::marker::Marker;
use crate::topic::Topics;
use crate::txn::{Completion, Transactions};

/// Groups remembered; beyond it new ones are refused.
const MAX_GROUPS: usize = 10_000;

/// The state and the handles around it.
pub(crate) struct Node {
    pub(crate) config: Config,
    pub(crate) clock: Clock,
    /// Names this run of the broker: what a client sees as the cluster's id.
    pub(crate) cluster_id: String,
    state: Mutex<State>,
    /// Rung when the next deadline came nearer.
    timer: Notify,
}

/// Everything that changes.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) topics: Topics,
    pub(crate) transactions: Transactions,
    pub(crate) groups: BTreeMap<String, Group>,
    waiting: HashMap<Ticket, oneshot::Sender<Answer>>,
    tickets: Ticket,
    random: RandomState,
    random_draws: u64,
    /// When the timer wakes next.
    wakes: Option<Millis>,
    rearm: bool,
}

impl Node {
    pub(crate) fn new(config: Config) -> Arc<Self> {
        let mut state = State::default();
        let cluster_id = format!("outlier-{}", state.random_id().simple());
        let clock = Clock::start();
        Arc::new(Self { config, clock, cluster_id, state: Mutex::new(state), timer: Notify::new() })
    }

    /// Runs one step on the state. A step that panicked before left the state as it was between two statements; the
    /// connection that ran it is gone, the others go on.
    pub(crate) fn step<T>(&self, step: impl FnOnce(&mut State, Millis) -> T) -> T {
        let mut state = self.lock();
        let result = step(&mut state, self.clock.now());
        if std::mem::take(&mut state.rearm) {
            self.timer.notify_one();
        }
        result
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does what falls due, for ever: sessions, rebalances and transactions whose time is up.
    pub(crate) async fn run_timer(&self) {
        loop {
            let next = self.step(State::expire);
            let rung = self.timer.notified();
            match next {
                None => rung.await,
                Some(at) => {
                    tokio::select! {
                        () = tokio::time::sleep_until(self.clock.instant(at)) => {}
                        () = rung => {}
                    }
                }
            }
        }
    }
}

impl State {
    /// A random id (version 4 in form).
    pub(crate) fn random_id(&mut self) -> Uuid {
        let mut draw = || {
            self.random_draws += 1;
            self.random.hash_one(self.random_draws)
        };
        let (high, low) = (draw(), draw());
        Uuid::from_u64_pair((high & !0xf000) | 0x4000, (low & !(0b11 << 62)) | (0b10 << 62))
    }

    /// Makes sure that the timer wakes by `deadline`.
    pub(crate) fn arm(&mut self, deadline: Option<Millis>) {
        if let Some(deadline) = deadline
            && self.wakes.is_none_or(|wakes| deadline < wakes)
        {
            self.wakes = Some(deadline);
            self.rearm = true;
        }
    }

    /// Runs one step on a group, made if needed, and hands out the answers that it releases.
    ///
    /// # Errors
    /// `CoordinatorNotAvailable` when there are too many groups.
    pub(crate) fn with_group<T>(
        &mut self,
        name: &str,
        step: impl FnOnce(&mut Group, &mut Answers) -> T,
    ) -> Result<T, ResponseError> {
        if !self.groups.contains_key(name) {
            if self.groups.len() >= MAX_GROUPS {
                return Err(ResponseError::CoordinatorNotAvailable);
            }
            self.groups.insert(name.to_owned(), Group::default());
        }
        let group = self.groups.get_mut(name).ok_or(ResponseError::CoordinatorNotAvailable)?;
        let mut answers = Answers::new();
        let result = step(group, &mut answers);
        let deadline = group.next_deadline();
        if group.is_forgettable() {
            self.groups.remove(name);
        }
        self.hand_out(answers);
        self.arm(deadline);
        Ok(result)
    }

    /// A ticket and where its answer will come.
    pub(crate) fn ticket(&mut self) -> (Ticket, oneshot::Receiver<Answer>) {
        let (sender, receiver) = oneshot::channel();
        self.tickets += 1;
        self.waiting.insert(self.tickets, sender);
        (self.tickets, receiver)
    }

    fn hand_out(&mut self, answers: Answers) {
        for (ticket, answer) in answers {
            if let Some(sender) = self.waiting.remove(&ticket) {
                // A client that has gone misses its answer; its session will end.
                let _ = sender.send(answer);
            }
        }
    }

    /// Ends a transaction: a marker in every partition, and the groups' offsets.
    pub(crate) fn finish(&mut self, completion: Completion, now: Millis) {
        let Completion { producer, commit, partitions, groups } = completion;
        let marker = Marker { producer_id: producer.producer_id, epoch: producer.epoch, commit };
        for partition in partitions {
            // A topic deleted meanwhile has nothing to end.
            if let Ok(topic) = self.topics.get_mut(&partition.topic)
                && let Err(error) = topic.append_marker(partition.partition, marker, now)
            {
                tracing::warn!(?partition, %error, "could not end a transaction in a partition");
            }
        }
        for name in groups {
            if let Some(group) = self.groups.get_mut(&name) {
                group.offsets.settle(producer.producer_id, commit);
            }
        }
    }

    /// Forgets a topic's offsets in all groups.
    pub(crate) fn forget_topic_offsets(&mut self, topic: &str) {
        self.groups.values_mut().for_each(|group| group.offsets.forget_topic(topic));
    }

    /// Does what is due; returns when the next thing is.
    fn expire(&mut self, now: Millis) -> Option<Millis> {
        for completion in self.transactions.expire(now) {
            tracing::debug!(producer = completion.producer.producer_id, "transaction timed out and is aborted");
            self.finish(completion, now);
        }
        let due = |group: &Group| group.next_deadline().is_some_and(|deadline| deadline <= now);
        let names: Vec<String> = self.groups.iter().filter(|(_, g)| due(g)).map(|(name, _)| name.clone()).collect();
        for name in names {
            // The group exists, so that no room is needed.
            let _ = self.with_group(&name, |group, answers| group.expire(now, answers));
        }
        let groups = self.groups.values().filter_map(Group::next_deadline);
        self.wakes = groups.chain(self.transactions.next_deadline()).min();
        self.rearm = false;
        self.wakes
    }
}
