//! Whether documents would be taken: the setup asks, and says which index does not.

use super::plugins::{DRY, config, serve};
use super::support::cluster::Cluster;
use super::support::standin::Reply;
use super::{INDEX, run};
use serde_json::{Value, json};

/// Answers of the setup's question whether documents would be taken, and what becomes of the setup.
#[tokio::test]
async fn an_index_that_takes_no_documents_is_named() {
    const QUESTION: &str = "/_bulk?filter_path=error,items.*._id,items.*.status,items.*.error&timeout=5s";
    let reason = "pipeline with id [x] does not exist";
    let gone = json!({"status": 400, "error": {"type": "illegal_argument_exception", "reason": reason}});
    let items = |items: &[(&str, &Value)]| {
        let item = |(id, item): &(&str, &Value)| {
            let mut item = (*item).clone();
            item["_id"] = json!(id);
            json!({"index": item})
        };
        Reply::Json(200, json!({"items": items.iter().map(item).collect::<Vec<_>>()}).to_string())
    };
    let (stale, busy) = (json!({"status": 409}), json!({"status": 429, "error": {"type": "x", "reason": "busy"}}));
    // In each other's places, as OpenSearch answers where an ingest pipeline refuses documents.
    let four =
        |one: &Value| items(&[("p-enriched", one), ("p-raw", &stale), ("p-scores", &stale), ("p-alerts", &stale)]);
    let whole = |status: u16| Reply::Json(status, r#"{"error":{"type":"x","reason":"odd"}}"#.to_owned());
    for (name, options, answers, want) in [
        ("refused", INDEX, vec![four(&gone), items(&[("p-enriched", &gone)])], Some("p-enriched takes no documents")),
        ("for a moment", INDEX, vec![four(&busy)], None),
        ("all of it for a moment", INDEX, vec![whole(429)], None),
        ("refused, then no answer", INDEX, vec![four(&gone), whole(500)], Some("p-enriched takes no documents")),
        ("the question is refused", INDEX, vec![whole(400)], None),
        ("no answer", INDEX, vec![whole(500), whole(500)], Some("is not known")),
        ("not asked", DRY, vec![whole(500)], None),
    ] {
        let (cluster, url) = serve(Cluster::default()).await;
        let config = config(&url, "");
        run(&config, INDEX).await.1.unwrap();
        let instead = answers.into_iter().map(|reply| ("POST", QUESTION.to_owned(), reply));
        cluster.lock().unwrap().instead.extend(instead);
        let (lines, result) = run(&config, options).await;
        let told = result.err().unwrap_or_default();
        assert_eq!(want.is_some(), !told.is_empty(), "{name}: {told} {lines:#?}");
        assert!(told.contains(want.unwrap_or_default()), "{name}: {told}");
        assert!(!told.contains("p-raw takes"), "{name}: {told}");
        assert_eq!(cluster.lock().unwrap().instead.len(), usize::from(options.dry_run), "{name}");
    }
}
