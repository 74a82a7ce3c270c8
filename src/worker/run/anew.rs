//! Reading anew: where the client has given partitions up, may be at a wrong place, or has not read for a while.
//!
//! Invariant: reading goes on where the worker itself has come to. The client seeks in no partition that it has given up, and
//! its own position is that of before.

use super::Worker;
use crate::kafka::broken::{CHECK, NO_LEADER, Remedy};
use crate::kafka::fetching::{Place, Still};
use crate::kafka::group::Group;
use crate::kafka::topics::leaderless;
use crate::worker::Misfit;
use crate::worker::offsets::{Outside, TRANSACTION_ENDS, outside};
use anyhow::{bail, ensure};
use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// If again one is given up within this time, though nothing is gone, an operator sees it, and reading begins anew later.
const AGAIN: Duration = Duration::from_secs(30);

impl Worker<'_> {
    /// Whether an error is over, and whether the client still reads all partitions.
    pub(super) fn look_whether_well(&mut self, group: &Group) -> anyhow::Result<()> {
        match self.condition.broken.remedy() {
            Some(Remedy::Ask) => {
                // No transaction waits for an answer.
                if self.opened.is_some() {
                    self.commit(group)?;
                }
                let leaderless = leaderless(&group.consumer, &self.topic, CHECK);
                let owned = |leaderless: BTreeSet<i32>| self.owned.keys().any(|ours| leaderless.contains(ours));
                self.condition.asked(leaderless.map(|leaderless| !owned(leaderless)));
            }
            Some(Remedy::Anew) => self.begin_anew(group, self.owned.keys().copied().collect())?,
            None => self.look_at_fetching(group)?,
        }
        Ok(())
    }

    fn look_at_fetching(&mut self, group: &Group) -> anyhow::Result<()> {
        let Some(Still { given_up, leaderless }) = group.still() else { return Ok(()) };
        let ours = |places: BTreeSet<Place>| -> Vec<i32> {
            let partitions =
                places.into_iter().filter(|(topic, _)| *topic == self.topic).map(|(_, partition)| partition);
            partitions.filter(|partition| self.owned.contains_key(partition)).collect()
        };
        let (given_up, leaderless) = (ours(given_up), ours(leaderless));
        if !leaderless.is_empty() {
            self.condition.trouble(&NO_LEADER);
        }
        if !given_up.is_empty() {
            tracing::debug!(worker = self.setup.name, ?given_up, "partitions that are not read are read anew");
            self.begin_anew(group, given_up)?;
        }
        Ok(())
    }

    /// Begins to read partitions again where reading has come to.
    fn begin_anew(&mut self, group: &Group, partitions: Vec<i32>) -> anyhow::Result<()> {
        // The client would take this for the answer to the loss, which is still to be polled. Another rebalance may be,
        // too: what is committed for that afterwards is of an old generation, and refused.
        if group.consumer.assignment_lost() {
            return Ok(());
        }
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for (partition, next) in self.owned.iter().filter(|(partition, _)| partitions.contains(partition)) {
            list.add_partition_offset(&self.topic, *partition, *next)?;
        }
        if list.count() > 0 {
            group.consumer.incremental_unassign(&list)?;
            group.assign(&list)?;
        }
        Ok(())
    }

    /// A committed offset is outside of the topic. Behind the last record of a transaction is its end, which no reader
    /// sees, and retention may delete both: reading goes on where the topic begins now, if no more can be gone.
    /// `sought`: the client may also be at another place in those that it has not given up.
    pub(super) fn find_back(&mut self, group: &Group, error: &KafkaError, sought: bool) -> anyhow::Result<()> {
        if self.owned.is_empty() {
            return Ok(());
        }
        self.commit_position(group)?;
        // Of an abort by that commit.
        let sought = self.astray.take().is_some() || sought;
        let mut moved = false;
        let outside = outside(group, &self.topic, &self.owned)?;
        self.moved.retain(|moved, _| outside.iter().any(|outside| outside.partition == *moved));
        for Outside { partition, committed, fresh, start, end } in outside {
            if self.moved.get(&partition) == Some(&start) {
                continue;
            }
            let gone = start - committed;
            let ends = (1..=TRANSACTION_ENDS).contains(&gone);
            if !(fresh || ends || self.stage.lost(partition, gone)) || !self.stage.skip(partition, start) {
                ensure!(!fresh, "{}/{partition} begins at {start} now: beginning anew", self.topic);
                bail!(Misfit(format!(
                    "{}/{partition}: the committed offset {committed} is outside of the topic ({start} to {end}), which was \
                     emptied or made anew, or whose retention deleted what was not read yet: reset the group's offsets",
                    self.topic
                )));
            }
            tracing::warn!(
                topic = self.topic,
                partition,
                committed,
                start,
                "its beginning is deleted: going on behind it"
            );
            self.owned.insert(partition, Offset::Offset(start));
            self.moved.insert(partition, start);
            moved = true;
        }
        // What was given up, the client does not say, nor why: the broker may know less than another one.
        let unclear = !moved && !sought;
        if unclear && self.found_back.replace(Instant::now()).is_some_and(|before| before.elapsed() < AGAIN) {
            self.condition.trouble(error);
            return Ok(());
        }
        self.begin_anew(group, self.owned.keys().copied().collect())
    }
}
