//! `/api/events`: what happens, as server-sent events.
//!
//! Invariants: a browser that is too slow loses events and is told so by `resync`; the number of listening browsers is
//! bounded; a stop ends the streams.

use super::hub::{Event, Hub, resync};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use futures::stream::{self, Stream};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;

/// So often a quiet stream says that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The stream of all events from now on; the first one is `resync`.
pub async fn events(State(hub): State<Arc<Hub>>) -> Response {
    let Ok(permit) = hub.listeners.clone().try_acquire_owned() else {
        let text = "too many browsers listen already: close one and reload";
        return (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "30")], text).into_response();
    };
    let stop = hub.stop.clone();
    let stream = following(&hub).take_until(stop.cancelled_owned()).map(move |event| {
        // The permit lives as long as the stream.
        let _ = &permit;
        Ok::<_, Infallible>(sse::Event::default().event(event.name).data(&*event.data))
    });
    Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

fn following(hub: &Hub) -> impl Stream<Item = Event> + Send + use<> {
    let events = stream::unfold(hub.subscribe(), |mut receiver| async move {
        match receiver.recv().await {
            Ok(event) => Some((event, receiver)),
            Err(RecvError::Lagged(_)) => Some((resync(), receiver)),
            Err(RecvError::Closed) => None,
        }
    });
    stream::once(async { resync() }).chain(events)
}
