//! What a pipeline's consumer has read and not sent yet, and how it fares with the broker.

use super::batch::{Batch, Partition, Position};
use crate::kafka::broken::Broken;
use rdkafka::error::KafkaError;
use std::collections::{BTreeMap, BTreeSet};
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
    /// The client has nowhere to go on in some partition.
    pub astray: Option<Astray>,
    /// Where reading was made to go on, in which turn.
    pub moved: BTreeMap<Partition, Position>,
    /// The client cannot go on at all.
    pub fatal: Option<KafkaError>,
}

/// Partitions that have to be found back to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Astray {
    /// When that is tried.
    pub at: Instant,
    /// Which; `None`: the client did not say.
    pub only: Option<BTreeSet<Partition>>,
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

    /// Partitions have to be found back to, beside those that are looked for already.
    pub fn gave_up(&mut self, partitions: BTreeSet<Partition>) {
        match &mut self.astray {
            None => self.astray = Some(Astray { at: Instant::now(), only: Some(partitions) }),
            Some(Astray { only: Some(those), .. }) => those.extend(partitions),
            Some(Astray { only: None, .. }) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Stage;

    #[test]
    fn what_is_given_up_joins_what_is_looked_for() {
        let set = |partitions: &[i32]| partitions.iter().map(|partition| (Stage::Raw, *partition)).collect();
        let later = Instant::now() + std::time::Duration::from_secs(2);
        for (before, want) in [
            (None, Some(set(&[1]))),
            (Some(Some(set(&[2]))), Some(set(&[1, 2]))),
            (Some(Some(set(&[1]))), Some(set(&[1]))),
            // All are.
            (Some(None), None),
        ] {
            let mut reading = Reading::new("p".into());
            reading.astray = before.clone().map(|only| Astray { at: later, only });
            reading.gave_up(set(&[1]));
            let astray = reading.astray.unwrap();
            assert_eq!((astray.only, astray.at == later), (want, before.is_some()));
        }
    }
}
