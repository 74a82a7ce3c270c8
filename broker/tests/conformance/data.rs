//! Produce, fetch, offsets: what a single partition promises.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{FetchRequest, InitProducerIdRequest, MetadataRequest};
use outlier_broker::Config;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::{ClientContext, Timestamp};

use crate::raw::{Raw, batch, topic_name};
use crate::support::*;

#[test]
fn records_come_back_as_they_went_in_every_codec() {
    on_each("codecs", |server| {
        for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
            let topic = server.topic("codec", 1, &[]);
            let producer = server.producer(&[("compression.type", codec), ("linger.ms", "50")]);
            let start = now_ms() - 1_000;
            for i in 0..100_i64 {
                let key = format!("key {i}");
                let value = "value ".repeat(usize::try_from(i).unwrap());
                let headers = OwnedHeaders::new()
                    .insert(Header { key: "n", value: Some(&i.to_string()) })
                    .insert(Header { key: "null", value: None::<&str> });
                let record = BaseRecord::<str, str>::to(&topic).key(&key).timestamp(start + i).headers(headers);
                // Every tenth is a tombstone.
                let record = if i % 10 == 0 { record } else { record.payload(&value) };
                producer.send(record).map_err(|(error, _)| error).unwrap();
            }
            flush(&producer);
            let messages = take(&server.reader(&topic, 0, "read_committed"), 100);
            for (i, message) in (0_i64..).zip(&messages) {
                assert_eq!(message.offset(), i, "{codec}");
                assert_eq!(message.key().unwrap(), format!("key {i}").as_bytes());
                assert_eq!(message.timestamp(), Timestamp::CreateTime(start + i));
                let value = "value ".repeat(usize::try_from(i).unwrap());
                let expected = (i % 10 != 0).then_some(value.as_bytes());
                assert_eq!(message.payload(), expected, "{codec}");
                let headers = message.headers().unwrap();
                assert_eq!(headers.get(0).value, Some(i.to_string().as_bytes()));
                assert_eq!((headers.get(1).key, headers.get(1).value), ("null", None));
            }
        }
    });
}

#[test]
fn an_idempotent_producer_keeps_order_and_count() {
    on_each("idempotence", |server| {
        let topic = server.topic("idempotent", 1, &[]);
        let producer = server.producer(&[("enable.idempotence", "true"), ("batch.num.messages", "7")]);
        let expected: Vec<String> = (0..500).map(|i| i.to_string()).collect();
        expected.iter().for_each(|value| send(&producer, &topic, value));
        flush(&producer);
        assert_eq!(server.values(&topic, "read_committed"), expected);
    });
}

#[test]
fn a_batch_sent_twice_is_appended_once() {
    on_each("duplicates", |server| {
        let topic = server.topic("twice", 1, &[]);
        let mut raw = Raw::connect(&server.bootstrap);
        let init = InitProducerIdRequest::default()
            .with_transactional_id(None)
            .with_transaction_timeout_ms(10_000)
            .with_producer_id((-1).into())
            .with_producer_epoch(-1);
        let producer = raw.initialise(&init);
        assert_eq!((producer.error_code, producer.producer_epoch), (0, 0));
        let id = producer.producer_id.0;
        let steps = [
            (0, 0, Ok(0)),
            (0, 1, Ok(1)),
            (0, 0, Ok(0)),
            (0, 3, Err(RDKafkaErrorCode::OutOfOrderSequenceNumber as i16)),
            (1, 0, Ok(2)),
            (0, 2, Err(RDKafkaErrorCode::InvalidProducerEpoch as i16)),
        ];
        for (epoch, sequence, expected) in steps {
            let answer = raw.produce(&topic, None, batch(id, epoch, sequence, false));
            assert_eq!(answer, expected, "epoch {epoch}, sequence {sequence}");
        }
        assert_eq!(server.values(&topic, "read_committed").len(), 3);
    });
}

