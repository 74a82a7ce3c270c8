//! The records of the courses, and what must become of each.

use crate::support::kafka::{Kafka, Record};
use crate::support::memory::CONFLICT;
use crate::support::sink::topics_toml;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use outlier::setup;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

pub const STAGES: [&str; 3] = ["raw", "enriched", "scores"];
/// Bytes of a bulk request that the proxy takes; some documents alone are longer.
pub const LARGEST: usize = 40_000;

/// Why a record is rejected: `outlier-reason` and a part of `outlier-detail`.
type Why = (&'static str, &'static str);
/// The document that a record becomes.
type Becomes = Result<Value, Why>;

/// What must be at the end.
#[derive(Default)]
pub struct Expected {
    /// For each stage the documents by id, without `@timestamp`.
    pub documents: [BTreeMap<String, Value>; 3],
    /// By source; the value as it was sent.
    pub rejected: BTreeMap<String, (Why, Vec<u8>)>,
}

impl Expected {
    pub fn indexed(&self) -> usize {
        self.documents.iter().map(BTreeMap::len).sum()
    }

    /// Every record.
    pub fn all(&self) -> usize {
        self.indexed() + self.rejected.len()
    }

    /// Fails unless the rejected topic has exactly these records.
    pub fn check_rejected(&self, records: &[Record], what: &str) {
        let mut found = BTreeMap::new();
        for record in records {
            let source = record.header("outlier-source").expect("outlier-source").to_owned();
            assert_eq!(record.header("outlier-service"), Some("sink"), "{what}: {source}");
            assert!(found.insert(source.clone(), record).is_none(), "{what}: {source} is rejected twice");
        }
        let (there, wanted): (Vec<_>, Vec<_>) = (found.keys().collect(), self.rejected.keys().collect());
        assert_eq!(there, wanted, "{what}: rejected");
        for (source, ((reason, detail), value)) in &self.rejected {
            let record = found[source];
            assert_eq!(record.header("outlier-reason"), Some(*reason), "{what}: {source}");
            let told = record.header("outlier-detail").unwrap_or_default();
            assert!(told.contains(detail), "{what}: {source}: {told}");
            assert!(record.value.as_ref() == Some(value), "{what}: {source} is not as it came");
        }
    }
}

/// Topics that all courses read, and what must become of them.
pub struct Records {
    pub servers: String,
    pub name: crate::support::Name,
    pub expected: Expected,
}

struct Sending<'a> {
    producer: &'a FutureProducer,
    topic: String,
    header: Option<String>,
    partition: i32,
}

impl Sending<'_> {
    /// Sends a record; its offset.
    async fn send(&self, value: Option<&[u8]>) -> i64 {
        let mut record: FutureRecord<'_, [u8], [u8]> = FutureRecord::to(&self.topic).partition(self.partition);
        record.payload = value;
        if let Some(source) = &self.header {
            record = record.headers(OwnedHeaders::new().insert(Header { key: "outlier-source", value: Some(source) }));
        }
        self.producer.send(record, Duration::from_secs(30)).await.unwrap().offset
    }
}

impl Records {
    /// Creates topics and fills them with `rounds` records of each kind.
    pub async fn produce(kafka: &Kafka, rounds: usize) -> Self {
        let name = crate::support::Name::new("faults");
        let servers = kafka.bootstrap.clone();
        let head = format!(
            "[kafka]\nbootstrap_servers = {servers:?}\ntopic_prefix = \"{name}.\"\nraw_partitions = 2\nreplication_factor = 1"
        );
        let config = crate::support::parse(&(crate::support::text(&head, "p") + &topics_toml(&name)));
        setup::ensure_topics(&config).await.unwrap();
        let mut records = Self { servers, name, expected: Expected::default() };
        let mut client = kafka.client();
        let producer: FutureProducer = client.set("message.max.bytes", "2200000").create().unwrap();
        let rounds = futures::future::join_all((0..rounds).map(|round| one_of_each(&producer, &records.name, round)));
        for part in rounds.await {
            for (all, some) in records.expected.documents.iter_mut().zip(part.documents) {
                all.extend(some);
            }
            records.expected.rejected.extend(part.rejected);
        }
        records
    }
}

