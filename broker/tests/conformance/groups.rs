//! Consumer groups: rebalances, crashes, committed offsets.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::{BufMut, BytesMut};
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::{ConsumerProtocolSubscription, GroupId, JoinGroupRequest, SyncGroupRequest};
use kafka_protocol::protocol::Encodable;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::Message;

use crate::raw::{Raw, string};
use crate::support::*;

const PARTITIONS: i32 = 6;

/// Polls all members until each has its fair share; fails when two own the same partition at one time.
fn settle(members: &[&Member]) {
    let until = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < until, "the group did not settle in time");
        for member in members {
            let _ = member.poll(Duration::from_millis(20));
        }
        let mut owners: HashMap<i32, usize> = HashMap::new();
        let mut shares = Vec::new();
        for (index, member) in members.iter().enumerate() {
            let assignment = member.assignment().unwrap();
            shares.push(assignment.count());
            for element in assignment.elements() {
                let other = owners.insert(element.partition(), index);
                assert_eq!(other, None, "partition {} has two owners", element.partition());
            }
        }
        let fair = usize::try_from(PARTITIONS).unwrap() / members.len();
        if shares.iter().all(|share| *share == fair) {
            return;
        }
    }
}

#[test]
fn a_group_grows_and_shrinks() {
    on_each("cooperative rebalance", |server| {
        let topic = server.topic("share", PARTITIONS, &[]);
        let group = unique("g");
        let member = || {
            let consumer = server.consumer(&group, &[]);
            consumer.subscribe(&[&topic]).unwrap();
            consumer
        };
        let first = member();
        settle(&[&first]);
        let (second, third) = (member(), member());
        settle(&[&first, &second, &third]);
        let producer = server.producer(&[]);
        (0..PARTITIONS).for_each(|p| send_to(&producer, &topic, p, "x"));
        flush(&producer);
        let mut seen = Vec::new();
        let until = Instant::now() + PATIENCE;
        while seen.len() < usize::try_from(PARTITIONS).unwrap() {
            assert!(Instant::now() < until, "only {seen:?} came");
            for member in [&first, &second, &third] {
                if let Some(message) = member.poll(Duration::from_millis(20)) {
                    let message = message.unwrap();
                    seen.push(message.partition());
                    member.commit_message(&message, CommitMode::Sync).unwrap();
                }
            }
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..PARTITIONS).collect::<Vec<_>>());
        drop(second);
        drop(third);
        settle(&[&first]);
        let committed = first.committed(PATIENCE).unwrap();
        assert!(committed.elements().iter().all(|e| e.offset() == rdkafka::Offset::Offset(1)), "{committed:?}");
    });
}

/// A member without a library joins, takes its assignment, and falls silent: what a crash looks like.
fn join_and_crash(server: &Server, group: &str, topic: &str, alive: &Member) {
    let mut metadata = BytesMut::new();
    metadata.put_i16(1);
    let subscription = ConsumerProtocolSubscription::default().with_topics(vec![string(topic)]);
    subscription.encode(&mut metadata, 1).unwrap();
    let protocol =
        JoinGroupRequestProtocol::default().with_name(string("cooperative-sticky")).with_metadata(metadata.freeze());
    let join = JoinGroupRequest::default()
        .with_group_id(GroupId(string(group)))
        .with_session_timeout_ms(6_000)
        .with_rebalance_timeout_ms(60_000)
        .with_protocol_type(string("consumer"))
        .with_protocols(vec![protocol]);
    let mut raw = Raw::connect(&server.bootstrap);
    let refused = raw.call(&join, 6);
    assert_eq!(refused.error_code, 79, "a member gets its id first");
    std::thread::scope(|scope| {
        let crash = scope.spawn(move || {
            let joined = raw.call(&join.with_member_id(refused.member_id), 6);
            assert_eq!(joined.error_code, 0);
            let sync = SyncGroupRequest::default()
                .with_group_id(GroupId(string(group)))
                .with_generation_id(joined.generation_id)
                .with_member_id(joined.member_id);
            // Or the other member has given up partitions already and joins again, for which the group rebalances (27).
            let synced = raw.call(&sync, 4).error_code;
            assert!(matches!(synced, 0 | 27), "{synced}");
        });
        while !crash.is_finished() {
            let _ = alive.poll(Duration::from_millis(20));
        }
    });
}

