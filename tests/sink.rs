//! The sink from topics to the index: everything once, whatever fails on the way.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod support;

use bytes::Bytes;
use outlier::config::{Config, Stage};
use outlier::index::opensearch::{Client, OpenSearch};
use outlier::index::sqlite::{Reader, Sqlite};
use outlier::index::{Document, Index, Outcome};
use outlier::setup;
use outlier::sink::batch::{Batch, Source};
use outlier::sink::delivery::Delivery;
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
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::standin::{self, Reply, Request};
use support::{Folder, until};
use tokio_util::sync::CancellationToken;

const SCORE: &str = r#"{"detector":"action","series":"sum(bad)","window_start":1000,"window_end":11000,"value":7.0,"count":9,"expected":1.5,"lower":0.0,"upper":4.0,"score":88.5,"anomaly":true,"confidence":1.0}"#;

fn document(stage: Stage, id: &str, body: Option<&[u8]>) -> Document {
    let body = body.map(Bytes::copy_from_slice);
    Document { pipeline: "p".into(), stage, id: id.to_owned(), timestamp_ms: 11_000, body }
}

/// Records of every kind, and whether an index must take them.
fn all_kinds() -> Vec<(Document, bool)> {
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let long = format!("{{\"obj\":{{\"long\":\"{}\"}}}}", "y".repeat(40_000));
    let raw: Vec<(&str, Option<&[u8]>)> = vec![
        ("object", Some(br#"{"a":1,"b":{"c":[{"d":true}]},"clientIp":"10.1.2.3"}"#)),
        ("spaces", Some(b" \n{\n \"a\" : 2,\r\n \"s\": \"x\\ny\"\n}\n ")),
        ("empty", Some(b"{ }")),
        ("string", Some(br#""{\"a\":3,\"t\":\"\\u00e9\"}""#)),
        ("own-time", Some(br#"{"@timestamp":"2026-01-01T00:00:00Z","a":4}"#)),
        ("text", Some("Jan 1 host sshd[1]: \"hé\"\nx".as_bytes())),
        ("broken", Some(br#"{"a":1,"#)),
        ("array", Some(b"[1,2]")),
        ("not-utf8", Some(b"{\"a\":\"\xff\"}")),
        ("tombstone", None),
        ("nothing", Some(b"")),
        ("deep", Some(deep.as_bytes())),
        ("duplicate", Some(br#"{"a":1,"a":2}"#)),
        ("conflict", Some(br#"{"a":{"not":"a number"}}"#)),
        ("long", Some(long.as_bytes())),
        ("no-name", Some(br#"{"":1}"#)),
    ];
    let mut all: Vec<_> = raw.into_iter().map(|(id, body)| (document(Stage::Raw, id, body), true)).collect();
    let enriched = br#"{"a":"x","good":0,"bad":1,"outlier":{"pipeline":"p","event_time":11000}}"#;
    all.push((document(Stage::Enriched, "good", Some(enriched)), true));
    all.push((document(Stage::Enriched, "tombstone", None), false));
    all.push((document(Stage::Scores, "action/sum(bad)/1000", Some(SCORE.as_bytes())), true));
    all
}

async fn check_outcomes(index: &dyn Index, expected: impl Fn(&Document, bool) -> Option<Outcome>) {
    let (documents, fit): (Vec<Document>, Vec<bool>) = all_kinds().into_iter().unzip();
    let outcomes = index.write(&documents).await.unwrap();
    for ((document, fit), outcome) in documents.iter().zip(fit).zip(outcomes) {
        let name = format!("{:?} {}", document.stage, document.id);
        match expected(document, fit) {
            Some(expected) => assert_eq!(outcome, expected, "{name}"),
            None => assert!(matches!(outcome, Outcome::Reject(_)), "{name}: {outcome:?}"),
        }
    }
}

#[tokio::test]
async fn sqlite_takes_everything_once_and_bounds_itself() {
    let folder = Folder::new();
    let path = folder.0.join("index.sqlite");
    let head = format!("[sink]\nindex = \"sqlite\"\n[sqlite]\npath = {path:?}\nmax_rows = 1000");
    let config = support::config(&head, "p");
    let index = Sqlite::open(&config).unwrap();
    check_outcomes(&index, |_, fit| fit.then_some(Outcome::Created)).await;
    // Opened again, as after a restart.
    let index = Sqlite::open(&config).unwrap();
    check_outcomes(&index, |_, fit| fit.then_some(Outcome::AlreadyThere)).await;
    let reader = Reader::open(&config.sqlite).unwrap();
    let anomalies = reader.anomalies("p", 10).unwrap();
    assert_eq!(anomalies.len(), 1);
    assert_eq!((anomalies[0].series.as_str(), anomalies[0].value, anomalies[0].score), ("sum(bad)", 7.0, 88.5));
    assert_eq!(reader.scores("p", 11_000, 11_001, 10).unwrap(), anomalies);
    assert_eq!(reader.scores("p", 0, 11_000, 10).unwrap(), []);
    for batch in 0..3 {
        let documents: Vec<Document> =
            (0..700).map(|i| document(Stage::Enriched, &format!("{batch}-{i}"), Some(b"{}"))).collect();
        assert!(index.write(&documents).await.unwrap().iter().all(|outcome| *outcome == Outcome::Created));
    }
    assert_eq!(reader.count("p", Stage::Enriched).unwrap(), 1000);
    assert_eq!(reader.count("p", Stage::Raw).unwrap(), 16);
    let newest = index.write(&[document(Stage::Enriched, "2-699", Some(b"{}"))]).await.unwrap();
    assert_eq!(newest, [Outcome::AlreadyThere]);
}

#[tokio::test]
async fn opensearch_takes_everything_once() {
    let Some(url) = support::opensearch() else { return };
    let prefix = support::unique("kinds");
    let head = format!("[opensearch]\nurls = [{url:?}]\nindex_prefix = \"{prefix}\"\nreplicas = 0");
    let config = support::config(&head, "p");
    setup::apply_index(&config).await.unwrap();
    let index = OpenSearch::new(&config).unwrap();
    check_outcomes(&index, |_, fit| fit.then_some(Outcome::Created)).await;
    check_outcomes(&index, |_, fit| fit.then_some(Outcome::AlreadyThere)).await;
    let bad = [
        document(Stage::Enriched, "duplicate", Some(br#"{"a":1,"a":2}"#)),
        document(Stage::Enriched, "deep", Some(format!("{}1{}", r#"{"a":"#.repeat(500), "}".repeat(500)).as_bytes())),
        document(Stage::Enriched, "after", Some(br#"{"a":"z"}"#)),
    ];
    let outcomes = index.write(&bad).await.unwrap();
    let reason = "mapper_parsing_exception: failed to parse: Duplicate field 'a' (status 400)";
    assert_eq!(outcomes[0], Outcome::Reject(reason.to_owned()));
    assert!(matches!(&outcomes[1], Outcome::Reject(why) if why.contains("128 levels")), "{:?}", outcomes[1]);
    assert_eq!(outcomes[2], Outcome::Created);

    let client = Client::new(&config).unwrap();
    for (stage, query, want) in [
        ("raw", "a:2", 1),
        ("raw", "a:>=1", 4),
        ("raw", "b.c.d:true", 1),
        ("raw", r#"clientIp.ip:"10.1.0.0/16""#, 1),
        ("raw", "original_timestamp:2026*", 1),
        ("raw", "raw:Jan*", 1),
        ("raw", "_exists_:raw_base64", 0),
        ("raw", "@timestamp:11000", 16),
        ("enriched", "bad:1 AND outlier.event_time:11000", 1),
        ("scores", "anomaly:true AND score:>88", 1),
    ] {
        let found = search(&client, &format!("{prefix}p-{stage}"), query).await;
        assert_eq!(found.len(), want, "{stage} {query}: {found:?}");
    }
    let raw: BTreeMap<String, Value> = search(&client, &format!("{prefix}p-raw"), "*").await.into_iter().collect();
    for (id, want) in [
        ("text", r#"{"@timestamp":11000,"raw":"Jan 1 host sshd[1]: \"hé\"\nx"}"#),
        ("tombstone", r#"{"@timestamp":11000,"raw":null}"#),
        ("not-utf8", r#"{"@timestamp":11000,"raw_base64":"eyJhIjoi/yJ9"}"#),
        ("duplicate", r#"{"@timestamp":11000,"raw":"{\"a\":1,\"a\":2}"}"#),
        ("string", r#"{"@timestamp":11000,"a":3,"t":"é"}"#),
        ("own-time", r#"{"@timestamp":11000,"original_timestamp":"2026-01-01T00:00:00Z","a":4}"#),
        ("empty", r#"{"@timestamp":11000}"#),
        ("spaces", r#"{"@timestamp":11000,"a":2,"s":"x\ny"}"#),
    ] {
        assert_eq!(raw[id], serde_json::from_str::<Value>(want).unwrap(), "{id}");
    }
    clean(&client, &prefix).await;
}

/// Real logs of the preset, raw and enriched: OpenSearch takes all, and they are found by their fields.
#[tokio::test]
async fn real_aws_waf_logs_are_searchable() {
    let (Some(url), Ok(shared)) = (support::opensearch(), std::env::var("OUTLIER_SHARED")) else {
        println!("skipped: OPENSEARCH_URL or OUTLIER_SHARED is not set");
        return;
    };
    let prefix = support::unique("aws");
    let text = format!(
        "[opensearch]\nurls = [{url:?}]\nindex_prefix = \"{prefix}\"\nreplicas = 0\n[[pipeline]]\npreset = \"aws-waf\"\nname = \"p\""
    );
    let config = support::parse(&text);
    setup::apply_index(&config).await.unwrap();
    let path = format!("{shared}/samples/aws_waf/aws-waf-security-automations-test_waf_log.gz");
    let mut logs = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut logs).unwrap();
    let transform = Transform::new(&config.pipelines[0]);
    let mut scratch = Scratch::default();
    let mut documents = Vec::new();
    for (i, line) in logs.lines().enumerate() {
        let enriched = transform.apply(Some(line.as_bytes()), -1, &Anomalies::default(), &mut scratch).unwrap();
        documents.push(document(Stage::Enriched, &i.to_string(), Some(enriched.bytes)));
        documents.push(document(Stage::Raw, &i.to_string(), Some(line.as_bytes())));
    }
    let outcomes = OpenSearch::new(&config).unwrap().write(&documents).await.unwrap();
    for (document, outcome) in documents.iter().zip(outcomes) {
        assert_eq!(outcome, Outcome::Created, "{:?} {:?}", document.stage, document.body);
    }
    let client = Client::new(&config).unwrap();
    let count = |part: &str| logs.lines().filter(|line| line.contains(part)).count();
    let all = logs.lines().count();
    for (query, want) in [
        ("action:BLOCK", count(r#""action":"BLOCK""#)),
        ("httpRequest.country:TR", count(r#""country":"TR""#)),
        ("ruleGroupList.ruleGroupId:AWS*", count("\"ruleGroupId\":\"AWS")),
        ("httpRequest.headers.name:Cookie", count(r#""name":"Cookie""#)),
        ("_exists_:raw", 0),
        ("@timestamp:11000", all),
    ] {
        for stage in ["raw", "enriched"] {
            assert_eq!(search(&client, &format!("{prefix}p-{stage}"), query).await.len(), want, "{stage} {query}");
        }
    }
    clean(&client, &prefix).await;
}

async fn search(client: &Client, index: &str, query: &str) -> Vec<(String, Value)> {
    let post = opensearch::http::Method::Post;
    client.send(post, &format!("/{index}/_refresh"), None).await.unwrap();
    let body = serde_json::json!({"size": 1000, "query": {"query_string": {"query": query}}}).to_string();
    let answer = client.send(post, &format!("/{index}/_search"), Some(body.into())).await.unwrap();
    let hits =
        answer.json().unwrap()["hits"]["hits"].as_array().cloned().unwrap_or_else(|| panic!("{}", answer.reason()));
    hits.iter().map(|hit| (hit["_id"].as_str().unwrap().to_owned(), hit["_source"].clone())).collect()
}

/// Removes a test's indices and templates.
async fn clean(client: &Client, prefix: &str) {
    for stage in ["raw", "enriched", "scores"] {
        let name = format!("{prefix}p-{stage}");
        client.send(opensearch::http::Method::Delete, &format!("/{name}"), None).await.unwrap();
        client.send(opensearch::http::Method::Delete, &format!("/_index_template/{name}"), None).await.unwrap();
    }
}

/// Takes bulk requests like OpenSearch, into memory.
#[derive(Default)]
struct Memory {
    documents: BTreeMap<String, Value>,
    requests: usize,
}

impl Memory {
    fn bulk(&mut self, body: &[u8]) -> String {
        let lines: Vec<Value> =
            str::from_utf8(body).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let items: Vec<String> = lines
            .chunks(2)
            .map(|pair| {
                let id = pair[0]["create"]["_id"].as_str().unwrap().to_owned();
                let new = self.documents.insert(id, pair[1].clone()).is_none();
                format!(r#"{{"create":{{"status":{}}}}}"#, if new { 201 } else { 409 })
            })
            .collect();
        format!(r#"{{"errors":false,"items":[{}]}}"#, items.join(","))
    }
}

/// Answers the first requests with faults, one each, then works; the fourth fault works and says that it did not.
fn faulty(memory: Arc<Mutex<Memory>>) -> impl FnMut(Request) -> Reply {
    move |request| {
        let mut memory = memory.lock().unwrap();
        memory.requests += 1;
        match memory.requests {
            1 => Reply::Json(503, r#"{"error":{"type":"x","reason":"starting"},"status":503}"#.to_owned()),
            2 => Reply::Json(429, r#"{"error":{"type":"x","reason":"busy"},"status":429}"#.to_owned()),
            3 => Reply::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n<html>welcome</html>"),
            4 => {
                memory.bulk(&request.body);
                Reply::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 2000\r\n\r\n{\"errors\":false,\"items\":[{")
            }
            5 => Reply::Json(200, r#"{"error":{"type":"x","reason":"odd"},"status":200}"#.to_owned()),
            6 => {
                let count = request.body.split(|byte| *byte == b'\n').count() / 2;
                let item = r#"{"create":{"status":429,"error":{"type":"rejected","reason":"queue full"}}}"#;
                Reply::Json(200, format!(r#"{{"errors":true,"items":[{}]}}"#, vec![item; count].join(",")))
            }
            7 => Reply::Json(403, r#"{"error":{"type":"cluster_block_exception","reason":"read only"}}"#.to_owned()),
            _ if request.body.len() > 3_000 => Reply::Json(413, String::new()),
            _ => Reply::Json(200, memory.bulk(&request.body)),
        }
    }
}

fn outcomes(telemetry: &Telemetry, pipeline: &str) -> (u64, u64, u64, u64) {
    let text = telemetry.metrics.text();
    let of = |outcome: &str| {
        let lines = text.lines().filter(|line| {
            line.contains(&format!("outcome=\"{outcome}\"")) && line.contains(&format!("pipeline=\"{pipeline}\""))
        });
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
    };
    (of("in"), of("out"), of("already_there"), of("rejected"))
}

#[tokio::test]
async fn a_delivery_waits_until_the_index_takes_it() {
    let memory = Arc::new(Mutex::new(Memory::default()));
    let url = standin::serve(faulty(Arc::clone(&memory))).await;
    let config = support::config(&format!("[opensearch]\nurls = [{url:?}]"), "p");
    let telemetry = Telemetry::default();
    let delivery = Delivery {
        index: Arc::new(OpenSearch::new(&config).unwrap()),
        rejects: Rejects::new(&config.kafka, "p.rejected").unwrap(),
        telemetry: telemetry.clone(),
        pipeline: "p".to_owned(),
        stop: CancellationToken::new(),
    };
    let mut batch = Batch::default();
    for offset in 0..100 {
        let source =
            Source { stage: Stage::Raw, topic: "p.raw".into(), partition: 2, offset, timestamp_ms: 0, key: None };
        batch.push(1, source, Ok(document(Stage::Raw, &offset.to_string(), Some(br#"{"a":1}"#))));
    }
    let positions = delivery.settle(batch).await.unwrap();
    assert_eq!(positions[&(Stage::Raw, 2)].next, 100);
    assert_eq!(memory.lock().unwrap().documents.len(), 100);
    // Halves of halves of a request that was too large, after seven faults.
    assert!(memory.lock().unwrap().requests > 10);
    assert_eq!(outcomes(&telemetry, "p"), (100, 0, 100, 0));
    assert_eq!(telemetry.health.components()[&delivery.component()], State::Ready);
}

#[tokio::test]
async fn a_delivery_is_given_up_when_the_sink_stops() {
    let config = support::config("[opensearch]\nurls = [\"http://127.0.0.1:1\"]", "p");
    let telemetry = Telemetry::default();
    let stop = CancellationToken::new();
    let delivery = Delivery {
        index: Arc::new(OpenSearch::new(&config).unwrap()),
        rejects: Rejects::new(&config.kafka, "p.rejected").unwrap(),
        telemetry: telemetry.clone(),
        pipeline: "p".to_owned(),
        stop: stop.clone(),
    };
    let mut batch = Batch::default();
    let source =
        Source { stage: Stage::Raw, topic: "p.raw".into(), partition: 0, offset: 0, timestamp_ms: 0, key: None };
    batch.push(1, source, Ok(document(Stage::Raw, "0", Some(b"{}"))));
    let component = delivery.component();
    let settling = tokio::spawn(async move { delivery.settle(batch).await });
    let waits =
        |state: Option<&State>| matches!(state, Some(State::Waiting { reason }) if reason.contains("does not answer"));
    until("health says what it waits for", || waits(telemetry.health.components().get(&component))).await;
    stop.cancel();
    assert!(settling.await.unwrap().is_err());
    assert_eq!(outcomes(&telemetry, "p"), (0, 0, 0, 0));
}

/// A started sink.
struct Running {
    telemetry: Telemetry,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<anyhow::Result<()>>,
}

impl Running {
    fn start(config: &Config) -> Self {
        let (telemetry, stop) = (Telemetry::default(), CancellationToken::new());
        let options = outlier::sink::Options { setup: false };
        let run = outlier::sink::run_with(Arc::new(config.clone()), options, telemetry.clone(), stop.clone());
        Self { telemetry, stop, task: tokio::spawn(run) }
    }

    async fn stop(self) -> (u64, u64, u64, u64) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
        outcomes(&self.telemetry, "p")
    }
}

/// Fills the three topics; answers how many records there are and how many of them are bad.
async fn fill(servers: &str, config: &Config) -> (u64, u64) {
    let producer: FutureProducer = ClientConfig::new().set("bootstrap.servers", servers).create().unwrap();
    let topics = &config.pipelines[0].topics;
    let mut records: Vec<(&str, Vec<u8>, Option<String>)> = Vec::new();
    for i in 0..500 {
        records.push((&topics.raw, format!("{{\"a\":{i}}}").into_bytes(), None));
        let enriched = format!(r#"{{"a":{i},"good":1,"bad":0,"outlier":{{"pipeline":"p","event_time":{i}}}}}"#);
        records.push((&topics.enriched, enriched.into_bytes(), Some(format!("{}/0/{i}", topics.raw))));
        let score = SCORE.replace("\"window_start\":1000", &format!("\"window_start\":{i}"));
        records.push((&topics.scores, score.into_bytes(), None));
    }
    for text in ["plain text", "{\"broken\"", "\u{feff}"] {
        records.push((&topics.raw, text.as_bytes().to_vec(), None));
    }
    records.push((&topics.raw, b"\xff\xfe".to_vec(), None));
    let good = records.len();
    records.push((&topics.enriched, br#"{"outlier":{"event_time":1}}"#.to_vec(), None));
    records.push((&topics.enriched, br#"{"no":"time"}"#.to_vec(), Some("r/0/1".to_owned())));
    records.push((&topics.scores, b"no score".to_vec(), None));
    let all = records.len();
    let sent = records.iter().map(|(topic, body, source)| {
        let mut record = FutureRecord::to(topic).payload(body).key("k");
        if let Some(source) = source {
            record = record.headers(OwnedHeaders::new().insert(Header { key: "outlier-source", value: Some(source) }));
        }
        producer.send(record, Duration::from_secs(30))
    });
    for delivered in futures::future::join_all(sent).await {
        delivered.unwrap();
    }
    (all as u64, (all - good) as u64)
}

fn topics_toml(name: &str) -> String {
    let stages = ["raw", "enriched", "windows", "scores", "state", "anomalies", "rejected"];
    let lines: Vec<String> = stages.iter().map(|stage| format!("{stage} = \"{name}.{stage}\"")).collect();
    format!("[pipeline.topics]\n{}\n", lines.join("\n"))
}

/// A configuration of the pipeline `p` on topics of this name; `group` comes before the group's name.
fn config_on(servers: &str, name: &str, group: &str, head: &str) -> Config {
    let head = format!(
        "[kafka]\nbootstrap_servers = {servers:?}\ntopic_prefix = \"{group}\"\nraw_partitions = 2\nreplication_factor = 1\n{head}"
    );
    let text = support::text(&head, "p") + &topics_toml(name);
    support::parse(&text)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sink_indexes_all_topics_once_and_rejects_the_rest() {
    let kafka = support::kafka::Kafka::start();
    let servers = kafka.bootstrap.clone();
    let (folder, name) = (Folder::new(), support::unique("sink"));
    let path = folder.0.join("index.sqlite");
    let head =
        format!("[sink]\nindex = \"sqlite\"\nflush_interval = \"50ms\"\nbulk_records = 100\n[sqlite]\npath = {path:?}");
    let config = config_on(&servers, &name, &format!("{name}a."), &head);
    setup::ensure_topics(&config).await.unwrap();
    let (all, bad) = fill(&servers, &config).await;

    let first = Running::start(&config);
    until("all is settled", || outcomes(&first.telemetry, "p").0 >= all).await;
    assert_eq!(first.stop().await, (all, all - bad, 0, bad));
    let reader = Reader::open(&config.sqlite).unwrap();
    let counts = [Stage::Raw, Stage::Enriched, Stage::Scores].map(|stage| reader.count("p", stage).unwrap());
    assert_eq!(counts, [504, 500, 500]);

    // The offsets were committed: only what came since is read.
    let (more, _) = (fill(&servers, &config).await, ());
    let second = Running::start(&config);
    until("the rest is settled", || outcomes(&second.telemetry, "p").0 >= more.0).await;
    // Raw records have new ids; enriched and scores have those of the first time.
    assert_eq!(second.stop().await, (more.0, 504, 1_000, bad));

    // Another group reads everything again and changes nothing.
    let again = config_on(&servers, &name, &format!("{name}b."), &head);
    let third = Running::start(&again);
    until("the replay is settled", || outcomes(&third.telemetry, "p").0 >= 2 * all).await;
    assert_eq!(third.stop().await, (2 * all, 0, 2 * (all - bad), 2 * bad));

    let rejected = read_all(&servers, &format!("{name}.rejected"), 4 * bad as usize);
    let kinds: BTreeSet<&str> = rejected.iter().map(|(headers, _)| headers["outlier-reason"].as_str()).collect();
    assert_eq!(kinds, BTreeSet::from(["no-source", "no-event-time", "not-a-score"]));
    for (headers, body) in &rejected {
        assert_eq!(headers["outlier-service"], "sink");
        assert!(headers["outlier-source"].starts_with(&name) && !headers["outlier-detail"].is_empty(), "{headers:?}");
        if headers["outlier-reason"] == "not-a-score" {
            assert_eq!(body, b"no score");
        }
    }
}

/// Reads `count` records of a topic: headers and value.
fn read_all(servers: &str, topic: &str, count: usize) -> Vec<(BTreeMap<String, String>, Vec<u8>)> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", servers)
        .set("group.id", support::unique("reader"))
        .set("auto.offset.reset", "earliest")
        .create()
        .unwrap();
    consumer.subscribe(&[topic]).unwrap();
    let mut records = Vec::new();
    for _ in 0..600 {
        if records.len() >= count {
            break;
        }
        let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else { continue };
        let headers = message.headers().into_iter().flat_map(Headers::iter);
        let text = |value: Option<&[u8]>| String::from_utf8(value.unwrap_or_default().to_vec()).unwrap();
        let headers = headers.map(|header| (header.key.to_owned(), text(header.value))).collect();
        records.push((headers, message.payload().unwrap_or_default().to_vec()));
    }
    assert_eq!(records.len(), count, "records of {topic}");
    records
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_is_down_loses_and_doubles_nothing() {
    let kafka = support::kafka::Kafka::start();
    let servers = kafka.bootstrap.clone();
    let memory = Arc::new(Mutex::new(Memory::default()));
    let url = standin::serve(faulty(Arc::clone(&memory))).await;
    let name = support::unique("down");
    let head = format!("[sink]\nflush_interval = \"50ms\"\nbulk_records = 20\n[opensearch]\nurls = [{url:?}]");
    let config = config_on(&servers, &name, &format!("{name}."), &head);
    setup::ensure_topics(&config).await.unwrap();
    let (all, bad) = fill(&servers, &config).await;
    let running = Running::start(&config);
    until("all is settled", || outcomes(&running.telemetry, "p").0 >= all).await;
    let (read, out, there, rejected) = running.stop().await;
    assert_eq!((read, out + there, rejected), (all, all - bad, bad));
    assert_eq!(memory.lock().unwrap().documents.len() as u64, all - bad);
}

#[tokio::test(flavor = "multi_thread")]
async fn sinks_that_come_and_go_share_the_work() {
    let kafka = support::kafka::Kafka::start();
    let servers = kafka.bootstrap.clone();
    let memory = Arc::new(Mutex::new(Memory::default()));
    let served = Arc::clone(&memory);
    let url = standin::serve(move |request| Reply::Json(200, served.lock().unwrap().bulk(&request.body))).await;
    let name = support::unique("share");
    let head = format!("[sink]\nflush_interval = \"10ms\"\nbulk_records = 7\n[opensearch]\nurls = [{url:?}]");
    let config = config_on(&servers, &name, &format!("{name}."), &head);
    // The first starts before its topics are there: it says what to do, and goes on when it is done.
    let first = Running::start(&config);
    let told =
        |state: Option<&State>| matches!(state, Some(State::Waiting { reason }) if reason.contains("outlier setup"));
    until("the missing topics are told", || told(first.telemetry.health.components().get("sink.p.kafka"))).await;
    setup::ensure_topics(&config).await.unwrap();
    let (all, bad) = fill(&servers, &config).await;
    until("the first works", || outcomes(&first.telemetry, "p").0 > 0).await;
    let second = Running::start(&config);
    until("the second has joined", || second.telemetry.health.components().get("sink.p.kafka") == Some(&State::Ready))
        .await;
    let (more, _) = fill(&servers, &config).await;
    until("the second works", || outcomes(&second.telemetry, "p").0 > 0).await;
    let (a, out_a, there_a, rejected_a) = first.stop().await;
    // Enriched and scores came twice under the same ids; raw did not.
    let distinct = (all - bad + 504) as usize;
    until("all is there", || memory.lock().unwrap().documents.len() == distinct).await;
    until("all is settled", || a + outcomes(&second.telemetry, "p").0 >= all + more).await;
    let (b, out_b, there_b, rejected_b) = second.stop().await;
    assert_eq!(a + b, out_a + there_a + rejected_a + out_b + there_b + rejected_b);
    assert_eq!(out_a + out_b, distinct as u64);
    // Each stop committed what was done: nobody has anything left to do.
    assert_eq!((a + b, rejected_a + rejected_b), (all + more, 2 * bad));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_that_opensearch_refuses_goes_to_the_rejected_topic() {
    let Some(url) = support::opensearch() else { return };
    let kafka = support::kafka::Kafka::start();
    let servers = kafka.bootstrap.clone();
    let name = support::unique("refused");
    let head = format!(
        "[sink]\nflush_interval = \"50ms\"\n[opensearch]\nurls = [{url:?}]\nindex_prefix = \"{name}\"\nreplicas = 0"
    );
    let config = config_on(&servers, &name, &format!("{name}."), &head);
    setup::ensure_topics(&config).await.unwrap();
    setup::apply_index(&config).await.unwrap();
    let (all, bad) = fill(&servers, &config).await;
    let producer: FutureProducer = ClientConfig::new().set("bootstrap.servers", &servers).create().unwrap();
    let body = r#"{"x":1,"x":2,"outlier":{"event_time":5}}"#;
    let headers = OwnedHeaders::new().insert(Header { key: "outlier-source", value: Some("r/7/7") });
    let record = FutureRecord::to(&config.pipelines[0].topics.enriched).payload(body).key("k").headers(headers);
    producer.send(record, Duration::from_secs(30)).await.unwrap();
    let running = Running::start(&config);
    until("all is settled", || outcomes(&running.telemetry, "p").0 > all).await;
    assert_eq!(running.stop().await, (all + 1, all - bad, 0, bad + 1));
    let rejected = read_all(&servers, &format!("{name}.rejected"), bad as usize + 1);
    let refused: Vec<_> = rejected.iter().filter(|(headers, _)| headers["outlier-reason"] == "index").collect();
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].1, body.as_bytes());
    assert!(refused[0].0["outlier-detail"].contains("Duplicate field 'x'"), "{refused:?}");
    let client = Client::new(&config).unwrap();
    assert_eq!(search(&client, &format!("{name}p-enriched"), "good:1").await.len(), 500);
    clean(&client, &name).await;
}
