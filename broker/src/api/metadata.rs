//! Metadata: the broker, and the topics with their partitions; creates topics on the way when that is allowed.
//!
//! Invariants: every partition's leader is this broker; a topic named twice is answered once, as by Kafka.

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{MetadataRequest, MetadataResponse, TopicName};

use super::support::{BROKER, LEADER_EPOCH, distinct, host, port, text};
use crate::connection::Peer;
use crate::node::State;
use crate::topic::Topic;
use crate::topic::config::TopicConfig;

pub(super) fn handle(peer: &Peer, request: MetadataRequest, version: i16) -> MetadataResponse {
    let broker = MetadataResponseBroker::default().with_node_id(BROKER).with_host(host(peer)).with_port(port(peer));
    let may_create = peer.node.config.auto_create_topics && (version < 4 || request.allow_auto_topic_creation);
    // Before version 1, no topics meant all.
    let wanted = request.topics.filter(|topics| version > 0 || !topics.is_empty());
    let topics = peer.node.step(|state, _| match wanted {
        None => state.topics.iter().map(|(name, topic)| describe(name, topic, version)).collect(),
        Some(wanted) => distinct(wanted, |wanted| (wanted.name.clone(), wanted.topic_id))
            .map(|wanted| find(state, wanted, may_create.then_some(peer.node.config.default_partitions), version))
            .collect::<Vec<_>>(),
    });
    MetadataResponse::default()
        .with_brokers(vec![broker])
        .with_cluster_id(Some(text(peer.node.cluster_id.as_str())))
        .with_controller_id(BROKER)
        .with_topics(topics)
}

fn find(state: &mut State, wanted: MetadataRequestTopic, create: Option<i32>, version: i16) -> MetadataResponseTopic {
    let failed = |name: Option<TopicName>, error: ResponseError| {
        MetadataResponseTopic::default().with_name(name).with_error_code(error.code())
    };
    let Some(name) = wanted.name else {
        let id = wanted.topic_id;
        return match state.topics.name_of(id) {
            Some(name) => match state.topics.get(name) {
                Ok(topic) => describe(name, topic, version),
                Err(error) => failed(None, error),
            },
            None => failed(None, ResponseError::UnknownTopicId).with_topic_id(id),
        };
    };
    if let Ok(topic) = state.topics.get(&name) {
        return describe(&name, topic, version);
    }
    let partitions = create.unwrap_or(1);
    if let Err((error, _)) = state.topics.check_new(&name, partitions) {
        return failed(Some(name), error);
    }
    if create.is_none() {
        return failed(Some(name), ResponseError::UnknownTopicOrPartition);
    }
    let id = state.random_id();
    state.topics.create(&name, id, partitions, TopicConfig::default());
    match state.topics.get(&name) {
        Ok(topic) => describe(&name, topic, version),
        Err(error) => failed(Some(name), error),
    }
}

fn describe(name: &str, topic: &Topic, version: i16) -> MetadataResponseTopic {
    let partition = |index| {
        let partition = MetadataResponsePartition::default()
            .with_partition_index(index)
            .with_leader_id(BROKER)
            .with_replica_nodes(vec![BROKER])
            .with_isr_nodes(vec![BROKER]);
        if version >= 7 { partition.with_leader_epoch(LEADER_EPOCH) } else { partition }
    };
    let described = MetadataResponseTopic::default()
        .with_name(Some(TopicName(text(name))))
        .with_partitions((0..topic.partition_count()).map(partition).collect());
    if version >= 10 { described.with_topic_id(topic.id) } else { described }
}
