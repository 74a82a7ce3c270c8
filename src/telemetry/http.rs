//! `/health`, `/ready` and `/metrics` of every service.
//!
//! Invariant: where a token is configured, metrics need it, and so do the numbers of the two health routes; their states
//! never do, so that probes work.

use super::Telemetry;
use crate::config::Secret;
use anyhow::Context;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use std::net::SocketAddr;
use subtle::ConstantTimeEq;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// The three routes, to be merged into a larger router or served alone.
pub fn router(telemetry: Telemetry, token: Option<Secret>) -> Router {
    let guarded = Router::new().route("/metrics", get(metrics)).layer(from_fn_with_state(token.clone(), require));
    let answer = move |headers: HeaderMap, telemetry: &Telemetry, good: bool| {
        answer(good, telemetry, authorized(&headers, token.as_ref()))
    };
    let ready = answer.clone();
    let health = move |State(telemetry): State<Telemetry>, headers: HeaderMap| async move {
        answer(headers, &telemetry, telemetry.health.alive())
    };
    let ready = move |State(telemetry): State<Telemetry>, headers: HeaderMap| async move {
        ready(headers, &telemetry, telemetry.health.ready())
    };
    Router::new().route("/health", get(health)).route("/ready", get(ready)).merge(guarded).with_state(telemetry)
}

/// Serves the routes until `stop`.
///
/// # Errors
/// The listener failed.
pub async fn serve(
    listener: TcpListener,
    telemetry: Telemetry,
    token: Option<Secret>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    axum::serve(listener, router(telemetry, token)).with_graceful_shutdown(stop.cancelled_owned()).await?;
    Ok(())
}

/// Binds a listening socket; `key` is the configuration key to name in the error.
///
/// # Errors
/// The port is taken or the address is not this machine's.
pub async fn bind(address: SocketAddr, key: &str) -> anyhow::Result<TcpListener> {
    let bound = TcpListener::bind(address).await;
    bound.with_context(|| format!("cannot listen on {address}: is the port taken? Choose another with {key}"))
}

/// True when the request carries the token as `Authorization: Bearer …`, or none is required. The comparison takes
/// the same time wherever the texts differ.
pub fn authorized(headers: &HeaderMap, token: Option<&Secret>) -> bool {
    let Some(token) = token else { return true };
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    given.is_some_and(|given| given.ct_eq(token.expose().as_bytes()).into())
}

async fn require(State(token): State<Option<Secret>>, request: Request, next: Next) -> Response {
    if authorized(request.headers(), token.as_ref()) {
        return next.run(request).await;
    }
    (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")], "a token is required\n").into_response()
}

fn answer(good: bool, telemetry: &Telemetry, numbers: bool) -> Response {
    let status = if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    match numbers {
        true => (status, Json(telemetry.health.report())).into_response(),
        false => (status, Json(telemetry.health.components())).into_response(),
    }
}

async fn metrics(State(telemetry): State<Telemetry>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], telemetry.metrics.text()).into_response()
}
