//! From topics to the index: the last service on the path of a record.
//!
//! ```text
//! raw, enriched, scores, alerts ─► worker ─► document ─► batch ─► delivery ─► Index
//!         one group a pipeline         │                              │
//!         commit ◄─────────────────────┘◄──── in order, when done ────┤
//!                                                                     └─► rejected topic
//! ```
//!
//! Invariants:
//! - No offset is committed before each document up to it is durable in the index or in the rejected topic, or told of as
//!   deleted from its topic before it could be read.
//! - Ids do not depend on who writes when, so records that are read again after a crash or a rebalance change
//!   nothing: the ledger is `in = out + already_there + rejected`.
//! - What is held in memory is bounded: `sink.bulk_requests` batches on the way, some more of a few documents that were not
//!   taken, one being filled, and one set of offsets behind each slow one.

pub mod assignment;
mod astray;
pub mod backoff;
pub mod batch;
mod blame;
mod commits;
pub mod delivery;
pub mod document;
pub mod headers;
mod in_flight;
pub mod pace;
mod reading;
pub mod rejects;
pub mod suspects;
pub mod worker;

use crate::config::{Config, IndexKind};
use crate::index;
use crate::index::opensearch::Client;
use crate::setup;
use crate::telemetry::Telemetry;
use crate::telemetry::health::State;
use anyhow::Context;
use backoff::Backoff;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// What the sink does beside indexing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Apply the index part of the setup before the first document, and look after OpenSearch's detectors and old
    /// indices.
    pub setup: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { setup: true }
    }
}

/// Indexes the topics of all pipelines until `stop`; applies the index part of the setup first.
///
/// # Errors
/// The configuration cannot work, or a worker failed for good. What passes by itself (no broker, no index) does not
/// end the sink: it waits, and `telemetry.health` says for what.
pub async fn run(config: Arc<Config>, telemetry: Telemetry, stop: CancellationToken) -> anyhow::Result<()> {
    run_with(config, Options::default(), telemetry, stop).await
}

/// As [`run`], with options.
///
/// # Errors
/// As [`run`].
pub async fn run_with(
    config: Arc<Config>,
    options: Options,
    telemetry: Telemetry,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let index = index::open(&config)?;
    let own = options.setup && config.sink.index == IndexKind::OpenSearch;
    let mut missing = Vec::new();
    if own {
        match prepare(&config, &telemetry, &stop).await? {
            Some(refused) => missing = refused,
            None => return Ok(()),
        }
    }
    telemetry.health.set("sink.index", State::Ready);
    let mut workers = JoinSet::new();
    if own {
        let (config, telemetry, stop) = (Arc::clone(&config), telemetry.clone(), stop.clone());
        let client = Client::new(&config)?;
        workers.spawn(async move {
            let detectors = setup::detectors::reconcile::run(&config, &client, &telemetry, &stop);
            let rest = complete_setup(&config, missing, &telemetry, &stop);
            tokio::join!(detectors, setup::retention::run(&config, &client, &stop), rest);
            Ok(())
        });
    }
    for pipeline in &config.pipelines {
        let worker = worker::Worker::new(&config, pipeline, Arc::clone(&index), telemetry.clone())
            .with_context(|| format!("the sink of the pipeline {} cannot start", pipeline.name))?;
        workers.spawn(worker.run(stop.clone()));
    }
    let mut result = Ok(());
    while let Some(ended) = workers.join_next().await {
        // One worker that failed stops the others in their own time.
        if let Err(error) = ended.context("a sink worker was cut off").and_then(|ended| ended) {
            telemetry.health.set("sink", State::Failed { reason: format!("{error:#}") });
            stop.cancel();
            result = result.and(Err(error));
        }
    }
    result
}

/// How often what a plugin refused is tried again.
const AGAIN: Duration = Duration::from_secs(300);

/// Applies what could not be applied at the start, until nothing is refused; `/health` says what is missing.
async fn complete_setup(config: &Config, mut missing: Vec<String>, telemetry: &Telemetry, stop: &CancellationToken) {
    while let Some(first) = missing.first() {
        let reason = format!("{} cannot be set up and will be tried again; the first: {first}", missing.len());
        telemetry.health.set("sink.setup", State::Learning { reason });
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(AGAIN) => {}
        }
        let applied = tokio::select! {
            () = stop.cancelled() => return,
            applied = setup::apply_index(config) => applied,
        };
        missing = applied.map_or_else(|error| vec![format!("{error:#}")], |applied| applied.missing);
        if missing.is_empty() {
            telemetry.health.set("sink.setup", State::Ready);
        }
    }
}

/// Applies the index part of the setup, and waits for OpenSearch as long as it takes; answers what was refused, or `None`
/// if it was stopped meanwhile.
async fn prepare(
    config: &Config,
    telemetry: &Telemetry,
    stop: &CancellationToken,
) -> anyhow::Result<Option<Vec<String>>> {
    let mut backoff = Backoff::default();
    telemetry.health.set("sink.index", State::Starting { reason: "applying the index templates".to_owned() });
    loop {
        let applied = tokio::select! {
            () = stop.cancelled() => return Ok(None),
            applied = setup::apply_index(config) => applied,
        };
        let error = match applied {
            Ok(applied) => {
                for line in applied.lines {
                    tracing::info!("{line}");
                }
                return Ok(Some(applied.missing));
            }
            Err(error) => error,
        };
        telemetry.health.set("sink.index", State::Waiting { reason: format!("{error:#}") });
        tokio::select! {
            () = stop.cancelled() => return Ok(None),
            () = backoff.wait() => {}
        }
    }
}
