//! What a pipeline's consumer has read and not sent yet, and how it fares with the broker.

use super::batch::{Batch, Partition, Position};
use rdkafka::error::KafkaError;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::time::Instant;

/// What the loop keeps.
pub struct Reading {
    pub filling: Batch,
    /// The id of the record that is being read.
    pub id: String,
    /// When the first record of `filling` came.
    pub since: Option<Instant>,
    pub turns: BTreeMap<Partition, u64>,
    pub changes: u64,
    /// Since when `filling` is full.
    pub full_since: Option<Instant>,
    pub paused: bool,
    pub broken: Broken,
    /// The client has nowhere to go on in some partition: when that is looked into.
    pub astray: Option<Instant>,
    /// Where reading was made to go on, in which turn.
    pub moved: BTreeMap<Partition, Position>,
    /// The client cannot go on at all.
    pub fatal: Option<KafkaError>,
}

/// Whether an error of Kafka's is still in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    No,
    /// Asking the broker for the topics tells when it is over.
    Ask,
    /// Only a record or an assignment tells.
    Wait,
}

impl Reading {
    /// Nothing is read yet.
    pub fn new(pipeline: Arc<str>) -> Self {
        Self {
            filling: Batch::new(pipeline),
            id: String::new(),
            since: None,
            turns: BTreeMap::new(),
            changes: 0,
            full_since: None,
            paused: false,
            broken: Broken::No,
            astray: None,
            moved: BTreeMap::new(),
            fatal: None,
        }
    }
}
