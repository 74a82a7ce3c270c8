//! Transactions: visibility, fencing, timeouts, offsets.

use std::time::{Duration, Instant};

use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::{AddPartitionsToTxnRequest, InitProducerIdRequest, TransactionalId};
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::Producer;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::raw::{Raw, batch, string, topic_name};
use crate::support::*;

#[test]
fn commits_are_seen_and_aborts_are_not() {
    on_each("commit and abort", |server| {
        let topic = server.topic("txn", 1, &[]);
        let producer = server.transactional(&unique("t"));
        for (value, commit) in [("a", true), ("b", false), ("c", true), ("d", false)] {
            producer.begin_transaction().unwrap();
            send(&producer, &topic, value);
            flush(&producer);
            if commit {
                producer.commit_transaction(PATIENCE).unwrap();
            } else {
                producer.abort_transaction(PATIENCE).unwrap();
            }
        }
        assert_eq!(server.values(&topic, "read_committed"), ["a", "c"]);
        assert_eq!(server.values(&topic, "read_uncommitted"), ["a", "b", "c", "d"]);
        // Four records and four markers.
        let marks = server.reader(&topic, 0, "read_committed").fetch_watermarks(&topic, 0, PATIENCE);
        assert_eq!(marks.unwrap(), (0, 8));
    });
}

#[test]
fn interleaved_producers_abort_only_their_own() {
    on_each("interleaved", |server| {
        let topic = server.topic("interleaved", 1, &[]);
        let (one, two) = (server.transactional(&unique("one")), server.transactional(&unique("two")));
        let plain = server.producer(&[]);
        for round in 0..5 {
            one.begin_transaction().unwrap();
            two.begin_transaction().unwrap();
            for i in 0..3 {
                for (name, producer) in [("one", &one), ("two", &two), ("plain", &plain)] {
                    send(producer, &topic, &format!("{name} {round} {i}"));
                    flush(producer);
                }
            }
            // Each aborts every other round, and not the same ones.
            let end = |producer: &rdkafka::producer::BaseProducer, abort: bool| {
                if abort {
                    producer.abort_transaction(PATIENCE).unwrap();
                } else {
                    producer.commit_transaction(PATIENCE).unwrap();
                }
            };
            end(&two, round % 2 == 1);
            end(&one, round % 2 == 0);
        }
        let seen = server.values(&topic, "read_committed");
        let expected: Vec<String> = (0..5)
            .flat_map(|round| (0..3).map(move |i| (round, i)))
            .flat_map(|(round, i)| {
                ["one", "two", "plain"]
                    .into_iter()
                    .filter(move |name| match *name {
                        "one" => round % 2 == 1,
                        "two" => round % 2 == 0,
                        _ => true,
                    })
                    .map(move |name| format!("{name} {round} {i}"))
            })
            .collect();
        assert_eq!(seen, expected);
        assert_eq!(server.values(&topic, "read_uncommitted").len(), 45);
    });
}

#[test]
fn an_open_transaction_holds_back_what_follows() {
    on_each("last stable offset", |server| {
        let topic = server.topic("stable", 1, &[]);
        let producer = server.transactional(&unique("t"));
        let plain = server.producer(&[]);
        send(&plain, &topic, "before");
        flush(&plain);
        producer.begin_transaction().unwrap();
        send(&producer, &topic, "inside");
        flush(&producer);
        send(&plain, &topic, "after");
        flush(&plain);
        assert_eq!(server.values(&topic, "read_committed"), ["before"]);
        assert_eq!(server.values(&topic, "read_uncommitted"), ["before", "inside", "after"]);
        let reader = server.reader(&topic, 0, "read_committed");
        assert_eq!(text(&take(&reader, 1)[0]), "before");
        assert!(reader.poll(Duration::from_millis(300)).is_none());
        // The commit wakes the waiting reader.
        producer.commit_transaction(PATIENCE).unwrap();
        let rest = take(&reader, 2);
        assert_eq!([text(&rest[0]), text(&rest[1])], ["inside", "after"]);
    });
}

