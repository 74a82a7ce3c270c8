//! Conformance: one suite of scenarios against the embedded broker and, when `KAFKA_BOOTSTRAP_SERVERS` names one,
//! against a real Kafka as the oracle.

mod admin;
mod data;
mod groups;
mod hostile;
mod raw;
mod support;
mod transactions;
mod versions;
