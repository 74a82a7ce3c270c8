//! Deletes dated indices in which all is older than the retention, where no Index State Management does it.
//!
//! Invariants: only an index whose name is exactly that of a dated one of a configured pipeline is deleted, and only when
//! its whole period has been over for the retention.

use crate::config::{Config, Indices};
use crate::index::names;
use crate::index::opensearch::Client;
use crate::setup::index::ledger::Ledger;
use crate::setup::index::plugins::{Plugins, Presence};
use crate::time::now;
use anyhow::ensure;
use opensearch::http::Method;
use outlier_core::pipeline::Millis;
use serde_json::Value;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often it is looked for old indices.
const LOOK: Duration = Duration::from_secs(600);

/// The right to delete.
const LEASE: &str = "retention";
const LEASE_TIME: Duration = Duration::from_secs(300);

/// Looks now and then until `stop`; ends at once where there is nothing to do.
pub async fn run(config: &Config, client: &Client, stop: &CancellationToken) {
    let dated = matches!(config.opensearch.indices, Indices::Daily | Indices::Monthly);
    if !dated || config.opensearch.retention.is_zero() {
        return;
    }
    loop {
        match look(config, client, now()).await {
            Ok(deleted) => {
                deleted.iter().for_each(|index| tracing::info!(index, "deleted: older than opensearch.retention"))
            }
            Err(error) => tracing::warn!("old indices could not be deleted: {error:#}"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// Deletes what is too old at `now` (epoch milliseconds), unless the cluster does it or another instance is at it; answers
/// the names.
///
/// # Errors
/// OpenSearch does not answer, or refuses.
pub async fn look(config: &Config, client: &Client, now: Millis) -> anyhow::Result<Vec<String>> {
    if Plugins::find(client).await?.management != Presence::Absent {
        return Ok(Vec::new());
    }
    let ledger = Ledger::new(client, &config.opensearch.index_prefix, config.opensearch.replicas);
    let Some(lease) = ledger.try_hold(LEASE, LEASE_TIME).await? else {
        return Ok(Vec::new());
    };
    let deleted = delete(config, client, now).await;
    ledger.release(lease).await;
    deleted
}

async fn delete(config: &Config, client: &Client, now: Millis) -> anyhow::Result<Vec<String>> {
    let mut deleted = Vec::new();
    for pipeline in &config.pipelines {
        for stage in &config.sink.what {
            let base = names::index(&config.opensearch.index_prefix, &pipeline.name, *stage);
            let answer = client.send(Method::Get, &format!("/_cat/indices/{base}-*?format=json&h=index"), None).await?;
            ensure!(answer.good(), "the indices of {base} cannot be listed: {}", answer.reason());
            for index in expired(&base, config, &answer.json()?, now) {
                let answer = client.send(Method::Delete, &format!("/{index}"), None).await?;
                ensure!(
                    answer.good() || answer.status == 404,
                    "the index {index} cannot be deleted: {}",
                    answer.reason()
                );
                deleted.push(index);
            }
        }
    }
    Ok(deleted)
}

fn expired(base: &str, config: &Config, listed: &Value, now: Millis) -> Vec<String> {
    let retention = config.opensearch.retention.as_millis() as Millis;
    let names = listed.as_array().into_iter().flatten().filter_map(|index| index["index"].as_str());
    let old = |name: &&str| {
        names::end(base, config.opensearch.indices, name).is_some_and(|end| end.saturating_add(retention) <= now)
    };
    names.filter(old).map(str::to_owned).collect()
}
