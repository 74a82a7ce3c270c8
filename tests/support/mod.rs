//! What the black-box tests share: a broker, a place to work in, the outlier binary as a child process.
//!
//! The broker is the one of `KAFKA_BOOTSTRAP_SERVERS`, else an embedded one. Each test works under a topic prefix of
//! its own, so that tests can share a broker.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

pub mod cluster;
pub mod control;
pub mod http;
pub mod kafka;
pub mod memory;
pub mod name;
pub mod opensearch;
pub mod outlier;
pub mod pipeline;
pub mod proxy;
pub mod recorded;
pub mod sink;
pub mod standin;
pub mod tls;

pub use name::Name;

use ::outlier::config::{Config, Environment};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A course's setting in the environment, or what it is without.
pub fn from_env<T: std::str::FromStr>(name: &str, default: T) -> T {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// A folder that is removed at the end, and a topic prefix.
pub struct Workplace {
    pub dir: PathBuf,
    pub prefix: Name,
}

impl Workplace {
    pub fn new(name: &str) -> Self {
        let prefix = Name::prefix(name);
        let dir = std::env::temp_dir().join(format!("outlier-{}", prefix.trim_end_matches('.')));
        std::fs::create_dir_all(&dir).unwrap();
        Self { dir, prefix }
    }

    /// Writes a file into the folder.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}

/// Waits until `done`, with a bound; `what` says in the failure what did not come.
pub fn wait(what: &str, limit: Duration, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !done() {
        assert!(Instant::now() < deadline, "{what} did not come within {limit:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The folder with samples and the stack, for tests that need it.
pub fn shared() -> Option<PathBuf> {
    let path = std::env::var_os("OUTLIER_SHARED").map(PathBuf::from).filter(|path| path.is_dir());
    if path.is_none() {
        println!("skipped: OUTLIER_SHARED is not set");
    }
    path
}

pub fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// A cluster's address, or `None` with a line that says why.
pub fn opensearch() -> Option<String> {
    found("OPENSEARCH_URL")
}

/// Addresses of nodes that cannot help: nobody is there, the node finds no cluster, a proxy finds no node.
pub async fn useless_nodes() -> [String; 3] {
    let no_cluster = r#"{"error":{"type":"cluster_manager_not_discovered_exception","reason":null},"status":503}"#;
    let answers = [(503, no_cluster), (502, "<html>bad gateway")];
    let [no_cluster, no_node] =
        answers.map(|(status, body)| standin::serve(move |_| standin::Reply::Json(status, body.to_owned())));
    ["http://127.0.0.1:1".to_owned(), no_cluster.await, no_node.await]
}

fn found(variable: &str) -> Option<String> {
    let value = std::env::var(variable).ok().filter(|value| !value.is_empty());
    if value.is_none() {
        println!("skipped: {variable} is not set");
    }
    value
}

/// A fresh folder, removed when dropped.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        let path = std::env::temp_dir().join(name::unused("folder"));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A pipeline of two flags and one detector; `head` comes before it.
pub fn config(head: &str, pipeline: &str) -> Config {
    parse(&text(head, pipeline))
}

/// Reads a configuration that must be valid.
pub fn parse(text: &str) -> Config {
    Config::parse(text, "test", &Environment::default()).unwrap_or_else(|mistakes| panic!("{mistakes}\n{text}"))
}

/// The text of [`config`]; tables of the pipeline may follow.
pub fn text(head: &str, pipeline: &str) -> String {
    format!(
        r#"{head}
[[pipeline]]
name = "{pipeline}"
window = "10s"
lateness = "2s"
windows_partitions = 3
[[pipeline.flags]]
name = "action"
field = "httpRequest.action"
good = {{ name = "good", match = ["ALLOW"] }}
bad = {{ name = "bad", match = ["BLOCK"] }}
other = "neither"
[[pipeline.detectors]]
name = "action"
measures = ["sum(good)", "sum(bad)"]
"#
    )
}

/// Waits for a condition; panics with `what` after a minute.
pub async fn until(what: &str, done: impl FnMut() -> bool) {
    within(Duration::from_secs(60), what, done).await;
}

/// Waits for a condition; panics with `what` after so long.
pub async fn within(limit: Duration, what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < limit, "waited too long: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A row of scores as `process` writes it, of a window of detector `action` that is anomalous from a score of 90 on.
pub fn score_row(series: &str, start: i64, length: i64, score: f64) -> serde_json::Value {
    let mut row = serde_json::json!({
        "detector": "action", "series": series, "window_start": start, "window_end": start + length,
        "value": score, "count": 100, "expected": 1.0, "lower": 0.0, "upper": 7.0, "score": score,
        "anomaly": score >= 90.0, "confidence": 0.9,
    });
    if score >= 90.0 {
        let cause = serde_json::json!({
            "field": "httpRequest.country", "value": "XX", "now": 0.9, "usual": 0.02, "contribution": 100.0,
        });
        row["why"] = serde_json::json!([cause]);
    }
    row
}

/// All of these fit a published schema.
pub fn fits_schema(name: &str, values: &[serde_json::Value]) {
    let path = format!("{}/docs/schemas/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let schema = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for value in values {
        let errors: Vec<String> = validator.iter_errors(value).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{name}: {errors:?} in {value}");
    }
}
