//! The dashboard: a page that says in seconds whether logs are as usual, and the JSON API behind it.
//!
//! Stands at the end of the data path and changes nothing on it.
//!
//! ```text
//! <pipeline>.scores ───┐                ┌─► /api/overview, series, anomalies, tail
//!                      ├─► feed ─► Hub ─┤                                           ─► guard ─► browser
//! <pipeline>.enriched ─┘   (sampled)    └─► /api/events (server-sent)
//! ```
//!
//! Invariants: memory is bounded whatever comes in; nothing is committed to Kafka; without Kafka the page is there and
//! says what is wrong; a slow browser slows nothing else.

mod api;
mod assets;
mod board;
mod downsample;
mod events;
mod feed;
mod guard;
mod history;
mod hub;
mod incidents;
mod panel;
mod tail;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod trigger;

pub use trigger::{PAUSE, Refused, Trigger};

use crate::config::Config;
use crate::telemetry::{self, Telemetry};
use anyhow::Context;
use hub::Hub;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Serves the dashboard until `stop`. `trigger` is the demo's button; without it the page has none.
///
/// # Errors
/// The address cannot be bound; Kafka's absence is no error.
pub async fn run(
    config: Arc<Config>,
    trigger: Option<Trigger>,
    telemetry: Telemetry,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let listener = telemetry::http::bind(config.serve.listen.address, "serve.listen").await?;
    let address = listener.local_addr().context("the address of the listener")?;
    // Ends the feeds also when serving fails.
    let stop = stop.child_token();
    let _ends = stop.clone().drop_guard();
    let hub = Arc::new(Hub::new(&config, trigger, telemetry, address, stop.clone()));
    let mut feeds = feed::start(&config, &hub, &stop);
    tracing::info!("dashboard at http://{address}");
    axum::serve(listener, api::router(hub)).with_graceful_shutdown(stop.clone().cancelled_owned()).await?;
    stop.cancel();
    while feeds.join_next().await.is_some() {}
    Ok(())
}
