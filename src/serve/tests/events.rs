//! Server-sent events.

use super::super::testing::score;
use super::{World, world};
use crate::telemetry::health::State;
use axum::body::BodyDataStream;
use axum::http::StatusCode;
use futures::StreamExt;
use serde_json::Value;

/// A browser that listens.
struct Browser {
    stream: BodyDataStream,
    text: String,
}

impl Browser {
    async fn listen(world: &World) -> Self {
        let response = world.send("GET", "/api/events", &[("host", "localhost")], "").await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { stream: response.into_body().into_data_stream(), text: String::new() }
    }

    /// The next event's name and JSON; `None` at the stream's end.
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let line = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
                let found = line("event: ").zip(line("data: "));
                self.text = rest.to_owned();
                let (name, data) = found.expect("an event has a name and data");
                return Some((name, serde_json::from_str(&data).expect("JSON")));
            }
            let bytes = self.stream.next().await?.expect("a chunk");
            self.text.push_str(std::str::from_utf8(&bytes).expect("UTF-8"));
        }
    }

    async fn name(&mut self) -> Option<String> {
        self.next().await.map(|(name, _)| name)
    }
}

#[tokio::test]
async fn scores_anomalies_records_and_states_are_delivered() {
    let world = world("");
    let mut browser = Browser::listen(&world).await;
    assert_eq!(browser.name().await.as_deref(), Some("resync"));

    world.hub.score(0, &score("action", "sum(B_action)", 0, 9.0, true), true);
    world.hub.score(0, &score("action", "sum(B_action)", 10_000, 9.0, true), false);
    world.hub.score(0, &score("hostile", "sum(B_action)", 0, 9.0, true), true);
    world.hub.record(0, br#"{"action":"<script>alert(1)</script>\n\nevent: x","B_action":1}"#, 5);
    world.hub.set("waf.scores", State::Ready);
    world.hub.set("waf.scores", State::Ready);
    world.hub.resync();

    let (name, data) = browser.next().await.expect("an event");
    assert_eq!((name.as_str(), &data["pipeline"], &data["value"]), ("score", &"waf".into(), &9.0.into()));
    assert_eq!(browser.name().await.as_deref(), Some("anomaly"));
    let (name, data) = browser.next().await.expect("an event");
    assert_eq!((name.as_str(), &data["cells"][0]["flag"]), ("tail", &"bad".into()));
    assert_eq!(data["cells"][0]["value"], "<script>alert(1)</script>\n\nevent: x");
    assert_eq!(
        browser.next().await.map(|(name, data)| (name, data["serve waf.scores"]["state"].clone())),
        Some(("status".to_owned(), "ready".into()))
    );
    assert_eq!(browser.name().await.as_deref(), Some("resync"));
}

#[tokio::test]
async fn a_browser_that_lags_is_told_to_ask_again() {
    let world = world("");
    let mut browser = Browser::listen(&world).await;
    for i in 0..5_000 {
        world.hub.score(0, &score("action", "sum(B_action)", i * 10_000, 1.0, false), true);
    }
    assert_eq!(browser.name().await.as_deref(), Some("resync"), "the first event");
    assert_eq!(browser.name().await.as_deref(), Some("resync"), "it lagged");
    let (_, data) = browser.next().await.expect("an event");
    assert!(data["window_start"].as_i64() >= Some(3_900 * 10_000), "the backlog is bounded: {data}");
}

#[tokio::test]
async fn a_stop_ends_the_stream() {
    let world = world("");
    let mut browser = Browser::listen(&world).await;
    assert_eq!(browser.name().await.as_deref(), Some("resync"));
    world.stop.cancel();
    assert_eq!(browser.name().await, None);
}

#[tokio::test]
async fn listeners_are_bounded() {
    let world = world("");
    let mut browsers = Vec::new();
    for _ in 0..64 {
        browsers.push(Browser::listen(&world).await);
    }
    let listen = async || world.send("GET", "/api/events", &[("host", "localhost")], "").await.status();
    assert_eq!(listen().await, StatusCode::SERVICE_UNAVAILABLE);
    browsers.pop();
    assert_eq!(listen().await, StatusCode::OK);
}
