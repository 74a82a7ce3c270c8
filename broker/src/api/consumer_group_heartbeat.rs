//! ConsumerGroupHeartbeat: the group protocol of KIP-848, which the broker does not have.
//!
//! It is listed all the same: librdkafka looks for another coordinator for ever when it is not, and raises a fatal
//! error, which its user sees, when the answer is `UNSUPPORTED_VERSION`.
//!
//! Invariant: nobody ever becomes a member this way.

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};

use super::support::text;

pub(super) fn handle(_request: ConsumerGroupHeartbeatRequest) -> ConsumerGroupHeartbeatResponse {
    let advice = "The embedded broker has classic groups only: set group.protocol=classic.";
    ConsumerGroupHeartbeatResponse::default()
        .with_error_code(ResponseError::UnsupportedVersion.code())
        .with_error_message(Some(text(advice)))
}
