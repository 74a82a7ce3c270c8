//! Writes what cannot be indexed to the pipeline's rejected topic.
//!
//! Invariants: [`Rejects::write`] answers only when all in-sync replicas of the broker have each record. A record can be there twice
//! after a crash; its source names the original, by which copies are told apart. No record is too large for it: of one
//! that is, the beginning is kept.

use super::batch::Rejected;
use crate::config::Config;
use crate::kafka::client;
use crate::kafka::explain::explain;
use futures::future::join_all;
use outlier_core::pipeline::Pipeline;
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use rdkafka::util::Timeout;
use std::sync::{Mutex, PoisonError};

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
/// Only the beginning of the record was kept; the header says how many bytes it had.
pub const CUT: &str = "outlier-original-bytes";

/// Longer details are cut; characters.
const MAX_DETAIL: usize = 1_000;

/// A producer for one rejected topic.
pub struct Rejects {
    settings: ClientConfig,
    /// Made for the first record: a client that waits costs a hundredth of a core. Gone after an error that it cannot
    /// recover from.
    producer: Mutex<Option<FutureProducer>>,
    topic: String,
    /// So much of a longer body is kept, as `process` does.
    most: usize,
}

impl Rejects {
    /// Prepares the producer; does not wait for the broker.
    ///
    /// # Errors
    /// A librdkafka property is wrong.
    pub fn new(config: &Config, pipeline: &Pipeline) -> KafkaResult<Self> {
        let mut settings = client::producer(&config.kafka);
        client::fit(&mut settings, config);
        // What is not acknowledged by then is told to the operator and sent again.
        client::default(&mut settings, &config.kafka, "message.timeout.ms", "30000");
        settings.create_native_config()?;
        Ok(Self {
            settings,
            producer: Mutex::default(),
            topic: pipeline.topics.rejected.clone(),
            most: pipeline.max_record_bytes.saturating_mul(2),
        })
    }

    /// Writes records and waits until all are acknowledged.
    ///
    /// # Errors
    /// What was not acknowledged, and why and what to do.
    pub async fn write(&self, records: Vec<Rejected>) -> Result<(), (Vec<Rejected>, String)> {
        let results = join_all(records.iter().map(|record| self.send(record, self.most))).await;
        let mut why = None;
        let mut left = Vec::new();
        for (record, mut result) in records.into_iter().zip(results) {
            if too_large(&result) {
                result = self.shrink(&record).await;
            }
            if let Err(error) = result {
                why =
                    Some(format!("the topic {} does not take rejected records: {}", self.topic, self.explain(&error)));
                left.push(record);
            }
        }
        why.map_or(Ok(()), |why| Err((left, why)))
    }

    /// Keeps less and less of a record that the broker finds too large; all of it at first, as records that were sent
    /// together are refused together.
    async fn shrink(&self, record: &Rejected) -> KafkaResult<()> {
        let key = record.source.key.as_ref().map_or(0, |key| key.len());
        let mut most = record.body.as_ref().map_or(0, |body| body.len()).max(key).min(self.most);
        let mut result = self.send(record, most).await;
        while most > 0 && too_large(&result) {
            most /= 2;
            result = self.send(record, most).await;
        }
        result
    }

    async fn send(&self, rejected: &Rejected, most: usize) -> KafkaResult<()> {
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
        let whole = rejected.body.as_deref();
        let key = source.key.as_deref();
        let beginning = |whole: &[u8]| whole.len().min(most);
        if [whole, key].into_iter().flatten().any(|whole| whole.len() > most) {
            let bytes = whole.map_or(0, <[u8]>::len).to_string();
            headers = headers.insert(Header { key: CUT, value: Some(&bytes) });
        }
        let mut record: FutureRecord<'_, [u8], [u8]> = FutureRecord::to(&self.topic).headers(headers);
        record.payload = whole.map(|whole| &whole[..beginning(whole)]);
        record.key = key.map(|key| &key[..beginning(key)]);
        record.timestamp = Some(source.timestamp_ms);
        self.producer()?.send(record, Timeout::Never).await.map(|_| ()).map_err(|(error, _)| error)
    }

    fn producer(&self) -> KafkaResult<FutureProducer> {
        let mut producer = self.producer.lock().unwrap_or_else(PoisonError::into_inner);
        match &*producer {
            Some(producer) => Ok(producer.clone()),
            None => Ok(producer.insert(self.settings.create()?).clone()),
        }
    }