#[test]
fn offsets_are_found_by_time() {
    on_each("offsets by time", |server| {
        let topic = server.topic("times", 1, &[]);
        let producer = server.producer(&[("linger.ms", "50"), ("compression.type", "lz4")]);
        let start = now_ms() - 100_000;
        for i in 0..100 {
            let record = BaseRecord::<(), str>::to(&topic).payload("x").timestamp(start + i * 10);
            producer.send(record).map_err(|(error, _)| error).unwrap();
            if i % 30 == 29 {
                flush(&producer);
            }
        }
        flush(&producer);
        let reader = server.reader(&topic, 0, "read_committed");
        let cases = [(0, 0), (start, 0), (start + 1, 1), (start + 555, 56), (start + 990, 99)];
        for (at, expected) in cases {
            assert_eq!(offset_at(&reader, &topic, at), Offset::Offset(expected), "{}", at - start);
        }
        assert_eq!(offset_at(&reader, &topic, start + 991), Offset::End);
        assert_eq!(reader.fetch_watermarks(&topic, 0, PATIENCE).unwrap(), (0, 100));
    });
}

fn offset_at(reader: &Member, topic: &str, at: i64) -> Offset {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Offset(at)).unwrap();
    let found = reader.offsets_for_times(list, PATIENCE).unwrap();
    found.elements()[0].offset()
}

#[test]
fn an_idle_reader_hears_of_a_record_at_once() {
    on_each("long poll", |server| {
        let topic = server.topic("long-poll", 1, &[]);
        let producer = server.producer(&[]);
        let settings = [("fetch.wait.max.ms", "500"), ("group.id", "idle"), ("auto.offset.reset", "earliest")];
        let reader: rdkafka::consumer::BaseConsumer = server.config(&settings).create().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&topic, 0, Offset::Beginning).unwrap();
        reader.assign(&list).unwrap();
        send(&producer, &topic, "first");
        flush(&producer);
        take(&reader, 1);
        let mut delays: Vec<Duration> = (0..5)
            .map(|_| {
                // Long enough that the reader waits in a fetch.
                assert!(reader.poll(Duration::from_millis(150)).is_none());
                let sent = Instant::now();
                send(&producer, &topic, "next");
                while reader.poll(Duration::from_millis(10)).is_none() {}
                sent.elapsed()
            })
            .collect();
        delays.sort();
        assert!(delays[2] < Duration::from_millis(100), "{delays:?}");
    });
}

#[test]
fn an_idle_fetch_waits_as_long_as_it_was_told() {
    on_each("idle fetch", |server| {
        let (idle, busy) = (server.topic("idle", 1, &[]), server.topic("busy", 1, &[]));
        let partition = FetchPartition::default().with_partition_max_bytes(1_000);
        let topic = FetchTopic::default().with_topic(topic_name(&idle)).with_partitions(vec![partition]);
        let fetch = FetchRequest::default()
            .with_replica_id((-1).into())
            .with_max_wait_ms(400)
            .with_min_bytes(1)
            .with_max_bytes(1_000)
            .with_session_epoch(-1)
            .with_topics(vec![topic]);
        let mut raw = Raw::connect(&server.bootstrap);
        // What happens elsewhere does not end the wait.
        let producer = server.producer(&[]);
        send(&producer, &busy, "x");
        let begun = Instant::now();
        let answer = raw.call(&fetch, 12);
        assert!(begun.elapsed() >= Duration::from_millis(390), "{:?}", begun.elapsed());
        let partition = &answer.responses[0].partitions[0];
        assert_eq!((partition.error_code, partition.high_watermark), (0, 0));
        flush(&producer);
        // An error ends it at once.
        let mut beyond = fetch.clone().with_max_wait_ms(20_000);
        beyond.topics[0].partitions[0].fetch_offset = 9;
        let answer = raw.call(&beyond, 12);
        assert_eq!(answer.responses[0].partitions[0].error_code, RDKafkaErrorCode::OffsetOutOfRange as i16);
    });
}

