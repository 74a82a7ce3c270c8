//! What is anomalous now, from the compacted anomalies topic, for the records that pass by.
//!
//! Best effort by contract: a record carries what was known when it passed. At most [`MOST`] series are kept.

use outlier_core::record::Anomalies;
use outlier_core::score::Anomaly;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::time::Duration;

/// The most anomalous series that are remembered.
const MOST: usize = 10_000;
/// The most messages taken in one go, so that the records do not wait.
const AT_ONCE: usize = 1_000;

/// Tails the anomalies topic without a group.
pub struct AnomalyTail {
    consumer: BaseConsumer,
    topic: String,
    assigned: bool,
    series: BTreeMap<Vec<u8>, (String, f64)>,
    current: Anomalies,
}

impl AnomalyTail {
    /// A tail that has read nothing.
    ///
    /// # Errors
    /// The client configuration is refused.
    pub fn new(connection: &ClientConfig, topic: &str) -> anyhow::Result<Self> {
        Ok(Self {
            consumer: connection.create()?,
            topic: topic.to_owned(),
            assigned: false,
            series: BTreeMap::new(),
            current: Anomalies::default(),
        })
    }

    /// Takes in what came since the last call. Never waits once the topic is found.
    pub fn poll(&mut self) {
        if !self.assigned {
            self.assigned = self.assign();
        }
        let mut changed = false;
        for _ in 0..AT_ONCE {
            let Some(Ok(message)) = self.consumer.poll(Duration::ZERO) else { break };
            let Some(key) = message.key() else { continue };
            let anomaly = message.payload().and_then(|bytes| serde_json::from_slice::<Anomaly>(bytes).ok());
            match anomaly {
                Some(anomaly) if self.series.len() < MOST || self.series.contains_key(key) => {
                    self.series.insert(key.to_vec(), (anomaly.name.detector, anomaly.score));
                }
                Some(_) => continue,
                None => {
                    self.series.remove(key);
                }
            }
            changed = true;
        }
        if changed {
            self.current = Anomalies::new(self.series.values().map(|(detector, score)| (detector.as_str(), *score)));
        }
    }

    /// To be spliced into records.
    pub fn current(&self) -> &Anomalies {
        &self.current
    }

    fn assign(&self) -> bool {
        let Ok(metadata) = self.consumer.fetch_metadata(Some(&self.topic), Duration::from_secs(1)) else {
            return false;
        };
        let mut list = TopicPartitionList::new();
        for partition in metadata.topics().iter().flat_map(|topic| topic.partitions()) {
            if list.add_partition_offset(&self.topic, partition.id(), Offset::Beginning).is_err() {
                return false;
            }
        }
        list.count() > 0 && self.consumer.assign(&list).is_ok()
    }
}
