//! The loop: consume, let the stage work, commit everything in one transaction.
//!
//! ```text
//!          ┌────────────── rebalance: commit or abort, (un)assign ◄─┐
//! poll ────┤ message ► stage.message ─► Output                      ├─► poll
//!          └ quiet or due ► stage.finish ► commit ─┬─ done ─────────┤
//!                                                  └─ aborted ► reload
//! ```
//!
//! Invariants: offsets are committed with the results or not at all; after an abort every owned partition goes back
//! to its committed offset and metadata, the same way as after a restart; the loop never blocks for good.

mod anew;

use super::Setup;
use super::condition::Condition;
use super::offsets::{PATIENCE, committed};
use super::stage::{Next, Progress, Stage};
use crate::config::Guarantee;
use crate::kafka::explain::explain;
use crate::kafka::group::{Group, Rebalance};
use crate::kafka::output::{Commit, Output};
use crate::telemetry::Telemetry;
use crate::telemetry::health::State;
use crate::time::now;
use anyhow::ensure;
use prometheus_client::metrics::counter::Counter;
use rdkafka::consumer::{CommitMode, Consumer, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{Offset, TopicPartitionList};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Without a record under way the clock is looked at this often, for idle decisions and the stop signal.
const LOOK: Duration = Duration::from_millis(50);
/// A commit comes at the latest this long after the first record when there is little to do.
const QUICK: Duration = Duration::from_millis(10);
/// Between two transactions when there is little to do. The coordinator still completes the one when its commit returns;
/// if the next begins meanwhile, the client waits for 20 ms.
const BREATH: Duration = Duration::from_millis(3);
/// Between two looks at the clock and at the producer's events lie so many records: a look costs as much as a record.
const RECORDS_A_LOOK: usize = 64;
/// From so many bytes on there is a look, too.
const BYTES_A_LOOK: usize = 4 << 20;
/// A transaction ends with so many bytes of keys and values, whatever is configured: what a stage counts in it is in memory.
const MOST_BYTES: usize = 64 << 20;
/// The client says of each partition by itself that it has given it up: all that it says within this time are found back to
/// at once.
const GATHER: Duration = Duration::from_millis(200);
/// A transaction that is not committed within this time is aborted by the broker.
const TRANSACTION: Duration = Duration::from_secs(10);

/// Runs a stage until `stop`.
///
/// # Errors
/// The broker, the group or the stage failed in a way that needs a new start.
pub fn run(
    setup: &Setup,
    stage: &mut dyn Stage,
    telemetry: &Telemetry,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let id = (setup.process.guarantee == Guarantee::ExactlyOnce).then_some(setup.transactional_id.as_str());
    let output = Output::connect(setup.producer.clone(), id, TRANSACTION, |error| {
        telemetry.health.set(&setup.name, State::Waiting { reason: explain(error) });
        !stop.is_cancelled()
    })?;
    let condition = Condition::new(&telemetry.health, &setup.name);
    let group = Group::join(&setup.consumer, stage.topic())?;
    let counter = |outcome| telemetry.metrics.transactions(&setup.name, &setup.pipeline, outcome);
    let mut worker = Worker {
        committed: counter("committed"),
        aborted: counter("aborted"),
        topic: stage.topic().to_owned(),
        setup,
        stage,
        output,
        stop,
        metadata: None,
        owned: BTreeMap::new(),
        moved: BTreeMap::new(),
        waiting: BTreeSet::new(),
        opened: None,
        records: 0,
        taken: 0,
        bytes: 0,
        condition,
        given_up: None,
        found_back: None,
        astray: None,
    };
    while !stop.is_cancelled() {
        // The signal is looked at as seldom as the clock: that takes a lock.
        for _ in 0..RECORDS_A_LOOK {
            if !worker.turn(&group)? {
                break;
            }
        }
    }
    worker.let_go(&group)
}

struct Worker<'a> {
    setup: &'a Setup,
    topic: String,
    stage: &'a mut dyn Stage,
    output: Output,
    stop: &'a CancellationToken,
    metadata: Option<ConsumerGroupMetadata>,
    /// The partitions of ours, each with its next record.
    owned: BTreeMap<i32, Offset>,
    /// Where partitions went on whose beginning was deleted.
    moved: BTreeMap<i32, i64>,
    /// Those that are not read on for now.
    waiting: BTreeSet<i32>,
    /// When the first record of the transaction under way came.
    opened: Option<Instant>,
    records: usize,
    /// Bytes in it.
    taken: usize,
    /// Bytes since the last look.
    bytes: usize,
    condition: Condition<'a>,
    /// The client has given up a partition, since then.
    given_up: Option<(KafkaError, Instant)>,
    /// When it was last found back to though nothing was gone.
    found_back: Option<Instant>,
    /// A partition could not be sought in: the client has given it up.
    astray: Option<KafkaError>,
    committed: Counter,
    aborted: Counter,
}

