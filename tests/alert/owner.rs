//! Who tells people: OpenSearch, if it can.

use crate::scene::{Receiver, Scene};
use crate::support::standin::{Reply, serve};

/// Runs the service beside a cluster that answers for its alerting plugin like this; how many messages came.
fn messages(name: &str, status: u16, answer: &'static str) -> usize {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let cluster = runtime.block_on(serve(move |request| match request.path.split('?').next() {
        Some("/_plugins/_alerting/monitors/alerts") => Reply::Json(status, answer.to_owned()),
        _ => Reply::Json(404, r#"{"error":"unexpected"}"#.to_owned()),
    }));
    let receiver = Receiver::start();
    let scene = Scene::full(
        name,
        &format!("[opensearch]\nurls = [\"{cluster}\"]"),
        &format!("group_wait = \"0s\"\n{}", receiver.channel("team", "all")),
    );
    let alert = scene.start("alert");
    scene.rows("sum(bad)", 0, &[95.0, 1.0, 1.0, 1.0]);
    scene.until("the end of the alert", |latest| {
        latest.iter().all(|alert| alert["state"] == "resolved" && alert.get("owed").is_none())
    });
    assert!(alert.stop().success());
    receiver.said().len()
}

#[test]
fn a_cluster_with_the_plugin_tells_and_this_service_records() {
    assert_eq!(messages("alert-plugin", 200, r#"{"alerts":[],"totalAlerts":0}"#), 0);
}

#[test]
fn without_the_plugin_this_service_tells() {
    let answer =
        r#"{"error":"no handler found for uri [/_plugins/_alerting/monitors/alerts?size=1] and method [GET]"}"#;
    assert_eq!(messages("alert-bare", 400, answer), 2);
}
