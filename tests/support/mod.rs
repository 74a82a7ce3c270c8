//! Finds Kafka and OpenSearch for tests, and stands in for OpenSearch where faults are wanted.
//!
//! Not every test uses everything here.
#![allow(dead_code, missing_docs, clippy::unwrap_used, clippy::expect_used)]

pub mod standin;

use outlier::config::{Config, Environment};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A broker's address, or `None` with a line that says why.
pub fn kafka() -> Option<String> {
    found("KAFKA_BOOTSTRAP_SERVERS")
}

/// A cluster's address, or `None` with a line that says why.
pub fn opensearch() -> Option<String> {
    found("OPENSEARCH_URL")
}

fn found(variable: &str) -> Option<String> {
    let value = std::env::var(variable).ok().filter(|value| !value.is_empty());
    if value.is_none() {
        println!("skipped: {variable} is not set");
    }
    value
}

/// A name that no other test and no earlier run has used.
pub fn unique(name: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    format!("t{name}{}{}", now.as_micros(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A fresh folder, removed when dropped.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        let path = std::env::temp_dir().join(unique("folder"));
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
pub async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(60), "waited too long: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