impl Worker<'_> {
    /// One poll and what follows from it; false if there was nothing to do.
    fn turn(&mut self, group: &Group) -> anyhow::Result<bool> {
        let mut polled = self.poll(group, Duration::ZERO)?;
        if polled.is_none() {
            self.wait_or_go_on(group)?;
            let quick = self.opened.is_some_and(|opened| rest(opened).is_zero());
            if quick || self.stage.wants_commit(now()) {
                self.commit(group)?;
                if self.setup.process.guarantee == Guarantee::ExactlyOnce {
                    std::thread::sleep(BREATH);
                }
            }
            polled = self.poll(group, self.opened.map_or(LOOK, rest))?;
        }
        match polled {
            None => {
                self.output.poll();
                self.look_whether_well(group)?;
                return Ok(false);
            }
            Some(Ok(message)) => self.message(group, &message)?,
            Some(Err(KafkaError::PartitionEOF(partition))) => self.stage.at_end(partition, now()),
            Some(Err(error)) => self.client_error(&error)?,
        }
        Ok(true)
    }

    /// Polls and acts on rebalances. If that aborts a transaction, what was polled comes again. Where partitions could not be
    /// sought in nothing is polled before they are found back to: it would come from a wrong place.
    fn poll<'g>(
        &mut self,
        group: &'g Group,
        patience: Duration,
    ) -> anyhow::Result<Option<Result<BorrowedMessage<'g>, KafkaError>>> {
        if let Some(error) = self.astray.take() {
            self.find_back(group, &error, true)?;
        }
        if let Some((error, _)) = self.given_up.take_if(|(_, since)| since.elapsed() >= GATHER) {
            self.find_back(group, &error, false)?;
        }
        let (polled, before) = (group.consumer.poll(patience), self.aborted.get());
        while let Some((event, metadata)) = group.next_rebalance() {
            self.rebalance(group, event, metadata)?;
        }
        Ok(polled.filter(|polled| polled.is_err() || self.aborted.get() == before))
    }

    fn message(&mut self, group: &Group, message: &BorrowedMessage<'_>) -> anyhow::Result<()> {
        // A partition that was just revoked may have left a message in the queue.
        let Some(next) = self.owned.get_mut(&message.partition()) else { return Ok(()) };
        // If it is not done now, an abort sets it back.
        *next = Offset::Offset(message.offset() + 1);
        let opened = *self.opened.get_or_insert_with(Instant::now);
        // Counted from the transaction's first record, so that the first one is looked at.
        self.bytes += message.payload_len() + message.key_len();
        let look = self.records.is_multiple_of(RECORDS_A_LOOK) || self.bytes >= BYTES_A_LOOK;
        while self.stage.message(message, &mut self.output)? == Next::CommitAndRepeat {
            if !self.commit(group)? {
                return Ok(());
            }
        }
        // It may have been committed in between.
        self.opened.get_or_insert(opened);
        self.records += 1;
        self.taken += message.payload_len() + message.key_len();
        let much = self.records >= self.setup.process.max_batch_records || self.taken >= MOST_BYTES;
        let full = much || self.output.has_failed();
        if full || (look && opened.elapsed() >= self.setup.process.commit_interval) {
            self.commit(group)?;
        }
        if look {
            self.bytes = 0;
            self.output.poll();
            self.wait_or_go_on(group)?;
            self.look_whether_well(group)?;
        }
        Ok(())
    }

    /// Stops and starts to read partitions as the stage wants it. The client throws away what it has fetched of one
    /// that waits, and goes on behind the last record that was polled, or where it was sought to since.
    fn wait_or_go_on(&mut self, group: &Group) -> anyhow::Result<()> {
        let waiting = self.stage.waiting(&self.waiting);
        if waiting == self.waiting {
            return Ok(());
        }
        let list = |these: &BTreeSet<i32>, those: &BTreeSet<i32>| {
            let mut list = TopicPartitionList::new();
            these.difference(those).for_each(|partition| {
                list.add_partition(&self.topic, *partition);
            });
            list
        };
        group.consumer.pause(&list(&waiting, &self.waiting))?;
        group.consumer.resume(&list(&self.waiting, &waiting))?;
        tracing::debug!(worker = self.setup.name, ?waiting, "partitions that wait for slower ones");
        self.waiting = waiting;
        Ok(())
    }

    /// Ends the transaction under way; false if it was aborted.
    fn commit(&mut self, group: &Group) -> anyhow::Result<bool> {
        self.opened = None;
        (self.records, self.taken) = (0, 0);
        let progress = self.stage.finish(now(), &mut self.output)?;
        let Some(metadata) = self.metadata.as_ref().filter(|_| !progress.is_empty() || self.output.is_open()) else {
            return Ok(true);
        };
        let mut offsets = TopicPartitionList::with_capacity(progress.len());
        for Progress { partition, offset, metadata } in &progress {
            let mut element = offsets.add_partition(&self.topic, *partition);
            element.set_offset(Offset::Offset(*offset))?;
            element.set_metadata(metadata);
        }
        let plain = |offsets: &TopicPartitionList| group.consumer.commit(offsets, CommitMode::Sync);
        match self.output.commit(&offsets, metadata, plain)? {
            Commit::Done => {
                self.committed.inc();
                self.stage.committed();
                self.condition.committed(&progress);
                Ok(true)
            }
            Commit::Aborted(reason) => {
                self.abort()?;
                if let Some(rest) = self.condition.aborted(&progress, reason) {
                    std::thread::sleep(rest);
                }
                self.reload(group)?;
                Ok(false)
            }
        }
    }

    /// Commits everything, how far was read included.
    fn commit_position(&mut self, group: &Group) -> anyhow::Result<()> {
        self.stage.position_is_due();
        self.commit(group).map(drop)
    }

    /// Commits everything before partitions go.
    fn let_go(&mut self, group: &Group) -> anyhow::Result<()> {
        self.stage.letting_go();
        self.commit_position(group)
    }

    /// Gives up the transaction under way and goes back to what is committed.
    fn abort(&mut self) -> anyhow::Result<()> {
        self.output.abort()?;
        self.opened = None;
        (self.records, self.taken) = (0, 0);
        self.stage.aborted();
        self.aborted.inc();
        Ok(())
    }

    /// Every owned partition goes back to what is committed for it.
    fn reload(&mut self, group: &Group) -> anyhow::Result<()> {
        let owned: Vec<i32> = self.owned.keys().copied().collect();
        self.moved.clear();
        for (partition, offset) in self.start_offsets(group, &owned)? {
            self.owned.insert(partition, offset);
            // The seek made the client drop its own error of a partition that it has given up.
            self.astray = group.consumer.seek(&self.topic, partition, offset, PATIENCE).err().or(self.astray.take());
        }
        self.condition.show();
        Ok(())
    }

    fn rebalance(
        &mut self,
        group: &Group,
        event: Rebalance,
        metadata: Option<ConsumerGroupMetadata>,
    ) -> anyhow::Result<()> {
        let partitions = |list: &TopicPartitionList| list.elements().iter().map(|e| e.partition()).collect::<Vec<_>>();
        match event {
            Rebalance::Assign(list) => {
                let added = partitions(&list);
                self.metadata = metadata.or(self.metadata.take());
                // Reading committed offsets may take longer than an open transaction may.
                self.commit(group)?;
                let mut start = TopicPartitionList::with_capacity(added.len());
                let starts = self.start_offsets(group, &added);
                // Cut off: those that were here before are let go as always.
                let cut_off = starts.is_err() && self.stop.is_cancelled();
                let ended = if cut_off { self.let_go(group) } else { Ok(()) };
                let starts = starts?;
                ended?;
                for (partition, offset) in &starts {
                    start.add_partition_offset(&self.topic, *partition, *offset)?;
                }
                self.owned.extend(starts);
                group.assign(&start)?;
                let owned: BTreeSet<&i32> = self.owned.keys().collect();
                tracing::info!(worker = self.setup.name, ?added, ?owned, "partitions assigned");
                self.condition.joined();
            }
            Rebalance::Revoke(list) => {
                // What is under way belongs to the old owner: it is committed before the partition moves on, in the
                // generation that has just begun.
                self.metadata = metadata.or(self.metadata.take());
                // Whether that worked or not, the partition goes: the group waits for it.
                let ended = self.let_go(group);
                self.release(group, &list, &partitions(&list))?;
                ended?;
            }
            Rebalance::Lost(list) => {
                self.condition.left();
                // Its metadata is of no generation and must not commit anything.
                let ended = self.abort();
                self.release(group, &list, &partitions(&list))?;
                ended?;
                self.reload(group)?;
            }
        }
        Ok(())
    }

    fn release(&mut self, group: &Group, list: &TopicPartitionList, removed: &[i32]) -> anyhow::Result<()> {
        for partition in removed {
            self.owned.remove(partition);
            self.condition.released(*partition);
            self.moved.remove(partition);
            self.stage.revoke(*partition);
        }
        // The client would remember it for the next time that the partition comes.
        let mut paused = TopicPartitionList::new();
        removed.iter().filter(|partition| self.waiting.contains(partition)).for_each(|partition| {
            paused.add_partition(&self.topic, *partition);
        });
        group.consumer.resume(&paused)?;
        group.unassign(list)?;
        // Only now, that none of its records come any more.
        self.waiting.retain(|partition| !removed.contains(partition));
        let owned: BTreeSet<&i32> = self.owned.keys().collect();
        tracing::info!(worker = self.setup.name, ?removed, ?owned, "partitions revoked");
        Ok(())
    }

    /// What the group committed for these partitions, given to the stage, and where reading starts.
    fn start_offsets(&mut self, group: &Group, partitions: &[i32]) -> anyhow::Result<Vec<(i32, Offset)>> {
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        let assigned = committed(group, &self.topic, partitions)?;
        let (condition, stop) = (&self.condition, self.stop);
        self.stage.assign(assigned, now(), &mut |progress| {
            ensure!(!stop.is_cancelled(), "reading what was kept was cut off");
            condition.restoring(&progress);
            Ok(())
        })
    }

    fn client_error(&mut self, error: &KafkaError) -> anyhow::Result<()> {
        let fatal = matches!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::Fatal));
        if fatal {
            anyhow::bail!("the consumer failed for good: {error}");
        }
        if matches!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::AutoOffsetReset)) {
            self.given_up.get_or_insert_with(|| (error.clone(), Instant::now()));
            return Ok(());
        }
        // The client tries again by itself.
        self.condition.trouble(error);
        Ok(())
    }
}

/// What is left of [`QUICK`], in whole milliseconds: the client spends a broken one asking again and again.
fn rest(opened: Instant) -> Duration {
    Duration::from_millis(QUICK.saturating_sub(opened.elapsed()).as_millis() as u64)
}
