//! Who tells people: OpenSearch, if it can.

use crate::scene::{Receiver, Scene};
use crate::support::standin::{Reply, serve};
use std::sync::atomic::{AtomicUsize, Ordering};

const NONE: (u16, &str) = (400, r#"{"error":"no handler found for uri [/x] and method [GET]"}"#);
const THERE: (u16, &str) = (200, r#"{"alerts":[],"totalAlerts":0}"#);
const BROKEN: (u16, &str) = (503, r#"{"error":"starting"}"#);

/// Runs the service beside a cluster that answers for its alerting like the first of these, at last like the last, and for
/// its notifications like this; how many messages came.
fn messages(name: &str, alerting: &'static [(u16, &str)], notifications: (u16, &'static str)) -> usize {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let asked = AtomicUsize::new(0);
    let cluster = runtime.block_on(serve(move |request| {
        let (status, answer) = match request.path.split('?').next() {
            Some("/_plugins/_alerting/monitors/alerts") => {
                let turn = asked.fetch_add(1, Ordering::Relaxed);
                alerting[turn.min(alerting.len() - 1)]
            }
            Some("/_plugins/_notifications/features") => notifications,
            _ => NONE,
        };
        Reply::Json(status, answer.to_owned())
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
fn a_cluster_with_the_plugins_tells_and_this_service_records() {
    assert_eq!(messages("alert-plugin", &[THERE], THERE), 0);
}

#[test]
fn a_cluster_that_is_starting_is_waited_for() {
    assert_eq!(messages("alert-starting", &[BROKEN, BROKEN, THERE], THERE), 0);
}

#[test]
fn without_the_plugin_this_service_tells() {
    assert_eq!(messages("alert-bare", &[NONE], NONE), 2);
}

#[test]
fn where_the_monitors_can_tell_nobody_this_service_tells() {
    assert_eq!(messages("alert-mute", &[THERE], NONE), 2);
}
