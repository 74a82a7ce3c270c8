//! Receivers that fail, refuse or hang.

use crate::scene::{Receiver, Scene};
use crate::support::opensearch::get;
use crate::support::standin::Reply;
use crate::support::wait;
use std::time::Duration;

fn health(alert: &crate::support::outlier::Outlier) -> serde_json::Value {
    serde_json::from_str(&get(&alert.telemetry(), "/health").unwrap()).unwrap()
}

#[test]
fn a_failing_or_hanging_receiver_holds_up_nobody_else() {
    let good = Receiver::start();
    let failing = Receiver::answering(|n| Reply::Json(if n < 4 { 500 } else { 204 }, String::new()));
    let hanging = Receiver::answering(|_| Reply::Never);
    let channels =
        [good.channel("good", "all"), failing.channel("failing", "all"), hanging.channel("hanging", "all")].concat();
    let scene = Scene::new("alert-fail", &channels);
    let alert = scene.start("alert");
    scene.rows("sum(bad)", 0, &[95.0]);
    good.wait(1);
    failing.wait(4);
    hanging.wait(1);
    scene.rows("sum(bad)", 1, &[1.0, 1.0, 1.0]);
    good.wait(2);
    failing.wait(5);
    let said = failing.said();
    assert!(said[..4].iter().all(|one| one.key == said[0].key) && said[4].key != said[0].key, "{said:?}");
    // An attempt without an answer ends, and is said.
    wait("a word about the hanging receiver", Duration::from_secs(30), || {
        health(&alert)["alert p hanging"]["state"] == "waiting"
    });
    let health = health(&alert);
    assert_eq!(health["alert p good"]["state"], "ready", "{health}");
    let metrics = get(&alert.telemetry(), "/metrics").unwrap();
    let count = |outcome: &str, channel: &str| {
        let labels = format!(
            "outlier_records_total{{service=\"alert\",pipeline=\"p\",outcome=\"{outcome}\",reason=\"{channel}\"}} "
        );
        metrics.lines().find_map(|line| line.strip_prefix(&labels)?.parse::<u64>().ok())
    };
    assert_eq!((count("delivered", "good"), count("failed", "failing")), (Some(2), Some(3)), "{metrics}");
    // Once it answers, it hears of both.
    hanging.answers(|_| Reply::Json(200, String::new()));
    scene.settled();
    let keys = |receiver: &Receiver| {
        let mut keys: Vec<_> = receiver.said().into_iter().map(|one| one.key).collect();
        keys.dedup();
        keys
    };
    assert_eq!(keys(&hanging), keys(&good));
    assert!(alert.stop().success());
}

#[test]
fn what_a_receiver_refuses_is_given_up_and_said() {
    let receiver = Receiver::answering(|n| Reply::Json(if n == 1 { 400 } else { 200 }, String::new()));
    let scene = Scene::new("alert-refuse", &receiver.channel("team", "all"));
    let alert = scene.start("alert");
    scene.rows("sum(bad)", 0, &[95.0]);
    receiver.wait(1);
    scene.settled();
    let said = health(&alert)["alert p team"]["reason"].to_string();
    assert!(said.contains("given up: the receiver refused it with 400"), "{said}");
    scene.rows("sum(bad)", 1, &[1.0, 1.0, 1.0]);
    receiver.wait(2);
    scene.settled();
    assert_eq!(receiver.said().len(), 2);
    assert_eq!(health(&alert)["alert p team"]["state"], "ready");
}
