//! `process` as real child processes: killed at seeded moments, and fed every kind of bad record.
//!
//! On the embedded broker, or on the real Kafka of `KAFKA_BOOTSTRAP_SERVERS`. More rounds with `OUTLIER_KILLS=100`,
//! another course with `OUTLIER_SEED=7`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use rand::prelude::*;
use rand::rngs::StdRng;
use std::collections::BTreeMap;
use std::time::Duration;
use support::kafka::{Kafka, flush, send};
use support::outlier::Outlier;
use support::{Workplace, wait};

const PARTITIONS: i32 = 4;
/// A whole hour, so that windows are easy to count.
const START: i64 = 1_795_392_000_000;

/// Writes a configuration and creates its topics. Several pipelines may read one raw topic.
fn pipeline(kafka: &Kafka, place: &Workplace, name: &str, raw: &str) -> std::path::PathBuf {
    let prefix = &place.prefix;
    let topic = |stage: &str| format!("{prefix}{name}.{stage}");
    let stages =
        [("enriched", PARTITIONS), ("windows", 3), ("scores", 2), ("state", 3), ("anomalies", 1), ("rejected", 2)];
    kafka.create(&stages.map(|(stage, n)| (topic(stage), n)));
    let text = format!(
        r#"
[kafka]
bootstrap_servers = "{}"
topic_prefix = "{prefix}"
[process]
idle_timeout = "10m"
data_dir = "{name}-data"
[telemetry]
listen = "127.0.0.1:0"
[[pipeline]]
preset = "waf"
name = "{name}"
window = "10s"
lateness = "2s"
windows_partitions = 3
[pipeline.topics]
raw = "{raw}"
"#,
        kafka.bootstrap
    );
    place.file(&format!("{name}.toml"), &text)
}

fn log_record(rng: &mut StdRng, time: i64) -> String {
    let action = if rng.random_bool(0.1) { "BLOCK" } else { "ALLOW" };
    let status = [200, 202, 404, 502].choose(rng).unwrap();
    let country = ["US", "UK", "XX"].choose(rng).unwrap();
    format!(
        r#"{{"timestamp":{time},"action":"{action}","httpSourceName":"ALB","httpStatus":{status},"httpRequest":{{"country":"{country}","httpMethod":"GET"}}}}"#
    )
}

/// The records of a topic by the raw record they came from; fails on any that is there twice.
fn by_source(kafka: &Kafka, topic: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for record in kafka.read_all(topic) {
        let source = record.header("outlier-source").expect("the header outlier-source").to_owned();
        let before = found.insert(source.clone(), record.text());
        assert_eq!(before, None, "{source} is there twice in {topic}");
    }
    found
}

/// The rows of a scores topic, without the best-effort parts there are none of.
fn scores(kafka: &Kafka, topic: &str) -> Vec<String> {
    let mut rows: Vec<_> = kafka.read_all(topic).iter().map(|record| record.text()).collect();
    rows.sort();
    rows
}

