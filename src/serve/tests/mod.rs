//! The routes against a hub in memory: no Kafka, no port.

mod api;
mod events;
mod feed;
mod guard;

use super::api::router;
use super::hub::Hub;
use super::testing::config;
use super::trigger::Trigger;
use crate::telemetry::Telemetry;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, Response};
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// A service in memory.
struct World {
    hub: Arc<Hub>,
    router: Router,
    /// What the button asked for.
    requests: mpsc::Receiver<String>,
    stop: CancellationToken,
}

/// The `waf` pipeline, served as `[serve]` says.
fn world(serve: &str) -> World {
    world_with(serve, "")
}

/// The same with tables of the pipeline.
fn world_with(serve: &str, tables: &str) -> World {
    let pipeline = "[[pipeline]]\npreset = \"waf\"\nwindow = \"10s\"\nlateness = \"2s\"";
    let config = config(&format!("{serve}\n{pipeline}\n{tables}\n"));
    let (sender, requests) = mpsc::channel(1);
    let trigger = Trigger::new(vec!["action".to_owned(), "country".to_owned()], sender);
    let stop = CancellationToken::new();
    let address: SocketAddr = config.serve.listen.address;
    let hub = Arc::new(Hub::new(&config, Some(trigger), Telemetry::default(), address, stop.clone()));
    World { router: router(hub.clone()), hub, requests, stop }
}

impl World {
    /// Sends a request with these headers; the body is empty or JSON.
    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Response<Body> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_owned())).expect("a request");
        match self.router.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    /// The status and the JSON of an answer (null when it is none).
    async fn get(&self, path: &str) -> (u16, Value) {
        let response = self.send("GET", path, &[("host", "localhost:8080")], "").await;
        let status = response.status().as_u16();
        (status, serde_json::from_str(&text(response).await).unwrap_or(Value::Null))
    }
}

async fn text(response: Response<Body>) -> String {
    let bytes = to_bytes(response.into_body(), 16 << 20).await.expect("a body");
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}
