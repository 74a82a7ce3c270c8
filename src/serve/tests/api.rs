//! What the API answers.

use super::super::board::{MAX_ANSWER, MAX_POINTS};
use super::super::testing::{WINDOW, score};
use super::{World, world, world_with};
use crate::telemetry::health::State;
use crate::time::now;
use serde_json::{Value, json};

const BAD: &str = "sum(B_action)";

/// A day of windows of one series up to now, the last of them anomalous.
fn day(world: &World) -> i64 {
    let end = now() / WINDOW * WINDOW;
    for i in (0..8_640).rev() {
        let start = end - (i + 1) * WINDOW;
        world.hub.score(0, &score("action", BAD, start, if i == 0 { 30.0 } else { (i % 7) as f64 }, i == 0), false);
    }
    end
}

fn tile(overview: &Value, id: &str) -> Value {
    let panels = overview["pipelines"][0]["panels"].as_array().cloned().unwrap_or_default();
    panels.into_iter().find(|panel| panel["id"] == id).unwrap_or_default()
}

#[tokio::test]
async fn the_overview_has_a_tile_for_each_flag_group() {
    let world = world("");
    let (status, empty) = world.get("/api/overview").await;
    let pipeline = &empty["pipelines"][0];
    assert_eq!((status, &pipeline["name"], &pipeline["state"]), (200, &json!("waf"), &json!("empty")));
    assert_eq!(pipeline["columns"], json!(["action", "source", "httpstatus", "country", "method"]));
    assert_eq!(empty["fields"], json!(["action", "country"]));

    let end = day(&world);
    world.hub.score(0, &score("action", "sum(K_action)", end - WINDOW, 20.0, false), false);
    let (_, overview) = world.get("/api/overview").await;
    let action = tile(&overview, "action");
    let part = |name: &str| action[name].clone();
    assert_eq!((part("state"), part("field"), part("score")), (json!("anomalous"), json!("action"), json!(99.0)));
    assert_eq!((part("rate"), part("bad_share"), part("expected_share")), (json!(5.0), json!(0.6), json!(0.02)));
    let roles = action["series"].as_array().map(|all| all.iter().map(|s| s["role"].clone()).collect::<Vec<_>>());
    assert_eq!(roles, Some(vec![json!("bad"), json!("good")]));
    assert_eq!(action["last"][0]["window_end"], json!(end));
    assert_eq!(tile(&overview, "country")["state"], json!("empty"));
    assert_eq!(overview["pipelines"][0]["state"], json!("anomalous"));
}

#[tokio::test]
async fn a_detector_that_splits_has_anomalies_and_no_chart() {
    let tables =
        "[[pipeline.detectors]]\nname = \"by-country\"\nmeasures = [\"count\"]\nby = [\"country\"]\nhop = \"5s\"";
    let world = world_with("", tables);
    let series = "count{country=XX}";
    for start in [0, 5_000, 10_000] {
        world.hub.score(0, &score("by-country", series, start, 30.0, true), false);
    }
    let (_, overview) = world.get("/api/overview").await;
    assert_eq!(overview["pipelines"][0]["splits"], json!([{"detector": "by-country", "by": ["country"]}]));
    let (_, found) = world.get("/api/anomalies").await;
    let incident = &found["anomalies"][0];
    assert_eq!(
        (&incident["series"], &incident["windows"], &incident["end"]),
        (&json!(series), &json!(3), &json!(20_000))
    );
    assert_eq!(found["anomalies"].as_array().map(Vec::len), Some(1), "overlapping windows are one incident");
    let (status, _) = world.get(&format!("/api/series?detector=by-country&series={series}")).await;
    assert!(status >= 400);
}

#[tokio::test]
async fn a_series_is_bounded_and_keeps_its_anomaly() {
    let world = world("");
    let end = day(&world);
    let path = |from: i64, to: i64| format!("/api/series?detector=action&series={BAD}&from={from}&to={to}");
    let (status, all) = world.get(&path(end - 8_640 * WINDOW, end)).await;
    let length = |name: &str| all[name].as_array().map_or(0, Vec::len);
    assert_eq!((status, all["total"].clone()), (200, json!(8_640)));
    assert!(length("end") <= MAX_ANSWER && length("end") > MAX_ANSWER / 2, "{} points", length("end"));
    for column in ["value", "expected", "lower", "upper", "score"] {
        assert_eq!(length(column), length("end"), "{column}");
    }
    assert_eq!(all["anomalies"], json!([length("end") - 1]));
    assert_eq!(all["value"][length("end") - 1], json!(30.0));

    let (_, few) = world.get(&path(end - 2 * WINDOW, end)).await;
    assert_eq!(few["end"], json!([end - 2 * WINDOW, end - WINDOW, end]));
}

