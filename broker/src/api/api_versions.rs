//! ApiVersions: the first request of a connection; tells the client what it may ask.
//!
//! Invariant: lists exactly what the dispatcher accepts.

use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};

use super::table::APIS;

pub(super) fn handle(_request: ApiVersionsRequest) -> ApiVersionsResponse {
    listing()
}

pub(super) fn listing() -> ApiVersionsResponse {
    let listed = APIS.iter().map(|api| {
        ApiVersion::default().with_api_key(api.key as i16).with_min_version(api.min).with_max_version(api.max)
    });
    ApiVersionsResponse::default().with_api_keys(listed.collect())
}
