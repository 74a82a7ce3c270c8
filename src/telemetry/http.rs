//! `/health`, `/ready` and `/metrics` of every service.

use super::Telemetry;
use anyhow::Context;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use std::net::SocketAddr;
use tokio_util::sync::CancellationToken;

/// The three routes, to be merged into a larger router or served alone.
pub fn router(telemetry: Telemetry) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .with_state(telemetry)
}

/// Serves the routes until `stop`.
///
/// # Errors
/// The address cannot be bound.
pub async fn serve(address: SocketAddr, telemetry: Telemetry, stop: CancellationToken) -> anyhow::Result<()> {
    let listener = bind(address, "telemetry.listen").await?;
    axum::serve(listener, router(telemetry)).with_graceful_shutdown(stop.cancelled_owned()).await?;
    Ok(())
}

/// Binds a listening socket; `key` is the configuration key to name in the error.
///
/// # Errors
/// The port is taken or the address is not this machine's.
pub async fn bind(address: SocketAddr, key: &str) -> anyhow::Result<tokio::net::TcpListener> {
    tokio::net::TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}: is the port taken? Choose another with {key}"))
}

async fn health(State(telemetry): State<Telemetry>) -> Response {
    answer(telemetry.health.alive(), &telemetry)
}

async fn ready(State(telemetry): State<Telemetry>) -> Response {
    answer(telemetry.health.ready(), &telemetry)
}

fn answer(good: bool, telemetry: &Telemetry) -> Response {
    let status = if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(telemetry.health.components())).into_response()
}

async fn metrics(State(telemetry): State<Telemetry>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], telemetry.metrics.text()).into_response()
}