#[test]
fn a_topic_is_made_when_that_is_allowed() {
    on_each("auto-create", |server| {
        let topic = unique("auto");
        let producer = server.producer(&[]);
        send(&producer, &topic, "x");
        flush(&producer);
        assert_eq!(server.values(&topic, "read_committed"), ["x"]);
    });
    on_embedded(Config { auto_create_topics: false, ..Config::default() }, |server| {
        let wanted = MetadataRequestTopic::default().with_name(Some(topic_name("never")));
        let request = MetadataRequest::default().with_topics(Some(vec![wanted])).with_allow_auto_topic_creation(true);
        let answer = Raw::connect(&server.bootstrap).call(&request, 9);
        assert_eq!(answer.topics[0].error_code, RDKafkaErrorCode::UnknownTopicOrPartition as i16);
    });
}

/// Collects what became of each message.
#[derive(Clone, Default)]
struct Fates(Arc<Mutex<Vec<Option<RDKafkaErrorCode>>>>);

impl ClientContext for Fates {}

impl ProducerContext for Fates {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let fate = result.as_ref().err().and_then(|(error, _)| error.rdkafka_error_code());
        self.0.lock().unwrap().push(fate);
    }
}

fn fate(server: &Server, topic: &str, partition: i32, bytes: usize) -> Option<RDKafkaErrorCode> {
    let fates = Fates::default();
    let config = server.config(&[("message.max.bytes", "4000000"), ("message.timeout.ms", "5000")]);
    let producer: BaseProducer<Fates> = config.create_with_context(fates.clone()).unwrap();
    let payload = vec![b'x'; bytes];
    let record = BaseRecord::<(), [u8]>::to(topic).partition(partition).payload(&payload);
    match producer.send(record) {
        Err((KafkaError::MessageProduction(code), _)) => return Some(code),
        other => other.map_err(|(error, _)| error).unwrap(),
    }
    producer.flush(PATIENCE).unwrap();
    let fates = fates.0.lock().unwrap();
    assert_eq!(fates.len(), 1);
    fates[0]
}

#[test]
fn what_cannot_be_appended_is_refused() {
    on_each("refusals", |server| {
        let topic = server.topic("refuse", 1, &[("max.message.bytes", "1000")]);
        assert_eq!(fate(server, &topic, 0, 900), None);
        assert_eq!(fate(server, &topic, 0, 1_000), Some(RDKafkaErrorCode::MessageSizeTooLarge));
        let partition = fate(server, &topic, 5, 1);
        assert_eq!(partition, Some(RDKafkaErrorCode::UnknownPartition));
        let mut raw = Raw::connect(&server.bootstrap);
        let answer = raw.produce(&unique("nowhere"), None, batch(-1, -1, -1, false));
        assert_eq!(answer, Err(RDKafkaErrorCode::UnknownTopicOrPartition as i16));
        let mut damaged = batch(-1, -1, -1, false).to_vec();
        *damaged.last_mut().unwrap() ^= 1;
        let answer = raw.produce(&topic, None, damaged.into());
        assert_eq!(answer, Err(RDKafkaErrorCode::InvalidMessage as i16));
    });
}

#[test]
fn a_topic_keeps_as_many_bytes_as_it_may() {
    let config = Config { retention_bytes: 50_000, ..Config::default() };
    on_embedded(config, |server| {
        let deleted = server.topic("bounded", 1, &[]);
        let compacted = server.topic("compacted", 1, &[("cleanup.policy", "compact")]);
        let producer = server.producer(&[("batch.num.messages", "1")]);
        for topic in [&deleted, &compacted] {
            (0..100).for_each(|_| send(&producer, topic, &"x".repeat(1_000)));
            flush(&producer);
        }
        let reader = server.reader(&deleted, 0, "read_committed");
        let (low, high) = reader.fetch_watermarks(&deleted, 0, PATIENCE).unwrap();
        assert_eq!(high, 100);
        assert!((50..=56).contains(&low), "starts at {low}");
        assert_eq!(take(&reader, 1)[0].offset(), low);
        assert_eq!(server.values(&compacted, "read_committed").len(), 100);
    });
}
