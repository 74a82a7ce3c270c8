//! Conformance: one suite of scenarios against the embedded broker and, when `KAFKA_BOOTSTRAP_SERVERS` names one,
//! against a real Kafka as the oracle.

// Helpers outside of `#[test]` functions are tests all the same.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod admin;
mod data;
mod groups;
mod hostile;
mod raw;
mod support;
mod transactions;
mod versions;
