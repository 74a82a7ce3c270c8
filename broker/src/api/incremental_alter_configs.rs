//! IncrementalAlterConfigs: sets, resets, appends to or subtracts from single settings of topics.
//!
//! Invariant: a topic's settings change all together or not at all.

use kafka_protocol::messages::incremental_alter_configs_request::AlterableConfig;
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};

use super::alter_configs::alter;
use super::support::explained;
use crate::connection::Peer;
use crate::topic::config::{Change, TopicConfig};

pub(super) fn handle(peer: &Peer, request: IncrementalAlterConfigsRequest) -> IncrementalAlterConfigsResponse {
    let validate_only = request.validate_only;
    let responses = request.resources.into_iter().map(|resource| {
        let change = |config: &TopicConfig| {
            let changes: Result<Vec<_>, String> = resource.configs.iter().map(change).collect();
            config.changed(changes?.into_iter())
        };
        let result = peer
            .node
            .step(|state, _| alter(state, resource.resource_type, &resource.resource_name, validate_only, change));
        let (code, message) = explained(&result);
        AlterConfigsResourceResponse::default()
            .with_error_code(code)
            .with_error_message(message)
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone())
    });
    IncrementalAlterConfigsResponse::default().with_responses(responses.collect())
}

fn change(config: &AlterableConfig) -> Result<(&str, Change<'_>), String> {
    let name = config.name.as_str();
    let value = config.value.as_deref();
    let change = match (config.config_operation, value) {
        (0, Some(value)) => Change::Set(value),
        (1, _) => Change::Reset,
        (2, Some(value)) => Change::Append(value),
        (3, Some(value)) => Change::Subtract(value),
        (0 | 2 | 3, None) => {
            return Err(format!("Null value not supported for topic config: {name}"));
        }
        (other, _) => return Err(format!("Unknown operation {other} on {name}")),
    };
    Ok((name, change))
}
