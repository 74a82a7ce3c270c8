//! `produce`: writes logs into the raw topic, the first step of the path of a record.
//!
//! ```text
//! generator (pure) ─┐
//! replay (files) ───┴─► run (when: clock) ─► sink: Kafka | log files | standard output
//!                        ▲ control: anomalies started, progress told
//! ```
//!
//! Invariants: what is random or read comes in at this edge, `generator` and `stamp` are pure; every queue is
//! bounded; a stop is obeyed at once and what was handed on is delivered or counted as failed.

mod bar;
mod clock;
mod control;
mod generator;
pub(crate) mod options;
pub(crate) mod replay;
mod run;
mod sink;
pub(crate) mod stamp;
#[cfg(test)]
mod tests;

pub use control::{Control, Progress};
pub use generator::{Field, Rhythm, UnknownField};
pub(crate) use options::duration;
pub use options::{Anomaly, Options, Times};
pub use stamp::Written;

use crate::config::Config;
use crate::telemetry::Telemetry;
use crate::telemetry::health::State;
use anyhow::Context;
use clock::Clock;
use generator::{Generator, Mode, Settings};
use outlier_core::pipeline::Pipeline;
use outlier_core::record::Probe;
use run::{Left, Mock, Planned, Replay, Run, millis};
use sink::{Files, Kafka, Sink, Stdout};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// The service's name in health and metrics.
const SERVICE: &str = "produce";

/// Mock records a second, when nothing else is said.
const RATE: f64 = 5.0;

/// What a run did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// Records that are in Kafka, in a finished file or on standard output.
    pub sent: u64,
    /// Records that Kafka did not take; each is counted in the metrics, the first one is in the log with its reason.
    pub failed: u64,
    /// Lines of a replay that were longer than the pipeline's `max_record_bytes`, and skipped.
    pub too_long: u64,
    /// Records of a replay whose event time was to be moved and could not be read; they were sent as they are.
    pub unmoved: u64,
}

/// Writes logs until the options' end or until `stop`, and then until what was written is delivered.
///
/// # Errors
/// The pipeline is not configured, an input cannot be read, the broker does not answer or the topic does not exist,
/// or an output cannot be written. Single records that Kafka does not take are no error but [`Summary::failed`].
pub async fn run(
    config: Arc<Config>,
    options: Options,
    telemetry: Telemetry,
    control: Control,
    stop: CancellationToken,
) -> anyhow::Result<Summary> {
    let pipeline = choose(&config, options.pipeline.as_deref())?;
    // A closed standard output ends this run, not the whole process.
    let stop = stop.child_token();
    let mut source = Source::open(pipeline, &options, &telemetry, Clock::Wall)?;
    let Some(mut sink) = open(&config, pipeline, &options, &telemetry, &stop).await? else {
        return Ok(Summary::default());
    };
    let bar = (matches!(source, Source::Mock(_, ref mock) if mock.start < Clock::Wall.now()) && !options.no_progress)
        .then(|| bar::show(&control))
        .flatten();
    let mut run = Run {
        sink: &mut sink,
        clock: Clock::Wall,
        control: &control,
        stop: &stop,
        key: options.key.as_ref().map(|field| Probe::new(field, pipeline.max_depth)),
        count: options.count,
        duration: options.duration,
        progress: Progress::default(),
    };
    let result = source.drive(&mut run).await;
    control.report(Progress { live: true, ..run.progress });
    let finished = sink.finish(config.telemetry.shutdown_deadline).await;
    if let Some(bar) = bar {
        // It ends by itself, as the run is over; a panic in it is nothing to fail for.
        let _ = bar.await;
    }
    let (left, tally) = (result?, finished?);
    let summary = Summary { sent: tally.written, failed: tally.failed, too_long: left.too_long, unmoved: left.unmoved };
    if left.unmoved > 0 {
        let field = &pipeline.timestamp.field;
        tracing::warn!("{} records went out unmoved: their {field} is no time that the pipeline reads", left.unmoved);
    }
    tracing::info!(sent = summary.sent, failed = summary.failed, too_long = summary.too_long, "produced");
    Ok(summary)
}

