//! What was learned, to the state topic, so that `process` goes on from there.
//!
//! Invariants: only where `process` has never committed anything, and only while it does not run; all of it, with the
//! offsets of the score group, is one transaction, so that it is there as a whole or not at all.

use crate::config::Config;
use crate::kafka::output::{Commit, Output};
use crate::kafka::read;
use crate::kafka::topics::partition_count;
use crate::kafka::{client, explain};
use crate::worker::group;
use anyhow::{Context, bail, ensure};
use outlier_core::pipeline::Pipeline;
use outlier_core::score::Scorer;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::BaseRecord;
use rdkafka::{Offset, TopicPartitionList};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long a broker may take for an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// A million series must fit into the transaction.
const TRANSACTION: Duration = Duration::from_secs(600);

/// The way to the state topic of a pipeline.
pub struct Handover<'a> {
    config: &'a Config,
    pipeline: &'a Pipeline,
    /// Member of nothing, but in the name of the score group.
    score: BaseConsumer,
    transform: BaseConsumer,
    output: Option<Output>,
}

impl<'a> Handover<'a> {
    /// Prepares the connections and, unless it is a `dry_run`, the transaction, which fences what a bootstrap that was
    /// killed has left open. Waits for a broker until `stop`.
    ///
    /// # Errors
    /// The Kafka client's configuration is refused, or it was stopped.
    pub fn new(
        config: &'a Config,
        pipeline: &'a Pipeline,
        dry_run: bool,
        stop: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let of = |stage| client::consumer(&config.kafka, &group(config, pipeline, stage)).create::<BaseConsumer>();
        let connect = || {
            let mut producer = client::producer(&config.kafka);
            client::fit(&mut producer, config);
            let id = format!("{}.bootstrap", group(config, pipeline, "score"));
            Output::connect(producer, Some(&id), TRANSACTION, |error| {
                tracing::warn!("{}", explain::explain(error));
                !stop.is_cancelled()
            })
        };
        let output = (!dry_run).then(connect).transpose()?;
        Ok(Self { score: of("score")?, transform: of("transform")?, output, config, pipeline })
    }

    /// Refuses unless `process` has never worked on this pipeline and does not do so now; the offset of each windows
    /// partition at which it will begin.
    ///
    /// # Errors
    /// What is there, and what to do.
    pub fn check(&self) -> anyhow::Result<Vec<i64>> {
        let topics = &self.pipeline.topics;
        for (topic, what) in [(&topics.windows, "windows"), (&topics.state, "state")] {
            let count = partition_count(&self.score, topic)?;
            let due = self.pipeline.windows_partitions;
            ensure!(count == due, "the {what} topic {topic} has {count} partitions, windows_partitions says {due}");
        }
        self.check_groups()?;
        let partitions: Vec<i32> = (0..self.pipeline.windows_partitions).collect();
        let reader = client::reader(&self.config.kafka);
        read::committed(
            &reader,
            &topics.state,
            &partitions,
            |_| Ok(()),
            |_, _, _| bail!("the state topic {} holds models already. {}", topics.state, self.anew()),
        )?;
        let end = |partition: &i32| {
            let (first, end) = self.score.fetch_watermarks(&topics.windows, *partition, PATIENCE).map_err(told)?;
            ensure!(first == end, "the windows topic {} holds frames already. {}", topics.windows, self.anew());
            Ok(end)
        };
        partitions.iter().map(end).collect()
    }

    /// Refuses unless both groups are without members and without offsets.
    fn check_groups(&self) -> anyhow::Result<()> {
        let (topics, pipeline) = (&self.pipeline.topics, &self.pipeline.name);
        for (stage, consumer, topic) in
            [("score", &self.score, &topics.windows), ("transform", &self.transform, &topics.raw)]
        {
            let name = group(self.config, self.pipeline, stage);
            let groups = consumer.fetch_group_list(Some(&name), PATIENCE).map_err(told)?;
            let members = groups.groups().iter().map(|group| group.members().len()).sum::<usize>();
            ensure!(members == 0, "`process` is running: group {name} has {members} members; stop it everywhere first");
            let mut list = TopicPartitionList::new();
            list.add_partition_range(topic, 0, partition_count(consumer, topic)? - 1);
            let committed = consumer.committed_offsets(list, PATIENCE).map_err(told)?;
            let known = committed.elements().iter().any(|element| matches!(element.offset(), Offset::Offset(_)));
            ensure!(
                !known,
                "`process` has worked on {pipeline} before: group {name} has committed offsets. {}",
                self.anew()
            );
        }
        Ok(())
    }

    fn anew(&self) -> String {
        let of = |stage| group(self.config, self.pipeline, stage);
        let topics = &self.pipeline.topics;
        format!(
            "Nothing was changed. What was learned is never overwritten; to learn from history instead, stop `process`, delete \
             the topics {} and {} and the groups {} and {}, and run `outlier setup`. `process` then reads {} from its oldest \
             record again, and enriches it again",
            topics.windows,
            topics.state,
            of("score"),
            of("transform"),
            topics.raw
        )
    }

    /// Writes everything that the scorers know, and commits; the records written. Blocks.
    ///
    /// # Errors
    /// As [`Handover::check`], or the transaction cannot be committed: then nothing of it is there.
    pub fn write(mut self, scorers: &[Scorer], stop: &CancellationToken) -> anyhow::Result<u64> {
        let starts = self.check()?;
        let mut output = self.output.take().context("a dry run writes nothing")?;
        let state = &self.pipeline.topics.state;
        let mut records = 0;
        let mut offsets = TopicPartitionList::new();
        for ((partition, scorer), start) in scorers.iter().enumerate().zip(&starts) {
            let partition = partition as i32;
            for (key, value) in scorer.state().chain([scorer.handover(*start)]) {
                if stop.is_cancelled() {
                    output.abort()?;
                    bail!("stopped: nothing was written");
                }
                let record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(state).partition(partition);
                output.send(record.key(key.as_bytes()).payload(&value))?;
                records += 1;
            }
            offsets.add_partition_offset(&self.pipeline.topics.windows, partition, Offset::Offset(*start))?;
        }
        // A `process` that was started meanwhile has an offset by now, or waits for the end of this transaction.
        if let Err(error) = self.check_groups() {
            output.abort()?;
            return Err(error);
        }
        let metadata = self.score.group_metadata().context("the Kafka client knows no group")?;
        match output.commit(&offsets, &metadata, |_| Ok(()))? {
            Commit::Done => Ok(records),
            Commit::Aborted(reason) => bail!("nothing was written, try again: {reason}"),
        }
    }
}

fn told(error: rdkafka::error::KafkaError) -> anyhow::Error {
    anyhow::anyhow!(explain::explain(&error))
}
