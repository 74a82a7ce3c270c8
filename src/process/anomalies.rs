//! What is anomalous now, from the compacted anomalies topic, for the records that pass by.
//!
//! Best effort by contract: a record carries what was known when it passed. At most [`MOST`] series are kept, and none
//! that is not configured: nobody ends the anomaly of a series that is no more.

use outlier_core::pipeline::{Detector, Pipeline};
use outlier_core::record::Anomalies;
use outlier_core::score::{Anomaly, SeriesName};
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
    configured: Vec<Names>,
    assigned: bool,
    series: BTreeMap<Vec<u8>, (String, f64)>,
    current: Anomalies,
}

impl AnomalyTail {
    /// A tail that has read nothing.
    ///
    /// # Errors
    /// The client configuration is refused.
    pub fn new(connection: &ClientConfig, pipeline: &Pipeline) -> anyhow::Result<Self> {
        Ok(Self {
            consumer: connection.create()?,
            topic: pipeline.topics.anomalies.clone(),
            configured: pipeline.detectors.iter().map(Names::of).collect(),
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
            match anomaly.filter(|anomaly| self.configured.iter().any(|names| names.have(&anomaly.name))) {
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

/// How the series of a detector are named.
struct Names {
    detector: String,
    measures: Vec<String>,
    /// The first field that it splits by.
    by: Option<String>,
}

impl Names {
    fn of(detector: &Detector) -> Self {
        Self {
            detector: detector.name.clone(),
            measures: detector.measures.iter().map(ToString::to_string).collect(),
            by: detector.by.first().map(ToString::to_string),
        }
    }

    /// Whether this may be one of them.
    fn have(&self, name: &SeriesName) -> bool {
        let group = |group: &str| match (&self.by, group.strip_prefix('{')) {
            (None, _) => group.is_empty(),
            // The overflow, and a key that was too long, name no field.
            (Some(by), Some(values)) => !values.contains('=') || values.starts_with(&format!("{by}=")),
            (Some(_), None) => false,
        };
        let measures = || self.measures.iter().filter_map(|measure| name.series.strip_prefix(measure.as_str()));
        name.detector == self.detector && measures().any(group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use outlier_core::measure::Measure;

    #[test]
    fn what_is_not_configured_is_not_known() {
        let field = |path: &str| path.parse().unwrap();
        let plain = Detector::new("d", vec![Measure::Count, Measure::Mean(field("bytes"))], 60_000, 0);
        let split = Detector { by: vec![field("host"), field("path")], ..plain.clone() };
        for (detector, of, series, known) in [
            (&plain, "d", "count", true),
            (&plain, "d", "mean(bytes)", true),
            (&plain, "e", "count", false),
            (&plain, "d", "silence", false),
            (&plain, "d", "count{host=a}", false),
            (&split, "d", "count{host=a,path=b}", true),
            (&split, "d", "mean(bytes){(beyond max_series of partition 3)}", true),
            (&split, "d", "count", false),
            (&split, "d", "silence{host=a,path=b}", false),
            (&split, "d", "count{country=a}", false),
        ] {
            let name = SeriesName { detector: of.into(), series: series.into() };
            assert_eq!(Names::of(detector).have(&name), known, "{of}/{series}, by {:?}", detector.by);
        }
    }
}
