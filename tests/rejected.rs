//! What was rejected goes back once, after a fix: to the raw topic, or into the index.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use opensearch::http::Method;
use outlier::index::opensearch::Client;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::BaseRecord;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::kafka::{Kafka, Record, flush};
use support::outlier::Outlier;
use support::pipeline::{START, configuration, create, topic};
use support::standin::{Reply, Request, serve};
use support::{Workplace, wait};

const GOOD: u64 = 5;

/// Runs a command to its end: exit code and standard output.
fn outlier(config: &Path, args: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outlier"));
    let output = command.arg("--config").arg(config).args(args).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

fn put(kafka: &Kafka, topic: &str, records: &[(String, &str)]) {
    let producer = kafka.producer();
    for (n, (value, source)) in records.iter().enumerate() {
        let source: &str = source;
        let headers = OwnedHeaders::new()
            .insert(Header { key: "host", value: Some("web-1") })
            // A record's own header makes no mark of it.
            .insert(Header { key: "outlier-replayed", value: Some("0/0") })
            .insert(Header { key: "outlier-source", value: Some(source) });
        let record = BaseRecord::to(topic).partition(n as i32 % 2).key("k").payload(value);
        producer.send(record.timestamp(START + n as i64).headers(headers)).unwrap();
    }
    flush(&producer);
}

fn marks(records: &[Record]) -> usize {
    records
        .iter()
        .filter(|record| record.header("outlier-replayed").is_some() && record.header("outlier-reason").is_none())
        .count()
}

#[test]
fn to_raw() {
    let (kafka, place) = (Kafka::start(), Workplace::new("replay"));
    let raw = topic(&place, "logs", "raw");
    kafka.create(&[(raw.clone(), 2)]);
    create(&kafka, &place, "logs");
    let configured = |file, field| {
        let windows = format!("timestamp = {{ field = \"{field}\" }}");
        configuration(&kafka, &place, [file, "logs"], &raw, "", &windows)
    };
    // Somebody named the wrong field.
    let (wrong, right) = (configured("wrong", "time"), configured("right", "timestamp"));
    let mut records: Vec<_> = (0..GOOD).map(|n| (format!(r#"{{"timestamp":{},"n":{n}}}"#, START), "-")).collect();
    records.push(("not json\u{1b}[2J".to_owned(), "-"));
    put(&kafka, &raw, &records);
    let rejected = topic(&place, "logs", "rejected");
    let process = Outlier::start(&wrong, "wrong", &["process"]);
    wait("all records rejected", Duration::from_secs(60), || kafka.read_all(&rejected).len() == records.len());
    assert!(process.stop().success());

    let (code, text) = outlier(&right, &["rejected", "list"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("5 rejected by process: no-timestamp\n1 rejected by process: syntax\n"), "{text}");
    assert!(text.contains(&format!("process  syntax  {raw}/1/2\n")) && text.contains("    not json [2J\n"), "{text}");
    let (_, rows) = outlier(&right, &["rejected", "list", "--json", "--reason", "syntax"]);
    let row: Value = serde_json::from_str(&rows).unwrap();
    assert_eq!((&row["value"], &row["replayed"]), (&json!("not json\u{1b}[2J"), &json!(false)));

    let replay = |more: &[&str]| {
        let args = [&["rejected", "replay", "--to", "raw", "--reason", "no-timestamp"], more].concat();
        outlier(&right, &args)
    };
    let said = |what: &str, before: u64| format!("{what} back to {raw}; {before} had gone back before\n");
    assert_eq!(replay(&["--dry-run"]), (0, said("5 records would go", 0)));
    assert_eq!(kafka.read_all(&raw).len(), 6);
    // A `process` that was killed has left its transaction open: what went back is marked behind it.
    let half = BaseRecord::to(&rejected).partition(0).key("k").payload("half");
    let _dead = kafka.open_transaction(&format!("{}dead", place.prefix), Duration::from_secs(3), half);
    assert_eq!(replay(&[]), (0, said("5 records went", 0)));
    assert_eq!(replay(&[]), (0, said("0 records went", 5)), "each goes back once");
    let all = kafka.read_all(&raw);
    assert_eq!(all.len(), 11);
    // As they were: key, value, partition, and their own headers alone.
    let of = |partition: i32| all.iter().filter(move |record| record.partition == partition).cloned();
    for partition in [0, 1] {
        let good: Vec<Record> = of(partition).filter(|record| record.text().starts_with('{')).collect();
        let (first, again) = good.split_at(good.len() / 2);
        for (first, again) in first.iter().zip(again) {
            assert_eq!((&first.key, &first.value), (&again.key, &again.value));
            assert_eq!(again.headers, [("host".to_owned(), "web-1".to_owned())]);
        }
    }
    let process = Outlier::start(&right, "right", &["process"]);
    let enriched = topic(&place, "logs", "enriched");
    wait("the records enriched", Duration::from_secs(60), || kafka.read_all(&enriched).len() as u64 == GOOD);
    assert!(process.stop().success());
    let all = kafka.read_all(&rejected);
    assert_eq!((all.len() - marks(&all), marks(&all)), (6, 5), "nothing is rejected anew");
    let (_, text) = outlier(&right, &["rejected", "list", "--limit", "0"]);
    assert!(text.starts_with("5 rejected by process: no-timestamp, 5 of them went back\n1 "), "{text}");
}

/// While `process` rejects again what comes back, as fast as it is sent, the command ends all the same.
#[test]
fn what_is_rejected_again_waits_for_the_next_time() {
    let many = vec![("not json".to_owned(), "-"); 4_000];
    let (kafka, place) = (Kafka::start(), Workplace::new("again"));
    let raw = topic(&place, "logs", "raw");
    kafka.create(&[(raw.clone(), 2)]);
    create(&kafka, &place, "logs");
    let config = configuration(&kafka, &place, ["again", "logs"], &raw, "", "");
    put(&kafka, &raw, &many);
    let rejected = topic(&place, "logs", "rejected");
    let process = Outlier::start(&config, "again", &["process"]);
    let count =
        |wanted| wait("rejected records", Duration::from_secs(60), || kafka.read_all(&rejected).len() == wanted);
    count(many.len());
    let went = format!("4,000 records went back to {raw}; 0 had gone back before\n");
    assert_eq!(outlier(&config, &["rejected", "replay", "--to", "raw"]), (0, went));
    // Each with its mark, and once more.
    count(3 * many.len());
    assert!(process.stop().success());
}

/// Takes every document but those with `bad` in them, while `strict`.
fn index(strict: Arc<AtomicBool>, there: Arc<Mutex<BTreeMap<String, String>>>) -> impl FnMut(Request) -> Reply {
    move |request| {
        let body = String::from_utf8(request.body).unwrap();
        let lines: Vec<&str> = body.lines().collect();
        let item = |pair: &[&str]| {
            let action: Value = serde_json::from_str(pair[0]).unwrap();
            let id = action["create"]["_id"].as_str().unwrap().to_owned();
            if strict.load(Ordering::Relaxed) && pair[1].contains("bad") {
                let error = json!({"type": "mapper_parsing_exception", "reason": "no number"});
                return json!({"create": {"status": 400, "error": error}});
            }
            let known = there.lock().unwrap().insert(id, pair[1].to_owned()).is_some();
            json!({"create": {"status": if known { 409 } else { 201 }}})
        };
        let items: Vec<Value> = lines.chunks_exact(2).map(item).collect();
        Reply::Json(200, json!({"errors": true, "items": items}).to_string())
    }
}

#[test]
fn to_the_index() {
    let (kafka, place) = (Kafka::start(), Workplace::new("replay-index"));
    let raw = topic(&place, "logs", "raw");
    kafka.create(&[(raw.clone(), 2)]);
    create(&kafka, &place, "logs");
    let (strict, there) = (Arc::new(AtomicBool::new(true)), Arc::default());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let url = runtime.block_on(serve(index(Arc::clone(&strict), Arc::clone(&there))));
    let config = configuration(&kafka, &place, ["logs", "logs"], &raw, "", "");
    let text = support::read(&config);
    std::fs::write(&config, format!("{text}[opensearch]\nurls = [\"{url}\"]\n[sink]\nflush_interval = \"50ms\"\n"))
        .unwrap();
    // A raw record, and enriched ones of which one has no source: no document can be made of it.
    put(&kafka, &raw, &[(r#"{"v":"bad"}"#.to_owned(), "-"), (r#"{"v":1}"#.to_owned(), "-")]);
    let enriched = |v: &str| format!(r#"{{"v":"{v}","outlier":{{"event_time":77}}}}"#);
    let records = [(enriched("bad"), "r-x/3/9"), (enriched("fine"), "r-x/3/10"), (enriched("lost"), "nowhere")];
    put(&kafka, &topic(&place, "logs", "enriched"), &records);
    let sink = Outlier::start(&config, "sink", &["sink", "--no-setup"]);
    let rejected = topic(&place, "logs", "rejected");
    wait("three are rejected", Duration::from_secs(60), || kafka.read_all(&rejected).len() == 3);
    wait("two are indexed", Duration::from_secs(60), || there.lock().unwrap().len() == 2);
    assert!(sink.stop().success());

    let replay = || outlier(&config, &["rejected", "replay", "--to", "index"]);
    let no_source =
        "1 could not: the header outlier-source is not topic/partition/offset: was the record written by `process`?\n";
    let said = |back, before| format!("{back} records went back to the index; {before} had gone back before\n");
    let refused = "2 could not: mapper_parsing_exception: no number (status 400)\n";
    assert_eq!(replay(), (1, said(0, 0) + refused + no_source), "it is not mended yet");
    strict.store(false, Ordering::Relaxed);
    assert_eq!(replay(), (1, said(2, 0) + no_source));
    assert_eq!(replay(), (1, said(0, 2) + no_source));
    let there = there.lock().unwrap();
    assert_eq!(there.len(), 4);
    assert!(there[&format!("{raw}-0-0")].starts_with(&format!(r#"{{"@timestamp":{START},"v":"bad""#)), "{there:?}");
    assert!(there["r-x-3-9"].starts_with(r#"{"@timestamp":77,"v":"bad""#), "{there:?}");
    assert_eq!(marks(&kafka.read_all(&rejected)), 2, "what is refused again is not written again");
}

/// A log with more fields than the index takes, until somebody raises the limit.
#[test]
fn to_the_index_of_a_real_server() {
    let Some(server) = support::opensearch() else { return };
    let (kafka, place) = (Kafka::start(), Workplace::new("replay-real"));
    let raw = topic(&place, "logs", "raw");
    kafka.create(&[(raw.clone(), 2)]);
    create(&kafka, &place, "logs");
    let config = configuration(&kafka, &place, ["logs", "logs"], &raw, "", "");
    let prefix = support::Name::new("replay");
    let more = format!(
        "[opensearch]\nurls = [{server:?}]\nindex_prefix = \"{prefix}\"\nreplicas = 0\n[sink]\nflush_interval = \"50ms\"\n"
    );
    std::fs::write(&config, support::read(&config) + &more).unwrap();
    assert_eq!(outlier(&config, &["setup", "--only-index"]).0, 0);
    let client = Client::new(&support::parse(&support::read(&config))).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let ask = |method, path: String, body: Option<Value>| {
        let answer = runtime.block_on(client.send(method, &path, body.map(|body| body.to_string().into()))).unwrap();
        assert!(answer.good(), "{path}: {}", answer.reason());
    };
    let indices = ["raw", "enriched"].map(|stage| format!("{prefix}logs-{stage}"));
    let limit = |fields: u32| {
        let body = json!({"index.mapping.total_fields.limit": fields});
        ask(Method::Put, format!("/{}/_settings", indices.join(",")), Some(body));
    };
    limit(1);
    let new: Vec<String> = (0..3).map(|n| format!(r#""new_{n}":"x""#)).collect();
    let logs = [r#""action":"BLOCK""#.to_owned(), new.join(",")];
    put(&kafka, &raw, &logs.each_ref().map(|own| (format!("{{{own}}}"), "-")));
    let enriched = |own: &String| format!(r#"{{{own},"outlier":{{"event_time":{START}}}}}"#);
    let records = [(enriched(&logs[0]), "r-x/3/9"), (enriched(&logs[1]), "r-x/3/10")];
    put(&kafka, &topic(&place, "logs", "enriched"), &records);
    let sink = Outlier::start(&config, "sink", &["sink", "--no-setup"]);
    let rejected = topic(&place, "logs", "rejected");
    wait("one of each is rejected", Duration::from_secs(60), || kafka.read_all(&rejected).len() == 2);
    let address = support::opensearch::address(&server);
    let documents = |index: &String| support::opensearch::documents(address, index);
    wait("one of each is indexed", Duration::from_secs(60), || indices.iter().all(|index| documents(index) == 1));
    assert!(sink.stop().success());

    let replay = || outlier(&config, &["rejected", "replay", "--to", "index"]);
    let (code, said) = replay();
    assert!(code == 1 && said.contains("2 could not: ") && said.contains("Limit of total fields [1]"), "{said}");
    limit(2_000);
    for (back, before) in [(2, 0), (0, 2)] {
        assert_eq!(replay(), (0, format!("{back} records went back to the index; {before} had gone back before\n")));
    }
    for (index, id) in indices.iter().zip([format!("{raw}-1-0"), "r-x-3-10".to_owned()]) {
        let there = support::opensearch::all(address, index);
        assert_eq!((there.len(), &there[&id]["new_2"]), (2, &json!("x")), "{there:?}");
    }
}