#[test]
fn a_second_producer_fences_the_first() {
    on_each("fencing", |server| {
        let topic = server.topic("fenced", 1, &[]);
        let id = unique("t");
        let first = server.transactional(&id);
        first.begin_transaction().unwrap();
        send(&first, &topic, "zombie 1");
        flush(&first);
        let second = server.transactional(&id);
        second.begin_transaction().unwrap();
        send(&second, &topic, "alive");
        // The zombie goes on as if nothing had happened.
        send(&first, &topic, "zombie 2");
        let _ = first.flush(PATIENCE);
        let error = first.commit_transaction(PATIENCE).unwrap_err();
        assert!(is_fatal(&error), "{error}");
        second.commit_transaction(PATIENCE).unwrap();
        assert_eq!(server.values(&topic, "read_committed"), ["alive"]);
        let all = server.values(&topic, "read_uncommitted");
        assert!(!all.contains(&"zombie 2".to_owned()), "{all:?}");
    });
}

fn is_fatal(error: &KafkaError) -> bool {
    match error {
        KafkaError::Transaction(error) => error.is_fatal(),
        _ => false,
    }
}

#[test]
fn nothing_of_a_zombie_is_acknowledged() {
    on_each("zombie batches", |server| {
        let topic = server.topic("zombie", 1, &[]);
        let id = unique("t");
        let mut raw = Raw::connect(&server.bootstrap);
        let init = InitProducerIdRequest::default()
            .with_transactional_id(Some(TransactionalId(string(&id))))
            .with_transaction_timeout_ms(20_000)
            .with_producer_id((-1).into())
            .with_producer_epoch(-1);
        let add = |producer_id, epoch| {
            let topic = AddPartitionsToTxnTopic::default().with_name(topic_name(&topic)).with_partitions(vec![0]);
            AddPartitionsToTxnRequest::default()
                .with_v3_and_below_transactional_id(TransactionalId(string(&id)))
                .with_v3_and_below_producer_id(producer_id)
                .with_v3_and_below_producer_epoch(epoch)
                .with_v3_and_below_topics(vec![topic])
        };
        let code = |response: kafka_protocol::messages::AddPartitionsToTxnResponse| {
            response.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code
        };
        let first = raw.initialise(&init);
        let producer_id = first.producer_id.0;
        // Not announced, so not accepted.
        let unannounced = raw.produce(&topic, Some(&id), batch(producer_id, 0, 0, true));
        assert_eq!(unannounced, Err(RDKafkaErrorCode::InvalidTransactionalState as i16));
        assert_eq!(code(raw.call(&add(first.producer_id, 0), 3)), 0);
        assert_eq!(raw.produce(&topic, Some(&id), batch(producer_id, 0, 0, true)), Ok(0));
        let second = raw.initialise(&init);
        assert!(second.producer_epoch > first.producer_epoch);
        let late = raw.produce(&topic, Some(&id), batch(producer_id, 0, 1, true));
        assert_eq!(late, Err(RDKafkaErrorCode::InvalidProducerEpoch as i16));
        let fenced = code(raw.call(&add(first.producer_id, 0), 3));
        assert_eq!(fenced, RDKafkaErrorCode::ProducerFenced as i16);
        assert_eq!(server.values(&topic, "read_uncommitted").len(), 1);
        assert!(server.values(&topic, "read_committed").is_empty());
    });
}

#[test]
fn a_transaction_that_takes_too_long_is_aborted() {
    on_each("transaction timeout", |server| {
        let topic = server.topic("timeout", 1, &[]);
        let id = unique("t");
        let producer = server.uninitialised(&id, "1000");
        producer.init_transactions(PATIENCE).unwrap();
        producer.begin_transaction().unwrap();
        send(&producer, &topic, "late");
        flush(&producer);
        let plain = server.producer(&[]);
        send(&plain, &topic, "after");
        flush(&plain);
        // The abort lets the reader through; Kafka looks for timeouts every ten seconds.
        assert_eq!(text(&take(&server.reader(&topic, 0, "read_committed"), 1)[0]), "after");
        assert!(producer.commit_transaction(PATIENCE).is_err());
        let successor = server.transactional(&id);
        successor.begin_transaction().unwrap();
        send(&successor, &topic, "new");
        successor.commit_transaction(PATIENCE).unwrap();
        assert_eq!(server.values(&topic, "read_committed"), ["after", "new"]);
    });
}

/// Position 0 of the topic at `offset`, with metadata.
fn position(topic: &str, offset: i64, metadata: &str) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Offset(offset)).unwrap();
    list.find_partition(topic, 0).unwrap().set_metadata(metadata);
    list
}

