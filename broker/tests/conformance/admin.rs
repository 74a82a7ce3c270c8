//! The admin client: topics, partitions, settings.

use std::collections::HashMap;
use std::time::Instant;

use kafka_protocol::messages::IncrementalAlterConfigsRequest;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};

use rdkafka::admin::{AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;

use crate::raw::{Raw, string};
use crate::support::*;

fn create(
    server: &Server,
    name: &str,
    partitions: i32,
    replicas: i32,
    settings: &[(&str, &str)],
) -> Option<RDKafkaErrorCode> {
    let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(replicas));
    topic.config = settings.to_vec();
    let results = wait(server.admin().create_topics([&topic], &AdminOptions::new())).unwrap();
    results.into_iter().next().unwrap().err().map(|(_, code)| code)
}

/// Name, partitions, replicas, settings, and the error to expect.
type Case<'a> = (&'a str, i32, i32, &'a [(&'a str, &'a str)], Option<RDKafkaErrorCode>);

#[test]
fn topics_are_created_as_kafka_would() {
    on_each("create topics", |server| {
        let name = unique("made");
        let cases: [Case<'_>; 9] = [
            (&name, 3, 1, &[("cleanup.policy", "compact")], None),
            (&name, 3, 1, &[], Some(RDKafkaErrorCode::TopicAlreadyExists)),
            (&name.replace('-', "/"), 1, 1, &[], Some(RDKafkaErrorCode::InvalidTopic)),
            (&unique("none"), 0, 1, &[], Some(RDKafkaErrorCode::InvalidPartitions)),
            (&unique("many"), 1, 3, &[], Some(RDKafkaErrorCode::InvalidReplicationFactor)),
            (&unique("odd"), 1, 1, &[("retention.bites", "1")], Some(RDKafkaErrorCode::InvalidConfig)),
            (&unique("bad"), 1, 1, &[("retention.bytes", "x")], Some(RDKafkaErrorCode::InvalidConfig)),
            (&unique("bad"), 1, 1, &[("cleanup.policy", "burn")], Some(RDKafkaErrorCode::InvalidConfig)),
            (
                &unique("state"),
                1,
                1,
                &[("segment.bytes", "2000000"), ("min.cleanable.dirty.ratio", "0.1"), ("segment.ms", "60000")],
                None,
            ),
        ];
        for (name, partitions, replicas, settings, expected) in cases {
            assert_eq!(create(server, name, partitions, replicas, settings), expected, "{name} {settings:?}");
        }
    });
}

fn partitions(server: &Server, topic: &str) -> usize {
    let consumer: BaseConsumer = server.config(&[("group.id", "metadata")]).create().unwrap();
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).unwrap();
    metadata.topics()[0].partitions().len()
}

#[test]
fn topics_grow_and_go() {
    on_each("grow and delete", |server| {
        let topic = server.topic("grow", 2, &[]);
        assert_eq!(partitions(server, &topic), 2);
        let admin = server.admin();
        let grow = |count| {
            let results = wait(admin.create_partitions(&[NewPartitions::new(&topic, count)], &AdminOptions::new()));
            results.unwrap().remove(0).map_err(|(_, code)| code)
        };
        assert_eq!(grow(5), Ok(topic.clone()));
        // Kafka tells its clients a moment later.
        let until = Instant::now() + PATIENCE;
        while partitions(server, &topic) != 5 {
            assert!(Instant::now() < until, "the new partitions did not show in time");
        }
        assert_eq!(grow(5), Err(RDKafkaErrorCode::InvalidPartitions));
        let delete = || {
            let results = wait(admin.delete_topics(&[&topic], &AdminOptions::new()));
            results.unwrap().remove(0).map_err(|(_, code)| code)
        };
        assert_eq!(delete(), Ok(topic.clone()));
        assert_eq!(delete(), Err(RDKafkaErrorCode::UnknownTopicOrPartition));
    });
}

fn settings(server: &Server, topic: &str) -> HashMap<String, String> {
    let results = wait(server.admin().describe_configs(&[ResourceSpecifier::Topic(topic)], &AdminOptions::new()));
    let resource = results.unwrap().remove(0).unwrap();
    resource.entries.into_iter().map(|entry| (entry.name, entry.value.unwrap_or_default())).collect()
}

#[test]
fn settings_are_described_and_altered() {
    on_each("settings", |server| {
        let topic = server.topic("settings", 1, &[("max.message.bytes", "2000"), ("cleanup.policy", "compact")]);
        let before = settings(server, &topic);
        let expected = [
            ("max.message.bytes", "2000"),
            ("cleanup.policy", "compact"),
            ("retention.bytes", "-1"),
            ("segment.bytes", "1073741824"),
            ("min.cleanable.dirty.ratio", "0.5"),
        ];
        for (name, value) in expected {
            assert_eq!(before.get(name).map(String::as_str), Some(value), "{name}");
        }
        let admin = server.admin();
        let alter = |name: &str, value: &str| {
            let change = AlterConfig::new(ResourceSpecifier::Topic(&topic)).set(name, value);
            wait(admin.alter_configs(&[change], &AdminOptions::new())).unwrap().remove(0)
        };
        alter("retention.bytes", "12345").unwrap();
        assert_eq!(settings(server, &topic)["retention.bytes"], "12345");
        // rdkafka does not hand on the errors of single resources.
        let unknown = AlterableConfig::default().with_name(string("retention.bites")).with_value(Some(string("1")));
        let resource = AlterConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(string(&topic))
            .with_configs(vec![unknown]);
        let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
        let answer = Raw::connect(&server.bootstrap).call(&request, 1);
        assert_eq!(answer.responses[0].error_code, RDKafkaErrorCode::InvalidConfig as i16);
        let broker = ResourceSpecifier::Broker(1);
        let broker = wait(admin.describe_configs(&[broker], &AdminOptions::new())).unwrap().remove(0).unwrap();
        assert!(broker.entries.iter().any(|entry| entry.name == "num.partitions"));
    });
}
