//! A delivery to an index that is faulty, slow or gone.

use super::*;
use futures::future::BoxFuture;
use outlier::index::opensearch::body;
use outlier::index::{self, Unavailable};
use outlier::sink::document::Unfit;
use outlier::sink::suspects::Suspects;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

fn delivery(config: &Config, telemetry: &Telemetry, stop: CancellationToken) -> Delivery {
    Delivery {
        index: Arc::new(OpenSearch::new(config).unwrap()),
        rejects: Rejects::new(config, &config.pipelines[0]).unwrap(),
        telemetry: telemetry.clone(),
        pipeline: "p".to_owned(),
        pace: Mutex::new(Pace::new(1 << 20, 1)),
        stop,
        taken: Mutex::default(),
        suspects: Suspects::default(),
        waiting: Mutex::default(),
    }
}

fn source(offset: i64) -> Source {
    Source { stage: Stage::Raw, topic: "p.raw".into(), partition: 2, offset, timestamp_ms: 0, key: None }
}

/// Raw records of partition 2.
fn batch(records: i64, index: &dyn Index) -> Batch {
    let mut batch = Batch::new("p".into());
    for offset in 0..records {
        let document = document(Stage::Raw, &offset.to_string(), Some(br#"{"a":1}"#));
        batch.push(1, source(offset), document, index);
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
    let positions = delivery.settle(batch(100, &*delivery.index), true).await.unwrap();
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
    let positions = delivery.settle(batch(100, &*delivery.index), true).await.unwrap();
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
        async move { delivery.settle(batch(40, &*delivery.index), true).await }
    });
    until("the large one waits", || matches!(state(), Some(State::Waiting { .. }))).await;
    delivery.settle(batch(1, &*delivery.index), true).await.unwrap();
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
    let settling = tokio::spawn(async move { delivery.settle(batch(1, &*delivery.index), true).await });
    let waits =
        |state: Option<&State>| matches!(state, Some(State::Waiting { reason }) if reason.contains("does not answer"));
    until("health says what it waits for", || waits(telemetry.health.components().get(&component))).await;
    stop.cancel();
    assert!(settling.await.unwrap().is_err());
    assert_eq!(outcomes(&telemetry, "p"), (0, 0, 0, 0));
}

#[tokio::test]
async fn one_node_that_is_of_no_use_is_passed_over() {
    for (useless, first) in support::useless_nodes().await.iter().flat_map(|url| [(url, true), (url, false)]) {
        let memory = Arc::new(Mutex::new(Memory::default()));
        let served = Arc::clone(&memory);
        let url = standin::serve(move |request| Reply::Json(200, served.lock().unwrap().bulk(&request.body))).await;
        let urls = if first { [useless, &url] } else { [&url, useless] };
        let config = support::config(&format!("[opensearch]\nurls = {urls:?}"), "p");
        let telemetry = Telemetry::default();
        let mut delivery = delivery(&config, &telemetry, CancellationToken::new());
        delivery.pace = Mutex::new(Pace::new(1 << 20, 8));
        for _ in 0..20 {
            delivery.settle(batch(4, &*delivery.index), true).await.unwrap();
        }
        assert_eq!(memory.lock().unwrap().documents.len(), 4, "{urls:?}");
        // Not taken for load.
        assert!(delivery.step().requests > 1, "{urls:?}: {:?}", delivery.step());
    }
}

#[tokio::test]
async fn a_node_that_is_silent_hides_nothing_of_what_another_one_says() {
    for first in [true, false] {
        let url =
            standin::serve(|_| Reply::Json(503, r#"{"error":{"type":"x","reason":"no cluster"}}"#.to_owned())).await;
        let urls = if first { [url.as_str(), "http://127.0.0.1:1"] } else { ["http://127.0.0.1:1", &url] };
        let index = OpenSearch::new(&support::config(&format!("[opensearch]\nurls = {urls:?}"), "p")).unwrap();
        let error = write(&index, &[document(Stage::Raw, "1", Some(br#"{"a":1}"#))]).await.unwrap_err();
        assert!(error.reason.contains("no cluster"), "{urls:?}: {error}");
    }
}

/// A few documents with which the index fails, of a batch of which others are large and rejected, take a place of their own
/// only if there is room in memory.
#[tokio::test]
async fn what_was_rejected_counts_while_the_rest_waits() {
    for (size, suspects) in [(100, 2), (1 << 20, 1)] {
        let url = standin::serve(|request| {
            let text = String::from_utf8(request.body).unwrap();
            let item = |line: &str| match line.contains("poison") {
                true => r#"{"create":{"status":500,"error":{"type":"x","reason":"out of order"}}}"#,
                false => r#"{"create":{"status":400,"error":{"type":"x","reason":"no"}}}"#,
            };
            let items: Vec<&str> = text.lines().skip(1).step_by(2).map(item).collect();
            Reply::Json(200, format!(r#"{{"items":[{}]}}"#, items.join(",")))
        });
        let config = support::config(&format!("[opensearch]\nurls = [{:?}]", url.await), "p");
        let telemetry = Telemetry::default();
        let delivery = delivery(&config, &telemetry, CancellationToken::new());
        let mut other = delivery.suspects.none();
        other.set(Some(1));
        let mut batch = Batch::new("p".into());
        for offset in 0..5 {
            let word = if offset == 0 { "poison".to_owned() } else { "x".repeat(size) };
            let body = SCORE.replace("sum(bad)", &word);
            let source = Source { stage: Stage::Scores, ..source(offset) };
            batch.push(
                1,
                source,
                document(Stage::Scores, &offset.to_string(), Some(body.as_bytes())),
                &*delivery.index,
            );
        }
        let waits = || matches!(telemetry.health.components().get(&delivery.component()), Some(State::Waiting { .. }));
        let settle = delivery.settle(batch, true);
        tokio::pin!(settle);
        tokio::select! {
            settled = &mut settle => panic!("{settled:?}"),
            () = until("it waits", waits) => {}
        }
        assert_eq!(delivery.suspects.number(), suspects, "of {size} bytes");
    }
}

/// A cluster that is too slow for a request does not get it twice.
#[tokio::test]
async fn a_proxy_that_does_not_wait_any_longer_is_no_reason_to_ask_another_node() {
    let asked = Arc::new(AtomicUsize::new(0));
    let mut urls = Vec::new();
    for _ in 0..2 {
        let asked = Arc::clone(&asked);
        let slow = move |_| {
            asked.fetch_add(1, Ordering::Relaxed);
            Reply::Json(504, "<html>gateway timeout".to_owned())
        };
        urls.push(standin::serve(slow).await);
    }
    let index = OpenSearch::new(&support::config(&format!("[opensearch]\nurls = {urls:?}"), "p")).unwrap();
    write(&index, &[document(Stage::Raw, "1", Some(br#"{"a":1}"#))]).await.unwrap_err();
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_request_that_was_too_large_is_not_tried_again() {
    const MOST: usize = 600 << 10;
    let (memory, refused) = (Arc::new(Mutex::new(Memory::default())), Arc::new(AtomicUsize::new(0)));
    let (served, counted) = (Arc::clone(&memory), Arc::clone(&refused));
    let url = standin::serve(move |request| {
        if request.body.len() > MOST {
            counted.fetch_add(1, Ordering::Relaxed);
            return Reply::Json(413, String::new());
        }
        Reply::Json(200, served.lock().unwrap().bulk(&request.body))
    });
    let config = support::config(&format!("[opensearch]\nurls = [{:?}]", url.await), "p");
    let telemetry = Telemetry::default();
    let delivery = delivery(&config, &telemetry, CancellationToken::new());
    let body = format!(r#"{{"a":"{}"}}"#, "x".repeat(1_000));
    let mut sent = 0;
    for _ in 0..20 {
        let mut batch = Batch::new("p".into());
        while !batch.full(delivery.step().bytes, usize::MAX) {
            let source = source(sent);
            let document = document(Stage::Raw, &sent.to_string(), Some(body.as_bytes()));
            batch.push(1, source, document, &*delivery.index);
            sent += 1;
        }
        delivery.settle(batch, true).await.unwrap();
    }
    assert_eq!(memory.lock().unwrap().documents.len() as i64, sent);
    assert_eq!(refused.load(Ordering::Relaxed), 1);
    // One that is too large alone says nothing about the others.
    let most = delivery.step();
    let large = format!(r#"{{"a":"{}"}}"#, "x".repeat(MOST));
    let outcomes = write(&*delivery.index, &[document(Stage::Raw, "large", Some(large.as_bytes()))]).await.unwrap();
    assert!(matches!(&outcomes[..], [Outcome::Reject(why)] if why.contains("413")), "{outcomes:?}");
    assert_eq!(delivery.step(), most);
}

const BAD: &[u8] = br#"{"a":"as it came"}"#;

/// Takes everything but the document `bad`, which it refuses with the request it is in, or fails with.
struct Picky {
    whole: bool,
    taken: Mutex<BTreeSet<String>>,
}

impl Index for Picky {
    fn add(&self, request: &mut index::Request, document: &Document<'_>) -> Result<(), String> {
        request.add(document, |out| body::lines(out, "i", document))
    }

    fn write<'a>(&'a self, request: &'a index::Request) -> BoxFuture<'a, Result<Vec<Outcome>, Unavailable>> {
        let mut taken = self.taken.lock().unwrap();
        let mut outcome = |document: Document<'_>| match &*document.id {
            "bad" => Outcome::Fault("it broke".to_owned()),
            id if taken.insert(id.to_owned()) => Outcome::Created,
            _ => Outcome::AlreadyThere,
        };
        let written = match self.whole && request.documents().any(|document| document.id == "bad") {
            true => Err(Unavailable { reason: "it broke".to_owned(), refused: true }),
            false => Ok(request.documents().map(&mut outcome).collect()),
        };
        Box::pin(std::future::ready(written))
    }
}

#[tokio::test(start_paused = true)]
async fn a_document_that_the_index_cannot_take_holds_up_no_other() {
    let kafka = Arc::new(support::kafka::Kafka::start());
    let name = support::Name::new("picky");
    let topic = format!("{name}.rejected");
    let beside = |work: fn(&support::kafka::Kafka, String) -> Vec<support::kafka::Record>| {
        let (kafka, topic) = (Arc::clone(&kafka), topic.clone());
        async move { tokio::task::spawn_blocking(move || work(&kafka, topic)).await.unwrap() }
    };
    beside(|kafka, topic| {
        kafka.create(&[(topic, 1)]);
        Vec::new()
    })
    .await;
    let head = format!("[kafka]\nbootstrap_servers = {:?}", kafka.bootstrap);
    let config = support::parse(&(support::text(&head, "p") + &topics_toml(&name)));
    // Whether others are taken meanwhile, and of which stage.
    for (whole, others) in [
        (true, Some(Stage::Raw)),
        (false, Some(Stage::Raw)),
        (true, Some(Stage::Enriched)),
        (false, Some(Stage::Enriched)),
        (true, None),
        (false, None),
    ] {
        let blamed = others == Some(Stage::Raw);
        let (telemetry, stop) = (Telemetry::default(), CancellationToken::new());
        let picky = Arc::new(Picky { whole, taken: Mutex::default() });
        let delivery = Delivery { index: picky.clone(), ..delivery(&config, &telemetry, stop.clone()) };
        let delivery = Arc::new(delivery);
        let mut with_bad = batch(50, &*picky);
        with_bad.push(1, source(50), document(Stage::Raw, "bad", Some(BAD)), &*picky);
        with_bad.push(1, source(51), document(Stage::Raw, "last", Some(b"{}")), &*picky);
        let settling = tokio::spawn({
            let delivery = Arc::clone(&delivery);
            async move { delivery.settle(with_bad, true).await }
        });
        for n in 0..600 {
            if settling.is_finished() {
                break;
            }
            if let Some(stage) = others {
                let mut other = Batch::new("p".into());
                other.push(1, source(n), document(stage, &format!("other-{n}"), Some(b"{}")), &*picky);
                delivery.settle(other, true).await.unwrap();
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            if n == 55 {
                let others = picky.taken.lock().unwrap().iter().filter(|id| !id.starts_with("other")).count();
                assert_eq!(others, 51, "whole {whole}: the others are there");
                assert!(!settling.is_finished(), "nothing is held against it yet");
            }
        }
        // The clock stands still, the broker of the rejected topic does not.
        let began = std::time::Instant::now();
        while blamed && !settling.is_finished() && began.elapsed() < Duration::from_secs(30) {
            std::thread::sleep(Duration::from_millis(10));
            tokio::task::yield_now().await;
        }
        // As long as nothing else of its stage is taken, it may be the index.
        assert_eq!(settling.is_finished(), blamed, "whole {whole} {others:?}");
        stop.cancel();
        assert_eq!(settling.await.unwrap().is_ok(), blamed);
        assert_eq!(outcomes(&telemetry, "p").3, u64::from(blamed));
    }
    let rejected = beside(|kafka, topic| kafka.read_all(&topic)).await;
    let headers = ["outlier-detail", "outlier-document", "outlier-source"];
    let told = |record: &support::kafka::Record| headers.map(|name| record.header(name).unwrap().to_owned());
    let got: Vec<_> = rejected.iter().map(|record| (record.value.as_deref(), told(record))).collect();
    let want = ["it broke", "bad", "p.raw/2/50"].map(str::to_owned);
    assert_eq!(got, [(Some(BAD), want.clone()), (Some(BAD), want)]);
}

/// What cannot be documents waits for the rejected topic; once that takes them, all is well.
#[tokio::test(start_paused = true)]
async fn rejects_alone_make_nothing_wait_for_ever() {
    let cluster = rdkafka::mocking::MockCluster::new(1).unwrap();
    let head = format!("[kafka]\nbootstrap_servers = {:?}", cluster.bootstrap_servers());
    let config = support::parse(&support::text(&head, "p"));
    cluster.create_topic(&config.pipelines[0].topics.rejected, 1, 1).unwrap();
    let refused = rdkafka::types::RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    cluster.request_errors(rdkafka::types::RDKafkaApiKey::Produce, &[refused]);
    let telemetry = Telemetry::default();
    let delivery = delivery(&config, &telemetry, CancellationToken::new());
    let mut rejects = Batch::new("p".into());
    let unfit = Unfit { kind: "no-source", reason: "no".to_owned() };
    rejects.reject(1, source(0), None, None, unfit);
    delivery.settle(rejects, true).await.unwrap();
    assert_eq!(telemetry.health.components()[&delivery.component()], State::Ready);
}
