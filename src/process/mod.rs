//! `process`: the two stages between the raw topic and the scores, each in a thread of its own.
//!
//! [`transform`] reads raw and writes enriched, rejected and windows; [`score`] reads windows and writes scores,
//! anomalies and state. Each runs in a [`worker`](crate::worker).

mod align;
mod anomalies;
mod score;
mod source;
mod transform;

use crate::config::{Config, Guarantee};
use crate::kafka::client;
use crate::telemetry::Telemetry;
use crate::telemetry::health::State;
use crate::worker::instance::Instance;
use crate::worker::stage::Stage;
use crate::worker::{Setup, group, supervise};
use outlier_core::pipeline::Pipeline;
use rdkafka::ClientConfig;
use score::ScoreStage;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use transform::TransformStage;

/// Runs both stages of every pipeline until `stop`.
///
/// # Errors
/// A stage met something that only an operator can decide.
pub async fn run(config: Arc<Config>, telemetry: Telemetry, stop: CancellationToken) -> anyhow::Result<()> {
    let instance = Instance::claim(&config.kafka.instance_id, &config.process.data_dir)?;
    tracing::info!(instance = instance.name(), "instance");
    if config.process.guarantee == Guarantee::AtLeastOnce {
        tracing::warn!("at_least_once: a crash may double enriched records and count windows twice");
    }
    let mut workers = tokio::task::JoinSet::new();
    for pipeline in &config.pipelines {
        let pipeline = Arc::new(pipeline.clone());
        for stage in ["transform", "score"] {
            let setup = setup(&config, &pipeline, stage, instance.name());
            let (config, pipeline) = (config.clone(), pipeline.clone());
            let (telemetry, stop) = (telemetry.clone(), stop.clone());
            telemetry.health.set(&setup.name, State::Starting { reason: "joining the group".into() });
            workers.spawn_blocking(move || {
                let make = || make_stage(&config, &pipeline, stage, &setup.consumer, &telemetry);
                supervise(&setup, make, &telemetry, &stop)
            });
        }
    }
    let mut result = Ok(());
    while let Some(ended) = workers.join_next().await {
        let ended = ended.map_err(anyhow::Error::from).flatten();
        if ended.is_err() {
            // One stage without the other makes no sense.
            stop.cancel();
            result = result.and(ended);
        }
    }
    drop(instance);
    result
}

fn make_stage(
    config: &Config,
    pipeline: &Arc<Pipeline>,
    stage: &str,
    group: &ClientConfig,
    telemetry: &Telemetry,
) -> anyhow::Result<Box<dyn Stage>> {
    let connection = client::reader(&config.kafka);
    if stage == "transform" {
        let times = [config.process.idle_timeout, config.process.align];
        return Ok(Box::new(TransformStage::new(pipeline.clone(), connection, group, times, telemetry)?));
    }
    let guarantee = config.process.guarantee;
    Ok(Box::new(ScoreStage::new(pipeline.clone(), connection, guarantee, telemetry)))
}

/// What a stage is called in `/health`.
fn component(pipeline: &str, stage: &str) -> String {
    format!("process {pipeline} {stage}")
}

fn setup(config: &Config, pipeline: &Pipeline, stage: &str, instance: &str) -> Setup {
    let group = group(config, pipeline, stage);
    let mut consumer = client::consumer(&config.kafka, &group);
    let mut producer = client::producer(&config.kafka);
    client::fit(&mut producer, config);
    // Committed offsets that do not exist any more are for an operator to decide about.
    consumer.set("auto.offset.reset", "error");
    let kilobytes = |bytes: usize| (bytes / 1024).max(1).to_string();
    let default = |client: &mut _, name, value: &str| client::default(client, &config.kafka, name, value);
    default(&mut consumer, "queued.max.messages.kbytes", &kilobytes(config.process.consumer_queue_bytes));
    default(&mut producer, "queue.buffering.max.kbytes", &kilobytes(config.process.producer_queue_bytes));
    // A commit flushes, so nothing waits so long that has to be soon.
    default(&mut producer, "linger.ms", "20");
    if stage == "transform" {
        // A trickle of records comes in portions.
        default(&mut consumer, "fetch.min.bytes", "8192");
        default(&mut consumer, "fetch.wait.max.ms", "10");
    }
    Setup {
        name: component(&pipeline.name, stage),
        pipeline: pipeline.name.clone(),
        consumer,
        producer,
        transactional_id: format!("{group}.{instance}.0"),
        process: config.process.clone(),
    }
}