#[test]
fn a_crashed_members_partitions_are_taken_over() {
    on_each("crash of a member", |server| {
        let topic = server.topic("crash", PARTITIONS, &[]);
        let group = unique("g");
        let alive = server.consumer(&group, &[]);
        alive.subscribe(&[&topic]).unwrap();
        settle(&[&alive]);
        join_and_crash(server, &group, &topic, &alive);
        let begun = Instant::now();
        let until = begun + PATIENCE;
        while alive.assignment().unwrap().count() == usize::try_from(PARTITIONS).unwrap() {
            assert!(Instant::now() < until, "nothing was given up for the new member");
            let _ = alive.poll(Duration::from_millis(20));
        }
        settle(&[&alive]);
        assert!(begun.elapsed() > Duration::from_secs(4), "a session lasts its time");
    });
}

#[test]
fn a_static_member_comes_back_to_its_partitions() {
    on_each("static membership", |server| {
        let topic = server.topic("static", PARTITIONS, &[]);
        let group = unique("g");
        let member = |instance: &str| {
            let consumer = server.consumer(&group, &[("group.instance.id", instance)]);
            consumer.subscribe(&[&topic]).unwrap();
            consumer
        };
        let owned = |member: &Member| {
            let mut owned: Vec<i32> = member.assignment().unwrap().elements().iter().map(|e| e.partition()).collect();
            owned.sort_unstable();
            owned
        };
        let (first, second) = (member("one"), member("two"));
        settle(&[&first, &second]);
        let (before, others) = (owned(&first), owned(&second));
        drop(first);
        let again = member("one");
        let until = Instant::now() + PATIENCE;
        while owned(&again).is_empty() {
            assert!(Instant::now() < until, "nothing came back in time");
            let _ = (again.poll(Duration::from_millis(20)), second.poll(Duration::from_millis(20)));
            assert_eq!(owned(&second), others, "the other one is not disturbed");
        }
        assert_eq!(owned(&again), before);
    });
}

#[test]
fn a_client_that_wants_the_new_group_protocol_hears_that_there_is_none() {
    on_embedded(outlier_broker::Config::default(), |server| {
        let topic = server.topic("next", 1, &[]);
        let settings = [("group.id", "next"), ("group.protocol", "consumer")];
        let consumer: BaseConsumer = server.config(&settings).create().unwrap();
        consumer.subscribe(&[&topic]).unwrap();
        let until = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < until, "silence instead of an error");
            if let Some(Err(error)) = consumer.poll(Duration::from_millis(100)) {
                assert_eq!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::UnsupportedVersion), "{error}");
                return;
            }
        }
    });
}

#[test]
fn a_group_is_listed_described_and_deleted() {
    on_each("group admin", |server| {
        let topic = server.topic("listed", PARTITIONS, &[]);
        let group = unique("g");
        let consumer = server.consumer(&group, &[]);
        consumer.subscribe(&[&topic]).unwrap();
        settle(&[&consumer]);
        let list = consumer.fetch_group_list(Some(&group), PATIENCE).unwrap();
        let described = &list.groups()[0];
        assert_eq!((described.name(), described.state(), described.members().len()), (group.as_str(), "Stable", 1));
        let mut position = rdkafka::TopicPartitionList::new();
        position.add_partition_offset(&topic, 0, rdkafka::Offset::Offset(0)).unwrap();
        consumer.commit(&position, CommitMode::Sync).unwrap();
        let admin = server.admin();
        let delete = || wait(admin.delete_groups(&[&group], &Default::default())).unwrap().remove(0);
        let (_, error) = delete().unwrap_err();
        assert_eq!(error, rdkafka::error::RDKafkaErrorCode::NonEmptyGroup);
        drop(consumer);
        assert_eq!(delete(), Ok(group.clone()));
    });
}