fn committed(consumer: &Member, topic: &str) -> (Offset, String) {
    let mut list = TopicPartitionList::new();
    list.add_partition(topic, 0);
    let found = consumer.committed_offsets(list, PATIENCE).unwrap();
    let element = &found.elements()[0];
    element.error().unwrap();
    (element.offset(), element.metadata().to_owned())
}

/// A member that has been given its partition.
fn member(server: &Server, group: &str, topic: &str) -> Member {
    let consumer = server.consumer(group, &[("isolation.level", "read_committed")]);
    consumer.subscribe(&[topic]).unwrap();
    let until = Instant::now() + PATIENCE;
    while consumer.assignment().unwrap().count() == 0 {
        assert!(Instant::now() < until, "no assignment came in time");
        let _ = consumer.poll(Duration::from_millis(20));
    }
    consumer
}

#[test]
fn offsets_and_metadata_commit_with_the_transaction() {
    on_each("transactional offsets", |server| {
        let (source, target) = (server.topic("source", 1, &[]), server.topic("target", 1, &[]));
        let group = unique("g");
        let consumer = member(server, &group, &source);
        let metadata = consumer.group_metadata().unwrap();
        let producer = server.transactional(&unique("t"));
        producer.begin_transaction().unwrap();
        send(&producer, &target, "x");
        producer.send_offsets_to_transaction(&position(&source, 5, "v1;123;i"), &metadata, PATIENCE).unwrap();
        producer.commit_transaction(PATIENCE).unwrap();
        assert_eq!(committed(&consumer, &source), (Offset::Offset(5), "v1;123;i".to_owned()));
        producer.begin_transaction().unwrap();
        producer.send_offsets_to_transaction(&position(&source, 9, "gone"), &metadata, PATIENCE).unwrap();
        producer.abort_transaction(PATIENCE).unwrap();
        assert_eq!(committed(&consumer, &source), (Offset::Offset(5), "v1;123;i".to_owned()));
        producer.begin_transaction().unwrap();
        let long = "m".repeat(4_097);
        let error = producer.send_offsets_to_transaction(&position(&source, 9, &long), &metadata, PATIENCE);
        assert_eq!(error.unwrap_err().rdkafka_error_code(), Some(RDKafkaErrorCode::OffsetMetadataTooLarge));
        producer.abort_transaction(PATIENCE).unwrap();
    });
}

#[test]
fn offsets_of_an_old_generation_are_refused() {
    on_each("stale generation", |server| {
        let source = server.topic("source", 2, &[]);
        let group = unique("g");
        let first = member(server, &group, &source);
        let stale = first.group_metadata().unwrap();
        let second = server.consumer(&group, &[]);
        second.subscribe(&[&source]).unwrap();
        let until = Instant::now() + PATIENCE;
        while second.assignment().unwrap().count() == 0 {
            assert!(Instant::now() < until, "the second member got nothing in time");
            let _ = (first.poll(Duration::from_millis(20)), second.poll(Duration::from_millis(20)));
        }
        let producer = server.transactional(&unique("t"));
        producer.begin_transaction().unwrap();
        let refused = producer.send_offsets_to_transaction(&position(&source, 1, ""), &stale, PATIENCE);
        assert_eq!(refused.unwrap_err().rdkafka_error_code(), Some(RDKafkaErrorCode::IllegalGeneration));
        producer.abort_transaction(PATIENCE).unwrap();
    });
}

#[test]
fn a_new_member_waits_for_offsets_in_flight() {
    on_each("unstable offsets", |server| {
        let source = server.topic("source", 1, &[]);
        let plain = server.producer(&[]);
        (0..10).for_each(|i| send(&plain, &source, &i.to_string()));
        flush(&plain);
        let group = unique("g");
        let first = member(server, &group, &source);
        let metadata = first.group_metadata().unwrap();
        let producer = server.transactional(&unique("t"));
        producer.begin_transaction().unwrap();
        producer.send_offsets_to_transaction(&position(&source, 7, ""), &metadata, PATIENCE).unwrap();
        drop(first);
        let second = member(server, &group, &source);
        assert!(second.poll(Duration::from_millis(700)).is_none(), "read on before the offset was decided");
        producer.commit_transaction(PATIENCE).unwrap();
        assert_eq!(take(&second, 1)[0].offset(), 7);
    });
}
