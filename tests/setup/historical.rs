//! The historical analysis by OpenSearch's own detectors.

use super::plugins::{config, serve};
use super::support::cluster::Cluster;
use super::support::outlier::Outlier;
use super::support::standin::Reply;
use super::support::{self, Workplace};
use super::{INDEX, run};
use outlier::config::{Config, IndexKind, Stage};
use outlier::setup::{self, detectors::historical::Analysis};
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn a_historical_analysis_waits_for_its_slot_and_its_end() {
    let results = json!({"hits": {"total": {"value": 1}, "hits": [{"_source": {
        "anomaly_grade": 1.0, "confidence": 0.5, "data_start_time": 1_795_399_664_758_i64,
        "feature_data": [{"feature_id": "f1", "feature_name": "bad", "data": 464.0}],
        "expected_values": [{"value_list": [{"feature_id": "f1", "data": 1.9}]}],
    }}]}});
    let (cluster, url) = serve(Cluster { task: (2, results), ..Cluster::default() }).await;
    let config = config(&url, "");
    let analysis = Analysis { flag: "action".to_owned(), last: Duration::from_secs(7 * 86_400) };
    let error = setup::analyse(&config, &analysis).await.unwrap_err().to_string();
    assert!(error.contains("run `outlier setup` first"), "{error}");
    // What setup could not mend is told as it is.
    for (change, want) in [
        ((|config: &mut Config| config.opensearch.detectors = false) as fn(&mut Config), "detectors is false"),
        (|config| config.sink.what.retain(|stage| *stage != Stage::Enriched), "flags are not indexed"),
        (|config| config.sink.index = IndexKind::Sqlite, "sink.index"),
        (|config| config.pipelines[0].flags.clear(), "no pipeline has flag groups"),
    ] {
        let mut config = config.clone();
        change(&mut config);
        let error = setup::analyse(&config, &analysis).await.unwrap_err().to_string();
        assert!(error.contains(want), "{error}");
    }
    run(&config, INDEX).await.1.unwrap();
    let slot = r#"{"error":{"type":"status_exception","reason":"No available task slot"},"status":400}"#;
    let id = cluster.lock().unwrap().stored.keys().find(|id| id.starts_with("detector")).unwrap().clone();
    let start = format!("/_plugins/_anomaly_detection/detectors/{id}/_start");
    cluster.lock().unwrap().instead.push(("POST", start, Reply::Json(400, slot.to_owned())));
    let text = setup::analyse(&config, &analysis).await.unwrap();
    assert!(text.starts_with("action: 1 of 10080 intervals") && text.contains("bad 464.0 (expected 1.9)"), "{text}");
}

/// Without a terminal, line by line.
#[tokio::test(flavor = "multi_thread")]
async fn an_analysis_tells_its_progress_and_why_it_ends() {
    let (cluster, url) = serve(Cluster { task: (3, json!({"hits": {}})), ..Cluster::default() }).await;
    run(&config(&url, ""), INDEX).await.1.unwrap();
    let id = cluster.lock().unwrap().stored.keys().find(|id| id.starts_with("detector")).unwrap().clone();
    let place = Workplace::new("historical");
    let file = place.file("p.toml", &support::text(&format!("[opensearch]\nurls = [{url:?}]"), "p"));
    // What the task is instead at the first look; the exit code and what is said.
    for (instead, code, told) in [
        (None, 0, vec!["historical analysis: 50 %\nhistorical analysis: 100 %\naction: 0 of 1440 intervals"]),
        (Some(json!({"task_id": "task-0", "state": "FAILED"})), 0, vec!["analysis: 100 %\naction: 0 of"]),
        (
            Some(json!({"task_id": "task-1", "state": "FAILED", "task_progress": 0.25, "error": "no data"})),
            1,
            vec!["historical analysis: 25 %", "the historical analysis failed: no data"],
        ),
        (
            Some(json!({"task_id": "task-1", "state": "STOPPED", "task_progress": 0.75})),
            1,
            vec!["historical analysis: 75 %", "the historical analysis stopped: by hand"],
        ),
    ] {
        let path = format!("/_plugins/_anomaly_detection/detectors/{id}?task=true");
        let reply = |task| Reply::Json(200, json!({"_id": id, "historical_analysis_task": task}).to_string());
        cluster.lock().unwrap().instead.extend(instead.clone().map(|task| ("GET", path, reply(task))));
        let (file, log) = (file.clone(), place.dir.join("analysis.log"));
        let _ = std::fs::remove_file(&log);
        let args = ["setup", "--historical", "action", "--last", "1d"];
        let ended = tokio::task::spawn_blocking(move || Outlier::run_to_end(&file, "analysis", &args));
        let (status, said) = (ended.await.unwrap(), support::read(&log));
        assert_eq!(status.code(), Some(code), "{instead:?}: {said}");
        assert!(told.iter().all(|part| said.contains(part)), "{instead:?}: {said}");
    }
}
