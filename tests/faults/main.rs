//! The sink between real topics and an index that fails in every way: each record is indexed once or rejected once with
//! its reason, by id and by content, and every offset is committed.
//!
//! The index is one in memory, and with `OPENSEARCH_URL` that server, behind a proxy that makes the faults; with
//! `OUTLIER_OPENSEARCH_CONTROL` the server itself is killed too. Each fault has courses of its own, then all are mixed:
//! `OUTLIER_FAULT_SEEDS` courses each (2), half of them in TLS, from `OUTLIER_SEED` (1) on, with stalls of `OUTLIER_FAULT_STALL` seconds (3).
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod course;
mod kills;
mod matrix;
mod records;
#[path = "../support/mod.rs"]
mod support;

/// Courses take turns with what kills the server.
static SERVER: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
