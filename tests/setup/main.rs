//! The setup: what is missing is created, what is there is compared, a second run changes nothing.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod hands;
mod historical;
mod layouts;
mod obstacles;
mod plugins;
mod reconcile;
mod recorded;
mod replay;
mod scripts;
#[path = "../support/mod.rs"]
mod support;
mod values;

use outlier::config::Config;
use outlier::index::opensearch::Client;
use outlier::setup::{self, Options};
use support::{Folder, Name};

const TOPICS: Options = Options { dry_run: false, topics: true, index: false, force: false, remove: false };
const INDEX: Options = Options { topics: false, index: true, ..TOPICS };

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
    let prefix = Name::new("topics");
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
        "create topic {prefix}.p.state: 3 partitions, replication factor 1, cleanup.policy=compact, segment.bytes=16777216, segment.ms=600000, min.cleanable.dirty.ratio=0.1, max.message.bytes=4259840"
    );
    assert!(lines.contains(&state), "{lines:#?}");
    // A pane may lie as far in time to come as a clock may be ahead.
    for (max_skew, days) in [("1h", 7), ("1d", 7), ("30d", 34)] {
        let config = with(
            &format!(
                "raw_partitions = 2\n[[pipeline]]\npreset = \"waf\"\nname = \"skew\"\n[pipeline.timestamp]\nfield = \"timestamp\"\nformat = \"epoch_millis\"\nmax_skew = {max_skew:?}"
            ),
            3,
        );
        let (lines, result) = run(&config, dry).await;
        result.unwrap();
        let windows = format!(
            "create topic {prefix}.skew.windows: 8 partitions, replication factor 1, max.message.bytes=4259840, retention.ms="
        );
        let kept = lines.iter().find_map(|line| line.strip_prefix(&windows)?.parse::<i64>().ok()).expect(&windows);
        assert_eq!(kept / 86_400_000, days, "{max_skew}");
    }
    assert_eq!(starting_with(&lines, "create topic").len(), 8, "{lines:#?}");
    let acl = format!("--topic {prefix}.p.raw --operation Read --operation Write");
    assert!(lines.iter().any(|line| line.contains(&acl)), "{lines:#?}");

    let (lines, result) = run(&config, TOPICS).await;
    result.unwrap();
    assert_eq!(starting_with(&lines, "create topic").len(), 8, "{lines:#?}");
    for options in [TOPICS, dry] {
        let (lines, result) = run(&config, options).await;
        result.unwrap();
        assert_eq!(starting_with(&lines, "ok     topic").len(), 8, "{lines:#?}");
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
    let prefix = Name::new("setup");
    let with = |shards: u32| {
        let head =
            format!("[opensearch]\nurls = [{url:?}]\nindex_prefix = \"{prefix}\"\nshards = {shards}\nreplicas = 0");
        support::config(&head, "p")
    };
    let dry = Options { dry_run: true, ..INDEX };
    for (config, options, create, change, ok) in [
        (with(1), dry, 8, 0, 0),
        (with(1), INDEX, 8, 0, 0),
        (with(1), INDEX, 0, 0, 8),
        (with(2), dry, 0, 4, 4),
        (with(2), INDEX, 0, 4, 4),
        (with(2), INDEX, 0, 0, 8),
    ] {
        let (lines, result) = run(&config, options).await;
        result.unwrap();
        let counts = ["create", "change", "ok"].map(|start| starting_with(&lines, start).len());
        assert_eq!(counts, [create, change, ok], "{lines:#?}");
        assert_eq!(starting_with(&lines, "note   OpenSearch has no alerting").len(), 1, "{lines:#?}");
        if change > 0 {
            let line = "         template.settings.index.number_of_shards: \"1\" → \"2\"";
            assert!(lines.iter().any(|found| found == line), "{lines:#?}");
        }
    }
    // Taking it away leaves the indices.
    let (lines, result) = run(&with(1), Options { remove: true, ..INDEX }).await;
    result.unwrap();
    let counts = ["delete", "keep"].map(|start| starting_with(&lines, start).len());
    assert_eq!(counts, [4, 4], "{lines:#?}");
    let client = Client::new(&with(1)).unwrap();
    for (path, status) in [(format!("/_index_template/{prefix}*"), 404), (format!("/{prefix}outlier-setup"), 404)] {
        let answer = client.send(opensearch::http::Method::Get, &path, None).await.unwrap();
        let none = answer.status == status || answer.json().unwrap()["index_templates"] == serde_json::json!([]);
        assert!(none, "{path}: {}", answer.json().unwrap());
    }
    for stage in ["raw", "enriched", "scores", "alerts"] {
        let answer = client.send(opensearch::http::Method::Delete, &format!("/{prefix}p-{stage}"), None).await.unwrap();
        assert!(answer.good(), "{}", answer.reason());
    }
}

#[tokio::test]
async fn no_opensearch_is_said_with_the_remedy() {
    let config = support::config("[opensearch]\nurls = [\"http://127.0.0.1:1\"]", "p");
    let (_, result) = run(&config, INDEX).await;
    let error = result.unwrap_err();
    assert!(error.contains("http://127.0.0.1:1") && error.contains("opensearch.urls"), "{error}");
}
