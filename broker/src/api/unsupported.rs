//! Answers to requests that the broker does not support: unknown APIs and other versions.
//!
//! Invariant: the client always gets an answer with `UNSUPPORTED_VERSION`. For ApiVersions it is one it can read and
//! then choose by (KIP-511); for the others the connection ends after it.

use anyhow::Result;
use bytes::BufMut;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::ApiKey;

use super::{Reply, api_versions, head, respond};
use crate::wire::frame::Frame;
use crate::wire::header::Call;

pub(super) fn answer(call: &Call) -> Result<Reply> {
    let error = ResponseError::UnsupportedVersion.code();
    let key = ApiKey::try_from(call.key);
    if let Ok(ApiKey::ApiVersions) = key {
        // In version 0, which every client reads.
        let call = Call { version: 0, client_id: String::new(), body: call.body.clone(), ..*call };
        return respond(&call, &api_versions::listing().with_error_code(error));
    }
    // Most responses begin with the throttle time and an error code.
    let mut bytes = if key.is_ok_and(|api| valid(api, call.version)) {
        head(call)
    } else {
        head(&Call { key: -1, client_id: String::new(), body: call.body.clone(), ..*call })
    };
    bytes.put_i32(0);
    bytes.put_i16(error);
    Ok(Frame::from(bytes).sealed().map_or(Reply::Nothing, Reply::Last))
}

fn valid(api: ApiKey, version: i16) -> bool {
    let versions = api.valid_versions();
    (versions.min..=versions.max).contains(&version)
}
