//! A broker, the service on it, and receivers that remember what they were told.

use crate::support::kafka::{Kafka, flush};
use crate::support::outlier::Outlier;
use crate::support::standin::{Reply, Request, serve};
use crate::support::{Workplace, score_row, text, wait};
use rdkafka::producer::BaseRecord;
use serde_json::Value;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Length of a window; milliseconds.
pub const WINDOW: i64 = 10_000;
/// Of the topics for scores and alerts.
pub const PARTITIONS: i32 = 2;
const PATIENCE: Duration = Duration::from_secs(60);

/// What a receiver was told.
#[derive(Debug, Clone)]
pub struct Said {
    pub key: Option<String>,
    pub body: Value,
}

/// Given the number of the request, from 1.
type Answer = fn(usize) -> Reply;

/// Takes messages; how it answers can change.
pub struct Receiver {
    pub url: String,
    said: Arc<Mutex<Vec<Said>>>,
    answer: Arc<Mutex<Answer>>,
    _runtime: tokio::runtime::Runtime,
}

impl Receiver {
    pub fn start() -> Self {
        Self::answering(|_| Reply::Json(200, "{}".to_owned()))
    }

    pub fn answering(answer: Answer) -> Self {
        let said: Arc<Mutex<Vec<Said>>> = Arc::default();
        let answer = Arc::new(Mutex::new(answer));
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (heard, how) = (Arc::clone(&said), Arc::clone(&answer));
        let url = runtime.block_on(serve(move |request: Request| {
            let key = request.header("idempotency-key").map(str::to_owned);
            let body = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
            let mut heard = heard.lock().unwrap();
            heard.push(Said { key, body });
            how.lock().unwrap()(heard.len())
        }));
        Self { url, said, answer, _runtime: runtime }
    }

    pub fn answers(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    pub fn said(&self) -> Vec<Said> {
        self.said.lock().unwrap().clone()
    }

    pub fn wait(&self, messages: usize) {
        wait(&format!("message {messages}"), PATIENCE, || self.said.lock().unwrap().len() >= messages);
    }

    /// Its table in the configuration.
    pub fn channel(&self, name: &str, severity: &str) -> String {
        let url = &self.url;
        format!(
            "[[alerting.channels]]\nname = \"{name}\"\ntype = \"webhook\"\nurl = \"{url}/x\"\nseverity = \"{severity}\"\n"
        )
    }
}

pub struct Scene {
    pub kafka: Kafka,
    pub place: Workplace,
    pub config: PathBuf,
    /// Start of window 0: a moment ago.
    base: i64,
}

impl Scene {
    /// This service is the owner, messages go out at once.
    pub fn new(name: &str, channels: &str) -> Self {
        Self::with(name, channels, "group_wait = \"0s\"")
    }

    pub fn with(name: &str, channels: &str, alerting: &str) -> Self {
        Self::full(name, "", &format!("owner = \"outlier\"\n{alerting}\n{channels}"))
    }

    /// `head` is what comes before `[alerting]`.
    pub fn full(name: &str, head: &str, alerting: &str) -> Self {
        let (kafka, place) = (Kafka::start(), Workplace::new(name));
        let (bootstrap, prefix) = (&kafka.bootstrap, &place.prefix);
        let head = format!(
            "[kafka]\nbootstrap_servers = \"{bootstrap}\"\ntopic_prefix = \"{prefix}\"\n[process]\ndata_dir = \"data\"\n\
             [telemetry]\nlisten = \"127.0.0.1:0\"\n{head}\n[alerting]\n{alerting}\n"
        );
        let config = place.file("outlier.toml", &text(&head, "p"));
        let topic = |stage: &str| format!("{prefix}p.{stage}");
        kafka.create(&[(topic("scores"), PARTITIONS), (topic("alerts"), PARTITIONS)]);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
        let base = now - now % WINDOW - 12 * WINDOW;
        Self { kafka, place, config, base }
    }

    pub fn start(&self, name: &str) -> Outlier {
        Outlier::start(&self.config, name, &["alert"])
    }

    pub fn topic(&self, stage: &str) -> String {
        format!("{}p.{stage}", self.place.prefix)
    }

    /// Writes rows of a series from a window on, one a score; from 90 on they are anomalous.
    pub fn rows(&self, series: &str, from: i64, scores: &[f64]) {
        let producer = self.kafka.producer();
        let topic = self.topic("scores");
        for (window, score) in (from..).zip(scores) {
            let row = score_row(series, self.base + window * WINDOW, WINDOW, *score);
            let (key, value) = (format!("action/{series}"), row.to_string());
            // As `process`, which leaves the choice of the partition to the key; here both are used for certain.
            let partition = i32::from(series == "sum(good)");
            let record = BaseRecord::to(&topic).partition(partition).key(&key).payload(&value);
            producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        flush(&producer);
    }

    /// Everything in the alerts topic.
    pub fn alerts(&self) -> Vec<Value> {
        let records = self.kafka.read_all(&self.topic("alerts"));
        let alert = |record: &crate::support::kafka::Record| {
            let value: Value = serde_json::from_str(&record.text()).unwrap();
            assert_eq!(Some(value["id"].as_str().unwrap().as_bytes()), record.key.as_deref());
            value
        };
        records.iter().map(alert).collect()
    }

    /// The last record of each alert.
    pub fn latest(&self) -> Vec<Value> {
        let mut latest = std::collections::BTreeMap::new();
        for alert in self.alerts() {
            latest.insert(alert["id"].to_string(), alert);
        }
        latest.into_values().collect()
    }

    /// Waits until every message that is owed was delivered, and that is committed.
    pub fn settled(&self) {
        self.until("an outbox that is empty", |latest| latest.iter().all(|alert| alert.get("owed").is_none()));
    }

    pub fn until(&self, what: &str, done: impl Fn(&[Value]) -> bool) {
        wait(what, PATIENCE, || {
            let latest = self.latest();
            !latest.is_empty() && done(&latest)
        });
    }
}
