//! Where the feeds and the requests meet: the boards, and the events for browsers.
//!
//! ```text
//! feed (scores, enriched) ──► Hub ──► boards ◄── api
//!                              └────► broadcast ──► events (server-sent)
//! ```
//!
//! Invariant: a feed never waits for a browser. The channel is bounded; a browser that lags is told to ask again.

use super::board::Board;
use super::tail;
use super::trigger::Trigger;
use crate::config::{Config, Secret};
use crate::telemetry::Telemetry;
use crate::telemetry::health::State;
use crate::time::now;
use outlier_core::pipeline::Millis;
use outlier_core::score::Score;
use serde::Serialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use tokio::sync::{Semaphore, broadcast};
use tokio_util::sync::CancellationToken;

/// Events that a browser may be behind.
const BACKLOG: usize = 1_024;
/// Browsers that may listen to events at one time.
const MAX_LISTENERS: usize = 64;
/// What the components of this service are called in `/health`.
const COMPONENT: &str = "serve";

/// An event for browsers: its name and its JSON.
#[derive(Debug, Clone)]
pub struct Event {
    /// `score`, `anomaly`, `tail`, `status` or `resync`.
    pub name: &'static str,
    /// A JSON object.
    pub data: Arc<str>,
}

/// The state of the service.
pub struct Hub {
    boards: Vec<RwLock<Board>>,
    events: broadcast::Sender<Event>,
    /// The demo's button.
    pub trigger: Option<Trigger>,
    /// Health and metrics.
    pub telemetry: Telemetry,
    /// Who asks must have it.
    pub token: Option<Secret>,
    /// Where it listens.
    pub address: SocketAddr,
    /// One permit a listening browser.
    pub listeners: Arc<Semaphore>,
    /// Ends the event streams.
    pub stop: CancellationToken,
}

#[derive(Serialize)]
struct Of<'a, T> {
    pipeline: &'a str,
    #[serde(flatten)]
    value: &'a T,
}

impl Hub {
    /// A hub with an empty board for each pipeline; `address` is what the listener is bound to.
    pub fn new(
        config: &Config,
        trigger: Option<Trigger>,
        telemetry: Telemetry,
        address: SocketAddr,
        stop: CancellationToken,
    ) -> Self {
        Self {
            boards: config.pipelines.iter().cloned().map(Board::new).map(RwLock::new).collect(),
            events: broadcast::Sender::new(BACKLOG),
            trigger,
            telemetry,
            token: config.serve.listen.token.clone(),
            address,
            listeners: Arc::new(Semaphore::new(MAX_LISTENERS)),
            stop,
        }
    }

    /// The boards, in the configuration's order.
    pub fn boards(&self) -> impl Iterator<Item = RwLockReadGuard<'_, Board>> {
        self.boards.iter().map(|board| board.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The board of a pipeline; without a name, of the first one.
    pub fn board(&self, name: Option<&str>) -> Option<RwLockReadGuard<'_, Board>> {
        self.boards().find(|board| name.is_none_or(|name| board.pipeline.name == name))
    }

    /// Takes a row of a scores topic in, and tells browsers when it is `live`. False: no such series.
    pub fn score(&self, pipeline: usize, score: &Score, live: bool) -> bool {
        let Some(board) = self.boards.get(pipeline) else {
            return false;
        };
        let mut board = board.write().unwrap_or_else(PoisonError::into_inner);
        let known = board.apply(score, now(), live);
        if known && live {
            let event = Of { pipeline: &board.pipeline.name, value: score };
            self.send("score", &event);
            if score.anomaly {
                self.send("anomaly", &event);
            }
        }
        known
    }

    /// Takes a record of an enriched topic in, and tells browsers.
    pub fn record(&self, pipeline: usize, payload: &[u8], time: Millis) {
        let Some(board) = self.boards.get(pipeline) else {
            return;
        };
        let row = {
            let board = board.read().unwrap_or_else(PoisonError::into_inner);
            let row = tail::row(&board.pipeline, payload, time);
            self.send("tail", &Of { pipeline: &board.pipeline.name, value: &row });
            row
        };
        board.write().unwrap_or_else(PoisonError::into_inner).tail.push(row);
    }

    /// Says how a feed is; browsers are told of a change.
    pub fn set(&self, feed: &str, state: State) {
        let component = format!("{COMPONENT} {feed}");
        let before = self.telemetry.health.components().remove(&component);
        if before.as_ref() != Some(&state) {
            self.telemetry.health.set(&component, state);
            self.send("status", &self.status());
        }
    }

    /// How the feeds are, by name.
    pub fn status(&self) -> BTreeMap<String, State> {
        let mut components = self.telemetry.health.components();
        components.retain(|name, _| name.starts_with(COMPONENT));
        components
    }

    /// Tells browsers to ask for everything again.
    pub fn resync(&self) {
        self.events.send(resync()).ok();
    }

    /// All events from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// Without a listener nothing is written.
    fn send(&self, name: &'static str, value: &impl Serialize) {
        if self.events.receiver_count() == 0 {
            return;
        }
        if let Ok(data) = serde_json::to_string(value) {
            self.events.send(Event { name, data: data.into() }).ok();
        }
    }
}

/// Tells a browser to ask for everything again.
pub fn resync() -> Event {
    Event { name: "resync", data: "{}".into() }
}