#[tokio::test]
async fn what_is_wrong_is_said() {
    let world = world("");
    let cases = [
        ("/api/series?detector=action", 400),
        ("/api/series?detector=action&series=sum(B_action)&from=2&to=1", 400),
        ("/api/series?detector=action&series=sum(B_action)&from=x", 400),
        ("/api/series?detector=action&series=none", 404),
        ("/api/series?pipeline=none&detector=action&series=sum(B_action)", 404),
        ("/api/anomalies?pipeline=none", 404),
        ("/api/tail?pipeline=none", 404),
    ];
    for (path, expected) in cases {
        let (status, answer) = world.get(path).await;
        assert_eq!(status, expected, "{path}");
        assert!(answer["error"].as_str().is_some_and(|error| error.len() > 10), "{path}: {answer}");
    }
    assert_eq!(world.get("/assets/none.js").await.0, 404);
    assert_eq!(world.get("/api/anomaly").await.0, 405);
}

#[tokio::test]
async fn memory_stays_bounded_whatever_comes() {
    let world = world("");
    for i in 0..(MAX_POINTS as i64 + 5_000) {
        world.hub.score(0, &score("action", BAD, i * WINDOW, 1.0, i % 3 == 0), false);
        world.hub.score(0, &score(&format!("hostile-{i}"), BAD, i * WINDOW, 1.0, true), false);
        if i % 10 == 0 {
            world.hub.record(0, b"{\"action\":\"BLOCK\"}", i);
        }
    }
    let (_, series) = world.get(&format!("/api/series?detector=action&series={BAD}&from=0&to={}", i64::MAX)).await;
    assert!(series["total"].as_u64().is_some_and(|total| total <= MAX_POINTS as u64), "{}", series["total"]);
    assert_eq!(series["end"].as_array().map(Vec::len), Some(MAX_ANSWER));
    let (_, anomalies) = world.get("/api/anomalies").await;
    assert_eq!(anomalies["anomalies"].as_array().map(Vec::len), Some(200));
    let (_, tail) = world.get("/api/tail").await;
    assert_eq!(tail["records"].as_array().map(Vec::len), Some(100));
}

#[tokio::test]
async fn an_anomaly_is_ongoing_until_a_window_is_normal() {
    let world = world("");
    let ongoing = async || {
        let (_, answer) = world.get("/api/anomalies").await;
        let first = &answer["anomalies"][0];
        (first["ongoing"].clone(), first["windows"].clone(), first["peak"]["value"].clone())
    };
    world.hub.score(0, &score("action", BAD, 0, 9.0, true), true);
    world.hub.score(0, &score("action", BAD, WINDOW, 7.0, true), true);
    assert_eq!(ongoing().await, (json!(true), json!(2), json!(9.0)));
    world.hub.score(0, &score("action", BAD, 2 * WINDOW, 1.0, false), true);
    assert_eq!(ongoing().await, (json!(false), json!(2), json!(9.0)));
}

#[tokio::test]
async fn without_kafka_the_page_is_there_and_says_so() {
    let world = world("");
    let reason = "no broker answers: check kafka.bootstrap_servers".to_owned();
    world.hub.set("waf.scores", State::Waiting { reason: reason.clone() });
    assert_eq!(world.get("/").await.0, 200);
    let (status, overview) = world.get("/api/overview").await;
    assert_eq!((status, &overview["feeds"]["serve waf.scores"]["reason"]), (200, &json!(reason)));
    assert_eq!((world.get("/health").await.0, world.get("/ready").await.0), (200, 503));
    world.hub.set("waf.scores", State::Ready);
    assert_eq!(world.get("/ready").await.0, 200);
}

#[tokio::test]
async fn a_board_without_new_rows_is_stale() {
    let world = world("");
    let board = || world.hub.board(None).expect("a board");
    world.hub.score(0, &score("action", BAD, 0, 1.0, false), true);
    let state = |later: i64| json!(board().overview(now() + later).state);
    assert_eq!((state(30_000), state(60_000)), (json!("normal"), json!("stale")));
    // What is read at the start is as old as it is.
    for (ago, expected) in [(2 * WINDOW, "normal"), (20 * WINDOW, "stale"), (-20 * WINDOW, "normal")] {
        let world = world_with("", "");
        world.hub.score(0, &score("action", BAD, now() - WINDOW - ago, 1.0, false), false);
        let state = json!(world.hub.board(None).expect("a board").overview(now()).state);
        assert_eq!(state, expected, "{ago} ms ago");
    }
}
