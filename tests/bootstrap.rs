//! `bootstrap` as a child process: models that learned the first half of the records from files or an index score the
//! second half as those that saw all of it live; and nothing that was learned is ever overwritten.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use bytes::Bytes;
use opensearch::http::Method;
use outlier::index::opensearch::Client;
use rand::prelude::*;
use rand::rngs::StdRng;
use rdkafka::producer::BaseRecord;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use support::kafka::{Kafka, flush, send};
use support::outlier::Outlier;
use support::standin::{self, Reply, Request};
use support::{Workplace, wait};

const PARTITIONS: i32 = 3;
/// A whole hour.
const START: i64 = 1_795_392_000_000;
/// Where the live records begin.
const HALF: i64 = START + 600_000;
const END: i64 = START + 1_200_000;

/// Sums, groups, a bound that is reached, windows that overlap and that the cut goes through, a longer window.
const DETECTORS: &str = r#"
[[pipeline.detectors]]
name = "action"
measures = ["sum(good)", "sum(bad)"]
explain = ["country"]
[[pipeline.detectors]]
name = "place"
measures = ["count", "ratio(bad)", "distinct(status)"]
by = ["country", "status"]
hop = "10s"
window = "30s"
[[pipeline.detectors]]
name = "bounded"
measures = ["count"]
by = ["status"]
max_series = 1
[[pipeline.detectors]]
name = "slow"
measures = ["mean(status)", "rare(country)"]
hop = "1m"
window = "4m"
"#;

struct World {
    kafka: Kafka,
    place: Workplace,
    /// Each partition's records of the first half, and of the second.
    halves: [Vec<Vec<String>>; 2],
}

