//! DescribeConfigs: the settings of topics, and the few of the broker.
//!
//! Invariants: shows what was set, and for the rest Kafka's defaults; a resource named twice is answered once.

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};

use super::support::{BROKER, distinct, explained, text};
use crate::Config;
use crate::connection::Peer;

/// The number of the resource type "topic".
pub(super) const TOPIC: i8 = 2;
/// The number of the resource type "broker".
pub(super) const BROKER_RESOURCE: i8 = 4;
const SET_BY_TOPIC: i8 = 1;
const SET_BY_BROKER: i8 = 4;
const DEFAULT: i8 = 5;
const HAS_TYPE: i16 = 3;

/// Where a topic's setting comes from, as a number of the protocol.
pub(super) fn source(set: bool) -> i8 {
    if set { SET_BY_TOPIC } else { DEFAULT }
}

struct Setting {
    name: String,
    value: String,
    source: i8,
    kind: i8,
    read_only: bool,
}

pub(super) fn handle(peer: &Peer, request: DescribeConfigsRequest, version: i16) -> DescribeConfigsResponse {
    let synonyms = request.include_synonyms;
    let resources = distinct(request.resources, |resource| (resource.resource_type, resource.resource_name.clone()));
    let results = resources.map(|resource| {
        let settings = match resource.resource_type {
            TOPIC => topic_settings(peer, &resource),
            BROKER_RESOURCE => broker_settings(&peer.node.config, &resource),
            other => Err((ResponseError::InvalidRequest, format!("Resource type {other} has no settings here."))),
        };
        let (code, message) = explained(&settings);
        let wanted = |name: &str| match &resource.configuration_keys {
            Some(keys) => keys.iter().any(|key| key.as_str() == name),
            None => true,
        };
        let shown = settings.unwrap_or_default().into_iter().filter(|setting| wanted(&setting.name));
        let configs = shown.map(|setting| describe(setting, synonyms, version)).collect();
        DescribeConfigsResult::default()
            .with_error_code(code)
            .with_error_message(message)
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone())
            .with_configs(configs)
    });
    DescribeConfigsResponse::default().with_results(results.collect())
}

fn topic_settings(peer: &Peer, resource: &DescribeConfigsResource) -> Result<Vec<Setting>, (ResponseError, String)> {
    peer.node.step(|state, _| {
        let topic = state.topics.get(&resource.resource_name);
        let topic = topic.map_err(|error| (error, format!("No topic {}", resource.resource_name.as_str())))?;
        let settings = topic.config.settings().map(|(known, value, set)| Setting {
            name: known.name.to_owned(),
            value: value.to_owned(),
            source: source(set),
            kind: known.kind.code(),
            read_only: false,
        });
        Ok(settings.collect())
    })
}

fn broker_settings(
    config: &Config,
    resource: &DescribeConfigsResource,
) -> Result<Vec<Setting>, (ResponseError, String)> {
    let name = resource.resource_name.as_str();
    if !name.is_empty() && name != BROKER.0.to_string() {
        let text = format!("Unexpected broker id {name}: the embedded broker is {}.", BROKER.0);
        return Err((ResponseError::InvalidRequest, text));
    }
    const BOOL: i8 = 1;
    const INT: i8 = 3;
    const LONG: i8 = 5;
    let settings = [
        ("auto.create.topics.enable", config.auto_create_topics.to_string(), BOOL),
        ("broker.id", BROKER.0.to_string(), INT),
        ("default.replication.factor", "1".to_owned(), INT),
        ("group.min.session.timeout.ms", config.min_session_timeout.as_millis().to_string(), INT),
        ("log.retention.bytes", config.retention_bytes.to_string(), LONG),
        ("max.connections", config.max_connections.to_string(), INT),
        ("num.partitions", config.default_partitions.to_string(), INT),
        ("socket.request.max.bytes", config.max_request_bytes.to_string(), INT),
    ];
    let describe = |(name, value, kind): (&str, String, i8)| Setting {
        name: name.to_owned(),
        value,
        source: SET_BY_BROKER,
        kind,
        read_only: true,
    };
    Ok(settings.into_iter().map(describe).collect())
}

fn describe(setting: Setting, synonyms: bool, version: i16) -> DescribeConfigsResourceResult {
    let synonym = DescribeConfigsSynonym::default()
        .with_name(text(setting.name.as_str()))
        .with_value(Some(text(setting.value.as_str())))
        .with_source(setting.source);
    let described = DescribeConfigsResourceResult::default()
        .with_name(text(setting.name))
        .with_value(Some(text(setting.value)))
        .with_read_only(setting.read_only)
        .with_config_source(setting.source)
        .with_synonyms(if synonyms { vec![synonym] } else { Vec::new() });
    if version >= HAS_TYPE { described.with_config_type(setting.kind) } else { described }
}
