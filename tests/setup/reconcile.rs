//! Detectors are started with their data, watched, and freed when they are stuck.

use super::plugins::{config, serve};
use super::support::cluster::Cluster;
use super::support::standin::Reply;
use super::{INDEX, run};
use outlier::index::opensearch::Client;
use outlier::setup::detectors::reconcile::Reconciler;
use outlier::telemetry::Telemetry;
use outlier::telemetry::health::State;
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;

#[tokio::test]
async fn a_detector_is_started_with_its_data_and_freed_when_stuck() {
    let (cluster, url) = serve(Cluster { intervals: 12, ..Cluster::default() }).await;
    let config = config(&url, "");
    run(&config, INDEX).await.1.unwrap();
    let id = cluster.lock().unwrap().stored.keys().find(|id| id.starts_with("detector")).unwrap().clone();
    let (client, telemetry) = (Client::new(&config).unwrap(), Telemetry::default());
    let mut reconciler = Reconciler::new(&config, &client, &telemetry);
    let start = Instant::now();
    let verbs = || -> Vec<String> {
        let written = cluster.lock().unwrap().written();
        written.iter().map(|path| path.rsplit('/').next().unwrap().to_owned()).collect()
    };
    let reason = || match telemetry.health.components().remove("opensearch.detector.p-action") {
        Some(State::Learning { reason }) => reason,
        Some(State::Ready) => "ready".to_owned(),
        other => panic!("{other:?}"),
    };
    verbs();
    // Each look: minutes since the start, what happens before it, what it does, what it says.
    type Before = fn(&mut Cluster, &str);
    let looks: [(u64, Before, &[&str], &str); 10] = [
        (0, |_, _| {}, &[], "it is started when 12 of 40 intervals with data are indexed"),
        (28, |cluster, _| cluster.intervals = 40, &["_start"], "it was started"),
        (29, |_, _| {}, &[], "it learns"),
        (33, |_, _| {}, &[], "it learns"),
        // Five minutes without progress.
        (35, |_, _| {}, &["_stop"], "it was stuck, and is started again"),
        // The server refuses a start right after a stop.
        (36, |_, _| {}, &["_start"], "status_exception: Fail to start detector (HTTP 500)"),
        (37, |_, _| {}, &["_start"], "it was started"),
        (
            38,
            |cluster, id| {
                cluster.profiles.insert(id.to_owned(), json!({"state": "RUNNING", "error": ""}));
            },
            &[],
            "ready",
        ),
        (39, |_, _| {}, &[], "ready"),
        // Somebody stops it.
        (
            40,
            |cluster, id| {
                cluster.profiles.remove(id);
            },
            &[],
            "it was stopped by hand: start it in OpenSearch, or run `outlier setup --force`",
        ),
    ];
    for (minute, before, did, said) in looks {
        before(&mut cluster.lock().unwrap(), &id);
        assert!(reconciler.look(start + Duration::from_secs(60 * minute)).await.unwrap());
        assert_eq!(
            (verbs(), reason()),
            (did.iter().map(|verb| (*verb).to_owned()).collect(), said.to_owned()),
            "minute {minute}"
        );
        assert!(telemetry.health.ready(), "a detector that learns holds nothing up");
    }
    reconciler.leave().await;
}

#[tokio::test]
async fn one_instance_looks_at_a_time() {
    let (cluster, url) = serve(Cluster { intervals: 40, ..Cluster::default() }).await;
    let config = config(&url, "");
    run(&config, INDEX).await.1.unwrap();
    let client = Client::new(&config).unwrap();
    let (first, second) = (Telemetry::default(), Telemetry::default());
    let mut one = Reconciler::new(&config, &client, &first);
    let mut two = Reconciler::new(&config, &client, &second);
    let now = Instant::now();
    assert!(one.look(now).await.unwrap() && two.look(now).await.unwrap());
    assert_eq!((first.health.components().len(), second.health.components().len()), (1, 0));
    one.leave().await;
    assert!(two.look(now).await.unwrap());
    // Who does not look any more says nothing of them.
    assert!(one.look(now).await.unwrap());
    assert_eq!((first.health.components().len(), second.health.components().len()), (0, 1));
    // Started once.
    assert_eq!(cluster.lock().unwrap().written().iter().filter(|path| path.ends_with("_start")).count(), 1);
}

