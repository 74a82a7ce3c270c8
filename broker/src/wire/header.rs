//! The head of a request: which API, which version, which correlation id.
//!
//! First thing read of every frame. Invariant: an API that does not exist still yields its correlation id, so that the
//! client gets an answer.

use anyhow::{Context, Result};
use bytes::{Buf, Bytes};
use kafka_protocol::messages::{ApiKey, RequestHeader};
use kafka_protocol::protocol::Decodable;

use super::shape;

/// A request's head; the body follows in `body`.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) key: i16,
    pub(crate) version: i16,
    pub(crate) correlation_id: i32,
    pub(crate) client_id: String,
    pub(crate) body: Bytes,
}

impl Call {
    /// Reads the head of a frame.
    ///
    /// # Errors
    /// Fewer bytes than a head has, or a head that is not sound.
    pub(crate) fn parse(mut frame: Bytes) -> Result<Self> {
        let mut peek = frame.clone();
        let key = peek.try_get_i16()?;
        let version = peek.try_get_i16()?;
        let correlation_id = peek.try_get_i32()?;
        let mut call = Self { key, version, correlation_id, client_id: String::new(), body: Bytes::new() };
        let Ok(api) = ApiKey::try_from(key) else {
            return Ok(call);
        };
        let versions = api.valid_versions();
        // An unknown version of ApiVersions is answered without reading on.
        if (versions.min..=versions.max).contains(&version) {
            let header_version = api.request_header_version(version);
            shape::check_header(&frame, header_version >= 2).context("the request's header is damaged")?;
            let header =
                RequestHeader::decode(&mut frame, header_version).context("the header could not be decoded")?;
            call.client_id = header.client_id.map(|id| id.to_string()).unwrap_or_default();
            call.body = frame;
        }
        Ok(call)
    }
}
