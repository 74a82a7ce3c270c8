//! The sink from topics to the index: everything once, whatever fails on the way.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod commits;
mod delivery;
mod index;
mod malformed;
mod service;
#[path = "../support/mod.rs"]
mod support;
mod trouble;

use outlier::config::{Config, Stage};
use outlier::index::opensearch::{Client, OpenSearch};
use outlier::index::sqlite::{Reader, Sqlite};
use outlier::index::{Document, Index, Outcome};
use outlier::setup;
use outlier::sink::batch::{Batch, Source};
use outlier::sink::delivery::Delivery;
use outlier::sink::pace::{Pace, Step};
use outlier::sink::rejects::Rejects;
use outlier::telemetry::Telemetry;
use outlier::telemetry::health::State;
use outlier_core::record::{Anomalies, Scratch, Transform};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::http::plain;
use support::memory::Memory;
use support::sink::{Running, check_offsets, outcomes, topics_toml, write};
use support::standin::{self, Reply, Request};
use support::{Folder, until};
use tokio_util::sync::CancellationToken;

const ALERT: &str = r#"{"id":"0123456789abcdef","state":"firing","sequence":1,"severity":"normal","detector":"action","series":"sum(bad){a=1}","by":{"a":"1"},"start":1000,"end":11000,"updated":11000,"windows":1,"peak":{"window_end":11000,"value":5,"expected":1,"lower":0,"upper":3,"score":99.5,"why":[{"field":"f","value":"x","now":0.5,"usual":0.1,"contribution":100.0}]},"tell":true,"told":11000,"owed":[{"occasion":"began","since":1,"batch":"b","channels":["team"]}]}"#;

const SCORE: &str = r#"{"detector":"action","series":"sum(bad)","window_start":1000,"window_end":11000,"value":7.0,"count":9,"expected":1.5,"lower":0.0,"upper":4.0,"score":88.5,"anomaly":true,"confidence":1.0}"#;

async fn search(client: &Client, index: &str, query: &str) -> Vec<(String, Value)> {
    let post = opensearch::http::Method::Post;
    client.send(post, &format!("/{index}/_refresh"), None).await.unwrap();
    let body = serde_json::json!({"size": 1000, "query": {"query_string": {"query": query}}}).to_string();
    let answer = client.send(post, &format!("/{index}/_search"), Some(body.into())).await.unwrap();
    let hits =
        answer.json().unwrap()["hits"]["hits"].as_array().cloned().unwrap_or_else(|| panic!("{}", answer.reason()));
    hits.iter().map(|hit| (hit["_id"].as_str().unwrap().to_owned(), hit["_source"].clone())).collect()
}

/// Answers the first requests with faults, one each, then works; the fourth fault works and says that it did not.
fn faulty(memory: Arc<Mutex<Memory>>) -> impl FnMut(Request) -> Reply {
    move |request| {
        let body = plain(request.body);
        let mut memory = memory.lock().unwrap();
        memory.requests += 1;
        match memory.requests {
            1 => Reply::Json(503, r#"{"error":{"type":"x","reason":"starting"},"status":503}"#.to_owned()),
            2 => Reply::Json(429, r#"{"error":{"type":"x","reason":"busy"},"status":429}"#.to_owned()),
            3 => Reply::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n<html>welcome</html>"),
            4 => {
                memory.bulk(&body);
                Reply::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 2000\r\n\r\n{\"errors\":false,\"items\":[{")
            }
            5 => Reply::Json(200, r#"{"error":{"type":"x","reason":"odd"},"status":200}"#.to_owned()),
            6 => {
                let count = body.split(|byte| *byte == b'\n').count() / 2;
                let item = r#"{"create":{"status":429,"error":{"type":"rejected","reason":"queue full"}}}"#;
                Reply::Json(200, format!(r#"{{"errors":true,"items":[{}]}}"#, vec![item; count].join(",")))
            }
            7 => Reply::Json(403, r#"{"error":{"type":"cluster_block_exception","reason":"read only"}}"#.to_owned()),
            _ if body.len() > 3_000 => Reply::Json(413, String::new()),
            _ => Reply::Json(200, memory.bulk(&body)),
        }
    }
}

fn document(stage: Stage, id: &str, body: Option<&[u8]>) -> Document<'static> {
    let body = body.map(|body| body.to_vec().into());
    Document { stage, id: id.to_owned().into(), timestamp_ms: 11_000, period_ms: 11_000, body }
}