#[tokio::test]
async fn what_is_not_looked_at_is_not_said_to_be_well() {
    let (cluster, url) = serve(Cluster { intervals: 40, ..Cluster::default() }).await;
    let config = config(&url, "");
    run(&config, INDEX).await.1.unwrap();
    let (client, telemetry) = (Client::new(&config).unwrap(), Telemetry::default());
    let mut reconciler = Reconciler::new(&config, &client, &telemetry);
    let state = || telemetry.health.components()["opensearch.detector.p-action"].clone();
    reconciler.look(Instant::now()).await.unwrap();
    let learns = |state: State| matches!(state, State::Learning { reason } if reason == "it was started" || reason == "it learns");
    assert!(learns(state()), "{:?}", state());
    let gone = Reply::Json(500, r#"{"error":{"type":"x","reason":"out of order"},"status":500}"#.to_owned());
    cluster.lock().unwrap().instead.push(("POST", "/outlier-setup/_search".to_owned(), gone));
    reconciler.look(Instant::now()).await.unwrap_err();
    assert!(matches!(state(), State::Learning { reason } if reason.contains("out of order")), "{:?}", state());
    reconciler.look(Instant::now()).await.unwrap();
    assert!(learns(state()), "{:?}", state());
}

#[tokio::test]
async fn a_plugin_that_could_not_be_looked_for_and_is_absent_leaves_nothing_on_health() {
    let (cluster, url) = serve(Cluster { absent: ["_anomaly_detection"].into(), ..Cluster::default() }).await;
    let config = config(&url, "");
    let (client, telemetry) = (Client::new(&config).unwrap(), Telemetry::default());
    let mut reconciler = Reconciler::new(&config, &client, &telemetry);
    let path = "/_plugins/_anomaly_detection/detectors/count";
    let broken = Reply::Json(500, "<html>".to_owned());
    cluster.lock().unwrap().instead.push(("GET", path.to_owned(), broken));
    assert!(reconciler.look(Instant::now()).await.unwrap());
    assert_eq!(telemetry.health.components().len(), 1);
    assert!(!reconciler.look(Instant::now()).await.unwrap());
    assert!(telemetry.health.components().is_empty());
}

#[tokio::test]
async fn without_the_plugin_there_is_nothing_to_watch() {
    let (_, url) = serve(Cluster { absent: ["_anomaly_detection"].into(), ..Cluster::default() }).await;
    let config = config(&url, "");
    let (client, telemetry) = (Client::new(&config).unwrap(), Telemetry::default());
    assert!(!Reconciler::new(&config, &client, &telemetry).look(Instant::now()).await.unwrap());
    assert!(telemetry.health.components().is_empty());
}

/// A user who may not use the plugin yet is waited for: what setup makes once the right is there is watched.
#[tokio::test]
async fn a_right_that_comes_later_counts() {
    let cluster = Cluster { forbidden: ["_anomaly_detection"].into(), intervals: 40, ..Cluster::default() };
    let (cluster, url) = serve(cluster).await;
    let config = config(&url, "");
    run(&config, INDEX).await.1.unwrap_err();
    let (client, telemetry) = (Client::new(&config).unwrap(), Telemetry::default());
    let mut reconciler = Reconciler::new(&config, &client, &telemetry);
    assert!(reconciler.look(Instant::now()).await.unwrap());
    let told = format!("{:?}", telemetry.health.components());
    assert!(told.contains("opensearch.detector.p-action") && told.contains("no permissions"), "{told}");
    cluster.lock().unwrap().forbidden.clear();
    run(&config, INDEX).await.1.unwrap();
    assert!(reconciler.look(Instant::now()).await.unwrap());
    assert!(cluster.lock().unwrap().written().iter().any(|path| path.ends_with("_start")));
}
