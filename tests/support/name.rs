//! Names of a test's own on servers that others use too.

use super::{kafka, opensearch};
use std::fmt::{Display, Formatter};
use std::ops::Deref;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// The start of names that no other test and no earlier run has used: of topics, indices, groups.
///
/// At the end all topics (not groups), indices, templates and ingest pipelines that begin with it are deleted from the servers of
/// the environment: a node of OpenSearch has room for 1,000 shards, and Kafka starts slowly with thousands of
/// partitions. What a failed test wrote stays, as somebody may look at it.
#[derive(Debug)]
pub struct Name(String);

impl Name {
    pub fn new(name: &str) -> Self {
        Self(unused(name))
    }

    /// With a dot at its end.
    pub fn prefix(name: &str) -> Self {
        Self(unused(name) + ".")
    }
}

/// A name as it is, with nothing on a server.
pub fn unused(name: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    // Of one length, so that none is the start of another.
    format!("test-{name}-{}{:05}", now.as_micros(), COUNT.fetch_add(1, Ordering::Relaxed))
}

impl Drop for Name {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        if let Ok(servers) = std::env::var("KAFKA_BOOTSTRAP_SERVERS") {
            kafka::delete_topics(&servers, self);
        }
        if let Some(server) = std::env::var("OPENSEARCH_URL").ok().filter(|url| !url.is_empty()) {
            opensearch::delete_all(opensearch::address(&server), self);
        }
    }
}

impl Deref for Name {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl Display for Name {
    fn fmt(&self, to: &mut Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(to)
    }
}
