//! Writes what cannot be indexed to the pipeline's rejected topic.
//!
//! Invariant: [`Rejects::write`] answers only when the broker has each record on disk. A record can be there twice
//! after a crash; its headers name the original, by which copies are told apart.

use super::batch::Rejected;
use crate::config::Kafka;
use crate::kafka::client;
use crate::kafka::explain::explain;
use futures::future::join_all;
use rdkafka::error::KafkaResult;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::util::Timeout;

/// Why a record was rejected.
pub const REASON: &str = "outlier-reason";
/// Which service rejected it.
pub const SERVICE: &str = "outlier-service";
/// The topic it was read from.
pub const TOPIC: &str = "outlier-topic";
/// The partition it was read from.
pub const PARTITION: &str = "outlier-partition";
/// The offset it was read at.
pub const OFFSET: &str = "outlier-offset";

/// Longer reasons are cut; characters.
const MAX_REASON: usize = 1_000;

/// A producer for one rejected topic.
pub struct Rejects {
    producer: FutureProducer,
    topic: String,
}

impl Rejects {
    /// Prepares the producer; does not wait for the broker.
    ///
    /// # Errors
    /// A librdkafka property is wrong.
    pub fn new(kafka: &Kafka, topic: &str) -> KafkaResult<Self> {
        let mut settings = client::producer(kafka);
        if !kafka.properties.contains_key("message.timeout.ms") {
            // What is not acknowledged by then is told to the operator and sent again.
            settings.set("message.timeout.ms", "30000");
        }
        Ok(Self { producer: settings.create()?, topic: topic.to_owned() })
    }

    /// Writes records and waits until all are acknowledged.
    ///
    /// # Errors
    /// What was not acknowledged, and why and what to do.
    pub async fn write(&self, records: Vec<Rejected>) -> Result<(), (Vec<Rejected>, String)> {
        let results = join_all(records.iter().map(|record| self.send(record))).await;
        let mut why = None;
        let mut left = Vec::new();
        for (record, result) in records.into_iter().zip(results) {
            if let Err(error) = result {
                why = Some(format!("the topic {} does not take rejected records: {error}", self.topic));
                left.push(record);
            }
        }
        why.map_or(Ok(()), |why| Err((left, why)))
    }

    async fn send(&self, rejected: &Rejected) -> Result<(), String> {
        let source = &rejected.source;
        let reason: String = rejected.why.reason.chars().take(MAX_REASON).collect();
        let mut headers = OwnedHeaders::new();
        for (key, value) in [
            (REASON, reason.as_str()),
            (SERVICE, "sink"),
            (TOPIC, &source.topic),
            (PARTITION, &source.partition.to_string()),
            (OFFSET, &source.offset.to_string()),
        ] {
            headers = headers.insert(Header { key, value: Some(value) });
        }
        let mut record: FutureRecord<'_, [u8], [u8]> = FutureRecord::to(&self.topic).headers(headers);
        record.payload = rejected.body.as_deref();
        record.key = source.key.as_deref();
        match self.producer.send(record, Timeout::Never).await {
            Ok(_) => Ok(()),
            Err((error, _)) => Err(explain(&error)),
        }
    }
}
