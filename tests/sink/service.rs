//! The sink as a service: topics in, documents and rejects out.

use super::*;

/// Fills the four topics; answers how many records there are and how many of them are bad.
pub async fn fill(servers: &str, config: &Config) -> (u64, u64) {
    let producer: FutureProducer = ClientConfig::new().set("bootstrap.servers", servers).create().unwrap();
    let topics = &config.pipelines[0].topics;
    let mut records: Vec<(&str, Vec<u8>, Option<String>)> = Vec::new();
    for i in 0..500 {
        records.push((&topics.raw, format!("{{\"a\":{i}}}").into_bytes(), None));
        let enriched = format!(r#"{{"a":{i},"good":1,"bad":0,"outlier":{{"pipeline":"p","event_time":{i}}}}}"#);
        records.push((&topics.enriched, enriched.into_bytes(), Some(format!("{}/0/{i}", topics.raw))));
        let score = SCORE.replace("\"window_start\":1000", &format!("\"window_start\":{i}"));
        records.push((&topics.scores, score.into_bytes(), None));
        let alert = ALERT.replace("\"sequence\":1", &format!("\"sequence\":{i}"));
        records.push((&topics.alerts, alert.into_bytes(), None));
    }
    for text in ["plain text", "{\"broken\"", "\u{feff}"] {
        records.push((&topics.raw, text.as_bytes().to_vec(), None));
    }
    records.push((&topics.raw, b"\xff\xfe".to_vec(), None));
    let good = records.len();
    records.push((&topics.enriched, br#"{"outlier":{"event_time":1}}"#.to_vec(), None));
    records.push((&topics.enriched, br#"{"no":"time"}"#.to_vec(), Some("r/0/1".to_owned())));
    records.push((&topics.scores, b"no score".to_vec(), None));
    records.push((&topics.alerts, b"no alert".to_vec(), None));
    let all = records.len();
    let sent = records.iter().map(|(topic, body, source)| {
        let mut record = FutureRecord::to(topic).payload(body).key("k");
        if let Some(source) = source {
            record = record.headers(OwnedHeaders::new().insert(Header { key: "outlier-source", value: Some(source) }));
        }
        producer.send(record, Duration::from_secs(30))
    });
    for delivered in futures::future::join_all(sent).await {
        delivered.unwrap();
    }
    (all as u64, (all - good) as u64)
}

/// A configuration of the pipeline `p` on topics of this name; `group` comes before the group's name.
pub fn config_on(servers: &str, name: &str, group: &str, head: &str) -> Config {
    let head = format!(
        "[kafka]\nbootstrap_servers = {servers:?}\ntopic_prefix = \"{group}\"\nraw_partitions = 2\nreplication_factor = 1\n{head}"
    );
    let text = support::text(&head, "p") + &topics_toml(name);
    support::parse(&text)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sink_indexes_all_topics_once_and_rejects_the_rest() {
    let kafka = support::kafka::Kafka::start();
    let servers = kafka.bootstrap.clone();
    let (folder, name) = (Folder::new(), support::Name::new("sink"));
    let path = folder.0.join("index.sqlite");
    let head =
        format!("[sink]\nindex = \"sqlite\"\nflush_interval = \"50ms\"\nbulk_records = 100\n[sqlite]\npath = {path:?}");
    let config = config_on(&servers, &name, &format!("{name}a."), &head);
    setup::ensure_topics(&config).await.unwrap();
    let (all, bad) = fill(&servers, &config).await;

    let first = Running::start(&config);
    until("all is settled", || outcomes(&first.telemetry, "p").0 >= all).await;
    assert_eq!(first.stop().await, (all, all - bad, 0, bad));
    let reader = Reader::open(&config.sqlite).unwrap();
    let counts =
        [Stage::Raw, Stage::Enriched, Stage::Scores, Stage::Alerts].map(|stage| reader.count("p", stage).unwrap());
    assert_eq!(counts, [504, 500, 500, 500]);

    // The offsets were committed: only what came since is read.
    let (more, _) = (fill(&servers, &config).await, ());
    let second = Running::start(&config);
    until("the rest is settled", || outcomes(&second.telemetry, "p").0 >= more.0).await;
    // Raw records have new ids; the others have those of the first time.
    assert_eq!(second.stop().await, (more.0, 504, 1_500, bad));

    // Another group reads everything again and changes nothing.
    let again = config_on(&servers, &name, &format!("{name}b."), &head);
    let third = Running::start(&again);
    until("the replay is settled", || outcomes(&third.telemetry, "p").0 >= 2 * all).await;
    assert_eq!(third.stop().await, (2 * all, 0, 2 * (all - bad), 2 * bad));

    let rejected = read_all(&servers, &format!("{name}.rejected"), 4 * bad as usize);
    let kinds: BTreeSet<&str> = rejected.iter().map(|(headers, _)| headers["outlier-reason"].as_str()).collect();
    assert_eq!(kinds, BTreeSet::from(["no-source", "no-event-time", "not-a-score", "not-an-alert"]));
    for (headers, body) in &rejected {
        assert_eq!(headers["outlier-service"], "sink");
        assert!(headers["outlier-source"].starts_with(&*name) && !headers["outlier-detail"].is_empty(), "{headers:?}");
        if headers["outlier-reason"] == "not-a-score" {
            assert_eq!(body, b"no score");
        }
    }
}

/// Reads `count` records of a topic: headers and value.
fn read_all(servers: &str, topic: &str, count: usize) -> Vec<(BTreeMap<String, String>, Vec<u8>)> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", servers)
        .set("group.id", support::name::unused("reader"))
        .set("auto.offset.reset", "earliest")
        .create()
        .unwrap();
    consumer.subscribe(&[topic]).unwrap();
    let mut records = Vec::new();
    for _ in 0..600 {
        if records.len() >= count {
            break;
        }
        let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else { continue };
        let headers = message.headers().into_iter().flat_map(Headers::iter);
        let text = |value: Option<&[u8]>| String::from_utf8(value.unwrap_or_default().to_vec()).unwrap();
        let headers = headers.map(|header| (header.key.to_owned(), text(header.value))).collect();
        records.push((headers, message.payload().unwrap_or_default().to_vec()));
    }
    assert_eq!(records.len(), count, "records of {topic}");
    records
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_is_down_loses_and_doubles_nothing() {
    let kafka = support::kafka::Kafka::start();
    let servers = kafka.bootstrap.clone();
    let memory = Arc::new(Mutex::new(Memory::default()));
    let url = standin::serve(faulty(Arc::clone(&memory))).await;
    let name = support::Name::new("down");
    let head = format!("[sink]\nflush_interval = \"50ms\"\nbulk_records = 20\n[opensearch]\nurls = [{url:?}]");
    let config = config_on(&servers, &name, &format!("{name}."), &head);
    setup::ensure_topics(&config).await.unwrap();
    let (all, bad) = fill(&servers, &config).await;
    let running = Running::start(&config);
    until("all is settled", || outcomes(&running.telemetry, "p").0 >= all).await;
    let (read, out, there, rejected) = running.stop().await;
    assert_eq!((read, out + there, rejected), (all, all - bad, bad));
    assert_eq!(memory.lock().unwrap().documents.len() as u64, all - bad);
}

/// What the broker says of the group's only member.
fn member(servers: &str, group: &str) -> Option<String> {
    let client: BaseConsumer = ClientConfig::new().set("bootstrap.servers", servers).create().unwrap();
    let list = client.fetch_group_list(Some(group), Duration::from_secs(30)).unwrap();
    let group = list.groups().iter().find(|found| found.name() == group)?;
    (group.state() == "Stable" && group.members().len() == 1).then(|| group.members()[0].id().to_owned())
}

/// The consumer waits for longer than a consumer may that does not poll.
#[tokio::test(flavor = "multi_thread")]
async fn a_sink_whose_index_is_gone_for_long_stays_in_its_group() {
    const POLL: Duration = Duration::from_secs(6);
    let kafka = support::kafka::Kafka::start();
    let servers = kafka.bootstrap.clone();
    let memory = Arc::new(Mutex::new(Memory::default()));
    let back = Arc::new(AtomicBool::new(false));
    let (served, answers) = (Arc::clone(&memory), Arc::clone(&back));
    let url = standin::serve(move |request| match answers.load(Ordering::Relaxed) {
        true => Reply::Json(200, served.lock().unwrap().bulk(&request.body)),
        false => Reply::Json(503, r#"{"error":{"type":"x","reason":"gone"},"status":503}"#.to_owned()),
    })
    .await;
    let name = support::Name::new("paused");
    let poll = POLL.as_millis();
    let head = format!(
        "[kafka.properties]\n\"session.timeout.ms\" = {poll}\n\"max.poll.interval.ms\" = {poll}\n\
         [sink]\nflush_interval = \"10ms\"\nbulk_records = 7\n[opensearch]\nurls = [{url:?}]"
    );
    let config = config_on(&servers, &name, &format!("{name}."), &head);
    setup::ensure_topics(&config).await.unwrap();
    let (all, bad) = fill(&servers, &config).await;
    let running = Running::start(&config);
    let group = format!("{name}.p.sink");
    let asked = servers.clone();
    let who = async || {
        let (servers, group) = (asked.clone(), group.clone());
        tokio::task::spawn_blocking(move || member(&servers, &group)).await.unwrap()
    };
    let waits = |state: Option<&State>| matches!(state, Some(State::Waiting { reason }) if reason.contains("gone"));
    until("the sink waits", || waits(running.telemetry.health.components().get("sink.p.index"))).await;
    let before = who().await;
    assert!(before.is_some(), "{group} has one member");
    // The client measures that with its own clock, which nobody can advance. One that left would come back as another.
    tokio::time::sleep(2 * POLL + POLL / 2).await;
    assert_eq!((who().await, outcomes(&running.telemetry, "p").0), (before, 0), "it left its group");
    back.store(true, Ordering::Relaxed);
    until("all is settled", || outcomes(&running.telemetry, "p").0 >= all).await;
    assert_eq!(running.stop().await, (all, all - bad, 0, bad));
    assert_eq!(memory.lock().unwrap().documents.len() as u64, all - bad);
}

#[tokio::test(flavor = "multi_thread")]
async fn sinks_that_come_and_go_share_the_work() {
    let kafka = support::kafka::Kafka::start();
    let servers = kafka.bootstrap.clone();
    let memory = Arc::new(Mutex::new(Memory::default()));
    let served = Arc::clone(&memory);
    let url = standin::serve(move |request| Reply::Json(200, served.lock().unwrap().bulk(&request.body))).await;
    let name = support::Name::new("share");
    let head = format!("[sink]\nflush_interval = \"10ms\"\nbulk_records = 7\n[opensearch]\nurls = [{url:?}]");
    let config = config_on(&servers, &name, &format!("{name}."), &head);
    // The first starts before its topics are there: it says what to do, and goes on when it is done.
    let first = Running::start(&config);
    let told =
        |state: Option<&State>| matches!(state, Some(State::Waiting { reason }) if reason.contains("outlier setup"));
    until("the missing topics are told", || told(first.telemetry.health.components().get("sink.p.kafka"))).await;
    setup::ensure_topics(&config).await.unwrap();
    let (all, bad) = fill(&servers, &config).await;
    until("the first works", || outcomes(&first.telemetry, "p").0 > 0).await;
    let second = Running::start(&config);
    until("the second has joined", || second.telemetry.health.components().get("sink.p.kafka") == Some(&State::Ready))
        .await;
    let (more, _) = fill(&servers, &config).await;
    until("the second works", || outcomes(&second.telemetry, "p").0 > 0).await;
    let (a, out_a, there_a, rejected_a) = first.stop().await;
    // Enriched and scores came twice under the same ids; raw did not.
    let distinct = (all - bad + 504) as usize;
    until("all is there", || memory.lock().unwrap().documents.len() == distinct).await;
    until("all is settled", || a + outcomes(&second.telemetry, "p").0 >= all + more).await;
    // That counts what was read by both twice: the last records, bad ones, may not be settled yet.
    let rejected = || kafka.read_all(&format!("{name}.rejected"));
    let source = |record: &support::kafka::Record| {
        let last = record.headers.iter().rfind(|(key, _)| key == "outlier-source");
        last.map(|(_, value)| value.clone())
    };
    let sources = || rejected().iter().map(source).collect::<BTreeSet<_>>().len() as u64;
    until("all that is bad is rejected", || sources() == 2 * bad).await;
    let (b, out_b, there_b, rejected_b) = second.stop().await;
    assert_eq!(a + b, out_a + there_a + rejected_a + out_b + there_b + rejected_b);
    assert_eq!(out_a + out_b, distinct as u64);
    // What was on the way when its partition went to the second was read by both.
    assert!(a + b >= all + more);
    assert_eq!((sources(), rejected().len() as u64), (2 * bad, rejected_a + rejected_b));
    let asked = config.clone();
    tokio::task::spawn_blocking(move || check_offsets(&servers, &asked, "after the last stop")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_that_opensearch_refuses_goes_to_the_rejected_topic() {
    let Some(url) = support::opensearch() else { return };
    let kafka = support::kafka::Kafka::start();
    let servers = kafka.bootstrap.clone();
    let name = support::Name::new("refused");
    let head = format!(
        "[sink]\nflush_interval = \"50ms\"\n[opensearch]\nurls = [{url:?}]\nindex_prefix = \"{name}\"\nreplicas = 0"
    );
    let config = config_on(&servers, &name, &format!("{name}."), &head);
    setup::ensure_topics(&config).await.unwrap();
    setup::apply_index(&config).await.unwrap();
    let (all, bad) = fill(&servers, &config).await;
    let producer: FutureProducer = ClientConfig::new().set("bootstrap.servers", &servers).create().unwrap();
    let body = r#"{"x":1,"x":2,"outlier":{"event_time":5}}"#;
    let headers = OwnedHeaders::new().insert(Header { key: "outlier-source", value: Some("r/7/7") });
    let record = FutureRecord::to(&config.pipelines[0].topics.enriched).payload(body).key("k").headers(headers);
    producer.send(record, Duration::from_secs(30)).await.unwrap();
    let running = Running::start(&config);
    until("all is settled", || outcomes(&running.telemetry, "p").0 > all).await;
    assert_eq!(running.stop().await, (all + 1, all - bad, 0, bad + 1));
    let rejected = read_all(&servers, &format!("{name}.rejected"), bad as usize + 1);
    let refused: Vec<_> = rejected.iter().filter(|(headers, _)| headers["outlier-reason"] == "index").collect();
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].1, body.as_bytes());
    assert!(refused[0].0["outlier-detail"].contains("Duplicate field 'x'"), "{refused:?}");
    let client = Client::new(&config).unwrap();
    assert_eq!(search(&client, &format!("{name}p-enriched"), "good:1").await.len(), 500);
}

/// What retention took before it was read is counted, and reading goes on behind it.
#[tokio::test(flavor = "multi_thread")]
async fn what_retention_took_is_told() {
    let kafka = Arc::new(support::kafka::Kafka::start());
    let (servers, name, folder) = (kafka.bootstrap.clone(), support::Name::new("lost"), Folder::new());
    let path = folder.0.join("index.sqlite");
    let head = format!("[sink]\nindex = \"sqlite\"\nflush_interval = \"50ms\"\n[sqlite]\npath = {path:?}");
    let config = config_on(&servers, &name, &format!("{name}."), &head);
    setup::ensure_topics(&config).await.unwrap();
    let (all, _) = fill(&servers, &config).await;
    let lost = |telemetry: &Telemetry| {
        let text = telemetry.metrics.text();
        let line = text.lines().find(|line| line.contains(r#"outcome="lost",reason="retention""#)).unwrap();
        line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()
    };
    let first = Running::start(&config);
    until("all is settled", || outcomes(&first.telemetry, "p").0 >= all).await;
    assert_eq!(lost(&first.telemetry), 0);
    first.stop().await;

    fill(&servers, &config).await;
    let raw = config.pipelines[0].topics.raw.clone();
    let emptied = Arc::clone(&kafka);
    tokio::task::spawn_blocking(move || emptied.empty(&raw, 2)).await.unwrap();
    let (more, _) = fill(&servers, &config).await;
    let second = Running::start(&config);
    // Of the raw records those of the last time, of the others those of both times.
    let want = 2 * more - 504;
    until("the rest is settled", || outcomes(&second.telemetry, "p").0 >= want).await;
    assert_eq!(lost(&second.telemetry), 504);
    let report = serde_json::to_value(second.telemetry.health.report()).unwrap();
    assert_eq!(report["sink.p.kafka"]["counts"]["lost"], 504, "{report}");
    assert_eq!(second.stop().await.0, want);
    assert_eq!(Reader::open(&config.sqlite).unwrap().count("p", Stage::Raw).unwrap(), 2 * 504);
}

/// A document with which the index fails for ever takes no place on the way, though there is one only.
#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_is_never_taken_holds_up_no_batch() {
    let kafka = support::kafka::Kafka::start();
    let (servers, name) = (kafka.bootstrap.clone(), support::Name::new("poison"));
    let (memory, failed) = (Arc::new(Mutex::new(Memory::default())), Arc::new(AtomicBool::new(false)));
    let (served, seen) = (Arc::clone(&memory), Arc::clone(&failed));
    let url = standin::serve(move |request| {
        let text = String::from_utf8(request.body).unwrap();
        let (mut items, lines) = (Vec::new(), text.lines().collect::<Vec<_>>());
        for pair in lines.chunks(2) {
            let one = format!("{}\n{}\n", pair[0], pair[1]);
            let error = serde_json::json!({"type": "null_pointer_exception", "reason": null});
            let item = match pair[1].contains("poison") {
                true => serde_json::json!({"create": {"status": 500, "error": error}}),
                false => serde_json::from_str::<Value>(&served.lock().unwrap().bulk(one.as_bytes())).unwrap()["items"]
                    [0]
                .clone(),
            };
            seen.fetch_or(pair[1].contains("poison"), Ordering::Relaxed);
            items.push(item);
        }
        Reply::Json(200, serde_json::json!({ "items": items }).to_string())
    });
    let head = format!(
        "[sink]\nwhat = [\"raw\"]\nflush_interval = \"50ms\"\nbulk_requests = 1\n[opensearch]\nurls = [{:?}]",
        url.await
    );
    let config = config_on(&servers, &name, &format!("{name}."), &head);
    setup::ensure_topics(&config).await.unwrap();
    let producer: FutureProducer = ClientConfig::new().set("bootstrap.servers", &servers).create().unwrap();
    let send = async |body: &str| {
        let record = FutureRecord::to(&config.pipelines[0].topics.raw).payload(body).key("k");
        producer.send(record, Duration::from_secs(30)).await.unwrap();
    };
    let running = Running::start(&config);
    send(r#"{"a":"poison"}"#).await;
    until("the failure", || failed.load(Ordering::Relaxed)).await;
    for n in 1..=20 {
        send(r#"{"a":"good"}"#).await;
        until("the next one", || memory.lock().unwrap().documents.len() == n).await;
    }
    // The batch of the one before them is not settled.
    assert_eq!(running.stop().await, (20, 20, 0, 0));
}