    /// What an error means. A producer that cannot recover from its own is let go, and the next attempt makes another.
    fn explain(&self, error: &KafkaError) -> String {
        let mut producer = self.producer.lock().unwrap_or_else(PoisonError::into_inner);
        let fatal = producer.as_ref().and_then(|producer| producer.client().fatal_error());
        let Some((code, reason)) = fatal else { return explain(error) };
        *producer = None;
        let remedy = match code {
            Code::ClusterAuthorizationFailed => {
                "give the user IdempotentWrite on the cluster; `outlier setup --dry-run` prints the ACLs needed"
            }
            _ => "a new producer is made; if it lasts, see the broker's log",
        };
        format!("{reason}: {remedy}")
    }
}

fn too_large(result: &KafkaResult<()>) -> bool {
    let code = result.as_ref().err().and_then(KafkaError::rdkafka_error_code);
    matches!(code, Some(Code::MessageSizeTooLarge))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, Stage};
    use crate::kafka::read::{settled, to_end};
    use crate::sink::batch::Source;
    use crate::sink::document::Unfit;
    use crate::sink::headers::last;
    use bytes::Bytes;
    use rdkafka::message::Message;
    use rdkafka::mocking::MockCluster;
    use rdkafka::types::{RDKafkaApiKey as Key, RDKafkaRespErr as Refused};

    const KIB: usize = 1024;

    fn config(servers: &str) -> Config {
        let text = format!(
            "[kafka]\nbootstrap_servers = \"{servers}\"\n[[pipeline]]\npreset = \"waf\"\nmax_record_bytes = \"1KiB\"\n"
        );
        Config::parse(&text, "test", &Environment::default()).unwrap()
    }

    fn rejected(offset: i64, bytes: usize) -> Rejected {
        let source = Source { stage: Stage::Raw, topic: "t".into(), partition: 0, offset, timestamp_ms: 7, key: None };
        let why = Unfit { kind: "index", reason: "no".to_owned() };
        Rejected { source, body: Some(Bytes::from(vec![b'x'; bytes])), document: None, why }
    }

    /// The source of each record that is there, how much of it, and of how much.
    fn there(config: &Config) -> Vec<(String, usize, Option<String>)> {
        let topic = &config.pipelines[0].topics.rejected;
        let connection = client::reader(&config.kafka);
        let ends = settled(&connection, topic, &[0], |_| Ok(())).unwrap();
        let mut found = Vec::new();
        to_end(
            &connection,
            topic,
            &ends,
            |_| Ok(()),
            |message| {
                let text =
                    |name| last(message.headers()?, name).map(|value| String::from_utf8_lossy(value).into_owned());
                found.push((text(SOURCE).unwrap(), message.payload_len(), text(CUT)));
                Ok(())
            },
        )
        .unwrap();
        found
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_too_large_is_cut() {
        let cluster = MockCluster::new(1).unwrap();
        let config = config(&cluster.bootstrap_servers());
        let pipeline = &config.pipelines[0];
        cluster.create_topic(&pipeline.topics.rejected, 1, 1).unwrap();
        let rejects = Rejects::new(&config, pipeline).unwrap();
        rejects.write(vec![rejected(0, 2 * KIB), rejected(1, 2 * KIB + 1), rejected(2, 40 << 20)]).await.unwrap();
        // The broker's own limit is lower: it refuses the record with others, alone, and its half.
        cluster.request_errors(Key::Produce, &[Refused::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE; 3]);
        rejects.write(vec![rejected(3, KIB)]).await.unwrap();
        rejects.write(vec![rejected(4, KIB)]).await.unwrap();
        let cut = |bytes: usize| Some(bytes.to_string());
        let want = [
            ("t/0/0", 2 * KIB, None),
            ("t/0/1", 2 * KIB, cut(2 * KIB + 1)),
            ("t/0/2", 2 * KIB, cut(40 << 20)),
            ("t/0/3", KIB / 4, cut(KIB)),
            ("t/0/4", KIB, None),
        ];
        let found = tokio::task::spawn_blocking(move || there(&config)).await.unwrap();
        assert_eq!(found, want.map(|(source, kept, whole)| (source.to_owned(), kept, whole)));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_producer_that_failed_for_good_is_replaced() {
        let cluster = MockCluster::new(1).unwrap();
        let config = config(&cluster.bootstrap_servers());
        let pipeline = &config.pipelines[0];
        cluster.create_topic(&pipeline.topics.rejected, 1, 1).unwrap();
        let rejects = Rejects::new(&config, pipeline).unwrap();
        cluster.request_errors(Key::InitProducerId, &[Refused::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED]);
        let (left, why) = rejects.write(vec![rejected(0, 1)]).await.unwrap_err();
        assert!(why.contains("give the user IdempotentWrite"), "{why}");
        rejects.write(left).await.unwrap();
    }
}
