//! The service `alert` as a child process, on rows of the scores topic: what receivers get, and how often.
//!
//! On the embedded broker; with `KAFKA_BOOTSTRAP_SERVERS` on a real Kafka. The mail server is the one of the Python
//! package aiosmtpd, in the Python that `OUTLIER_AIOSMTPD_PYTHON` names.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

#[path = "../support/mod.rs"]
mod support;

mod commands;
mod crash;
mod mail;
mod owner;
mod receivers;
mod scene;

use scene::{Receiver, Scene, WINDOW};
use serde_json::json;
use support::fits_schema;

#[test]
fn one_anomaly_is_told_once_and_once_when_it_is_over() {
    let receiver = Receiver::start();
    let scene = Scene::with("alert", &receiver.channel("team", "all"), "group_wait = \"500ms\"");
    let alert = scene.start("alert");
    scene.rows("sum(bad)", 0, &[1.0, 1.0, 95.0, 96.0]);
    receiver.wait(1);
    // Two quiet windows are not enough, and rows that come again are nothing new.
    scene.rows("sum(bad)", 2, &[95.0, 96.0, 1.0, 1.0]);
    scene.rows("sum(bad)", 2, &[95.0, 96.0, 1.0, 1.0]);
    scene.rows("sum(bad)", 6, &[97.0, 1.0, 1.0, 1.0]);
    receiver.wait(2);
    scene.settled();
    let said = receiver.said();
    assert_eq!(said.len(), 2, "{said:?}");
    let (began, over) = (&said[0].body, &said[1].body);
    assert_eq!((&began["kind"], &over["kind"]), (&json!("firing"), &json!("resolved")));
    assert_eq!(began["alerts"][0]["id"], over["alerts"][0]["id"]);
    assert_eq!((&over["alerts"][0]["windows"], &over["alerts"][0]["lasted"]), (&json!(3), &json!(5 * WINDOW)));
    assert_eq!(over["alerts"][0]["peak"]["score"], 97.0);
    assert!(said[0].key != said[1].key, "{said:?}");
    let own = format!("{}-", scene.topic("alerts"));
    assert!(said.iter().all(|one| one.key.as_ref().is_some_and(|key| key.starts_with(&own))), "{said:?}");
    let text = over["text"].as_str().unwrap();
    assert!(
        text.starts_with("action sum(bad) is normal again after 50 s: at its worst 97 where 1 was expected"),
        "{text}"
    );
    assert!(text.contains("why: httpRequest.country XX: 90 % now, 2 % usually"), "{text}");
    fits_schema("webhook", &said.iter().map(|one| one.body.clone()).collect::<Vec<_>>());
    let alerts = scene.alerts();
    fits_schema("alerts", &alerts);
    let states: Vec<_> = alerts.iter().map(|alert| alert["state"].as_str().unwrap()).collect();
    assert_eq!((states.first(), states.last()), (Some(&"pending"), Some(&"resolved")), "{states:?}");
    assert!(alert.stop().success());
}

#[test]
fn what_begins_together_is_one_message_by_severity() {
    let (all, bad) = (Receiver::start(), Receiver::start());
    let channels = format!("{}{}", all.channel("all", "all"), bad.channel("bad", "critical"));
    let scene = Scene::with("alert-group", &channels, "group_wait = \"3s\"");
    let alert = scene.start("alert");
    for (series, score) in [("sum(bad)", 95.0), ("sum(good)", 99.0), ("count", 91.0)] {
        scene.rows(series, 0, &[score]);
    }
    all.wait(1);
    bad.wait(1);
    for series in ["sum(bad)", "sum(good)", "count"] {
        scene.rows(series, 1, &[1.0, 1.0, 1.0]);
    }
    all.wait(2);
    bad.wait(2);
    scene.settled();
    let totals = |receiver: &Receiver| receiver.said().iter().map(|one| one.body["total"].clone()).collect::<Vec<_>>();
    assert_eq!((totals(&all), totals(&bad)), (vec![json!(3), json!(3)], vec![json!(1), json!(1)]));
    assert_eq!(all.said()[0].body["alerts"][0]["series"], "sum(good)", "the worst comes first");
    drop(alert);
}

#[test]
fn history_does_not_ring_unless_it_goes_on() {
    let receiver = Receiver::start();
    let scene = Scene::new("alert-old", &receiver.channel("team", "all"));
    let alert = scene.start("alert");
    let hour = 3_600_000 / WINDOW;
    scene.rows("sum(bad)", -hour, &[95.0, 1.0, 1.0, 1.0]);
    scene.rows("sum(good)", -hour, &[95.0]);
    // It goes on to this day.
    scene.rows("sum(good)", 0, &[96.0]);
    receiver.wait(1);
    scene.settled();
    let said = receiver.said();
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!((&said[0].body["total"], &said[0].body["alerts"][0]["series"]), (&json!(1), &json!("sum(good)")));
    assert!(scene.alerts().iter().any(|alert| alert["series"] == "sum(bad)" && alert["state"] == "resolved"));
    drop(alert);
}
