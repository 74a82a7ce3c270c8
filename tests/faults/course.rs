//! One course: a sink of its own group reads all records through a proxy; then everything is compared.

use crate::records::{Expected, LARGEST, Records, STAGES};
use crate::support::http::plain;
use crate::support::kafka::Kafka;
use crate::support::memory::Memory;
use crate::support::proxy::{Fault, Plan, Proxy};
use crate::support::sink::{Running, check_offsets, outcomes};
use crate::support::standin::{self, Reply};
use crate::support::tls::Certificate;
use crate::support::{self, Folder, within};
use outlier::config::Config;
use outlier::setup;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a course is made of.
pub struct Course<'a> {
    pub kafka: &'a Kafka,
    pub records: &'a Records,
    /// The OpenSearch; `None`: an index in memory.
    pub server: Option<&'a str>,
    pub faults: Vec<Fault>,
    pub seed: u64,
    pub stall: Duration,
}

/// Where the documents go in the end.
pub enum Target {
    Memory(Arc<Mutex<Memory>>),
    /// `host:port`.
    Server(String),
}

impl Target {
    /// An index in memory and its address.
    pub async fn memory() -> (Self, String) {
        let memory = Arc::new(Mutex::new(Memory::default()));
        let served = Arc::clone(&memory);
        let answer =
            move |request: standin::Request| Reply::Json(200, served.lock().unwrap().bulk(&plain(request.body)));
        (Self::Memory(memory), standin::serve(answer).await)
    }

    /// Indices on a server, as the setup makes them.
    pub async fn server(records: &Records, own: &str, url: &str) -> Self {
        let mut config = config(records, own, &format!("urls = [{url:?}]"));
        config.sink.request_timeout = Duration::from_secs(60);
        setup::apply_index(&config).await.unwrap();
        Self::Server(support::opensearch::address(url).to_owned())
    }

    fn all(&self, index: &str) -> BTreeMap<String, Value> {
        match self {
            Self::Memory(memory) => memory.lock().unwrap().all(index),
            Self::Server(address) => support::opensearch::all(address, index),
        }
    }

    /// Fails unless every index holds exactly these documents.
    pub fn check(&self, prefix: &str, expected: &Expected, what: &str) {
        for (stage, wanted) in STAGES.iter().zip(&expected.documents) {
            let mut found = self.all(&format!("{prefix}p-{stage}"));
            for (id, document) in &mut found {
                let time = document.as_object_mut().and_then(|members| members.remove("@timestamp"));
                assert!(time.is_some_and(|time| time.is_i64()), "{what}: {stage} {id} has no @timestamp");
            }
            let missing: Vec<_> = wanted.keys().filter(|id| !found.contains_key(*id)).take(3).collect();
            let extra: Vec<_> = found.keys().filter(|id| !wanted.contains_key(*id)).take(3).collect();
            assert!(missing.is_empty() && extra.is_empty(), "{what}: {stage}: missing {missing:?}, extra {extra:?}");
            for (id, document) in found {
                assert_eq!(document, wanted[&id], "{what}: {stage} {id}");
            }
        }
    }
}

/// A configuration of a sink with a group, indices and a rejected topic of its own, all named `own`.
pub fn config(records: &Records, own: &str, opensearch: &str) -> Config {
    let (servers, name) = (&records.servers, &records.name);
    let head = format!(
        "[kafka]\nbootstrap_servers = {servers:?}\ntopic_prefix = \"{own}.\"\nraw_partitions = 2\nreplication_factor = 1\n\
         [sink]\nflush_interval = \"20ms\"\nbulk_records = 40\nrequest_timeout = \"2s\"\n\
         [opensearch]\nindex_prefix = \"{own}\"\nreplicas = 0\n{opensearch}"
    );
    let topics = support::sink::topics_toml(name).replace(&format!("{name}.rejected"), &format!("{own}.rejected"));
    support::parse(&(support::text(&head, "p") + &topics))
}

impl Course<'_> {
    /// For what is printed.
    pub fn name(&self) -> String {
        let index = if self.server.is_some() { "OpenSearch" } else { "memory" };
        let faults = if self.faults.len() == 1 { format!("{:?}", self.faults[0]) } else { "all faults".to_owned() };
        format!("{faults} with seed {} into {index}", self.seed)
    }

    /// Runs it; how many faults of which kind there were.
    pub async fn run(self) -> BTreeMap<Fault, usize> {
        let what = self.name();
        let Self { kafka, records, seed, .. } = self;
        let own = support::Name::new("course");
        let folder = Folder::new();
        let (target, url) = match self.server {
            None => Target::memory().await,
            Some(url) => (Target::server(records, &own, url).await, url.to_owned()),
        };
        let plan = Plan { seed, faults: self.faults, most: 3, stall: self.stall, largest: LARGEST };
        let mut tls = None;
        let mut options = format!("gzip = {}\n", seed % 3 == 0);
        if seed.is_multiple_of(2) {
            let authority = Certificate::authority("faults");
            let path = folder.0.join("ca.pem");
            std::fs::write(&path, authority.pem()).unwrap();
            options += &format!("ca_file = {path:?}\n");
            tls = Some(authority.issue("localhost").acceptor(None));
        }
        let proxy = Proxy::start(&url, plan, tls).await;
        let config = config(records, &own, &format!("urls = [{:?}]\n{options}", proxy.url));
        setup::ensure_topics(&config).await.unwrap();

        let running = Running::start(&config);
        let all = records.expected.all() as u64;
        // A stall may come before each of some waits.
        let limit = Duration::from_secs(90) + 4 * self.stall;
        within(limit, &what, || outcomes(&running.telemetry, "p").0 >= all).await;
        within(limit, "requests that were given up", || proxy.quiet()).await;
        let (read, out, there, rejected) = running.stop().await;
        let expected = &records.expected;
        assert_eq!(read, all, "{what}: each record is read once");
        assert_eq!((out + there) as usize, expected.indexed(), "{what}: indexed");
        assert_eq!(rejected as usize, expected.rejected.len(), "{what}: rejected");
        target.check(&own, expected, &what);
        expected.check_rejected(&kafka.read_all(&config.pipelines[0].topics.rejected), &what);
        check_offsets(&kafka.bootstrap, &config, &what);
        proxy.done()
    }
}
