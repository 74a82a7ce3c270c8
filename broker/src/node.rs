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
use tokio::sync::{Notify, Semaphore, oneshot};
use uuid::Uuid;

use crate::Config;
use crate::clock::{Clock, Millis, Now};
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
    /// One search within a batch at a time: each may decompress.
    pub(crate) searches: Arc<Semaphore>,
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
        let searches = Arc::new(Semaphore::new(1));
        Arc::new(Self { config, clock, cluster_id, searches, state: Mutex::new(state), timer: Notify::new() })
    }

    /// Runs one step on the state. A step that panicked before left the state as it was between two statements; the
    /// connection that ran it is gone, the others go on.
    pub(crate) fn step<T>(&self, step: impl FnOnce(&mut State, Now) -> T) -> T {
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

    /// Runs one step on a group for a member that waits; returns where its answer will come.
    ///
    /// # Errors
    /// As [`State::with_group`]; nobody waits then.
    pub(crate) fn wait_in_group(
        &mut self,
        name: &str,
        step: impl FnOnce(&mut Group, Ticket, &mut Answers),
    ) -> Result<oneshot::Receiver<Answer>, ResponseError> {
        let (sender, receiver) = oneshot::channel();
        self.tickets += 1;
        let ticket = self.tickets;
        // Before the step, because the step may answer at once.
        self.waiting.insert(ticket, sender);
        let stepped = self.with_group(name, |group, answers| step(group, ticket, answers));
        if stepped.is_err() {
            self.waiting.remove(&ticket);
        }
        stepped.map(|()| receiver)
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
    pub(crate) fn finish(&mut self, completion: Completion, now: Now) {
        let Completion { producer, commit, partitions, groups } = completion;
        let marker = Marker { producer_id: producer.producer_id, epoch: producer.epoch, commit };
        for partition in partitions {
            // A topic deleted meanwhile has nothing to end.
            if let Ok(topic) = self.topics.get_mut(&partition.topic)
                && let Err(error) = topic.append_marker(partition.partition, marker, now.wall)
            {
                tracing::warn!(?partition, %error, "could not end a transaction in a partition");
            }
        }
        for name in groups {
            if let Some(group) = self.groups.get_mut(&name) {
                group.offsets.settle(producer.producer_id, commit);
                // An aborted transaction's offsets may have been all that the group had.
                if group.is_forgettable() {
                    self.groups.remove(&name);
                }
            }
        }
    }

    /// Forgets a topic's offsets in all groups.
    pub(crate) fn forget_topic_offsets(&mut self, topic: &str) {
        self.groups.retain(|_, group| {
            group.offsets.forget_topic(topic);
            !group.is_forgettable()
        });
    }

    /// Does what is due; returns when the next thing is.
    fn expire(&mut self, now: Now) -> Option<Millis> {
        for completion in self.transactions.expire(now.steady) {
            tracing::debug!(producer = completion.producer.producer_id, "transaction timed out and is aborted");
            self.finish(completion, now);
        }
        let due = |group: &Group| group.next_deadline().is_some_and(|deadline| deadline <= now.steady);
        let names: Vec<String> = self.groups.iter().filter(|(_, g)| due(g)).map(|(name, _)| name.clone()).collect();
        for name in names {
            // The group exists, so that no room is needed.
            let _ = self.with_group(&name, |group, answers| group.expire(now.steady, answers));
        }
        let groups = self.groups.values().filter_map(Group::next_deadline);
        self.wakes = groups.chain(self.transactions.next_deadline()).min();
        self.rearm = false;
        self.wakes
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;
    use crate::group::offsets::Committed;
    use crate::log::Batch;
    use crate::log::batch::Bounds;
    use crate::log::marker::tests::timed_batch;
    use crate::topic::TopicPartition;
    use crate::txn::ProducerEpoch;
    use kafka_protocol::records::Compression;

    const HOUR: Millis = 3_600_000;

    /// An open transaction of this id.
    fn open(state: &mut State, id: &str, now: Now) -> ProducerEpoch {
        let (owner, _) = state.transactions.init(Some(id), 60_000, None, now.steady).unwrap();
        let deadline = state.transactions.add_group(id, owner, "g", now.steady).unwrap();
        state.arm(deadline);
        owner
    }

    #[test]
    fn a_wall_clock_that_jumps_refuses_no_record_and_ends_no_transaction() {
        static WALL: AtomicI64 = AtomicI64::new(10 * HOUR);
        let mut node = Arc::into_inner(Node::new(Config::default())).unwrap();
        node.clock = Clock::reading(|| WALL.load(Ordering::Relaxed));
        node.step(|state, now| open(state, "t", now));
        let bounds = Bounds { max_bytes: 1_000, before_max_ms: i64::MAX, after_max_ms: HOUR };
        for shown in [10 * HOUR, 12 * HOUR, 10 * HOUR] {
            WALL.store(shown, Ordering::Relaxed);
            let batch = timed_batch(-1, -1, -1, false, Compression::None, &[shown]).bytes;
            let checked = node.step(|_, now| Batch::check(&batch, &bounds, now.wall).err());
            assert_eq!(checked, None, "{shown}");
            node.step(State::expire);
            assert!(node.step(|state, _| state.transactions.next_deadline()).is_some(), "{shown}");
        }
    }

    #[test]
    fn who_finds_no_room_for_its_group_leaves_nothing_behind() {
        let mut state = State::default();
        for (groups, waits) in [(MAX_GROUPS - 1, true), (MAX_GROUPS, false)] {
            state = State::default();
            state.groups = (0..groups).map(|n| (format!("g{n}"), Group::default())).collect();
            let waiting = state.wait_in_group("new", |_, _, _| {});
            assert_eq!((waiting.is_ok(), state.waiting.len()), (waits, usize::from(waits)), "{groups} groups");
        }
        // A group that is there needs no room, and an answer ends the wait.
        let answer = Answer::Sync(crate::group::Synced::refused(ResponseError::UnknownMemberId));
        let waiting = state.wait_in_group("g0", |_, ticket, answers| answers.push((ticket, answer.clone())));
        assert_eq!((waiting.unwrap().try_recv(), state.waiting.len()), (Ok(answer), 0));
    }

    #[test]
    fn a_group_that_an_abort_leaves_without_offsets_is_forgotten() {
        let now = Now { wall: 0, steady: 0 };
        let at = || Committed { offset: 5, leader_epoch: -1, metadata: String::new() };
        for (committed, commit, remains) in
            [(false, false, false), (false, true, true), (true, false, true), (true, true, true)]
        {
            let mut state = State::default();
            let owner = open(&mut state, "t", now);
            let step = |group: &mut Group, _: &mut Answers| {
                group.offsets.commit_later(owner.producer_id, TopicPartition::new("t", 0), at());
                if committed {
                    group.offsets.commit(TopicPartition::new("t", 1), at());
                }
            };
            state.with_group("g", step).unwrap();
            let completion = state.transactions.end("t", owner, commit, now.steady).unwrap().unwrap();
            state.finish(completion, now);
            assert_eq!(state.groups.contains_key("g"), remains, "committed {committed}, commit {commit}");
            state.forget_topic_offsets("t");
            assert!(state.groups.is_empty(), "nothing is left with the topic");
        }
    }
}
