//! Every kind of bad record.

use crate::support::kafka::{Kafka, flush, send};
use crate::support::outlier::Outlier;
use crate::support::pipeline::{self, Alone, PARTITIONS, START, dense};
use crate::support::{self, Workplace, opensearch::get, wait};
use rand::prelude::*;
use rand::rngs::StdRng;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::BaseRecord;
use std::collections::BTreeMap;
use std::time::Duration;

/// Every kind of bad record among good ones: rejected with its reason and its bytes, counted, and the stream goes on.
#[test]
fn bad_records_are_kept_with_their_reason() {
    let pipeline = Alone::new("bad", PARTITIONS, "", "");
    let (kafka, raw) = (&pipeline.kafka, &pipeline.raw);
    let good = |time: i64| format!(r#"{{"timestamp":{time},"action":"ALLOW"}}"#).into_bytes();
    let filled = |before: &str, byte: &str, times: usize| format!("{before}{}", byte.repeat(times)).into_bytes();
    let bad: Vec<(&str, Option<Vec<u8>>)> = vec![
        ("syntax", Some(br#"{"timestamp":1795392000000,"action":}"#.to_vec())),
        ("syntax", Some(Vec::new())),
        ("not-an-object", Some(b"[1,2]".to_vec())),
        ("too-large", Some(filled(r#"{"timestamp":1795392000000,"a":""#, "x", 1 << 20))),
        ("too-large", Some(filled("", "x", 2 << 20))),
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
        // Sent without a time of its own, and dated in the year 2099.
        ("skewed", Some(good(4_070_908_800_000))),
    ];
    let producer: rdkafka::producer::BaseProducer =
        kafka.client().set("message.max.bytes", "8000000").set("compression.codec", "lz4").create().unwrap();
    for (i, (_, value)) in bad.iter().enumerate() {
        let partition = i as i32 % PARTITIONS;
        send(&producer, raw, partition, Some(&good(START)), START);
        let time = if i == bad.len() - 1 { -1 } else { START };
        send(&producer, raw, partition, value.as_deref(), time);
    }
    flush(&producer);
    let process = pipeline.process();
    wait("every record", Duration::from_secs(60), || {
        pipeline.read("enriched").len() + pipeline.read("rejected").len() == 2 * bad.len()
    });
    // The ledger: in = enriched + rejected, by reason.
    let metrics = get(&process.telemetry(), "/metrics").unwrap();
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
    let rejected = pipeline.read("rejected");
    let of_raw: BTreeMap<String, _> =
        kafka.read_all(raw).into_iter().map(|r| (format!("{raw}/{}/{}", r.partition, r.offset), r.value)).collect();
    let mut reasons: Vec<_> = Vec::new();
    for record in &rejected {
        let source = record.header("outlier-source").unwrap();
        match record.header("outlier-original-bytes") {
            None => assert_eq!(record.value, of_raw[source], "the bytes of {source} survive"),
            Some(length) => {
                let (whole, cut) = (of_raw[source].as_ref().unwrap(), record.value.as_ref().unwrap());
                assert_eq!(length, whole.len().to_string());
                assert!(whole.len() > 2 << 20, "{source} has room as it is");
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

/// Compressed, a record may come in with more around it than Kafka takes: it goes on where it can, else it is kept
/// without its headers and with the beginning of its key.
#[test]
fn large_keys_and_headers_are_no_end() {
    const MIB: usize = 1 << 20;
    let pipeline = Alone::new("around", 1, "", "");
    let (kafka, raw) = (&pipeline.kafka, &pipeline.raw);
    let producer: rdkafka::producer::BaseProducer =
        kafka.client().set("message.max.bytes", "32000000").set("compression.codec", "lz4").create().unwrap();
    let good = format!(r#"{{"timestamp":{START},"action":"ALLOW"}}"#);
    let large = format!(r#"{{"timestamp":{START},"a":"{}"}}"#, "x".repeat(6 * MIB));
    // Bytes of the key and of a header, the body, and what is kept of the three; `None`: it is enriched.
    let records = [
        (1, 0, &good, None),
        (1, 3 * MIB, &good, None),
        (3 * MIB, 1, &good, None),
        (9, 6 * MIB, &good, Some([9, 0, good.len()])),
        (6 * MIB, 9, &good, Some([16 << 10, 0, good.len()])),
        (9, 100 << 10, &large, Some([9, 100 << 10, 2 * MIB])),
        (6 * MIB, 6 * MIB, &large, Some([16 << 10, 0, 2 * MIB])),
        (1, 0, &good, None),
    ];
    for (key, header, body, _) in &records {
        let (key, value) = ("k".repeat(*key), "h".repeat(*header));
        let headers = OwnedHeaders::new().insert(Header { key: "host", value: Some(&value) });
        let record = BaseRecord::to(raw).partition(0).timestamp(START).key(&key).payload(body).headers(headers);
        producer.send(record).map_err(|(error, _)| error).unwrap();
        flush(&producer);
    }
    let process = pipeline.process();
    wait("every record", Duration::from_secs(60), || {
        pipeline.read("enriched").len() + pipeline.read("rejected").len() == records.len()
    });
    let length = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
    for record in pipeline.read("rejected") {
        let source = record.header("outlier-source").unwrap();
        let (_, _, body, kept) = &records[source.rsplit('/').next().unwrap().parse::<usize>().unwrap()];
        let host = record.header("host").map_or(0, str::len);
        assert_eq!(Some([length(&record.key), host, length(&record.value)]), *kept, "{source}");
        assert_eq!(record.header("outlier-reason"), Some("too-large"));
        assert_eq!(record.header("outlier-original-bytes"), Some(body.len().to_string().as_str()), "{source}");
    }
    let enriched: Vec<_> =
        pipeline.read("enriched").iter().map(|r| [length(&r.key), r.header("host").map_or(0, str::len)]).collect();
    let want: Vec<_> = records.iter().filter(|r| r.3.is_none()).map(|r| [r.0, r.1]).collect();
    assert_eq!(enriched, want);
    assert!(process.stop().success());
}

/// A topic that takes no record of this size holds the stream up, and says so, until it does.
#[test]
fn what_a_topic_refuses_is_said_and_tried_again() {
    let pipeline = Alone::new("refused", 2, "", "");
    let (kafka, raw) = (&pipeline.kafka, &pipeline.raw);
    let enriched = || pipeline.read("enriched").len();
    let producer = kafka.producer();
    let mut rng = StdRng::seed_from_u64(7);
    let mut record = |partition: i32, more: usize| {
        let record = format!(r#"{{"timestamp":{START},"action":"ALLOW","a":"{}"}}"#, dense(&mut rng, more));
        send(&producer, raw, partition, Some(record.as_bytes()), START);
        flush(&producer);
    };
    // Both partitions have something committed.
    (0..2).for_each(|partition| record(partition, 3));
    let process = pipeline.process();
    wait("the first records", Duration::from_secs(60), || enriched() == 2);
    kafka.set(&pipeline.topic("enriched"), "max.message.bytes", "600");
    record(0, 900);
    let address = process.telemetry();
    let health = || get(&address, "/health").unwrap();
    let told =
        || health().contains("raise max.message.bytes of the topic") && health().contains(&pipeline.topic("enriched"));
    let aborted = || {
        let metrics = get(&address, "/metrics").unwrap();
        let lines = metrics.lines().filter(|line| line.contains("transactions") && line.contains("aborted"));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum::<u64>()
    };
    for enough in [2, 4, 5] {
        // The other partition's records, and a backlog behind the refused one, change nothing.
        record(1, 3);
        (0..100).for_each(|_| record(0, 3));
        wait("refusals", Duration::from_secs(60), || aborted() >= enough);
        assert!(told(), "{}", health());
    }
    assert!(aborted() < 30, "there are rests between them: {}", aborted());
    let before = enriched();
    assert!(before <= 5, "{before}");
    kafka.set(&pipeline.topic("enriched"), "max.message.bytes", "4300000");
    wait("the records", Duration::from_secs(60), || enriched() == 306);
    wait("its health", Duration::from_secs(60), || !told());
    assert!(process.stop().success());
}

/// Whatever is not counted where one would look for it is named, by cause: on `/metrics`, on `/health` and in scores.
#[test]
fn what_is_left_out_is_named_everywhere() {
    let kafka = Kafka::start();
    let place = Workplace::new("told");
    let topic = |stage: &str| pipeline::topic(&place, "told", stage);
    kafka.create(&[(topic("raw"), PARTITIONS)]);
    pipeline::create(&kafka, &place, "told");
    let (bootstrap, prefix) = (&kafka.bootstrap, &place.prefix);
    let head = format!(
        "[kafka]\nbootstrap_servers = \"{bootstrap}\"\ntopic_prefix = \"{prefix}\"\n[process]\nidle_timeout = \"1s\"\n\
         data_dir = \"data\"\n[telemetry]\nlisten = \"127.0.0.1:0\"\n"
    );
    let split = "[[pipeline.detectors]]\nname = \"uri\"\nmeasures = [\"count\", \"mean(size)\"]\nby = [\"uri\"]\nmax_series = 4\n\
                 [[pipeline.detectors]]\nname = \"all\"\nmeasures = [\"count\"]\nby = [\"uri\"]\n";
    let config = place.file("told.toml", &(support::text(&head, "told") + split));
    let producer = kafka.producer();
    let record = |partition: i32, time: i64, uri: &str| {
        let text = format!(r#"{{"timestamp":{time},"uri":"{uri}","httpRequest":{{"action":"ALLOW"}}}}"#);
        // The last partition stays empty for a while.
        send(&producer, &topic("raw"), partition, Some(text.as_bytes()), START + 60_000);
    };
    for second in 0..60 {
        for partition in 0..3 {
            record(partition, START + second * 1_000, &format!("/{}", second % 30));
        }
    }
    record(0, START, "/late");
    record(0, START + 86_400_000, "/skewed");
    record(1, START + 59_000, &"x".repeat(2_000));
    // The end of the uri, and a field that is taken for a number.
    record(1, START + 59_000, r#"/","size":"fast"#);
    flush(&producer);
    let process = Outlier::start(&config, "process", &["process"]);
    let address = process.telemetry();
    let health = || -> serde_json::Value { serde_json::from_str(&get(&address, "/health").unwrap()).unwrap() };
    let scores = || -> Vec<serde_json::Value> {
        kafka.read_all(&topic("scores")).iter().map(|r| serde_json::from_str(&r.text()).unwrap()).collect()
    };
    wait("the closed windows", Duration::from_secs(60), || {
        scores().iter().filter(|row| row["detector"] == "action" && row["count"].as_u64() > Some(0)).count() == 12
    });
    record(3, START, "/after");
    flush(&producer);
    wait("the record after the close", Duration::from_secs(60), || {
        scores().iter().any(|row| row["detector"] == "action" && row["left_out"]["after_close"] == 1)
    });
    // What the other detectors' partitions counted is told with their own commits.
    wait("all counts", Duration::from_secs(60), || health()["process told score"]["counts"]["after_close"] == 3);
    let (rows, health) = (scores(), health());
    let (transform, score) = (&health["process told transform"], &health["process told score"]);
    assert_eq!(transform["levels"]["lag_records"], 0, "everything is read");
    // Three detectors, but one record.
    assert_eq!((transform["counts"]["late"].as_u64(), transform["counts"]["skewed"].as_u64()), (Some(3), Some(1)));
    assert_eq!((&transform["counts"]["hashed_key"], &transform["counts"]["no_number"]), (&2.into(), &1.into()));
    assert_eq!(score["counts"]["forgot"], 0);
    assert_eq!(score["counts"]["after_close"], 3);
    assert!(score["counts"]["overflow"].as_u64() > Some(0) && score["counts"]["sum_overflow"] == 0);
    assert!(score["levels"]["series"].as_i64() > Some(2) && score["levels"]["series_learning"].as_i64() > Some(2));
    assert_eq!((&transform["state"], &score["state"]), (&"ready".into(), &"ready".into()), "a count is no illness");
    let metrics = get(&address, "/metrics").unwrap();
    for (service, outcome, reason, cause) in [
        ("process", "late", "", &transform["counts"]["late"]),
        ("process", "rejected", "skewed", &transform["counts"]["skewed"]),
        ("process", "hashed_key", "", &transform["counts"]["hashed_key"]),
        ("process", "no_number", "", &transform["counts"]["no_number"]),
        ("score", "after_close", "", &score["counts"]["after_close"]),
        ("score", "overflow", "", &score["counts"]["overflow"]),
    ] {
        let labels = format!("service=\"{service}\",pipeline=\"told\",outcome=\"{outcome}\",reason=\"{reason}\"");
        assert!(metrics.contains(&format!("outlier_records_total{{{labels}}} {cause}\n")), "{labels} {cause}");
    }
    let current = rows.iter().find(|row| row["detector"] == "action" && row["left_out"]["late"] == 1).unwrap();
    assert_eq!((&current["left_out"]["skewed"], current["window_start"].as_i64()), (&1.into(), Some(START + 50_000)));
    let named = |part: &str| rows.iter().any(|row| row["series"].as_str().unwrap().contains(part));
    assert!(named("(beyond max_series of partition") && rows.iter().any(|row| row["needed"] == 30));
    wait("the row of the key that is too long", Duration::from_secs(60), || {
        scores().iter().any(|row| row["series"].as_str().unwrap().starts_with("count{(hash "))
    });
    assert!(process.stop().success());
}
