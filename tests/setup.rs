//! The setup: what is missing is created, what is there is compared, a second run changes nothing.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod support;

use outlier::config::Config;
use outlier::index::opensearch::Client;
use outlier::setup::{self, Options};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use support::standin::{self, Reply, Request};
use support::{Folder, unique};

const TOPICS: Options = Options { dry_run: false, topics: true, index: false };
const INDEX: Options = Options { dry_run: false, topics: false, index: true };

async fn run(config: &Config, options: Options) -> (Vec<String>, Result<(), String>) {
    let mut out = Vec::new();
    let result = setup::run(config, options, &mut out).await.map_err(|error| format!("{error:#}"));
    (String::from_utf8(out).unwrap().lines().map(str::to_owned).collect(), result)
}

fn starting_with<'l>(lines: &'l [String], start: &str) -> Vec<&'l String> {
    lines.iter().filter(|line| line.starts_with(start)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_created_once_and_compared_after() {
    let kafka = support::kafka::Kafka::start();
    let servers = kafka.bootstrap.clone();
    let prefix = unique("topics");
    let with = |more: &str, partitions: u32| {
        let head = format!(
            "[kafka]\nbootstrap_servers = {servers:?}\ntopic_prefix = \"{prefix}.\"\nreplication_factor = 1\n{more}"
        );
        support::parse(
            &support::text(&head, "p").replace("windows_partitions = 3", &format!("windows_partitions = {partitions}")),
        )
    };
    let config = with("raw_partitions = 2", 3);
    let dry = Options { dry_run: true, ..TOPICS };
    let (lines, result) = run(&config, dry).await;
    result.unwrap();
    let state = format!(
        "create topic {prefix}.p.state: 3 partitions, replication factor 1, cleanup.policy=compact, segment.bytes=16777216, segment.ms=600000, min.cleanable.dirty.ratio=0.1"
    );
    assert!(lines.contains(&state), "{lines:#?}");
    assert_eq!(starting_with(&lines, "create topic").len(), 7, "{lines:#?}");
    let acl = format!("--topic {prefix}.p.raw --operation Read --operation Write");
    assert!(lines.iter().any(|line| line.contains(&acl)), "{lines:#?}");

    let (lines, result) = run(&config, TOPICS).await;
    result.unwrap();
    assert_eq!(starting_with(&lines, "create topic").len(), 7, "{lines:#?}");
    for options in [TOPICS, dry] {
        let (lines, result) = run(&config, options).await;
        result.unwrap();
        assert_eq!(starting_with(&lines, "ok     topic").len(), 7, "{lines:#?}");
        assert_eq!(starting_with(&lines, "create").len(), 0, "{lines:#?}");
    }
    // Another number of raw partitions is worth a note, of windows partitions an error.
    let (lines, result) = run(&with("raw_partitions = 4", 3), TOPICS).await;
    result.unwrap();
    assert_eq!(starting_with(&lines, "note").len(), 3, "{lines:#?}");
    let (_, result) = run(&with("raw_partitions = 2", 5), TOPICS).await;
    let error = result.unwrap_err();
    assert!(error.contains(&format!("{prefix}.p.windows has 3 partitions")), "{error}");
    assert!(error.contains("set windows_partitions = 3"), "{error}");
}

#[tokio::test]
async fn no_broker_is_said_with_the_remedy() {
    let config = support::config("[kafka]\nbootstrap_servers = \"127.0.0.1:1\"", "p");
    let (_, result) = run(&config, TOPICS).await;
    let error = result.unwrap_err();
    assert!(error.contains("127.0.0.1:1") && error.contains("check kafka.bootstrap_servers"), "{error}");
}

#[tokio::test]
async fn the_database_is_created_once() {
    let folder = Folder::new();
    let path = folder.0.join("x.sqlite");
    let config = support::config(&format!("[sink]\nindex = \"sqlite\"\n[sqlite]\npath = {path:?}"), "p");
    for (dry_run, start, there) in [(true, "create", false), (false, "create", true), (false, "ok", true)] {
        let (lines, result) = run(&config, Options { dry_run, ..INDEX }).await;
        result.unwrap();
        assert!(lines[0].starts_with(start), "{lines:?}");
        assert_eq!(path.exists(), there);
    }
}

#[tokio::test]
async fn templates_and_indices_are_created_once_on_opensearch() {
    let Some(url) = support::opensearch() else { return };
    let prefix = unique("setup");
    let with = |shards: u32| {
        let head =
            format!("[opensearch]\nurls = [{url:?}]\nindex_prefix = \"{prefix}\"\nshards = {shards}\nreplicas = 0");
        support::config(&head, "p")
    };
    let dry = Options { dry_run: true, ..INDEX };
    for (config, options, create, change, ok) in [
        (with(1), dry, 6, 0, 0),
        (with(1), INDEX, 6, 0, 0),
        (with(1), INDEX, 0, 0, 6),
        (with(2), dry, 0, 3, 3),
        (with(2), INDEX, 0, 3, 3),
        (with(2), INDEX, 0, 0, 6),
    ] {
        let (lines, result) = run(&config, options).await;
        result.unwrap();
        let counts = ["create", "change", "ok"].map(|start| starting_with(&lines, start).len());
        assert_eq!(counts, [create, change, ok], "{lines:#?}");
        assert_eq!(starting_with(&lines, "note   OpenSearch has no alerting plugin").len(), 1, "{lines:#?}");
        if change > 0 {
            let line = "         template.settings.index.number_of_shards: \"1\" → \"2\"";
            assert!(lines.iter().any(|found| found == line), "{lines:#?}");
        }
    }
    let client = Client::new(&with(1)).unwrap();
    for stage in ["raw", "enriched", "scores"] {
        let name = format!("{prefix}p-{stage}");
        client.send(opensearch::http::Method::Delete, &format!("/{name}"), None).await.unwrap();
        client.send(opensearch::http::Method::Delete, &format!("/_index_template/{name}"), None).await.unwrap();
    }
}

#[tokio::test]
async fn no_opensearch_is_said_with_the_remedy() {
    let config = support::config("[opensearch]\nurls = [\"http://127.0.0.1:1\"]", "p");
    let (_, result) = run(&config, INDEX).await;
    let error = result.unwrap_err();
    assert!(error.contains("http://127.0.0.1:1") && error.contains("opensearch.urls"), "{error}");
}

/// A cluster with alerting and notifications, as far as the setup looks: it answers in the shapes that OpenSearch 3.4
/// was seen to answer in, adds ids and defaults of its own, and counts what is written.
#[derive(Default)]
struct Plugins {
    stored: BTreeMap<String, Value>,
    writes: Vec<String>,
    forbidden: bool,
}

impl Plugins {
    fn answer(&mut self, request: &Request) -> Reply {
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let path = request.path.as_str();
        if request.method != "GET" && request.method != "HEAD" && !path.ends_with("/_search") {
            self.writes.push(format!("{} {path}", request.method));
        }
        let json = |status: u16, value: Value| Reply::Json(status, value.to_string());
        if let Some(rest) = path.strip_prefix("/_plugins/_alerting/monitors") {
            if self.forbidden {
                return json(
                    403,
                    json!({"error": {"type": "security_exception", "reason": "no permissions for [monitor/search]"}, "status": 403}),
                );
            }
            let mut monitor = body.clone();
            match (request.method.as_str(), rest) {
                ("POST", "/_search") => {
                    let hits: Vec<Value> = self
                        .stored
                        .iter()
                        .filter(|(id, _)| id.starts_with("monitor"))
                        .map(|(id, monitor)| json!({"_id": id, "_source": monitor}))
                        .collect();
                    return json(200, json!({"hits": {"total": {"value": hits.len()}, "hits": hits}}));
                }
                ("POST", "") => add_defaults(&mut monitor),
                ("PUT", _) => {
                    let trigger = &monitor["triggers"][0]["query_level_trigger"];
                    assert_eq!(trigger["id"], "trigger-1", "an update keeps the trigger's id");
                    add_defaults(&mut monitor);
                }
                _ => panic!("{} {path}", request.method),
            }
            self.stored.insert("monitor-1".to_owned(), monitor.clone());
            return json(
                201,
                json!({"_id": "monitor-1", "_version": 1, "_seq_no": 0, "_primary_term": 1, "monitor": monitor}),
            );
        }
        if path.starts_with("/_plugins/_notifications/configs") {
            let id = body["config_id"].as_str().or(path.rsplit('/').next()).unwrap().to_owned();
            if request.method == "GET" {
                return match self.stored.get(&id) {
                    Some(config) => {
                        json(200, json!({"total_hits": 1, "config_list": [{"config_id": id, "config": config}]}))
                    }
                    None => json(
                        404,
                        json!({"error": {"type": "status_exception", "reason": "NotificationConfig not found"}, "status": 404}),
                    ),
                };
            }
            self.stored.insert(id.clone(), body["config"].clone());
            return json(200, json!({"config_id": id}));
        }
        match (request.method.as_str(), self.stored.get(path)) {
            ("PUT", _) => {
                self.stored.insert(path.to_owned(), body);
                json(200, json!({"acknowledged": true}))
            }
            (_, Some(template)) => json(200, json!({"index_templates": [{"name": "x", "index_template": template}]})),
            (_, None) => {
                json(404, json!({"error": {"type": "resource_not_found_exception", "reason": "none"}, "status": 404}))
            }
        }
    }
}

/// What the server adds to a monitor.
fn add_defaults(monitor: &mut Value) {
    monitor["schema_version"] = json!(0);
    monitor["enabled_time"] = json!(1_795_400_019_548_i64);
    monitor["owner"] = json!("alerting");
    let query = &mut monitor["inputs"][0]["search"]["query"]["query"]["bool"];
    query["boost"] = json!(1.0);
    query["filter"][1]["range"]["@timestamp"]["boost"] = json!(1.0);
    let trigger = &mut monitor["triggers"][0]["query_level_trigger"];
    trigger["id"] = json!("trigger-1");
    for action in trigger["actions"].as_array_mut().unwrap() {
        action["id"] = json!("action-1");
    }
}

#[tokio::test]
async fn the_monitor_and_its_channel_are_created_once() {
    let plugins = Arc::new(Mutex::new(Plugins::default()));
    let served = Arc::clone(&plugins);
    let url = standin::serve(move |request| served.lock().unwrap().answer(&request)).await;
    let with = |channel: &str| support::config(&format!("[opensearch]\nurls = [{url:?}]\n{channel}"), "p");
    let none = with("");
    let hook = with("[alerting]\nchannel = { name = \"team\", webhook_url = \"https://hooks.example.com/secret\" }");
    let moved = with("[alerting]\nchannel = { name = \"team\", webhook_url = \"https://hooks.example.com/other\" }");
    let dry = Options { dry_run: true, ..INDEX };
    let monitor = "/_plugins/_alerting/monitors";
    let channel = "/_plugins/_notifications/configs";
    for (config, options, want) in [
        (&none, dry, vec![]),
        (&none, INDEX, vec![format!("POST {monitor}")]),
        (&none, INDEX, vec![]),
        (&hook, dry, vec![]),
        (&hook, INDEX, vec![format!("POST {channel}"), format!("PUT {monitor}/monitor-1")]),
        (&hook, INDEX, vec![]),
        (&moved, INDEX, vec![format!("PUT {channel}/team")]),
        (&moved, INDEX, vec![]),
    ] {
        plugins.lock().unwrap().writes.clear();
        let (lines, result) = run(config, options).await;
        result.unwrap();
        let writes: Vec<String> =
            plugins.lock().unwrap().writes.iter().filter(|write| write.contains("_plugins")).cloned().collect();
        assert_eq!(writes, want, "{lines:#?}");
        assert!(!lines.iter().any(|line| line.contains("hooks.example.com")), "a secret: {lines:#?}");
    }
    let stored = plugins.lock().unwrap().stored["monitor-1"].clone();
    let action = &stored["triggers"][0]["query_level_trigger"]["actions"][0];
    assert_eq!((&action["destination_id"], &action["throttle"]["value"]), (&json!("team"), &json!(10)));
    let message = action["message_template"]["source"].as_str().unwrap();
    for part in ["series", "value", "expected", "score"] {
        assert!(message.contains(&format!("{{{{_source.{part}}}}}")), "{message}");
    }
    assert_eq!(stored["inputs"][0]["search"]["indices"], json!(["p-scores"]));
    assert_eq!(plugins.lock().unwrap().stored["team"]["webhook"]["url"], "https://hooks.example.com/other");
}

#[tokio::test]
async fn a_user_without_rights_to_alerting_gets_the_rest() {
    let plugins = Arc::new(Mutex::new(Plugins { forbidden: true, ..Plugins::default() }));
    let served = Arc::clone(&plugins);
    let url = standin::serve(move |request| served.lock().unwrap().answer(&request)).await;
    let config = support::config(&format!("[opensearch]\nurls = [{url:?}]"), "p");
    let (lines, result) = run(&config, INDEX).await;
    result.unwrap();
    assert_eq!(starting_with(&lines, "create").len(), 6, "{lines:#?}");
    assert!(
        starting_with(&lines, "note   alerting was not set up").iter().any(|l| l.contains("no permissions")),
        "{lines:#?}"
    );
}
