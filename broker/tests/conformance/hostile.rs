//! Bytes that no client sends: the broker goes on serving the others.

use bytes::Buf;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    ApiVersionsRequest, ConsumerGroupHeartbeatRequest, CreateTopicsRequest, DescribeConfigsRequest,
    DescribeGroupsRequest, FetchRequest, GroupId, InitProducerIdRequest, JoinGroupRequest, ListGroupsRequest,
    MetadataRequest, OffsetFetchRequest, ProduceRequest,
};
use outlier_broker::Config;
use proptest::prelude::*;
use proptest::test_runner::{Config as Runs, TestRunner};

use crate::raw::{Raw, batch, frame, string, topic_name};
use crate::support::*;

fn valid_requests() -> Vec<Vec<u8>> {
    let topic = FetchTopic::default()
        .with_topic(topic_name("t"))
        .with_partitions(vec![FetchPartition::default().with_partition_max_bytes(1_000)]);
    let fetch = FetchRequest::default().with_topics(vec![topic]);
    let named = MetadataRequestTopic::default().with_name(Some(topic_name("t")));
    let join = JoinGroupRequest::default()
        .with_group_id(GroupId(string("g")))
        .with_session_timeout_ms(6_000)
        .with_protocol_type(string("consumer"));
    let records = |version| {
        let data = PartitionProduceData::default().with_records(Some(batch(3, 0, 0, true)));
        let topic = TopicProduceData::default().with_name(topic_name("t")).with_partition_data(vec![data]);
        frame(&ProduceRequest::default().with_acks(-1).with_topic_data(vec![topic]), version)
    };
    let created = CreatableTopic::default().with_name(topic_name("made")).with_num_partitions(2);
    let created = CreateTopicsRequest::default().with_topics(vec![created.with_replication_factor(1)]);
    vec![
        records(3),
        records(9),
        frame(&created, 2),
        frame(&created, 7),
        frame(&ApiVersionsRequest::default().with_client_software_name(string("x")), 3),
        frame(&MetadataRequest::default().with_topics(Some(vec![named.clone(), named])), 4),
        frame(&MetadataRequest::default(), 12),
        frame(&fetch, 11),
        frame(&fetch, 12),
        frame(&join, 4),
        frame(&join, 6),
        frame(&OffsetFetchRequest::default().with_group_id(GroupId(string("g"))), 6),
        frame(&InitProducerIdRequest::default().with_transaction_timeout_ms(1_000), 1),
        frame(&ListGroupsRequest::default(), 4),
    ]
}

/// Sends bytes and reads what comes, until the broker has understood that nothing follows.
fn throw(server: &Server, bytes: &[u8]) {
    let mut raw = Raw::connect(&server.bootstrap);
    // The broker may end the connection before it has all.
    let _ = raw.write(bytes);
    raw.finish();
    while raw.read().is_some() {}
}

fn still_serves(server: &Server) {
    let topic = server.topic("well", 1, &[]);
    let producer = server.producer(&[]);
    send(&producer, &topic, "fine");
    flush(&producer);
    assert_eq!(server.values(&topic, "read_committed"), ["fine"]);
}

#[test]
fn no_bytes_stop_the_broker() {
    on_embedded(Config::default(), |server| {
        let runs = Runs { cases: 300, failure_persistence: None, ..Runs::default() };
        let noise = prop::collection::vec(any::<u8>(), 0..300);
        TestRunner::new(runs.clone())
            .run(&noise, |bytes| {
                throw(server, &bytes);
                // Noise within a sound frame goes further in.
                let mut framed = u32::try_from(bytes.len()).unwrap().to_be_bytes().to_vec();
                framed.extend(&bytes);
                throw(server, &framed);
                Ok(())
            })
            .unwrap();
        let requests = valid_requests();
        let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6);
        let mutated = (any::<prop::sample::Index>(), changes);
        TestRunner::new(Runs { cases: 1_000, ..runs })
            .run(&mutated, |(which, changes)| {
                let mut bytes = which.get(&requests).clone();
                for (at, value) in changes {
                    // The length stays sound, and the API and version mostly.
                    let at = 4 + at.index(bytes.len() - 4);
                    bytes[at] = value;
                }
                throw(server, &bytes);
                Ok(())
            })
            .unwrap();
        still_serves(server);
    });
}

#[test]
fn a_huge_count_takes_no_memory() {
    on_embedded(Config::default(), |server| {
        // Metadata version 4 whose array claims 2^31 - 1 topics.
        let mut bytes = frame(&MetadataRequest::default().with_topics(Some(Vec::new())), 4);
        let at = bytes.len() - 5;
        bytes[at..at + 4].copy_from_slice(&i32::MAX.to_be_bytes());
        throw(server, &bytes);
        throw(server, &i32::MAX.to_be_bytes());
        still_serves(server);
    });
}

/// As many resources of DescribeConfigs, each the broker itself.
fn described(count: usize) -> Vec<u8> {
    let resource = DescribeConfigsResource::default().with_resource_type(4).with_configuration_keys(None);
    frame(&DescribeConfigsRequest::default().with_resources(vec![resource; count]), 4)
}

