//! Sending at once what waits for a fuller batch: the one call of librdkafka that has no safe interface
//! (`docs/adr/0022-flush.md`).

use rdkafka::bindings::rd_kafka_flush;
use rdkafka::producer::{BaseProducer, Producer, ProducerContext};
use rdkafka::types::RDKafkaRespErr;
use std::time::Duration;

/// Sends what still waits for its linger time, then waits for the broker's acknowledgements, at most for `wait` (whole
/// milliseconds). True when nothing is left. Failed deliveries are left until they are polled.
#[allow(unsafe_code)]
pub fn flush<C: ProducerContext>(producer: &BaseProducer<C>, wait: Duration) -> bool {
    let millis = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the producer owns the client behind the pointer and lives through the call, which any thread may make.
    let result = unsafe { rd_kafka_flush(producer.client().native_ptr(), millis) };
    result == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR
}