/// Sends one record of each kind to each topic; what must become of them. `i` makes them differ.
async fn one_of_each(producer: &FutureProducer, name: &str, i: usize) -> Expected {
    let mut expected = Expected::default();
    let to = |stage: &str, header: Option<String>| Sending {
        producer,
        topic: format!("{name}.{stage}"),
        header,
        partition: (i % 2) as i32,
    };
    let partition = i % 2;
    let long = format!("{{\"i\":{i},\"long\":\"{}\"}}", "x".repeat(LARGEST));
    let too_large: Why = ("index", "http.max_content_length");
    let refused: Why = ("index", "mapper_parsing_exception");

    let object = json!({"i": i, "httpRequest": {"action": "ALLOW", "uri": format!("/{i}")}, "list": [1, i]});
    let conflict = json!({"i": i, CONFLICT: "no object"}).to_string();
    let text = format!("Jan 1 host sshd[{i}]: \"hé\"");
    let bytes = [b"\xff\xfe", i.to_string().as_bytes()].concat();
    let raw: Vec<(Option<Vec<u8>>, Becomes)> = vec![
        (Some(object.to_string().into()), Ok(object.clone())),
        (Some(Value::String(object.to_string()).to_string().into()), Ok(object.clone())),
        (Some(text.clone().into()), Ok(json!({"raw": text}))),
        (Some(conflict.into()), Err(refused)),
        (Some(bytes.clone()), Ok(json!({"raw_base64": BASE64_STANDARD.encode(&bytes)}))),
        (None, Ok(json!({"raw": null}))),
        (Some(long.clone().into()), Err(too_large)),
    ];
    for (value, becomes) in raw {
        let offset = to("raw", None).send(value.as_deref()).await;
        let id = format!("{name}.raw-{partition}-{offset}");
        expected.note(0, becomes, id, format!("{name}.raw/{partition}/{offset}"), value);
    }

    let outlier = json!({"pipeline": "p", "event_time": i});
    let enriched = |mut log: Value| {
        log["outlier"] = outlier.clone();
        log
    };
    let good = enriched(json!({"i": i, "httpRequest": {"action": "BLOCK"}, "good": 0, "bad": 1}));
    let conflict = enriched(json!({"i": i, CONFLICT: "no object"}));
    let large = enriched(serde_json::from_str(&long).unwrap());
    let unknown = enriched(json!({"i": i}));
    for (kind, (log, becomes, known)) in [
        (good.clone(), Ok(good.clone()), true),
        (conflict, Err(refused), true),
        (large, Err(too_large), true),
        (unknown, Err(("no-source", "topic/partition/offset")), false),
    ]
    .into_iter()
    .enumerate()
    {
        let value = log.to_string().into_bytes();
        let header = known.then(|| format!("{name}.raw/{kind}/{i}"));
        let offset = to("enriched", header).send(Some(&value)).await;
        let source = format!("{name}.enriched/{partition}/{offset}");
        expected.note(1, becomes, format!("{name}.raw-{kind}-{i}"), source, Some(value));
    }

    for series in ["sum(good)", "sum(bad)", ""] {
        let score = json!({"detector": "action", "series": series, "window_start": i, "window_end": i + 10, "value": 7.0,
            "expected": 1.5, "lower": 0.0, "upper": 4.0, "score": 88.5, "anomaly": true});
        let (value, becomes) = match series {
            "" => (b"no score".to_vec(), Err(("not-a-score", "not a score"))),
            _ => (score.to_string().into_bytes(), Ok(score)),
        };
        let offset = to("scores", None).send(Some(&value)).await;
        let source = format!("{name}.scores/{partition}/{offset}");
        expected.note(2, becomes, format!("action/{series}/{i}"), source, Some(value));
    }
    expected
}

impl Expected {
    fn note(&mut self, stage: usize, becomes: Becomes, id: String, source: String, value: Option<Vec<u8>>) {
        match becomes {
            Ok(document) => assert!(self.documents[stage].insert(id, document).is_none()),
            Err(why) => assert!(self.rejected.insert(source, (why, value.unwrap_or_default())).is_none()),
        }
    }
}
