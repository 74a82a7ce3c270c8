//! A delivery to an index that is faulty, slow or gone.

use super::*;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

fn delivery(config: &Config, telemetry: &Telemetry, stop: CancellationToken) -> Delivery {
    Delivery {
        index: Arc::new(OpenSearch::new(config).unwrap()),
        rejects: Rejects::new(config, &config.pipelines[0]).unwrap(),
        telemetry: telemetry.clone(),
        pipeline: "p".to_owned(),
        pace: Mutex::new(Pace::new(1 << 20, 1)),
        stop,
        waiting: AtomicUsize::new(0),
    }
}

/// Raw records of partition 2.
fn batch(records: i64) -> Batch {
    let mut batch = Batch::default();
    for offset in 0..records {
        let source =
            Source { stage: Stage::Raw, topic: "p.raw".into(), partition: 2, offset, timestamp_ms: 0, key: None };
        batch.push(1, source, Ok(document(Stage::Raw, &offset.to_string(), Some(br#"{"a":1}"#))));
    }
    batch
}

#[tokio::test]
async fn a_delivery_waits_until_the_index_takes_it() {
    for gzip in [false, true] {
        waits_until_the_index_takes_it(gzip).await;
    }
}

async fn waits_until_the_index_takes_it(gzip: bool) {
    let memory = Arc::new(Mutex::new(Memory::default()));
    let url = standin::serve(faulty(Arc::clone(&memory))).await;
    let config = support::config(&format!("[opensearch]\nurls = [{url:?}]\ngzip = {gzip}"), "p");
    let telemetry = Telemetry::default();
    let delivery = delivery(&config, &telemetry, CancellationToken::new());
    let positions = delivery.settle(batch(100), true).await.unwrap();
    assert_eq!(positions[&(Stage::Raw, 2)].next, 100);
    assert_eq!(memory.lock().unwrap().documents.len(), 100);
    // Halves of halves of a request that was too large, after seven faults.
    assert!(memory.lock().unwrap().requests > 10);
    // One of the faults came after the index had taken them.
    let (read, created, there, rejected) = outcomes(&telemetry, "p");
    assert_eq!((read, created + there, rejected), (100, 100, 0));
    assert!(there > 0);
    // Halved by each fault, and not grown by what is left of a batch.
    assert_eq!(delivery.step(), Step { bytes: 64 << 10, requests: 1 });
    assert_eq!(telemetry.health.components()[&delivery.component()], State::Ready);
}

#[tokio::test]
async fn a_batch_that_never_fits_as_a_whole_goes_in_parts() {
    const FITS: usize = 30;
    let memory = Arc::new(Mutex::new(Memory::default()));
    let served = Arc::clone(&memory);
    let url = standin::serve(move |request| {
        let documents = request.body.iter().filter(|byte| **byte == b'\n').count() / 2;
        if documents > FITS {
            return Reply::Json(429, r#"{"error":"rejected execution of coordinating operation"}"#.to_owned());
        }
        Reply::Json(200, served.lock().unwrap().bulk(&request.body))
    });
    let config = support::config(&format!("[opensearch]\nurls = [{:?}]", url.await), "p");
    let telemetry = Telemetry::default();
    let delivery = delivery(&config, &telemetry, CancellationToken::new());
    let positions = delivery.settle(batch(100), true).await.unwrap();
    assert_eq!(positions[&(Stage::Raw, 2)].next, 100);
    assert_eq!((memory.lock().unwrap().documents.len(), outcomes(&telemetry, "p")), (100, (100, 100, 0, 0)));
}

#[tokio::test]
async fn a_batch_that_waits_is_seen_beside_one_that_is_taken() {
    let full = Arc::new(AtomicBool::new(true));
    let (memory, refuses) = (Arc::new(Mutex::new(Memory::default())), Arc::clone(&full));
    let url = standin::serve(move |request| {
        let many = request.body.iter().filter(|byte| **byte == b'\n').count() > 2;
        if many && refuses.load(Ordering::Relaxed) {
            return Reply::Json(503, r#"{"error":"no node takes it"}"#.to_owned());
        }
        Reply::Json(200, memory.lock().unwrap().bulk(&request.body))
    });
    let config = support::config(&format!("[opensearch]\nurls = [{:?}]", url.await), "p");
    let telemetry = Telemetry::default();
    let delivery = Arc::new(delivery(&config, &telemetry, CancellationToken::new()));
    let component = delivery.component();
    let state = || telemetry.health.components().get(&component).cloned();
    let waiting = tokio::spawn({
        let delivery = Arc::clone(&delivery);
        async move { delivery.settle(batch(40), true).await }
    });
    until("the large one waits", || matches!(state(), Some(State::Waiting { .. }))).await;
    delivery.settle(batch(1), true).await.unwrap();
    assert!(matches!(state(), Some(State::Waiting { .. })), "{:?}", state());
    full.store(false, Ordering::Relaxed);
    waiting.await.unwrap().unwrap();
    assert_eq!(state(), Some(State::Ready));
}

#[tokio::test]
async fn a_delivery_is_given_up_when_the_sink_stops() {
    let config = support::config("[opensearch]\nurls = [\"http://127.0.0.1:1\"]", "p");
    let telemetry = Telemetry::default();
    let stop = CancellationToken::new();
    let delivery = delivery(&config, &telemetry, stop.clone());
    let component = delivery.component();
    let settling = tokio::spawn(async move { delivery.settle(batch(1), true).await });
    let waits =
        |state: Option<&State>| matches!(state, Some(State::Waiting { reason }) if reason.contains("does not answer"));
    until("health says what it waits for", || waits(telemetry.health.components().get(&component))).await;
    stop.cancel();
    assert!(settling.await.unwrap().is_err());
    assert_eq!(outcomes(&telemetry, "p"), (0, 0, 0, 0));
}

#[tokio::test]
async fn one_node_that_is_down_is_passed_over() {
    const GONE: &str = "http://127.0.0.1:1";
    for first in [true, false] {
        let memory = Arc::new(Mutex::new(Memory::default()));
        let served = Arc::clone(&memory);
        let url = standin::serve(move |request| Reply::Json(200, served.lock().unwrap().bulk(&request.body))).await;
        let urls = if first { [GONE, &url] } else { [&url, GONE] };
        let index = OpenSearch::new(&support::config(&format!("[opensearch]\nurls = {urls:?}"), "p")).unwrap();
        for id in ["1", "2", "3", "4"] {
            let written = index.write(&[document(Stage::Raw, id, Some(br#"{"a":1}"#))]).await;
            assert_eq!(written, Ok(vec![Outcome::Created]), "{urls:?}");
        }
    }
}
