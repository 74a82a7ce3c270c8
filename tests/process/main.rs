//! `process` as a real child process.
//!
//! On the embedded broker, or on the real Kafka of `KAFKA_BOOTSTRAP_SERVERS`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod align;
mod bad;
mod rest;
mod restore;
mod retention;
#[path = "../support/mod.rs"]
mod support;
