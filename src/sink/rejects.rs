//! Writes what cannot be indexed to the pipeline's rejected topic.
//!
//! Invariant: [`Rejects::write`] answers only when the broker has each record on disk. A record can be there twice
//! after a crash; its source names the original, by which copies are told apart.

use super::batch::Rejected;
use crate::config::Kafka;
use crate::kafka::client;
use crate::kafka::explain::explain;
use futures::future::join_all;
use rdkafka::ClientConfig;
use rdkafka::error::KafkaResult;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::util::Timeout;
use tokio::sync::OnceCell;

/// Why a record was rejected: one word of a few.
pub const REASON: &str = "outlier-reason";
/// Why a record was rejected, in words; the index's own where it refused the document.
pub const DETAIL: &str = "outlier-detail";
/// Which service rejected it.
pub const SERVICE: &str = "outlier-service";
/// Where it was read: `topic/partition/offset`.
pub const SOURCE: &str = "outlier-source";
/// The id of the document that the index refused.
pub const DOCUMENT: &str = "outlier-document";

/// Longer details are cut; characters.
const MAX_DETAIL: usize = 1_000;

/// A producer for one rejected topic.
pub struct Rejects {
    settings: ClientConfig,
    /// Made for the first record: a client that waits costs a hundredth of a core.
    producer: OnceCell<FutureProducer>,
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
        settings.create_native_config()?;
        Ok(Self { settings, producer: OnceCell::new(), topic: topic.to_owned() })
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
        let detail: String = rejected.why.reason.chars().take(MAX_DETAIL).collect();
        let place = format!("{}/{}/{}", source.topic, source.partition, source.offset);
        let mut headers = OwnedHeaders::new();
        for (key, value) in [(REASON, rejected.why.kind), (DETAIL, &detail), (SERVICE, "sink"), (SOURCE, &place)] {
            headers = headers.insert(Header { key, value: Some(value) });
        }
        if let Some(id) = &rejected.document {
            headers = headers.insert(Header { key: DOCUMENT, value: Some(id) });
        }
        let mut record: FutureRecord<'_, [u8], [u8]> = FutureRecord::to(&self.topic).headers(headers);
        record.payload = rejected.body.as_deref();
        record.key = source.key.as_deref();
        record.timestamp = Some(source.timestamp_ms);
        let producer = self.producer.get_or_try_init(async || self.settings.create()).await;
        match producer.map_err(|error| explain(&error))?.send(record, Timeout::Never).await {
            Ok(_) => Ok(()),
            Err((error, _)) => Err(explain(&error)),
        }
    }
}
