//! The routes: the page, its files, and the JSON behind it.
//!
//! Every answer is bounded: a series by [`super::board::MAX_ANSWER`], anomalies by [`incidents::MAX`], the tail by
//! [`tail::MAX`]. Times are epoch milliseconds.

use super::assets::Assets;
use super::hub::Hub;
use super::incidents::Incident;
use super::trigger::{PAUSE, Refused};
use super::{events, guard, incidents, tail};
use crate::telemetry;
use crate::time::now;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use outlier_core::pipeline::Millis;
use outlier_core::score::SeriesName;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;

/// The largest body of a request; bytes.
const MAX_BODY: usize = 1024;
/// What a series is asked for without `from`.
const DEFAULT_RANGE: Millis = 60 * 60 * 1000;

/// What the routes need.
#[derive(Clone)]
pub struct Service {
    /// The state.
    pub hub: Arc<Hub>,
    /// The page.
    pub assets: Arc<Assets>,
}

impl axum::extract::FromRef<Service> for Arc<Hub> {
    fn from_ref(service: &Service) -> Self {
        service.hub.clone()
    }
}

/// All routes of the service.
pub fn router(hub: Arc<Hub>) -> Router {
    let telemetry = telemetry::http::router(hub.telemetry.clone(), None);
    let service = Service { hub, assets: Arc::new(Assets::new()) };
    Router::new()
        .route("/", get(index))
        .route("/assets/{name}", get(asset))
        .route("/api/overview", get(overview))
        .route("/api/series", get(series))
        .route("/api/anomalies", get(anomalies))
        .route("/api/tail", get(latest))
        .route("/api/events", get(events::events))
        .route("/api/anomaly", post(anomaly))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(service.clone())
        .merge(telemetry)
        .layer(from_fn_with_state(service, guard::guard))
}

/// An answer that says what is wrong.
fn refuse(status: StatusCode, error: impl ToString) -> Response {
    (status, Json(json!({ "error": error.to_string() }))).into_response()
}

async fn index(State(service): State<Service>) -> Response {
    service.assets.index()
}

async fn asset(State(service): State<Service>, Path(name): Path<String>) -> Response {
    service.assets.file(&name)
}

async fn overview(State(hub): State<Arc<Hub>>) -> Response {
    let boards: Vec<_> = hub.boards().collect();
    let now = now();
    Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "now": now,
        "feeds": hub.status(),
        "fields": hub.trigger.as_ref().map(|trigger| trigger.fields()),
        "pipelines": boards.iter().map(|board| board.overview(now)).collect::<Vec<_>>(),
    }))
    .into_response()
}

/// Which series, and when.
#[derive(Debug, Deserialize)]
struct Which {
    /// The first pipeline when absent.
    pipeline: Option<String>,
    detector: String,
    series: String,
    /// An hour before `to` when absent.
    from: Option<Millis>,
    /// Now when absent.
    to: Option<Millis>,
}

async fn series(State(hub): State<Arc<Hub>>, which: Result<Query<Which>, QueryRejection>) -> Response {
    let which = match which {
        Ok(Query(which)) => which,
        Err(wrong) => return refuse(StatusCode::BAD_REQUEST, wrong.body_text()),
    };
    let to = which.to.unwrap_or_else(now);
    let from = which.from.unwrap_or(to.saturating_sub(DEFAULT_RANGE));
    if from > to {
        return refuse(StatusCode::BAD_REQUEST, "`from` is after `to`");
    }
    let Some(board) = hub.board(which.pipeline.as_deref()) else {
        return refuse(StatusCode::NOT_FOUND, "there is no such pipeline");
    };
    let name = SeriesName { detector: which.detector, series: which.series };
    match board.columns(&name, from, to) {
        Some(columns) => Json(columns).into_response(),
        None => refuse(StatusCode::NOT_FOUND, "there is no such series"),
    }
}

/// Which pipeline; the first one when absent.
#[derive(Debug, Deserialize)]
struct Of {
    pipeline: Option<String>,
}

async fn anomalies(State(hub): State<Arc<Hub>>, Query(of): Query<Of>) -> Response {
    #[derive(Serialize)]
    struct Shown<'a> {
        #[serde(flatten)]
        incident: &'a Incident,
        ongoing: bool,
    }
    let Some(board) = hub.board(of.pipeline.as_deref()) else {
        return refuse(StatusCode::NOT_FOUND, "there is no such pipeline");
    };
    let latest = board.incidents.latest();
    let shown = latest.into_iter().map(|incident| Shown { incident, ongoing: board.ongoing(incident) });
    Json(json!({ "anomalies": shown.collect::<Vec<_>>(), "max": incidents::MAX })).into_response()
}

async fn latest(State(hub): State<Arc<Hub>>, Query(of): Query<Of>) -> Response {
    let Some(board) = hub.board(of.pipeline.as_deref()) else {
        return refuse(StatusCode::NOT_FOUND, "there is no such pipeline");
    };
    Json(json!({ "records": board.tail.latest(), "max": tail::MAX })).into_response()
}

/// Which field shall be anomalous.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    field: String,
}

async fn anomaly(State(hub): State<Arc<Hub>>, wish: Result<Json<Wish>, JsonRejection>) -> Response {
    let Some(trigger) = &hub.trigger else {
        return refuse(StatusCode::NOT_FOUND, "only `outlier demo` makes anomalies");
    };
    let Json(wish) = match wish {
        Ok(wish) => wish,
        Err(wrong) => return refuse(wrong.status(), wrong.body_text()),
    };
    match trigger.pull(&wish.field) {
        Ok(()) => (StatusCode::ACCEPTED, Json(json!({ "field": wish.field }))).into_response(),
        Err(Refused::UnknownField) => refuse(StatusCode::BAD_REQUEST, "`field` is none of the demo's fields"),
        Err(Refused::Gone) => refuse(StatusCode::SERVICE_UNAVAILABLE, "the generator has ended"),
        Err(Refused::TooSoon) => {
            let mut response = refuse(StatusCode::TOO_MANY_REQUESTS, "an anomaly was just asked for: wait a moment");
            response.headers_mut().insert(header::RETRY_AFTER, PAUSE.as_secs().into());
            response
        }
    }
}
