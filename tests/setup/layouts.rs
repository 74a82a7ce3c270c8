//! Dated indices and data streams on a real OpenSearch: made, written, written again, thrown away when old.

use super::support::{self, Name, opensearch::documents, sink::write};
use super::{INDEX, run, starting_with};
use opensearch::http::Method;
use outlier::config::{Config, Stage};
use outlier::index::opensearch::{Client, OpenSearch};
use outlier::index::{Document, Outcome};
use outlier::setup::{Options, retention};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

const DAY: i64 = 86_400_000;

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

fn document(id: u32, time: i64) -> Document<'static> {
    let body = Some(br#"{"a":"b"}"#.as_slice().into());
    Document { stage: Stage::Raw, id: id.to_string().into(), timestamp_ms: time, period_ms: time, body }
}

/// The indices behind a name.
async fn behind(client: &Client, name: &str) -> Vec<String> {
    let answer = client.send(Method::Get, &format!("/{name}/_settings/index.uuid"), None).await.unwrap();
    if !answer.good() {
        return Vec::new();
    }
    answer.json().unwrap().as_object().unwrap().keys().cloned().collect()
}

#[tokio::test]
async fn every_layout_is_made_written_and_kept_apart() {
    let Some(url) = support::opensearch() else { return };
    let now = now();
    // How many indices ten documents of today, yesterday and of forty days ago make.
    for (layout, indices) in [("daily", 3), ("monthly", if now / DAY % 365 < 2 { 3 } else { 2 }), ("data_stream", 1)] {
        let prefix = Name::new("layout");
        let with = |layout: &str, more: &str| -> Config {
            let head = format!(
                "[opensearch]\nurls = [{url:?}]\nindex_prefix = \"{prefix}\"\nreplicas = 0\nindices = {layout:?}\n{more}\n[sink]\nwhat = [\"raw\"]"
            );
            support::config(&head, "p")
        };
        let config = with(layout, "");
        let name = format!("{prefix}p-raw");
        let (lines, result) = run(&config, INDEX).await;
        result.unwrap();
        assert_eq!(starting_with(&lines, "create").len(), 2, "{lines:#?}");
        let (lines, result) = run(&config, INDEX).await;
        result.unwrap();
        assert_eq!(starting_with(&lines, "ok").len(), 2, "{lines:#?}");

        let index = OpenSearch::new(&config).unwrap();
        let batch: Vec<Document<'_>> = (0..10).map(|i| document(i, now - [0, DAY, 40 * DAY][i as usize % 3])).collect();
        for want in [Outcome::Created, Outcome::AlreadyThere] {
            let outcomes = write(&index, &batch).await.unwrap();
            assert!(outcomes.iter().all(|outcome| *outcome == want), "{outcomes:?}");
        }
        let client = Client::new(&config).unwrap();
        let server = support::opensearch::address(&url);
        assert_eq!(documents(server, &name), 10, "by the one name");
        let all = behind(&client, &name).await;
        assert!(all.len() >= indices && all.iter().all(|index| index.contains(&name) && *index != name), "{all:?}");

        // What documents would meet is told before any is written, and asking leaves nothing behind.
        let newest = all.iter().max().unwrap();
        let set = async |pipeline: Value| {
            let settings = Some(json!({"index.default_pipeline": pipeline}).to_string().into());
            assert!(client.send(Method::Put, &format!("/{newest}/_settings"), settings).await.unwrap().good());
        };
        set(json!("nowhere")).await;
        let error = run(&config, INDEX).await.1.unwrap_err();
        assert!(error.contains("cannot be written to") && error.contains("[nowhere]"), "{error}");
        set(Value::Null).await;
        let turn = async |way: &str| {
            assert!(client.send(Method::Post, &format!("/{newest}/{way}"), None).await.unwrap().good());
        };
        if layout != "data_stream" {
            turn("_close").await;
            let error = run(&config, INDEX).await.1.unwrap_err();
            assert!(error.contains(newest) && error.contains("POST /<index>/_open"), "{error}");
            turn("_open").await;
        }
        run(&config, INDEX).await.1.unwrap();
        assert_eq!(documents(server, &name), 10);

        // Whoever changes the layout hears of it before the first document.
        let other = if layout == "data_stream" { "single" } else { "data_stream" };
        let (_, result) = run(&with(other, ""), INDEX).await;
        let error = result.unwrap_err();
        assert!(error.contains(&name) && error.contains("opensearch.index_prefix"), "{error}");

        // Thirty days of retention take what is forty days old, and nothing twice.
        let kept = with(layout, "retention = \"30d\"");
        let deleted = retention::look(&kept, &client, now).await.unwrap();
        let old = if layout == "daily" { 1 } else { 0 };
        assert!(layout == "monthly" || deleted.len() == old, "{deleted:?}");
        assert_eq!(documents(server, &name), if deleted.is_empty() { 10 } else { 7 });
        assert_eq!(retention::look(&kept, &client, now).await.unwrap(), Vec::<String>::new());
        let later = retention::look(&kept, &client, now + 100 * DAY).await.unwrap();
        assert_eq!(later.is_empty(), layout == "data_stream", "{later:?}");

        let (lines, result) = run(&config, Options { remove: true, ..INDEX }).await;
        result.unwrap();
        // A template that a data stream uses stays with it.
        assert_eq!(starting_with(&lines, "keep").len(), if layout == "data_stream" { 2 } else { 0 }, "{lines:#?}");
        let path = if layout == "data_stream" { format!("/_data_stream/{name}") } else { format!("/{name}-*") };
        assert!(client.send(Method::Delete, &path, None).await.unwrap().good());
        run(&config, Options { remove: true, ..INDEX }).await.1.unwrap();
        assert!(!client.send(Method::Head, &format!("/_index_template/{name}"), None).await.unwrap().good());
    }
}

/// The cluster refuses to make an index, with the status of a bad document: the document waits.
#[tokio::test]
async fn an_index_that_cannot_be_made_rejects_nothing() {
    let Some(url) = support::opensearch() else { return };
    let prefix = Name::new("shape");
    let config = support::config(
        &format!(
            "[opensearch]\nurls = [{url:?}]\nindex_prefix = \"{prefix}\"\nreplicas = 0\nindices = \"daily\"\n[sink]\nwhat = [\"raw\"]"
        ),
        "p",
    );
    let client = Client::new(&config).unwrap();
    run(&config, INDEX).await.1.unwrap();
    // Somebody makes the alias an index.
    assert!(client.send(Method::Delete, &format!("/{prefix}p-raw-*"), None).await.unwrap().good());
    let put = client.send(Method::Put, &format!("/{prefix}p-raw"), Some(json!({}).to_string().into())).await.unwrap();
    assert!(put.good(), "{}", put.reason());
    let outcomes = write(&OpenSearch::new(&config).unwrap(), &[document(1, now())]).await.unwrap();
    assert!(matches!(&outcomes[0], Outcome::Retry(why) if why.contains("run `outlier setup`")), "{outcomes:?}");
    let (_, result) = run(&config, INDEX).await;
    assert!(result.unwrap_err().contains("is an index"));
    run(&config, Options { remove: true, ..INDEX }).await.1.unwrap();
    let gone: Value = client.send(Method::Delete, &format!("/{prefix}p-raw"), None).await.unwrap().json().unwrap();
    assert_eq!(gone["acknowledged"], true);
}
