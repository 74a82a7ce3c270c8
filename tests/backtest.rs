//! `backtest` as a child process: the same rows as the live service, labels, comparison, reports, and bad input.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use flate2::Compression;
use flate2::write::GzEncoder;
use rand::prelude::*;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use support::kafka::{Kafka, flush, send};
use support::outlier::Outlier;
use support::pipeline::BROAD;
use support::{Workplace, wait};

const PARTITIONS: i32 = 3;
/// A whole hour.
const START: i64 = 1_795_392_000_000;

struct Run {
    code: i32,
    out: String,
    err: String,
}

/// Runs `outlier ARGS` in a folder to its end.
fn outlier(dir: &Path, args: &[&str]) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outlier"));
    let output = command.args(args).current_dir(dir).stdin(Stdio::null()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Run { code: output.status.code().unwrap(), out: text(&output.stdout), err: text(&output.stderr) }
}

/// Runs a backtest that must report, and gives its JSON report.
fn report(dir: &Path, args: &[&str]) -> Value {
    let run = outlier(dir, &[&["backtest", "--json", "-"], args].concat());
    assert_eq!(run.code, 0, "{args:?}: {}", run.err);
    serde_json::from_str(&run.out).unwrap_or_else(|error| panic!("{error}: {}", run.out))
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn sorted_lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// The shipped pipeline in windows of ten seconds; `more` belongs to it.
fn configuration(place: &Workplace, bootstrap: &str, name: &str, more: &str) -> PathBuf {
    let text = format!(
        r#"
[kafka]
bootstrap_servers = "{bootstrap}"
topic_prefix = "{}"
[process]
idle_timeout = "10m"
data_dir = "data"
[telemetry]
listen = "127.0.0.1:0"
[[pipeline]]
preset = "waf"
window = "10s"
lateness = "2s"
windows_partitions = 3
{more}
"#,
        place.prefix
    );
    place.file(name, &text)
}

fn log_record(rng: &mut StdRng, time: i64, attack: bool) -> String {
    let action = if rng.random_bool(if attack { 1.0 } else { 0.05 }) { "BLOCK" } else { "ALLOW" };
    let status = [200, 202, 404, 502].choose(rng).unwrap();
    let country = if attack { "XX" } else { ["US", "UK", "XX"].choose(rng).unwrap() };
    format!(
        r#"{{"timestamp":{time},"action":"{action}","httpSourceName":"ALB","httpStatus":{status},"httpRequest":{{"country":"{country}","httpMethod":"GET"}}}}"#
    )
}

/// A row that says nothing of skewed records.
fn without_skewed(row: &str) -> String {
    let mut row: Value = serde_json::from_str(row).unwrap();
    if let Some(left_out) = row.get_mut("left_out").and_then(Value::as_object_mut) {
        left_out.remove("skewed");
        if left_out.is_empty() {
            row.as_object_mut().unwrap().remove("left_out");
        }
    }
    row.to_string()
}

/// Records with late, bad and skewed ones among them go through the live service and through the backtest of the same
/// topic and of files with a partition's records each: the rows are the same to the byte.
#[test]
fn rows_are_those_of_the_live_service() {
    let kafka = Kafka::start();
    let place = Workplace::new("backtest");
    let topic = |stage: &str| format!("{}waf.{stage}", place.prefix);
    let stages = [("raw", PARTITIONS), ("enriched", PARTITIONS), ("windows", 3), ("scores", 2), ("state", 3)];
    let stages = stages.into_iter().chain([("anomalies", 1), ("rejected", 2)]);
    kafka.create(&stages.map(|(stage, n)| (topic(stage), n)).collect::<Vec<_>>());
    let config = configuration(&place, &kafka.bootstrap, "live.toml", BROAD);

    let mut rng = StdRng::seed_from_u64(7);
    let producer = kafka.producer();
    let mut lines = vec![String::new(); PARTITIONS as usize];
    let mut put = |partition: i32, record: &str, kafka_ms: i64| {
        send(&producer, &topic("raw"), partition, Some(record.as_bytes()), kafka_ms);
        // Files have no Kafka timestamp: what is rejected by it is not in them.
        if !record.contains("\"far\"") {
            lines[partition as usize].push_str(record);
            lines[partition as usize].push('\n');
        }
    };
    let (mut time, mut skewed, mut bad) = (START, 0, 0);
    for n in 0..24_000 {
        time += rng.random_range(0..60);
        // Partitions go at their own pace: the last one is behind, and silent for a while.
        let partition = rng.random_range(0..PARTITIONS);
        if partition == 2 && (9_000..15_000).contains(&n) {
            continue;
        }
        let most = if rng.random_bool(0.05) { 30_000 } else { 1_500 };
        let behind = i64::from(partition) * 3_000 + rng.random_range(0..most);
        let attack = (20_000..20_600).contains(&n);
        let record = match n % 400 {
            13 => "not json".to_owned(),
            14 => r#"{"action":"ALLOW"}"#.to_owned(),
            15 => format!(r#"{{"timestamp":{},"a":"far"}}"#, time + 7_200_000),
            _ => log_record(&mut rng, time - behind, attack),
        };
        skewed += u64::from(n % 400 == 15);
        bad += u64::from(n % 400 == 13 || n % 400 == 14);
        put(partition, &record, time);
    }
    for partition in 0..PARTITIONS {
        put(partition, &log_record(&mut rng, time + 120_000, false), time + 120_000);
    }
    flush(&producer);
    let process = Outlier::start(&config, "process", &["process"]);
    let base = ["backtest", "--config", "live.toml"];
    let args = [&base[..], &["--topic", "--scores", "topic.jsonl", "--json", "topic.json"]].concat();
    let run = outlier(&place.dir, &args);
    assert_eq!(run.code, 0, "{}", run.err);
    let rows = sorted_lines(&support::read(&place.dir.join("topic.jsonl")));
    let live = || kafka.read_all(&topic("scores")).iter().map(|record| record.text()).collect::<Vec<_>>();
    wait("as many live rows", Duration::from_secs(120), || live().len() >= rows.len());
    assert!(process.stop().success());
    let live = sorted_lines(&live().join("\n"));
    let differing = rows.iter().zip(&live).find(|(here, there)| here != there);
    assert!(rows == live, "{} rows here, {} live; first that differ: {differing:?}", rows.len(), live.len());
    for what in ["\"anomaly\":true", "\"why\":", "\"by\":", "rare(", "distinct("] {
        assert!(live.iter().any(|row| row.contains(what)), "no row has {what}");
    }

    let told: Value = serde_json::from_str(&support::read(&place.dir.join("topic.json"))).unwrap();
    assert_eq!(told["records"]["rejected"]["skewed"], skewed);
    let rejected: u64 = told["records"]["rejected"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
    assert_eq!(rejected, skewed + bad);
    assert!(told["records"]["late"].as_u64().unwrap() > 0);

    let all_rows = live.clone();
    // The same as files, plain and packed, in any order of their names. What was skewed is not in them, nor told of.
    let live: Vec<String> = live.iter().map(|row| without_skewed(row)).collect();
    for (partition, text) in lines.iter().enumerate() {
        place.file(&format!("{partition}.json"), text);
        std::fs::write(place.dir.join(format!("{partition}.json.gz")), gzip(text.as_bytes())).unwrap();
    }
    for files in [["0.json", "1.json", "2.json"], ["2.json.gz", "0.json", "1.json.gz"]] {
        let run = outlier(&place.dir, &[&base[..], &["--scores", "-"], &files].concat());
        assert_eq!(run.code, 0, "{}", run.err);
        let rows: Vec<String> = sorted_lines(&run.out).iter().map(|row| without_skewed(row)).collect();
        let differing = rows.iter().zip(&live).find(|(here, there)| here != there);
        assert!(rows == live, "{files:?}: first that differ: {differing:?}");
    }

    // One field alone, and a range of the topic.
    let run = outlier(&place.dir, &[&base[..], &["--detector", "action", "--topic", "--scores", "-"]].concat());
    let of_action: Vec<String> =
        all_rows.iter().filter(|row| row.contains("\"detector\":\"action\"")).cloned().collect();
    assert_eq!(sorted_lines(&run.out), of_action, "{}", run.err);
    let middle = (START + time) / 2;
    let all = told["records"]["read"].as_u64().unwrap();
    let part = |option: &str, at: i64| {
        let told = report(&place.dir, &["--config", "live.toml", "--topic", option, &at.to_string()]);
        told["records"]["read"].as_u64().unwrap()
    };
    let (before, after) = (part("--to", middle), part("--from", middle));
    assert!(before > 0 && after > 0 && before + after == all, "{before} + {after} = {all}");

    let run = outlier(&place.dir, &[&base[..], &["--topic", "nosuch"]].concat());
    assert!(run.code == 1 && run.err.contains("nosuch"), "{}: {}", run.code, run.err);
}

/// A day of records, one a second, with an attack at noon for two minutes.
fn day(place: &Workplace) -> (PathBuf, i64) {
    let mut rng = StdRng::seed_from_u64(3);
    let noon = START + 12 * 3_600_000;
    let mut text = String::new();
    for second in 0..86_400 {
        let time = START + second * 1000;
        let attack = (noon..noon + 120_000).contains(&time);
        text.push_str(&log_record(&mut rng, time, attack));
        text.push('\n');
    }
    let path = place.dir.join("day.json.gz");
    std::fs::write(&path, gzip(text.as_bytes())).unwrap();
    (path, noon)
}

fn iso(at: i64) -> String {
    format!("2026-11-23T{:02}:{:02}:{:02}Z", at / 3_600_000 % 24, at / 60_000 % 60, at / 1000 % 60)
}

#[test]
fn labels_comparison_and_reports() {
    let place = Workplace::new("backtest-reports");
    let (_, noon) = day(&place);
    // The day begins at midnight of 2026-11-23: the texts of `iso` are right.
    assert_eq!(START % 86_400_000, 0);
    configuration(&place, "localhost:9", "a.toml", "");
    let strict = "[[pipeline.detectors]]\nname = \"action\"\nmeasures = [\"sum(B_action)\"]\nthreshold = 100\n";
    configuration(&place, "localhost:9", "b.toml", strict);
    place.file(
        "labels.csv",
        &format!(
            "start,end,detector,series\n{},{},action,sum(B_action)\n{},{},,\n{},{},method,\n",
            iso(noon + 5_000),
            iso(noon + 120_000),
            iso(noon - 7_200_000),
            iso(noon - 7_190_000),
            noon,
            noon + 1000,
        ),
    );
    let args = ["--config", "a.toml", "--detector", "action", "--labels", "labels.csv", "--compare", "b.toml"];
    let told = report(&place.dir, &[&args[..], &["--html", "page.html", "day.json.gz"]].concat());
    let schema: Value =
        serde_json::from_str(&support::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schemas/backtest.json")))
            .unwrap();
    jsonschema::draft202012::meta::validate(&schema).unwrap();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let why: Vec<String> =
        validator.iter_errors(&told).map(|error| format!("{error} at {}", error.instance_path())).collect();
    assert_eq!(why, Vec::<String>::new());
    let mut wrong = told.clone();
    wrong["incidents"][0]["start"] = json!("noon");
    assert!(!validator.is_valid(&wrong));

    assert_eq!(told["records"]["read"], 86_400);
    assert_eq!(told["detectors"].as_array().unwrap().len(), 1);
    let blocked: Vec<&Value> =
        told["incidents"].as_array().unwrap().iter().filter(|i| i["series"] == "sum(B_action)").collect();
    let first = blocked.iter().find(|incident| incident["end"].as_i64().unwrap() > noon);
    assert_eq!(first.expect("an incident at noon")["start"], noon, "{:#}", told["incidents"]);
    // The label of another detector is left out; the one before noon is missed.
    let labels = &told["labels"];
    assert_eq!((labels["labels"].as_u64(), labels["found"].as_u64()), (Some(2), Some(1)));
    assert_eq!(labels["recall"], 0.5);
    // Found when the window of its start has closed: its end and 2 s of lateness.
    assert_eq!((labels["median_delay"].as_i64(), labels["worst_delay"].as_i64()), (Some(7_000), Some(7_000)));
    assert_eq!(told["alerts"]["days"].as_array().unwrap().len(), 1);
    let difference = &told["compare"]["difference"];
    let of = |list: &str| difference[list].as_array().unwrap().len();
    assert_eq!(of("only_first") + of("both"), told["incidents"].as_array().unwrap().len());

    let page = support::read(&place.dir.join("page.html"));
    assert!(page.starts_with("<!doctype html>") && page.trim_end().ends_with("</html>"));
    for what in
        ["<svg", "class=\"hit\"", "class=\"known\"", "prefers-color-scheme:dark", "Compared with b.toml", "missed"]
    {
        assert!(page.contains(what), "the page has no {what}");
    }
    for foreign in ["http:", "https:", "<script", "src=", "url("] {
        assert!(!page.contains(foreign), "the page is not self-contained: {foreign}");
    }
    assert!(page.len() < 500_000, "{} bytes", page.len());

    let run = outlier(
        &place.dir,
        &["backtest", "--config", "a.toml", "--labels", "labels.csv", "--fail-on-anomaly", "day.json.gz"],
    );
    assert_eq!(run.code, 3, "{}", run.err);
    for words in
        ["What would have alerted", "sum(B_action)", "2026-11-23 12:00:00", "records/s", "time to detect: median"]
    {
        assert!(run.out.contains(words), "{words}: {}", run.out);
    }
    // Without what differs there is no difference.
    let same = report(&place.dir, &["--config", "a.toml", "--compare", "a.toml", "day.json.gz"]);
    let difference = &same["compare"]["difference"];
    assert_eq!((&difference["only_first"], &difference["only_second"]), (&json!([]), &json!([])));
    assert!(difference["both"].as_array().unwrap().iter().all(|pair| pair["score_difference"] == 0.0));
}

/// Bad input is counted or told, and what can be used is used.
#[test]
fn bad_input() {
    let place = Workplace::new("backtest-bad");
    configuration(&place, "localhost:9", "outlier.toml", "");
    let mut rng = StdRng::seed_from_u64(5);
    let good: String = (0..2_000).map(|n| log_record(&mut rng, START + n * 1000, false) + "\n").collect();
    let junk: Vec<u8> = (0..50_000).map(|_| rng.random()).collect();
    let write = |name: &str, bytes: &[u8]| std::fs::write(place.dir.join(name), bytes).unwrap();
    write("good.json", good.as_bytes());
    write("empty.json", b"");
    write("blank.json", b"\n\r\n   \n");
    write("notime.json", b"{\"action\":\"ALLOW\"}\n{\"timestamp\":null}\n{\"timestamp\":\"yesterday\"}\n");
    write("junk.bin", &junk);
    write("lines.json", b"{}\nnot json\n[1]\n\"text\"\n\xff\xfe\n{\"timestamp\":1795392000000,\"B_action\":1}\n");
    write("long.json", &[b"{\"a\":\"".as_slice(), &vec![b'x'; 2 << 20], b"\"}\n", good.as_bytes()].concat());
    let packed = gzip(good.as_bytes());
    write("cut.json.gz", &packed[..packed.len() / 2]);
    write("torn.json.gz", &packed[..9]);
    write("columns.csv", b"begin,end\n1795392000,1795392010\n");
    write("detector.csv", b"start,end,detector\n1795392000,1795392010,acton\n");

    // What is read to its end: its records, the reasons, and a note that helps.
    let cases: [(&[&str], u64, Value, &str); 7] = [
        (&["empty.json"], 0, json!({}), "no records"),
        (&["blank.json"], 0, json!({}), "no records"),
        (&["notime.json"], 3, json!({"no-timestamp": 2, "bad-timestamp": 1}), "pipeline.timestamp"),
        (
            &["lines.json"],
            6,
            json!({"no-timestamp": 1, "syntax": 1, "not-an-object": 2, "invalid-utf8": 1, "name-conflict": 1}),
            "Every record was rejected",
        ),
        (&["long.json"], 2_001, json!({"too-large": 1}), ""),
        (&["empty.json", "good.json", "notime.json"], 2_003, json!({"no-timestamp": 2, "bad-timestamp": 1}), ""),
        (&["good.json"], 2_000, json!({}), ""),
    ];
    for (files, read, rejected, note) in cases {
        let told = report(&place.dir, files);
        assert_eq!(
            (told["records"]["read"].as_u64(), &told["records"]["rejected"]),
            (Some(read), &rejected),
            "{files:?}"
        );
        let notes = told["notes"].to_string();
        assert!(notes.contains(note) && (!note.is_empty() || notes == "[]"), "{files:?}: {notes}");
    }
    let junk = report(&place.dir, &["junk.bin", "good.json"]);
    assert_eq!(junk["records"]["accepted"], 2_000);
    let whole = report(&place.dir, &["good.json"]);
    assert_eq!(junk["windows"], whole["windows"], "junk beside it changes nothing");
    assert!(whole["windows"]["scored"].as_u64().unwrap() > 0 && whole["windows"]["incomplete"].as_u64().unwrap() > 0);

    // What is refused or fails, with the exit code and the words that help.
    let cases: [(&[&str], i32, &str); 14] = [
        (&["cut.json.gz", "good.json"], 1, "could not be read to its end"),
        (&["torn.json.gz"], 1, "could not be read to its end"),
        (&["nosuch.json"], 2, "nosuch.json cannot be read"),
        (&["."], 2, "is a folder"),
        (&["-", "-"], 2, "only once"),
        (&[], 2, "required"),
        (&["good.json", "--topic"], 2, "cannot be used with"),
        (&["good.json", "--from", "2026-11-23T00:00:00Z"], 2, "cannot be used with"),
        (&["good.json", "--labels", "columns.csv"], 2, "unknown column \"begin\""),
        (&["good.json", "--labels", "detector.csv"], 2, "did you mean `action`"),
        (&["good.json", "--detector", "cuontry"], 2, "did you mean `country`"),
        (&["good.json", "--pipeline", "web"], 2, "the configured ones are waf"),
        (&["good.json", "--json", "-", "--scores", "-"], 2, "only one of"),
        (&["good.json", "--config", "columns.csv"], 2, "columns.csv:1:6: "),
    ];
    for (args, code, words) in cases {
        let run = outlier(&place.dir, &[&["backtest"], args].concat());
        assert!(run.code == code && run.err.contains(words), "{args:?}: {} {}", run.code, run.err);
        assert!(run.err.ends_with('\n'), "{args:?}: {:?}", run.err);
    }
    let run = outlier(&place.dir, &["backtest", "--compare", "columns.csv", "good.json"]);
    assert!(run.code == 2 && run.err.contains("columns.csv"), "{} {}", run.code, run.err);
    let cut = outlier(&place.dir, &["backtest", "cut.json.gz"]);
    assert!(cut.out.contains("cut.json.gz cannot be read after line"), "{}", cut.out);
    assert!(!cut.out.contains("Pipeline waf: 0 records"), "what is before the cut is used: {}", cut.out);
}