pub(crate) fn choose<'c>(config: &'c Config, name: Option<&str>) -> anyhow::Result<&'c Pipeline> {
    let Some(name) = name else {
        return config.pipelines.first().context("no pipeline is configured: add [[pipeline]]");
    };
    let found = config.pipelines.iter().find(|pipeline| pipeline.name == name);
    found.with_context(|| {
        let names: Vec<&str> = config.pipelines.iter().map(|pipeline| pipeline.name.as_str()).collect();
        format!("there is no pipeline {name:?}: the configured ones are {}", names.join(", "))
    })
}

/// The way out that the options name; `None` when the run was stopped meanwhile.
async fn open(
    config: &Config,
    pipeline: &Pipeline,
    options: &Options,
    telemetry: &Telemetry,
    stop: &CancellationToken,
) -> anyhow::Result<Option<Sink>> {
    let written = || telemetry.metrics.records(SERVICE, &pipeline.name, "out", "");
    let sink = if options.stdout {
        Sink::Stdout(Stdout::new(written(), stop.clone()))
    } else if let Some(folder) = &options.dir {
        let per_minute = options.files_per_minute;
        Sink::Files(Box::new(Files::new(folder, &pipeline.name, per_minute, options.gzip, written())?))
    } else {
        let topic = &pipeline.topics.raw;
        let connected = Kafka::connect(&config.kafka, topic, &pipeline.name, telemetry, stop).await?;
        let Some(kafka) = connected else {
            return Ok(None);
        };
        Sink::Kafka(kafka)
    };
    telemetry.health.set(SERVICE, State::Ready);
    Ok(Some(sink))
}

/// Where records come from.
enum Source {
    Mock(Box<Generator>, Mock),
    Replay(tokio::sync::mpsc::Receiver<anyhow::Result<replay::Batch>>, Box<Replay>),
}

impl Source {
    fn open(pipeline: &Pipeline, options: &Options, telemetry: &Telemetry, clock: Clock) -> anyhow::Result<Self> {
        if options.input.is_empty() {
            let (settings, mock) = mock(pipeline, options, clock);
            tracing::info!(seed = settings.seed, rate = settings.rate, anomaly = %options.anomaly, "mock logs");
            return Ok(Self::Mock(Box::new(Generator::new(&settings)), mock));
        }
        let lines = replay::read(&options.input, pipeline.max_record_bytes)?;
        let shift = match options.time {
            Times::Keep => None,
            Times::Now => Some(replay::Shift::new(&pipeline.timestamp, pipeline.max_depth)),
        };
        let too_long = telemetry.metrics.records(SERVICE, &pipeline.name, "rejected", "too-large");
        Ok(Self::Replay(lines, Box::new(Replay { shift, rate: options.rate, too_long })))
    }

    async fn drive(&mut self, run: &mut Run<'_>) -> anyhow::Result<Left> {
        match self {
            Self::Mock(generator, mock) => run.mock(generator, mock).await.map(|()| Left::default()),
            Self::Replay(lines, replay) => run.replay(lines, replay).await,
        }
    }
}

/// What the options say about mock logs.
fn mock(pipeline: &Pipeline, options: &Options, clock: Clock) -> (Settings, Mock) {
    let now = clock.now();
    let start = options.start.or(options.backfill.map(|span| now.saturating_sub(millis(span)))).unwrap_or(now);
    let history_only = options.backfill_only || options.duration.is_some_and(|duration| duration.is_zero());
    let mode = match options.anomaly {
        Anomaly::None => Mode::Good,
        Anomaly::Random => Mode::Bursts,
        Anomaly::Enforced(..) => Mode::Usual,
    };
    let anomaly = match &options.anomaly {
        Anomaly::None | Anomaly::Random => None,
        Anomaly::Enforced(field, value) => Some(Planned {
            field: *field,
            value: value.clone(),
            after: options.anomaly_after,
            lasts: options.anomaly_for,
            from_start: history_only || options.start.is_some(),
        }),
    };
    let settings = Settings {
        seed: options.seed.unwrap_or_else(|| RandomState::new().build_hasher().finish()),
        start,
        rate: options.rate.unwrap_or(RATE),
        rhythm: options.rhythm,
        mode,
        written: options.timestamp.unwrap_or_else(|| pipeline.timestamp.format.into()),
    };
    (settings, Mock { start, history_only, anomaly })
}
