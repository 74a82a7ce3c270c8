//! What runs a stage of `process`, and `alert`: a member of a consumer group whose results and offsets are committed in one
//! transaction.
//!
//! [`stage`] is what a stage is, [`run`] the loop that it runs in.
//!
//! Invariant: a worker that fails is started again from what is committed; only what an operator must decide ends
//! the process.

mod held_up;
pub mod instance;
pub mod offsets;
mod run;
pub mod stage;
#[cfg(test)]
mod tests;

use crate::config::{Config, Process};
use crate::telemetry::Telemetry;
use crate::telemetry::health::State;
use outlier_core::pipeline::Pipeline;
use outlier_core::score::StateError;
use rdkafka::ClientConfig;
use stage::Stage;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// What is configured and what is on the broker do not fit; only an operator can decide.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Misfit(pub String);

/// First and longest pause before a failed worker starts again.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

/// What a worker is called and how it connects.
pub struct Setup {
    /// For health, metrics and logs: `process waf transform`.
    pub name: String,
    /// The pipeline, for metrics.
    pub pipeline: String,
    /// The consumer's configuration, group included.
    pub consumer: ClientConfig,
    /// The producer's configuration.
    pub producer: ClientConfig,
    /// Unique to this worker.
    pub transactional_id: String,
    /// Commit interval, guarantee, batch size.
    pub process: Process,
}

/// The consumer group of a stage.
pub fn group(config: &Config, pipeline: &Pipeline, stage: &str) -> String {
    format!("{}{}.{stage}", config.kafka.topic_prefix, pipeline.name)
}

/// Runs a worker, again and again, until `stop` or something only an operator can decide.
pub fn supervise(
    setup: &Setup,
    make: impl Fn() -> anyhow::Result<Box<dyn Stage>>,
    telemetry: &Telemetry,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let mut pause = PAUSE.0;
    loop {
        let started = Instant::now();
        let result = make().and_then(|mut stage| run::run(setup, stage.as_mut(), telemetry, stop));
        let Err(error) = result else { return Ok(()) };
        if error.is::<Misfit>() || error.is::<StateError>() {
            telemetry.health.set(&setup.name, State::Failed { reason: format!("{error:#}") });
            return Err(error);
        }
        if stop.is_cancelled() {
            // What was not committed is done again by the next owner.
            tracing::info!(
                worker = setup.name,
                error = format!("{error:#}"),
                "stopped; what was not committed is done again by the next owner"
            );
            return Ok(());
        }
        telemetry.health.set(&setup.name, State::Waiting { reason: format!("{error:#}") });
        pause = if started.elapsed() > 6 * PAUSE.1 { PAUSE.0 } else { (pause * 2).min(PAUSE.1) };
        let until = Instant::now() + pause;
        while Instant::now() < until && !stop.is_cancelled() {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
