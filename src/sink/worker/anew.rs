//! Reading anew: where the client has nowhere to go on, has given partitions up, or was refused something.

use super::Worker;
use crate::kafka::broken::{Broken, CHECK, NO_LEADER};
use crate::kafka::explain::explain;
use crate::kafka::fetching::{Place, Still};
use crate::kafka::topics::leaderless;
use crate::sink::astray::look;
use crate::sink::batch::{Partition, Position};
use crate::sink::reading::{Astray, Reading};
use crate::telemetry::health::State;
use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::time::Instant;

impl Worker {
    pub(super) fn trouble(&self, reading: &mut Reading, error: &KafkaError) {
        if reading.broken.by(error) {
            self.telemetry.health.set(&self.component(), State::Waiting { reason: explain(error) });
        }
    }

    /// Finds partitions of ours that the client does not read.
    pub(super) fn look_at_fetching(&self, reading: &mut Reading) {
        let assignment = self.consumer.context();
        let Some(Still { given_up, leaderless }) = assignment.fetching.still() else { return };
        let ours = |(topic, partition): &Place| {
            Some((assignment.stage(topic)?, *partition)).filter(|place| reading.turns.contains_key(place))
        };
        let given_up: BTreeSet<Partition> = given_up.iter().filter_map(ours).collect();
        if leaderless.iter().any(|place| ours(place).is_some()) {
            self.trouble(reading, &NO_LEADER);
        }
        if !given_up.is_empty() {
            tracing::debug!(pipeline = &*self.pipeline, ?given_up, "partitions that are not read are read anew");
            reading.gave_up(given_up);
        }
    }

    /// Goes on in partitions of ours, all or `only` some, where that is possible at the place that reading had come to; says
    /// and counts what is gone.
    pub(super) async fn find_back(&self, reading: &mut Reading, only: Option<BTreeSet<Partition>>) {
        let consumer = Arc::clone(&self.consumer);
        reading.moved.retain(|partition, moved| reading.turns.get(partition) == Some(&moved.turn));
        let moved = reading.moved.clone();
        let later = |only| Some(Astray { at: Instant::now() + CHECK, only });
        let those = only.clone();
        let looked = tokio::task::spawn_blocking(move || look(&consumer, those.as_ref(), &moved, CHECK)).await;
        let (whence, leaderless) = match looked {
            Ok(Ok(looked)) => looked,
            Ok(Err(error)) => {
                self.trouble(reading, &error);
                return reading.astray = later(only);
            }
            Err(_) => return reading.astray = later(only),
        };
        if !leaderless.is_empty() {
            self.trouble(reading, &NO_LEADER);
            reading.astray = later(Some(leaderless));
        }
        if whence.is_empty() {
            return;
        }
        // The client would take what follows for the answer to the loss, which is still to be polled.
        if self.consumer.assignment_lost() {
            return reading.astray = later(only);
        }
        let mut list = TopicPartitionList::with_capacity(whence.len());
        let mut gone = BTreeMap::new();
        for whence in &whence {
            whence.tell(&self.lost);
            if let Some(turn) = reading.turns.get(&whence.place) {
                let position = Position { next: whence.offset, turn: *turn };
                reading.moved.insert(whence.place, position);
                if whence.is_moved() {
                    gone.insert(whence.place, position);
                }
            }
            // Fails only for offsets below zero.
            let _ = list.add_partition_offset(&whence.topic, whence.place.1, Offset::Offset(whence.offset));
        }
        // The client seeks in no partition that it has given up.
        let moved = self.consumer.incremental_unassign(&list).and_then(|()| self.consumer.incremental_assign(&list));
        self.consumer.context().fetching.assigned();
        if let Err(error) = moved {
            tracing::warn!("sink: looking again where reading goes on: {}", explain(&error));
            reading.astray = later(None);
        }
        self.all_partitions(|consumer, all| consumer.resume(all));
        reading.paused = false;
        // What is not there any more is nobody's to read: it is passed, behind what was read before, and told once.
        if !gone.is_empty() {
            reading.filling.positions.extend(gone);
            reading.since.get_or_insert_with(Instant::now);
        }
    }

    /// Asks for the topics again after an error; all is well if the answer is good and the group has us.
    pub(super) async fn ask_broker(&self, reading: &mut Reading) {
        let consumer = Arc::clone(&self.consumer);
        let (topics, turns) = (self.topics.clone(), reading.turns.clone());
        let asked = tokio::task::spawn_blocking(move || {
            for (topic, stage) in &topics {
                let leaderless = leaderless(&*consumer, topic, CHECK)?;
                if leaderless.iter().any(|partition| turns.contains_key(&(*stage, *partition))) {
                    return Err(NO_LEADER);
                }
            }
            // Only by all topics the client learns at once that one of ours has come.
            consumer.fetch_metadata(None, CHECK).map(drop)
        });
        match asked.await {
            Ok(Ok(())) if self.consumer.context().member() => return self.well(reading),
            Ok(Err(error)) => {
                let led = error.rdkafka_error_code() != NO_LEADER.rdkafka_error_code();
                // Of what is asked for, the first error says more.
                if !led || matches!(reading.broken, Broken::Wait { .. }) {
                    self.telemetry.health.set(&self.component(), State::Waiting { reason: explain(&error) });
                }
            }
            Ok(Ok(())) | Err(_) => {}
        }
        reading.broken.again();
    }

    pub(super) fn well(&self, reading: &mut Reading) {
        reading.broken = Broken::No;
        self.telemetry.health.set(&self.component(), State::Ready);
    }
}