impl World {
    /// Records in order of time, or with late ones among them.
    fn new(name: &str, late: bool) -> Self {
        let mut rng = StdRng::seed_from_u64(3);
        let empty = || vec![Vec::new(); PARTITIONS as usize];
        let mut halves = [empty(), empty()];
        let mut time = START;
        while time < END {
            time += rng.random_range(0..200);
            let second = usize::from(time >= HALF);
            let late = if late && rng.random_bool(0.05) { rng.random_range(0..30_000) } else { 0 };
            // A record belongs to the half that it came in.
            let at = (time - late).max([START, HALF][second]);
            let action = if rng.random_bool(0.1) { "BLOCK" } else { "ALLOW" };
            let status = [200, 404, 502].choose(&mut rng).unwrap();
            let country = ["US", "UK"].choose(&mut rng).unwrap();
            let record = format!(
                r#"{{"timestamp":{at},"status":{status},"country":"{country}","httpRequest":{{"action":"{action}"}}}}"#
            );
            halves[second].choose_mut(&mut rng).unwrap().push(record);
        }
        let last = format!(r#"{{"timestamp":{},"httpRequest":{{"action":"ALLOW"}}}}"#, END + 600_000);
        halves[1].iter_mut().for_each(|partition| partition.push(last.clone()));
        Self { kafka: Kafka::start(), place: Workplace::new(name), halves }
    }

    fn topic(&self, pipeline: &str, stage: &str) -> String {
        format!("{}{pipeline}.{stage}", self.place.prefix)
    }

    /// Topics and configuration of a pipeline whose raw topic holds these halves.
    fn pipeline(&self, name: &str, halves: &[Vec<Vec<String>>], more: &str) -> PathBuf {
        let stages = [("raw", 3), ("enriched", 3), ("windows", 3), ("scores", 2), ("state", 3), ("anomalies", 1)];
        let stages = stages.into_iter().chain([("rejected", 2)]);
        self.kafka.create(&stages.map(|(stage, n)| (self.topic(name, stage), n)).collect::<Vec<_>>());
        let producer = self.kafka.producer();
        for half in halves {
            for (partition, records) in half.iter().enumerate() {
                for record in records {
                    send(&producer, &self.topic(name, "raw"), partition as i32, Some(record.as_bytes()), END + 600_000);
                }
            }
        }
        flush(&producer);
        let (bootstrap, prefix) = (&self.kafka.bootstrap, &self.place.prefix);
        let head = format!(
            "[kafka]\nbootstrap_servers = \"{bootstrap}\"\ntopic_prefix = \"{prefix}\"\n[process]\nidle_timeout = \"10m\"\n\
             data_dir = \"{name}-data\"\n[telemetry]\nlisten = \"127.0.0.1:0\"\n{more}"
        );
        let text = support::text(&head, name);
        let begin = text.find("[[pipeline.detectors]]").unwrap();
        self.place.file(&format!("{name}.toml"), &format!("{}{DETECTORS}", &text[..begin]))
    }

    /// The rows that `process` writes for windows that end after the first half, once there are as many as given.
    fn live(&self, name: &str, config: &Path, rows: usize) -> Vec<Value> {
        let process = Outlier::start(config, &format!("process-{name}"), &["process"]);
        let read = || -> Vec<Value> {
            let all = self.kafka.read_all(&self.topic(name, "scores"));
            let rows = all.iter().map(|record| serde_json::from_str::<Value>(&record.text()).unwrap());
            rows.filter(|row| row["window_end"].as_i64() > Some(HALF)).collect()
        };
        let ended = |rows: &[Value]| rows.iter().filter(|row| row["window_end"] == json!(END + 540_000)).count() > 7;
        wait("the rows", Duration::from_secs(120), || {
            let found = read();
            ended(&found) && found.len() >= rows
        });
        assert!(process.stop().success());
        let mut found = read();
        found.sort_by_key(|row| (row["window_end"].as_i64(), row["detector"].to_string(), row["series"].to_string()));
        found
    }
}

fn outlier(config: &Path, args: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outlier"));
    command.arg("--config").arg(config).args(args).current_dir(config.parent().unwrap());
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn same(got: &[Value], expected: &[Value]) {
    let differing = got.iter().zip(expected).find(|(got, expected)| got != expected);
    assert!(got == expected, "{} rows, {} expected; first that differ: {differing:#?}", got.len(), expected.len());
}

/// From files, with late records in both halves.
#[test]
fn scores_go_on_from_files() {
    let world = World::new("history", true);
    let whole = world.pipeline("whole", &world.halves, "");
    let config = world.pipeline("later", &world.halves[1..], "");
    // Among them are files that begin some minutes behind the end of the history.
    let later = world.halves[1].iter().map(|records| &records[records.len() / 2..]);
    for (file, records) in world.halves[0].iter().map(Vec::as_slice).chain(later).enumerate() {
        world.place.file(&format!("{file}.json"), &records.join("\n"));
    }
    let until = HALF.to_string();
    let args = ["bootstrap", "2.json", "4.json", "0.json", "1.json", "3.json", "5.json", "--until", &until];
    let state = || world.kafka.read_all(&world.topic("later", "state"));

    let (code, out, err) = outlier(&config, &[&args[..], &["--dry-run"]].concat());
    assert!(code == 0 && out.contains("nothing was changed (dry run)"), "{code}: {out}{err}");
    assert!(state().is_empty(), "a dry run writes nothing");

    // A bootstrap that was killed has left its transaction open: the next one takes its place.
    let id = format!("{}later.score.bootstrap", world.place.prefix);
    let topic = world.topic("later", "state");
    let half = BaseRecord::to(&topic).partition(0).key("group/action-00000000/").payload("half");
    let _dead = world.kafka.open_transaction(&id, Duration::from_secs(600), half);

    let (code, out, err) = outlier(&config, &args);
    assert!(code == 0 && out.contains("written:"), "{code}: {out}{err}");
    assert!(out.contains("action: `process` goes on from 2026-11-23 00:10:00 UTC"), "{out}");
    assert!(
        out.contains("(late)") && out.contains("of which 2 are still learning"),
        "ten minutes are few for `slow`: {out}"
    );
    let written = state();
    assert_eq!(written.iter().filter(|record| record.key.as_deref() == Some(b"progress")).count(), 3);

    // It is there for good.
    let (code, _, err) = outlier(&config, &args);
    assert!(code == 1 && err.contains("has committed offsets"), "{code}: {err}");
    assert_eq!(state(), written);

    let expected = world.live("whole", &whole, 0);
    let got = world.live("later", &config, expected.len());
    same(&got, &expected);
    assert!(got.iter().any(|row| row["left_out"]["late"].as_u64() > Some(0)));
    let learning = |row: &&Value| row.get("learning").is_some() && row["detector"] != "slow";
    assert_eq!(got.iter().find(learning), None, "nothing else is left to learn");
}

/// Whatever `process` has learned is not touched, and a running one is not disturbed.
#[test]
fn what_is_learned_is_kept() {
    let world = World::new("kept", false);
    let config = world.pipeline("kept", &world.halves[1..], "");
    world.place.file("0.json", &world.halves[0][0].join("\n"));
    let process = Outlier::start(&config, "process", &["process"]);
    wait("a score", Duration::from_secs(60), || !world.kafka.read_all(&world.topic("kept", "scores")).is_empty());
    let (code, _, err) = outlier(&config, &["bootstrap", "0.json"]);
    assert!(code == 1 && err.contains("`process` is running"), "{code}: {err}");
    assert!(process.stop().success());
    let before = world.kafka.read_all(&world.topic("kept", "state"));
    let (code, _, err) = outlier(&config, &["bootstrap", "0.json"]);
    assert!(code == 1 && err.contains("has committed offsets") && err.contains("delete the topics"), "{code}: {err}");
    assert_eq!(world.kafka.read_all(&world.topic("kept", "state")), before);
    // Bad calls.
    for (args, said) in [
        (vec!["bootstrap"], "FILE"),
        (vec!["bootstrap", "x.json", "--index"], "cannot be used with"),
        (vec!["bootstrap", "--index", "--until", "noon"], "noon"),
    ] {
        let (code, _, err) = outlier(&config, &args);
        assert!(code != 0 && err.contains(said), "{args:?} {code}: {err}");
    }
    let fresh = world.pipeline("fresh", &[], "");
    for (args, said) in [
        (vec!["bootstrap", "--topic", &world.topic("fresh", "raw")], "the topic that `process` reads"),
        (vec!["bootstrap", "none.json"], "none.json"),
        (vec!["bootstrap", "fresh.toml"], "no window is over"),
    ] {
        let (code, _, err) = outlier(&fresh, &args);
        assert!(code == 1 && err.contains(said), "{args:?} {code}: {err}");
    }
    // Another topic, at last.
    let other = world.topic("kept", "raw");
    let (code, out, err) = outlier(&fresh, &["bootstrap", "--topic", &other, "--until", &END.to_string()]);
    assert!(code == 0 && out.contains("written:"), "{code}: {out}{err}");
}

/// Documents as the sink writes them: with flags and `outlier`; their `@timestamp` is when they were sent, an hour later.
fn documents(world: &World) -> Vec<Value> {
    let mut documents: Vec<Value> = Vec::new();
    for record in world.halves[0].iter().flatten() {
        let mut document: Value = serde_json::from_str(record).unwrap();
        document["@timestamp"] = json!(document["timestamp"].as_i64().unwrap() + 3_600_000);
        (document["good"], document["bad"]) = (json!(1), json!(1));
        document["outlier"] = json!({"pipeline": "p", "event_time": document["timestamp"]});
        documents.push(document);
    }
    documents
}

fn from_index(world: &World, urls: &str, index: &str) {
    let whole = world.pipeline("whole", &world.halves, "");
    let config = world.pipeline("later", &world.halves[1..], &format!("[opensearch]\nurls = [\"{urls}\"]\n"));
    let until = HALF.to_string();
    let (code, out, err) = outlier(&config, &["bootstrap", "--index", index, "--until", &until]);
    let count = world.halves[0].iter().map(Vec::len).sum::<usize>();
    let text = count.to_string();
    let thousands = format!("{},{}", &text[..text.len() - 3], &text[text.len() - 3..]);
    assert!(code == 0 && out.contains(&format!("read: {thousands} records")), "{count} {code}: {out}{err}");
    let expected = world.live("whole", &whole, 0);
    same(&world.live("later", &config, expected.len()), &expected);
}

/// From a server that answers as OpenSearch does before it knew `_shard_doc`.
#[tokio::test(flavor = "multi_thread")]
async fn scores_go_on_from_an_index() {
    let world = tokio::task::spawn_blocking(|| World::new("standin", false)).await.unwrap();
    let found: BTreeMap<(i64, String), Value> = documents(&world)
        .into_iter()
        .enumerate()
        .map(|(n, document)| ((document["@timestamp"].as_i64().unwrap(), format!("{n:06}")), document))
        .collect();
    let total = found.len();
    let answer = move |request: Request| {
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        match (request.method.as_str(), request.path.as_str()) {
            ("POST", "/history-*/_search/point_in_time?keep_alive=10m") => {
                Reply::Json(200, json!({"pit_id": "x"}).to_string())
            }
            ("DELETE", "/_search/point_in_time") => Reply::Json(200, "{}".into()),
            ("POST", "/_search") if body["sort"][1].get("_shard_doc").is_some() => Reply::Json(
                400,
                json!({"error": {"type": "x", "reason": "No mapping found for [_shard_doc]"}}).to_string(),
            ),
            ("POST", "/_search") => {
                assert_eq!(
                    (&body["pit"]["id"], &body["query"]),
                    (&json!("x"), &json!({"range": {"@timestamp": {"format": "epoch_millis"}}}))
                );
                let after = body["search_after"]
                    .as_array()
                    .map(|after| (after[0].as_i64().unwrap(), after[1].as_str().unwrap().to_owned()));
                let later = found.iter().filter(|(key, _)| after.as_ref().is_none_or(|after| *key > after));
                let size = body["size"].as_u64().unwrap() as usize;
                let hits: Vec<Value> =
                    later.take(size).map(|(key, source)| json!({"_source": source, "sort": [key.0, key.1]})).collect();
                Reply::Json(200, json!({"hits": {"total": {"value": total}, "hits": hits}}).to_string())
            }
            (method, path) => panic!("{method} {path}"),
        }
    };
    let url = standin::serve(answer).await;
    tokio::task::spawn_blocking(move || from_index(&world, &url, "history-*")).await.unwrap();
}

/// From the real thing, in two shards.
#[tokio::test(flavor = "multi_thread")]
async fn scores_go_on_from_opensearch() {
    let Some(url) = support::opensearch() else { return };
    let world = tokio::task::spawn_blocking(|| World::new("real", false)).await.unwrap();
    let index = support::Name::new("history");
    let client = Client::new(&support::config(&format!("[opensearch]\nurls = [\"{url}\"]\n"), "p")).unwrap();
    let send = async |method, path: String, body: String| {
        let answer = client.send(method, &path, Some(Bytes::from(body))).await.unwrap();
        assert!(answer.good(), "{path}: {}", answer.reason());
        answer.json().unwrap()
    };
    let mapping = json!({
        "settings": {"number_of_shards": 2, "number_of_replicas": 0},
        "mappings": {"properties": {"@timestamp": {"type": "date"}}},
    });
    send(Method::Put, format!("/{index}"), mapping.to_string()).await;
    let mut bulk = String::new();
    for document in documents(&world) {
        bulk.push_str(&format!("{}\n{document}\n", json!({"create": {"_index": *index}})));
    }
    let answer = send(Method::Post, "/_bulk?refresh=true".into(), bulk).await;
    assert_eq!(answer["errors"], false);
    let (name, urls) = (index.to_string(), url.clone());
    tokio::task::spawn_blocking(move || from_index(&world, &urls, &name)).await.unwrap();
}
