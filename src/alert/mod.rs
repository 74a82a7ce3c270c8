//! `alert`: anomalies become alerts and, where this service is the owner, one message each. Behind `process`.
//!
//! ```text
//! scores ─► stage ─► Book ─► alerts topic (one transaction with the offsets)
//!             ▲                  │ committed: what is owed
//!             └── delivered ◄── notify ─► webhook, Slack, Teams, mail
//! ```
//!
//! Invariants:
//! - The alerts topic is the outbox: what is sent was committed as owed before, under the key it is sent with, and what
//!   was delivered is committed after. So a crash repeats a message at most, with the same key.
//! - Nothing that a channel does holds up the topics, or another channel.

pub mod list;
mod notify;
mod owner;
mod stage;

use crate::config::{Config, Severity as From};
use crate::kafka::client;
use crate::telemetry::Telemetry;
use crate::telemetry::health::State;
use crate::worker::{self, Setup, instance::Instance, supervise};
use notify::Notifier;
use outlier_core::alert::{Recipient, Rules, Severity};
use outlier_core::pipeline::{Millis, Pipeline};
pub use owner::test_channel;
use stage::{AlertStage, Parts};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Turns the anomalies of every pipeline into alerts until `stop`.
///
/// # Errors
/// The topics are not as they must be, or a channel cannot work.
pub async fn run(config: Arc<Config>, telemetry: Telemetry, stop: CancellationToken) -> anyhow::Result<()> {
    let Some(own) = owner::decide(&config, &telemetry, &stop).await? else { return Ok(()) };
    let instance = Instance::claim(&config.kafka.instance_id, &config.process.data_dir)?;
    let mut workers = tokio::task::JoinSet::new();
    for pipeline in &config.pipelines {
        let setup = setup(&config, pipeline, instance.name());
        let notifies = own.contains(&pipeline.name);
        let channels = if notifies { config.alerting.channels.as_slice() } else { &[] };
        let notifier = Notifier::start(channels, &pipeline.name, &telemetry)?;
        let parts = Arc::new(Parts {
            topics: pipeline.topics.clone(),
            rules: Arc::new(rules(&config, pipeline, notifies)),
            recipients: channels.iter().map(recipient).collect(),
            group_wait: millis(config.alerting.group_wait),
            connection: client::reader(&config.kafka),
            notifier,
        });
        let (telemetry, stop, name) = (telemetry.clone(), stop.clone(), pipeline.name.clone());
        telemetry.health.set(&setup.name, State::Starting { reason: "joining the group".into() });
        workers.spawn_blocking(move || {
            let make = || Ok(Box::new(AlertStage::new(Arc::clone(&parts), &name, &telemetry)?) as _);
            supervise(&setup, make, &telemetry, &stop)
        });
    }
    let mut result = Ok(());
    while let Some(ended) = workers.join_next().await {
        let ended = ended.map_err(anyhow::Error::from).flatten();
        if ended.is_err() {
            stop.cancel();
            result = result.and(ended);
        }
    }
    result
}

fn rules(config: &Config, pipeline: &Pipeline, notifies: bool) -> Rules {
    let alerting = &config.alerting;
    Rules {
        critical: alerting.critical,
        resolve_after: alerting.resolve_after,
        repeat: millis(alerting.repeat_interval),
        max_age: millis(alerting.max_age),
        tell: notifies && !alerting.channels.is_empty(),
        windows: Rules::windows_of(pipeline),
    }
}

fn recipient(channel: &crate::config::Channel) -> Recipient {
    let from = match channel.severity {
        From::All => Severity::Normal,
        From::Critical => Severity::Critical,
    };
    Recipient { name: channel.name.clone(), from }
}

fn setup(config: &Config, pipeline: &Pipeline, instance: &str) -> Setup {
    let group = worker::group(config, pipeline, "alert");
    let mut producer = client::producer(&config.kafka);
    client::default(&mut producer, &config.kafka, "linger.ms", "20");
    let mut consumer = client::consumer(&config.kafka, &group);
    // Rows that were deleted before they were read are told.
    consumer.set("auto.offset.reset", "error");
    Setup {
        name: format!("alert {}", pipeline.name),
        pipeline: pipeline.name.clone(),
        consumer,
        producer,
        transactional_id: format!("{group}.{instance}.0"),
        process: config.process.clone(),
    }
}

fn millis(time: Duration) -> Millis {
    Millis::try_from(time.as_millis()).unwrap_or(Millis::MAX)
}
