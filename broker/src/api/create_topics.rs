//! CreateTopics.
//!
//! Invariant: a topic is made whole or not at all; with `validate_only` never.

use std::collections::{BTreeMap, HashSet};

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use kafka_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse, TopicName};

use super::support::{BROKER, explained, text};
use crate::connection::Peer;
use crate::node::State;
use crate::topic::config::TopicConfig;

/// From this version on the answer describes the topic.
const DESCRIBES: i16 = 5;
const HAS_TOPIC_ID: i16 = 7;

pub(super) fn handle(peer: &Peer, request: CreateTopicsRequest, version: i16) -> CreateTopicsResponse {
    let default_partitions = peer.node.config.default_partitions;
    let validate_only = request.validate_only;
    let repeated = repeated(&request.topics);
    peer.node.step(|state, _| {
        let results = request.topics.into_iter().map(|topic| {
            let name = topic.name.clone();
            let plan = if repeated.contains(&name) {
                Err((ResponseError::InvalidRequest, "Duplicate topic name.".to_owned()))
            } else {
                plan(state, &topic, default_partitions)
            };
            let (code, message) = explained(&plan);
            let result = CreatableTopicResult::default()
                .with_name(name.clone())
                .with_error_code(code)
                .with_error_message(message);
            match plan {
                Ok((partitions, config)) => {
                    let result = if version >= DESCRIBES { describe(result, partitions, &config) } else { result };
                    if validate_only {
                        return result;
                    }
                    let id = state.random_id();
                    state.topics.create(&name, id, partitions, config);
                    if version >= HAS_TOPIC_ID { result.with_topic_id(id) } else { result }
                }
                Err(_) if version >= DESCRIBES => {
                    result.with_num_partitions(-1).with_replication_factor(-1).with_configs(Some(Vec::new()))
                }
                Err(_) => result,
            }
        });
        CreateTopicsResponse::default().with_topics(results.collect())
    })
}

/// The names that come more than once.
fn repeated(topics: &[CreatableTopic]) -> HashSet<TopicName> {
    let mut seen = HashSet::new();
    topics.iter().map(|topic| &topic.name).filter(|name| !seen.insert(*name)).cloned().collect()
}

/// The number of partitions and the configuration of the topic to make.
fn plan(
    state: &State,
    topic: &CreatableTopic,
    default_partitions: i32,
) -> Result<(i32, TopicConfig), (ResponseError, String)> {
    let partitions = if !topic.assignments.is_empty() {
        assigned(topic)?
    } else if topic.num_partitions == -1 {
        default_partitions
    } else {
        topic.num_partitions
    };
    state.topics.check_new(&topic.name, partitions)?;
    if topic.assignments.is_empty() && !matches!(topic.replication_factor, -1 | 1) {
        let text = format!(
            "Unable to replicate the partition {} time(s): the embedded broker is the only one.",
            topic.replication_factor
        );
        return Err((ResponseError::InvalidReplicationFactor, text));
    }
    let mut overrides = BTreeMap::new();
    for config in &topic.configs {
        let Some(value) = &config.value else {
            let text = format!("Null value not supported for topic configs: {}", config.name.as_str());
            return Err((ResponseError::InvalidConfig, text));
        };
        overrides.insert(config.name.to_string(), value.to_string());
    }
    let config = TopicConfig::new(overrides).map_err(|text| (ResponseError::InvalidConfig, text))?;
    Ok((partitions, config))
}

/// The number of partitions that a manual assignment describes: each on this broker, without gaps.
fn assigned(topic: &CreatableTopic) -> Result<i32, (ResponseError, String)> {
    if topic.num_partitions != -1 || topic.replication_factor != -1 {
        let text = "A manual assignment excludes a number of partitions and a replication factor.".to_owned();
        return Err((ResponseError::InvalidRequest, text));
    }
    let mut indexes: Vec<i32> = topic.assignments.iter().map(|a| a.partition_index).collect();
    indexes.sort_unstable();
    let dense = (0..).zip(&indexes).all(|(expected, index): (i32, _)| expected == *index);
    let here = topic.assignments.iter().all(|a| a.broker_ids == [BROKER]);
    if dense && here {
        Ok(i32::try_from(indexes.len()).unwrap_or(i32::MAX))
    } else {
        let text = "Partitions must be numbered from 0 without gaps and assigned to broker 1 alone.".to_owned();
        Err((ResponseError::InvalidReplicaAssignment, text))
    }
}

fn describe(result: CreatableTopicResult, partitions: i32, config: &TopicConfig) -> CreatableTopicResult {
    let configs = config.settings().map(|(known, value, set)| {
        CreatableTopicConfigs::default()
            .with_name(text(known.name))
            .with_value(Some(text(value)))
            .with_config_source(super::describe_configs::source(set))
    });
    result.with_num_partitions(partitions).with_replication_factor(1).with_configs(Some(configs.collect()))
}
