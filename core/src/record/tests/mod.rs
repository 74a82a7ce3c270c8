//! The transform as a whole: tables of flags and bad records, and laws held against a plain implementation.

mod bad;
mod flags;
mod oracle;

use super::{Anomalies, Reject, Scratch, Transform};
use crate::pipeline::Pipeline;
use crate::testing::START;

/// A record's own Kafka timestamp in these tests.
const KAFKA: i64 = START + 1000;

/// Enriches one record of `pipeline` and returns the text.
fn enrich(pipeline: &Pipeline, record: &[u8]) -> Result<String, Reject> {
    let mut scratch = Scratch::default();
    let transform = Transform::new(pipeline);
    let enriched = transform.apply(Some(record), KAFKA, &Anomalies::default(), &mut scratch)?;
    Ok(String::from_utf8(enriched.bytes.to_vec()).expect("enriched is UTF-8"))
}