fn from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// `kill -9` and restarts of up to three instances while records arrive, and one that is frozen until the group has
/// given it up: nothing is lost or doubled, and the scores are those of one instance that was never disturbed.
#[test]
fn kills_lose_and_double_nothing() {
    let (seed, kills) = (from_env("OUTLIER_SEED", 1), from_env("OUTLIER_KILLS", 6));
    println!("seed {seed}, {kills} kills");
    let mut rng = StdRng::seed_from_u64(seed);
    let kafka = Kafka::start();
    let place = Workplace::new("kills");
    let raw = format!("{}raw", place.prefix);
    kafka.create(&[(raw.clone(), PARTITIONS)]);
    let disturbed = pipeline(&kafka, &place, "disturbed", &raw);
    let calm = pipeline(&kafka, &place, "calm", &raw);

    let producer = kafka.producer();
    let (mut time, mut sent) = (START, BTreeMap::new());
    let mut feed = |rng: &mut StdRng, records: usize| {
        for _ in 0..records {
            time += rng.random_range(0..40);
            let partition = rng.random_range(0..PARTITIONS);
            let late = if rng.random_bool(0.02) { 60_000 } else { 1_500 };
            let bad = rng.random_bool(0.02);
            let event = time - rng.random_range(0..late);
            let value = if bad { "not json".into() } else { log_record(rng, event) };
            send(&producer, &raw, partition, Some(value.as_bytes()), time);
            *sent.entry(bad).or_insert(0usize) += 1;
        }
        producer.poll(Duration::ZERO);
    };

    let mut started = 0;
    let mut start = |config: &std::path::Path| {
        started += 1;
        Outlier::start(config, &format!("process-{started}"), &["process"])
    };
    let mut instances = vec![start(&disturbed)];
    for _ in 0..kills {
        feed(&mut rng, 3_000);
        std::thread::sleep(Duration::from_millis(rng.random_range(100..2_500)));
        if instances.len() < 3 && rng.random_bool(0.7) {
            instances.push(start(&disturbed));
        }
        let victim = rng.random_range(0..instances.len());
        instances.swap_remove(victim).kill();
        if instances.is_empty() {
            instances.push(start(&disturbed));
        }
    }
    // Frozen for longer than its session lasts, with a transaction under way; the others take its partitions over.
    instances.push(start(&disturbed));
    feed(&mut rng, 3_000);
    std::thread::sleep(Duration::from_millis(rng.random_range(500..2_500)));
    instances[0].signal("STOP");
    feed(&mut rng, 3_000);
    std::thread::sleep(Duration::from_secs(12));
    instances[0].signal("CONT");
    feed(&mut rng, 3_000);
    // One last record in each partition, ten minutes later, closes every window before it.
    for partition in 0..PARTITIONS {
        send(&producer, &raw, partition, Some(log_record(&mut rng, time + 600_000).as_bytes()), time + 600_000);
        *sent.entry(false).or_insert(0) += 1;
    }
    flush(&producer);
    let alone = start(&calm);

    let topic = |name: &str, stage: &str| format!("{}{name}.{stage}", place.prefix);
    // Windows up to the last records close; what is expected of them comes from the undisturbed instance.
    let last_end = (time + 600_000 - 2_000) / 10_000 * 10_000;
    for name in ["calm", "disturbed"] {
        wait(&format!("the last score of {name}"), Duration::from_secs(120), || {
            let marker = format!("\"window_end\":{last_end},");
            scores(&kafka, &topic(name, "scores")).iter().filter(|row| row.contains(&marker)).count() == 10
        });
    }
    for name in ["calm", "disturbed"] {
        let (enriched, rejected) =
            (by_source(&kafka, &topic(name, "enriched")), by_source(&kafka, &topic(name, "rejected")));
        assert_eq!((enriched.len(), rejected.len()), (sent[&false], sent[&true]), "{name}: in = enriched + rejected");
    }
    let flags_of = |name: &str| {
        let plain = |text: &String| text.split(",\"outlier\"").next().unwrap_or_default().to_owned();
        by_source(&kafka, &topic(name, "enriched")).iter().map(|(k, v)| (k.clone(), plain(v))).collect::<Vec<_>>()
    };
    assert_eq!(flags_of("disturbed"), flags_of("calm"));
    assert_eq!(scores(&kafka, &topic("disturbed", "scores")), scores(&kafka, &topic("calm", "scores")));
    for instance in instances {
        assert!(instance.stop().success());
    }
    assert!(alone.stop().success());
}

