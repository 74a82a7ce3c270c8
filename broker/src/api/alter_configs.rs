//! AlterConfigs: replaces all settings of topics (the old way).
//!
//! Invariant: a topic's settings change all together or not at all.

use std::collections::BTreeMap;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{AlterConfigsRequest, AlterConfigsResponse};

use super::describe_configs::TOPIC;
use super::support::explained;
use crate::connection::Peer;
use crate::node::State;
use crate::topic::config::TopicConfig;

pub(super) fn handle(peer: &Peer, request: AlterConfigsRequest) -> AlterConfigsResponse {
    let validate_only = request.validate_only;
    let responses = request.resources.into_iter().map(|resource| {
        let set = resource.configs.iter().filter_map(|c| Some((c.name.to_string(), c.value.as_ref()?.to_string())));
        let overrides: BTreeMap<_, _> = set.collect();
        let replace = |_: &TopicConfig| TopicConfig::new(overrides);
        let result = peer
            .node
            .step(|state, _| alter(state, resource.resource_type, &resource.resource_name, validate_only, replace));
        let (code, message) = explained(&result);
        AlterConfigsResourceResponse::default()
            .with_error_code(code)
            .with_error_message(message)
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name)
    });
    AlterConfigsResponse::default().with_responses(responses.collect())
}

/// Gives a topic the configuration that `change` makes of its present one.
///
/// # Errors
/// Not a topic, an unknown one, or what `change` says is wrong.
pub(super) fn alter(
    state: &mut State,
    kind: i8,
    name: &str,
    validate_only: bool,
    change: impl FnOnce(&TopicConfig) -> Result<TopicConfig, String>,
) -> Result<(), (ResponseError, String)> {
    if kind != TOPIC {
        let text = "Only topics can be altered: the embedded broker's own settings are fixed at its start.".to_owned();
        return Err((ResponseError::InvalidRequest, text));
    }
    let unknown = |error| (error, format!("The topic '{name}' does not exist."));
    let topic = state.topics.get_mut(name).map_err(unknown)?;
    let config = change(&topic.config).map_err(|text| (ResponseError::InvalidConfig, text))?;
    if !validate_only {
        topic.config = config;
    }
    Ok(())
}
