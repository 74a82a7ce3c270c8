//! DeleteTopics, by name or by id.
//!
//! Invariant: a topic's data, its readers' waits and its committed offsets go with it.

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse, TopicName};

use super::support::{code, text};
use crate::connection::Peer;
use crate::node::State;

/// From this version on topics can be named by their ids.
const HAS_TOPIC_ID: i16 = 6;

pub(super) fn handle(peer: &Peer, request: DeleteTopicsRequest, version: i16) -> DeleteTopicsResponse {
    let named = request.topic_names.into_iter().map(|name| DeleteTopicState::default().with_name(Some(name)));
    let wanted: Vec<_> = request.topics.into_iter().chain(named).collect();
    let results = peer.node.step(|state, _| wanted.into_iter().map(|wanted| delete(state, wanted, version)).collect());
    DeleteTopicsResponse::default().with_responses(results)
}

fn delete(state: &mut State, wanted: DeleteTopicState, version: i16) -> DeletableTopicResult {
    let by_id = || state.topics.name_of(wanted.topic_id).map(|name| TopicName(text(name)));
    let unknown =
        if wanted.name.is_some() { ResponseError::UnknownTopicOrPartition } else { ResponseError::UnknownTopicId };
    let name = wanted.name.clone().or_else(by_id);
    let id = name.as_ref().and_then(|name| state.topics.get(name).ok()).map(|topic| topic.id);
    let result = match &name {
        None => Err(unknown),
        Some(name) => state.topics.delete(name),
    };
    if let (Ok(()), Some(name)) = (&result, &name) {
        state.forget_topic_offsets(name);
    }
    let response = DeletableTopicResult::default().with_error_code(code(&result));
    if version >= HAS_TOPIC_ID {
        return response.with_name(name).with_topic_id(id.unwrap_or(wanted.topic_id));
    }
    response.with_name(Some(name.unwrap_or_default()))
}
