//! `kill -9` and rebalances: where exactly one message can be promised, and where at least one with the same key.

use crate::scene::{Receiver, Scene};
use crate::support::opensearch::get;
use crate::support::standin::Reply;
use crate::support::{from_env, wait};
use rand::prelude::*;
use rand::rngs::StdRng;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

fn kinds(receiver: &Receiver) -> Vec<String> {
    receiver.said().iter().map(|one| one.body["kind"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_crash_before_a_message_is_made_or_after_it_is_noted_repeats_nothing() {
    let receiver = Receiver::start();
    let scene = Scene::with("alert-kill", &receiver.channel("team", "all"), "group_wait = \"2s\"");
    let first = scene.start("first");
    scene.rows("sum(bad)", 0, &[95.0]);
    scene.until("a pending alert", |latest| latest.iter().all(|alert| alert["state"] == "pending"));
    first.kill();
    assert!(receiver.said().is_empty());
    let second = scene.start("second");
    receiver.wait(1);
    scene.settled();
    second.kill();
    let third = scene.start("third");
    scene.rows("sum(bad)", 1, &[96.0, 1.0, 1.0, 1.0]);
    receiver.wait(2);
    scene.settled();
    assert_eq!(kinds(&receiver), ["firing", "resolved"]);
    assert!(third.stop().success());
}

#[test]
fn a_crash_while_a_message_is_on_the_way_repeats_its_key() {
    let receiver = Receiver::answering(|_| Reply::Never);
    let scene = Scene::new("alert-way", &receiver.channel("team", "all"));
    let first = scene.start("first");
    scene.rows("sum(bad)", 0, &[95.0]);
    receiver.wait(1);
    first.kill();
    receiver.answers(|_| Reply::Json(200, String::new()));
    // Another alert begins meanwhile: it does not change the message.
    scene.rows("sum(good)", 0, &[95.0]);
    let second = scene.start("second");
    receiver.wait(3);
    scene.settled();
    let said = receiver.said();
    assert_eq!(said.len(), 3);
    assert_eq!(said.iter().filter(|one| one.key == said[0].key && one.body["total"] == 1).count(), 2, "{said:?}");
    drop(second);
}

#[test]
fn a_rebalance_repeats_nothing() {
    let receiver = Receiver::start();
    let scene = Scene::new("alert-move", &receiver.channel("team", "all"));
    let first = scene.start("first");
    scene.rows("sum(bad)", 0, &[95.0]);
    scene.rows("sum(good)", 0, &[95.0]);
    scene.settled();
    receiver.wait(1);
    let second = scene.start("second");
    wait("a share of the second", Duration::from_secs(60), || {
        crate::support::read(&second.log).contains("partitions assigned")
    });
    wait("one open alert each", Duration::from_secs(60), || {
        let one = r#"outlier_level{service="alert",pipeline="p",name="open_alerts"} 1"#;
        [&first, &second]
            .iter()
            .all(|one_of| get(&one_of.telemetry(), "/metrics").is_some_and(|text| text.contains(one)))
    });
    scene.rows("sum(bad)", 1, &[96.0]);
    scene.rows("sum(good)", 1, &[96.0]);
    assert!(first.stop().success());
    for series in ["sum(bad)", "sum(good)"] {
        scene.rows(series, 2, &[96.0, 1.0, 1.0, 1.0]);
    }
    scene.until("the end of both", |latest| {
        latest.len() == 2 && latest.iter().all(|alert| alert["state"] == "resolved" && alert.get("owed").is_none())
    });
    let mut told: BTreeMap<(String, String), u32> = BTreeMap::new();
    for one in receiver.said() {
        for alert in one.body["alerts"].as_array().unwrap() {
            *told.entry((alert["series"].to_string(), alert["occasion"].to_string())).or_default() += 1;
        }
    }
    assert_eq!(told.len(), 4, "{told:?}");
    assert!(told.values().all(|count| *count == 1), "{told:?}");
    assert!(second.stop().success());
}

/// That a message was delivered cannot be written down for a while: it was, all the same.
#[test]
fn an_abort_repeats_nothing() {
    let receiver = Receiver::answering(|_| Reply::Json(503, String::new()));
    let scene = Scene::new("alert-abort", &receiver.channel("team", "all"));
    let (alert, topic) = (scene.start("alert"), scene.topic("alerts"));
    scene.rows("sum(bad)", 0, &[95.0]);
    receiver.wait(1);
    scene.kafka.set(&topic, "max.message.bytes", "200");
    receiver.answers(|_| Reply::Json(200, String::new()));
    wait("refusals", Duration::from_secs(60), || {
        get(&alert.telemetry(), "/health").is_some_and(|health| health.contains("raise max.message.bytes"))
    });
    scene.kafka.set(&topic, "max.message.bytes", "1000000");
    scene.settled();
    let metrics = get(&alert.telemetry(), "/metrics").unwrap();
    let delivered = r#"{service="alert",pipeline="p",outcome="delivered",reason="team"} 1"#;
    assert!(metrics.contains(delivered), "{metrics}");
    assert!(alert.stop().success());
}

/// Without transactions, too, a change that the clock makes is written and nothing starts again.
#[test]
fn without_transactions_the_clock_decides_as_well() {
    let receiver = Receiver::start();
    let scene = Scene::new("alert-plain", &receiver.channel("team", "all"));
    let text = crate::support::read(&scene.config);
    let text = text.replace("[process]\n", "[process]\nguarantee = \"at_least_once\"\n");
    std::fs::write(&scene.config, text).unwrap();
    let alert = scene.start("alert");
    scene.rows("sum(bad)", 0, &[95.0]);
    receiver.wait(1);
    scene.settled();
    let log = crate::support::read(&alert.log);
    assert!(!log.contains("cannot commit offsets"), "{log}");
    assert!(alert.stop().success());
}

/// Rows that retention takes before they are read are counted; those behind them ring.
#[test]
fn what_retention_took_is_told() {
    let receiver = Receiver::start();
    let scene = Scene::new("alert-lost", &receiver.channel("team", "all"));
    let alert = scene.start("alert");
    scene.rows("sum(bad)", 0, &[95.0, 1.0, 1.0, 1.0]);
    receiver.wait(2);
    assert!(alert.stop().success());
    scene.rows("sum(bad)", 4, &[1.0; 30]);
    scene.kafka.empty(&scene.topic("scores"), 2);
    scene.rows("sum(bad)", 34, &[95.0]);
    let alert = scene.start("again");
    receiver.wait(3);
    let metrics = get(&alert.telemetry(), "/metrics").unwrap();
    assert!(metrics.contains(r#"pipeline="p",outcome="lost",reason="retention"} 30"#), "{metrics}");
    assert!(alert.stop().success());
}

/// Incidents one after the other while instances are killed at any moment: everything is told, and a key stands for the
/// same alerts whenever they are told together.
#[test]
fn kills_at_any_moment_lose_nothing_and_repeat_keys_only() {
    let (seed, kills) = (from_env("OUTLIER_SEED", 1u64), from_env("OUTLIER_KILLS", 6) as i64);
    println!("seed {seed}, {kills} kills");
    let mut rng = StdRng::seed_from_u64(seed);
    let receiver = Receiver::answering(|n| Reply::Json(if n.is_multiple_of(5) { 503 } else { 200 }, String::new()));
    let scene = Scene::with("alert-kills", &receiver.channel("team", "all"), "group_wait = \"200ms\"");
    let mut running = vec![scene.start("one-0"), scene.start("two-0")];
    for round in 0..kills {
        for series in ["sum(bad)", "sum(good)"] {
            scene.rows(series, round * 5, &[95.0]);
        }
        std::thread::sleep(Duration::from_millis(rng.random_range(0..2_500)));
        let victim = rng.random_range(0..2);
        running.remove(victim).kill();
        for series in ["sum(bad)", "sum(good)"] {
            scene.rows(series, round * 5 + 1, &[1.0, 1.0, 1.0]);
        }
        running.insert(victim, scene.start(&format!("{victim}-{}", round + 1)));
    }
    let expected = 2 * kills as usize;
    scene.until("the end of all", |latest| {
        let over = |alert: &serde_json::Value| alert["state"] == "resolved" && alert.get("owed").is_none();
        latest.len() == expected && latest.iter().all(over)
    });
    let mut told: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    // What is told under a key, and the key of what is told.
    let mut keys: [BTreeMap<String, String>; 2] = Default::default();
    for one in receiver.said() {
        let mut about = Vec::new();
        for alert in one.body["alerts"].as_array().unwrap() {
            let occasion = alert["occasion"].as_str().unwrap().to_owned();
            about.push(format!("{} {occasion}", alert["id"]));
            told.entry(alert["id"].to_string()).or_default().insert(occasion);
        }
        about.sort_unstable();
        let (key, about) = (one.key.unwrap(), about.join(", "));
        assert_eq!(*keys[0].entry(key.clone()).or_insert_with(|| about.clone()), about, "under {key}");
        assert_eq!(*keys[1].entry(about.clone()).or_insert_with(|| key.clone()), key, "of {about}");
    }
    assert_eq!(told.len(), expected);
    for (id, told) in told {
        assert!(told.iter().eq(["began", "over"]), "{id}: {told:?}");
    }
}
