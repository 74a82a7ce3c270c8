//! Who tells people of a pipeline's anomalies: this service, or OpenSearch's monitors.
//!
//! Invariant: with `owner = "opensearch"` this service notifies only where OpenSearch does not: there is another index, a
//! cluster without the alerting plugin, or its monitors have nobody to tell. A cluster that does not answer is waited for.

use super::notify;
use crate::config::{Config, IndexKind, Owner};
use crate::index::opensearch::Client;
use crate::setup::index::plugins::Installed;
use crate::setup::{channels, monitors};
use crate::sink::backoff::Backoff;
use crate::telemetry::Telemetry;
use crate::telemetry::health::State;
use anyhow::bail;
use outlier_core::pipeline::Pipeline;
use std::collections::BTreeSet;
use tokio_util::sync::CancellationToken;

const COMPONENT: &str = "alert.owner";

/// The pipelines for which this service notifies; `None`: stopped meanwhile. Says in the log who does, and why.
///
/// # Errors
/// The connection to OpenSearch cannot be prepared.
pub async fn decide(
    config: &Config,
    telemetry: &Telemetry,
    stop: &CancellationToken,
) -> anyhow::Result<Option<BTreeSet<String>>> {
    let there = if asks(config) {
        let Some(there) = installed(config, telemetry, stop).await? else { return Ok(None) };
        Some(there)
    } else {
        None
    };
    let channels = config.alerting.channels.len();
    let mut own = BTreeSet::new();
    for pipeline in &config.pipelines {
        let (notifies, why) = notifies(config, pipeline, there);
        tracing::info!(pipeline = pipeline.name, notifies, why, channels, "who tells people of alerts");
        if notifies {
            own.insert(pipeline.name.clone());
        }
    }
    if !own.is_empty() && channels == 0 {
        tracing::warn!("alerts are recorded and nobody is told: there are no [[alerting.channels]]");
    }
    Ok(Some(own))
}

/// Sends one message by a channel of the configuration, as whoever tells people of the pipelines' alerts would; where both
/// do, as each of them. Answers what came of it, a line each.
///
/// # Errors
/// There is no such channel, OpenSearch does not answer or has not got it yet, or the message was not taken: why.
pub async fn test_channel(config: &Config, name: &str) -> anyhow::Result<String> {
    let channels = &config.alerting.channels;
    let Some(channel) = channels.iter().find(|known| known.name == name) else {
        let names: Vec<&str> = channels.iter().map(|known| known.name.as_str()).collect();
        bail!("there is no channel {name:?} in [[alerting.channels]]; there are: {}", names.join(", "));
    };
    let client = asks(config).then(|| Client::new(config)).transpose()?;
    let there = match &client {
        Some(client) => Some(Installed::find(client).await?),
        None => None,
    };
    let (own, theirs): (Vec<_>, Vec<_>) =
        config.pipelines.iter().partition(|pipeline| notifies(config, pipeline, there).0);
    // Of a pipeline without detectors nobody has anything to tell.
    let client = client.filter(|_| !theirs.is_empty() && there.is_some_and(|there| there.notifications));
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    let mut note = |sent: anyhow::Result<String>| match sent {
        Ok(line) => done.push(line),
        Err(error) => failed.push(format!("{error:#}")),
    };
    if let Some(client) = &client {
        note(channels::test(config, client, name).await);
    }
    if let Some(pipeline) = own.first() {
        let sent = notify::test(channel, &pipeline.name).await;
        note(sent.map(|()| format!("{name}: delivered by outlier itself")));
    }
    if client.is_none() && own.is_empty() {
        bail!("nobody tells by {name}: no pipeline has detectors, and OpenSearch has no notifications plugin");
    }
    if !failed.is_empty() {
        done.extend(failed);
        bail!("{}", done.join("\n"));
    }
    Ok(done.join("\n"))
}

/// Whether it depends on OpenSearch's plugins.
fn asks(config: &Config) -> bool {
    config.alerting.owner == Owner::OpenSearch && config.sink.index == IndexKind::OpenSearch
}

/// Whether this service tells of a pipeline's alerts, and why; `there` where that is asked.
fn notifies(config: &Config, pipeline: &Pipeline, there: Option<Installed>) -> (bool, &'static str) {
    match there {
        None if config.alerting.owner == Owner::Outlier => (true, "alerting.owner is \"outlier\""),
        None => (true, "the index is SQLite, which has no monitors"),
        Some(Installed { alerting: false, .. }) => (true, "OpenSearch has no alerting plugin"),
        Some(there) if !monitors::tell(config, pipeline, there) => (
            true,
            "OpenSearch's monitors cannot: it lacks notifications, or what would tell of anomalies is not indexed",
        ),
        Some(_) => (false, "alerting.owner is \"opensearch\": its monitors do"),
    }
}

async fn installed(
    config: &Config,
    telemetry: &Telemetry,
    stop: &CancellationToken,
) -> anyhow::Result<Option<Installed>> {
    let client = Client::new(config)?;
    let mut backoff = Backoff::default();
    telemetry.health.set(COMPONENT, State::Starting { reason: "asking OpenSearch for its plugins".to_owned() });
    loop {
        match Installed::find(&client).await {
            Ok(there) => {
                telemetry.health.set(COMPONENT, State::Ready);
                return Ok(Some(there));
            }
            Err(error) => telemetry.health.set(COMPONENT, State::Waiting { reason: format!("{error:#}") }),
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(None),
            () = backoff.wait() => {}
        }
    }
}
