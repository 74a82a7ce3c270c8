//! Who tells people of a pipeline's anomalies: this service, or OpenSearch's monitors.
//!
//! Invariant: with `owner = "opensearch"` this service notifies only where OpenSearch does not: there is another index, a
//! cluster without the alerting plugin, or its monitors have nobody to tell. A cluster that does not answer is waited for.

use crate::config::{Config, IndexKind, Owner};
use crate::index::opensearch::Client;
use crate::setup::index::plugins::Installed;
use crate::setup::monitors;
use crate::sink::backoff::Backoff;
use crate::telemetry::Telemetry;
use crate::telemetry::health::State;
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
    let owner = config.alerting.owner;
    let there = if owner == Owner::OpenSearch && config.sink.index == IndexKind::OpenSearch {
        let Some(there) = installed(config, telemetry, stop).await? else { return Ok(None) };
        Some(there)
    } else {
        None
    };
    let channels = config.alerting.channels.len();
    let mut own = BTreeSet::new();
    for pipeline in &config.pipelines {
        let (notifies, why) = match there {
            None if owner == Owner::Outlier => (true, "alerting.owner is \"outlier\""),
            None => (true, "the index is SQLite, which has no monitors"),
            Some(Installed { alerting: false, .. }) => (true, "OpenSearch has no alerting plugin"),
            Some(there) if !monitors::tell(config, pipeline, there) => (
                true,
                "OpenSearch's monitors cannot: it lacks notifications, or what would tell of anomalies is not indexed",
            ),
            Some(_) => (false, "alerting.owner is \"opensearch\": its monitors do"),
        };
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
