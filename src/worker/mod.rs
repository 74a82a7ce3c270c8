//! What runs a stage of `process`, and `alert`: a member of a consumer group whose results and offsets are committed in one
//! transaction.
//!
//! [`stage`] is what a stage is, [`run`] the loop that it runs in.
//!
//! Invariant: a worker that fails is started again from what is committed; only what an operator must decide ends
//! the process.

mod condition;
mod held_up;
#[cfg(test)]
mod hiccup;
pub mod instance;
pub mod offsets;
mod run;
pub mod stage;

use crate::config::{Config, Process};
use crate::kafka::explain::remedy;
use crate::telemetry::Telemetry;
use crate::telemetry::health::State;
use crate::time::doubled;
use outlier_core::pipeline::Pipeline;
use outlier_core::score::StateError;
use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use stage::Stage;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// What is configured and what is on the broker do not fit; only an operator can decide.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Misfit(pub String);

/// First and longest pause before a failed worker starts again.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));
/// After a worker that ran for longer, the pause is the first one again.
const RECOVERED: Duration = Duration::from_secs(60);

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
    let mut failures = Failures::default();
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
        telemetry.health.set(&setup.name, State::Waiting { reason: explained(&error) });
        let until = Instant::now() + failures.pause(started.elapsed());
        while Instant::now() < until && !stop.is_cancelled() {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// The error with what led to it and, where it does not say it yet, the usual remedy.
fn explained(error: &anyhow::Error) -> String {
    let text = format!("{error:#}");
    let code = error.chain().find_map(|cause| cause.downcast_ref::<KafkaError>()?.rdkafka_error_code());
    match code.and_then(remedy) {
        Some(remedy) if !text.contains(remedy) => format!("{text}: {remedy}"),
        _ => text,
    }
}

/// How often in a row a worker failed.
#[derive(Default)]
struct Failures(u32);

impl Failures {
    /// How long to rest after a worker that ran so long.
    fn pause(&mut self, ran: Duration) -> Duration {
        let before = if ran > RECOVERED { 0 } else { self.0 };
        self.0 = before.saturating_add(1);
        doubled(PAUSE.0, before, PAUSE.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;
    use crate::kafka::explain::explain;
    use anyhow::anyhow;
    use rdkafka::error::RDKafkaErrorCode as Code;
    use std::cell::Cell;

    fn denied() -> KafkaError {
        KafkaError::Global(Code::TransactionalIdAuthorizationFailed)
    }

    #[test]
    fn health_tells_the_remedy() {
        let config = Config::parse("[[pipeline]]\npreset = \"waf\"\n", "test", &Environment::default()).unwrap();
        let setup = Setup {
            name: "worker".into(),
            pipeline: "waf".into(),
            consumer: ClientConfig::new(),
            producer: ClientConfig::new(),
            transactional_id: String::new(),
            process: config.process,
        };
        let (telemetry, stop, begun) = (Telemetry::default(), CancellationToken::new(), Cell::new(false));
        let make = || {
            if begun.replace(true) {
                stop.cancel();
            }
            Err(denied().into())
        };
        supervise(&setup, make, &telemetry, &stop).unwrap();
        let told = telemetry.health.components().remove("worker");
        let remedy = remedy(Code::TransactionalIdAuthorizationFailed).unwrap();
        assert!(matches!(&told, Some(State::Waiting { reason }) if reason.ends_with(remedy)), "{told:?}");
    }

    #[test]
    fn the_remedy_is_told_once() {
        let remedy = remedy(Code::TransactionalIdAuthorizationFailed).unwrap();
        for (error, times) in [
            (denied().into(), 1),
            (anyhow::Error::new(denied()).context("cannot start transactions").context("again"), 1),
            (anyhow::Error::new(denied()).context(remedy), 1),
            (anyhow!(explain(&denied())), 1),
            (KafkaError::Global(Code::Fail).into(), 0),
            (anyhow!("another"), 0),
        ] {
            let told = explained(&error);
            assert!(told.starts_with(&format!("{error:#}")), "{told}");
            assert_eq!(told.matches(remedy).count(), times, "{told}");
        }
    }

    #[test]
    fn pauses_grow_until_a_worker_has_run_well() {
        let mut failures = Failures::default();
        for (ran, pause) in [(0, 200), (59, 400), (0, 800), (61, 200), (0, 400)] {
            assert_eq!(failures.pause(Duration::from_secs(ran)), Duration::from_millis(pause), "after {ran} s");
        }
        let longest = (0..100).map(|_| failures.pause(Duration::ZERO)).max();
        assert_eq!(longest, Some(PAUSE.1));
    }
}