/// Every kind of bad record among good ones: rejected with its reason and its bytes, counted, and the stream goes on.
#[test]
fn bad_records_are_kept_with_their_reason() {
    let kafka = Kafka::start();
    let place = Workplace::new("bad");
    let raw = format!("{}raw", place.prefix);
    kafka.create(&[(raw.clone(), PARTITIONS)]);
    let config = pipeline(&kafka, &place, "bad", &raw);
    let good = |time: i64| format!(r#"{{"timestamp":{time},"action":"ALLOW"}}"#).into_bytes();
    let filled = |before: &str, byte: &str, times: usize| format!("{before}{}", byte.repeat(times)).into_bytes();
    let bad: Vec<(&str, Option<Vec<u8>>)> = vec![
        ("syntax", Some(br#"{"timestamp":1795392000000,"action":}"#.to_vec())),
        ("syntax", Some(Vec::new())),
        ("not-an-object", Some(b"[1,2]".to_vec())),
        ("too-large", Some(filled(r#"{"timestamp":1795392000000,"a":""#, "x", 1 << 20))),
        ("too-large", Some(filled(r#"{"timestamp":1795392000000,"a":""#, "x", 5 << 20))),
        ("no-timestamp", Some(b"{}".to_vec())),
        ("bad-timestamp", Some(br#"{"timestamp":-5}"#.to_vec())),
        ("bad-timestamp", Some(br#"{"timestamp":"yesterday"}"#.to_vec())),
        ("skewed", Some(good(START + 86_400_000))),
        ("invalid-utf8", Some(b"{\"timestamp\":1795392000000,\"a\":\"\xff\"}".to_vec())),
        ("tombstone", None),
        ("too-deep", Some(filled(r#"{"a":"#, "[", 10_000))),
        ("name-conflict", Some(br#"{"timestamp":1795392000000,"B_action":1}"#.to_vec())),
        ("name-conflict", Some(br#"{"timestamp":1795392000000,"outlier":{}}"#.to_vec())),
    ];
    let producer: rdkafka::producer::BaseProducer =
        kafka.client().set("message.max.bytes", "8000000").set("compression.codec", "lz4").create().unwrap();
    for (i, (_, value)) in bad.iter().enumerate() {
        let partition = i as i32 % PARTITIONS;
        send(&producer, &raw, partition, Some(&good(START)), START);
        send(&producer, &raw, partition, value.as_deref(), START);
    }
    flush(&producer);
    let process = Outlier::start(&config, "process", &["process"]);
    let topic = |stage: &str| format!("{}bad.{stage}", place.prefix);
    wait("every record", Duration::from_secs(60), || {
        kafka.read_all(&topic("enriched")).len() + kafka.read_all(&topic("rejected")).len() == 2 * bad.len()
    });
    // The ledger: in = enriched + rejected, by reason.
    let metrics = support::opensearch::get(&process.telemetry(), "/metrics").unwrap();
    let counted = |outcome: &str, reason: &str| -> usize {
        let labels = format!(
            "outlier_records_total{{service=\"process\",pipeline=\"bad\",outcome=\"{outcome}\",reason=\"{reason}\"}} "
        );
        metrics.lines().find_map(|line| line.strip_prefix(&labels)?.parse().ok()).expect(&labels)
    };
    assert_eq!((counted("in", ""), counted("out", "")), (2 * bad.len(), bad.len()));
    for (reason, _) in &bad {
        assert_eq!(counted("rejected", reason), bad.iter().filter(|(other, _)| other == reason).count(), "{reason}");
    }
    let rejected = kafka.read_all(&topic("rejected"));
    let of_raw: BTreeMap<String, _> =
        kafka.read_all(&raw).into_iter().map(|r| (format!("{raw}/{}/{}", r.partition, r.offset), r.value)).collect();
    let mut reasons: Vec<_> = Vec::new();
    for record in &rejected {
        let source = record.header("outlier-source").unwrap();
        match record.header("outlier-original-bytes") {
            None => assert_eq!(record.value, of_raw[source], "the bytes of {source} survive"),
            Some(length) => {
                let (whole, cut) = (of_raw[source].as_ref().unwrap(), record.value.as_ref().unwrap());
                assert_eq!(length, whole.len().to_string());
                assert!(cut.len() == 2 << 20 && whole.starts_with(cut), "the beginning of {source} survives");
            }
        }
        assert_eq!(record.header("outlier-service"), Some("process"));
        assert!(record.header("outlier-detail").is_some_and(|detail| !detail.is_empty()));
        reasons.push(record.header("outlier-reason").unwrap().to_owned());
    }
    let mut expected: Vec<_> = bad.iter().map(|(reason, _)| (*reason).to_owned()).collect();
    reasons.sort();
    expected.sort();
    assert_eq!(reasons, expected);
    assert!(process.stop().success());
}