/// As many topics of Metadata, of which none exists.
fn asked(count: usize) -> Vec<u8> {
    let topic = MetadataRequestTopic::default().with_name(Some(topic_name("")));
    frame(&MetadataRequest::default().with_topics(Some(vec![topic; count])), 9)
}

/// As many topics of Produce, each without data.
fn produced(count: usize) -> Vec<u8> {
    let topics = vec![TopicProduceData::default(); count];
    frame(&ProduceRequest::default().with_acks(-1).with_topic_data(topics), 9)
}

#[test]
fn many_tiny_elements_end_the_connection() {
    on_embedded(Config::default(), |server| {
        for (name, make) in [("configs", described as fn(usize) -> Vec<u8>), ("topics", asked), ("data", produced)] {
            for (count, answered) in [(100_000, true), (200_000, false)] {
                let mut raw = Raw::connect(&server.bootstrap);
                // The broker reads a whole frame before it judges.
                raw.write(&make(count)).unwrap();
                assert_eq!(raw.read().is_some(), answered, "{count} {name}");
            }
        }
        still_serves(server);
    });
}

#[test]
fn what_is_named_twice_is_answered_once() {
    on_embedded(Config::default(), |server| {
        let topic = server.topic("twice", 1, &[]);
        let mut raw = Raw::connect(&server.bootstrap);
        let resource = |kind, name: &str| {
            let resource = DescribeConfigsResource::default().with_resource_type(kind).with_resource_name(string(name));
            resource.with_configuration_keys(None)
        };
        let resources = vec![resource(2, &topic), resource(4, "1"), resource(2, &topic), resource(4, &topic)];
        let answer = raw.call(&DescribeConfigsRequest::default().with_resources(resources), 4);
        let kinds: Vec<_> = answer.results.iter().map(|result| (result.resource_type, result.configs.len())).collect();
        assert!(matches!(kinds[..], [(2, 1..), (4, 1..), (4, 0)]), "{kinds:?}");
        let named = MetadataRequestTopic::default().with_name(Some(topic_name(&topic)));
        let answer = raw.call(&MetadataRequest::default().with_topics(Some(vec![named.clone(), named])), 9);
        assert_eq!(answer.topics.len(), 1);
        let groups = ["a", "b", "a"].map(|name| GroupId(string(name)));
        let answer = raw.call(&DescribeGroupsRequest::default().with_groups(groups.to_vec()), 5);
        assert_eq!(answer.groups.len(), 2);
        let wanted = groups.map(|group| OffsetFetchRequestGroup::default().with_group_id(group).with_topics(None));
        let answer = raw.call(&OffsetFetchRequest::default().with_groups(wanted.to_vec()), 8);
        assert_eq!(answer.groups.len(), 2);
    });
}

#[test]
fn many_new_topics_hold_nobody_up() {
    const INVALID_REQUEST: i16 = 42;
    on_embedded(Config::default(), |server| {
        let topic = |name: &str| CreatableTopic::default().with_name(topic_name(name)).with_num_partitions(0);
        // Names that are long and nearly equal, and one that comes twice.
        let mut topics: Vec<_> = (0..90_000).map(|n| topic(&format!("{}{n:05}", "x".repeat(70)))).collect();
        topics.extend([topic("again"), topic("again")]);
        let answer = Raw::connect(&server.bootstrap).call(&CreateTopicsRequest::default().with_topics(topics), 4);
        let repeated = answer.topics.iter().filter(|topic| topic.error_code == INVALID_REQUEST);
        assert_eq!((answer.topics.len(), repeated.count()), (90_002, 2));
        still_serves(server);
    });
}

#[test]
fn what_is_not_supported_is_answered() {
    const UNSUPPORTED_VERSION: i16 = 35;
    on_embedded(Config::default(), |server| {
        let answer = Raw::connect(&server.bootstrap).call(&ConsumerGroupHeartbeatRequest::default(), 0);
        assert_eq!(answer.error_code, UNSUPPORTED_VERSION);
        // A version of ApiVersions that does not exist is answered in version 0, with the list to choose from.
        let mut future = frame(&ApiVersionsRequest::default(), 3);
        future[6..8].copy_from_slice(&99_i16.to_be_bytes());
        let mut raw = Raw::connect(&server.bootstrap);
        raw.write(&future).unwrap();
        let mut body = raw.read().unwrap();
        assert_eq!((body.get_i32(), body.get_i16()), (7, UNSUPPORTED_VERSION));
        assert!(body.get_i32() > 20, "the list of APIs");
        let listed = raw.call(&ApiVersionsRequest::default(), 3);
        assert_eq!(listed.error_code, 0, "the connection goes on");
        // An API that does not exist.
        let mut unknown = frame(&ListGroupsRequest::default(), 0);
        unknown[4..6].copy_from_slice(&999_i16.to_be_bytes());
        raw.write(&unknown).unwrap();
        let mut body = raw.read().unwrap();
        assert_eq!((body.get_i32(), body.get_i32(), body.get_i16()), (7, 0, UNSUPPORTED_VERSION));
        assert!(raw.read().is_none(), "the connection ends");
    });
}
