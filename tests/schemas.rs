//! What consumers downstream are promised: the JSON Schemas of `docs/schemas` hold for what the code writes, and
//! refuse what is not that.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use jsonschema::Validator;
use outlier::config::{Config, Environment};
use outlier::sink::document::KINDS;
use outlier_core::alert::{Book, Rules};
use outlier_core::explain::Reason;
use outlier_core::pipeline::Pipeline;
use outlier_core::record::{Anomalies, Reject, Scratch, Transform};
use outlier_core::score::{Anomaly, Score, SeriesName};
use outlier_core::testing;
use outlier_core::window::LeftOut;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

fn text(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect(path)
}

fn schema(name: &str) -> Value {
    serde_json::from_str(&text(&format!("docs/schemas/{name}.json"))).expect(name)
}

fn validator(name: &str) -> Validator {
    let schema = schema(name);
    jsonschema::draft202012::meta::validate(&schema).unwrap_or_else(|error| panic!("{name}: {error}"));
    jsonschema::draft202012::new(&schema).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The value fits, and does not after any of the changes: a JSON pointer's member set to a value, or removed by null.
fn check(name: &str, good: &Value, wrong: &[(&str, Value)]) {
    let validator = validator(name);
    let why: Vec<String> = validator.iter_errors(good).map(|error| error.to_string()).collect();
    assert_eq!(why, Vec::<String>::new(), "{name}: {good}");
    for (pointer, value) in wrong {
        let mut bad = good.clone();
        let (parent, member) = pointer.rsplit_once('/').unwrap();
        let object = bad.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        match value {
            Value::Null => object.remove(member),
            value => object.insert(member.to_owned(), value.clone()),
        };
        assert!(!validator.is_valid(&bad), "{name} must refuse {pointer} = {value}");
    }
}

fn shipped() -> Pipeline {
    let text = text("config/waf.toml");
    Config::parse(&text, "waf.toml", &Environment::default()).unwrap().pipelines.remove(0)
}

fn enriched(transform: &Transform, n: usize, anomalies: &Anomalies) -> Value {
    let mut scratch = Scratch::default();
    let record = testing::record(n);
    serde_json::from_slice(transform.apply(Some(record.as_bytes()), -1, anomalies, &mut scratch).unwrap().bytes)
        .unwrap()
}

#[test]
fn enriched_records() {
    let transform = Transform::new(&shipped());
    let calm = Anomalies::default();
    let anomalous = Anomalies::new([("action", 97.5), ("country", 91.0)]);
    let schemas = [validator("enriched"), validator("enriched-waf")];
    for n in 0..500 {
        for anomalies in [&calm, &anomalous] {
            let record = enriched(&transform, n, anomalies);
            assert!(schemas.iter().all(|schema| schema.is_valid(&record)), "{record}");
        }
    }
    let wrong = [
        ("/outlier", Value::Null),
        ("/outlier", json!("waf")),
        ("/outlier/pipeline", Value::Null),
        ("/outlier/event_time", json!(1.5)),
        ("/outlier/event_time", json!("2026-11-23T02:07:44Z")),
        ("/outlier/anomalies", json!([])),
        ("/outlier/anomalies", json!(["action", "action"])),
        ("/outlier/anomalies", Value::Null),
        ("/outlier/score", json!(100.5)),
        ("/outlier/score", Value::Null),
    ];
    check("enriched", &enriched(&transform, 0, &anomalous), &wrong);
    let record = enriched(&transform, 0, &calm);
    assert_eq!((&record["K_action"], &record["B_action"]), (&json!(1), &json!(0)));
    let wrong = [
        ("/K_action", Value::Null),
        ("/K_action", json!(true)),
        ("/B_action", json!(2)),
        // A good and a bad flag are never both set.
        ("/B_action", json!(1)),
    ];
    check("enriched-waf", &record, &wrong);
}

#[test]
fn the_schema_of_the_shipped_pipeline_names_its_flags() {
    let schema = schema("enriched-waf");
    let flags: Vec<Value> = shipped().flag_names().map(Value::from).collect();
    assert_eq!(schema["required"], Value::from(flags));
}

fn series() -> SeriesName {
    SeriesName { detector: "action".into(), series: "sum(B_action)".into() }
}

fn score(learning: bool) -> Value {
    let score = Score {
        name: series(),
        by: [("httpRequest.country".to_owned(), "US".to_owned())].into(),
        window_start: 1_795_399_620_000,
        window_end: 1_795_399_680_000,
        value: 41.0,
        count: 312,
        expected: 1.25,
        lower: 0.0,
        upper: 7.0,
        score: if learning { 0.0 } else { 100.0 },
        anomaly: !learning,
        confidence: 0.875,
        learning,
        learned: if learning { 12 } else { 0 },
        needed: if learning { 30 } else { 0 },
        overflow: learning,
        forgot: learning,
        left_out: LeftOut { late: 3, skewed: 0, after_close: 1 },
        why: vec![Reason {
            field: "httpRequest.country".into(),
            value: "XX".into(),
            now: 0.9,
            usual: 0.01,
            contribution: 100.0,
            approximate: true,
        }],
    };
    serde_json::to_value(score).unwrap()
}

#[test]
fn scores() {
    let mut wrong = vec![
        ("/window_start", json!(1.5)),
        ("/window_end", json!("2026-11-23T02:08:00Z")),
        ("/count", json!(-1)),
        ("/score", json!(-0.1)),
        ("/score", json!(100.1)),
        ("/value", json!("41")),
        ("/confidence", json!(1.01)),
        ("/anomaly", json!(1)),
        ("/learning", json!(false)),
        ("/left_out", json!({})),
        ("/left_out/late", json!(0)),
        ("/detector", json!("")),
        ("/by/httpRequest.country", json!(1)),
        ("/why/0/now", json!(1.5)),
        ("/why/0/field", json!(null)),
    ];
    let schema = schema("scores");
    let members: Vec<String> =
        schema["required"].as_array().unwrap().iter().map(|m| format!("/{}", m.as_str().unwrap())).collect();
    wrong.extend(members.iter().map(|member| (member.as_str(), Value::Null)));
    check("scores", &score(false), &wrong);
    // An anomaly cannot be found while learning.
    check("scores", &score(true), &[("/anomaly", json!(true)), ("/score", json!(50))]);
    // Everything that is written is described.
    let written = score(true);
    assert!(written.as_object().unwrap().keys().all(|member| schema["properties"][member].is_object()));
}

#[test]
fn anomalies() {
    let anomaly = Anomaly { name: series(), score: 97.5, since: 1_795_399_680_000 };
    let wrong = [
        ("/detector", Value::Null),
        ("/series", Value::Null),
        ("/score", json!(101)),
        ("/since", json!("now")),
        ("/since", Value::Null),
    ];
    check("anomalies", &serde_json::to_value(anomaly).unwrap(), &wrong);
}

#[test]
fn alerts() {
    let mut book = Book::new(Arc::new(Rules {
        critical: 98.0,
        resolve_after: 1,
        repeat: 1,
        max_age: 1,
        tell: true,
        windows: BTreeMap::new(),
    }));
    let row: Score = serde_json::from_value(score(false)).unwrap();
    book.row(&row, row.window_end);
    let wrong = [
        ("/id", json!("x")),
        ("/state", json!("open")),
        ("/severity", Value::Null),
        ("/peak/score", json!(101)),
        ("/owed", json!([])),
        ("/owed/0/occasion", json!("because")),
    ];
    let alert = serde_json::to_value(book.take_changes().pop().unwrap()).unwrap();
    check("alerts", &alert, &wrong);
    let schema = schema("alerts");
    assert!(alert.as_object().unwrap().keys().all(|member| schema["properties"][member].is_object()));
}

#[test]
fn headers_of_rejected_records() {
    let reject = Reject::Syntax { at: 17, in_string: false };
    let process = json!({
        "outlier-reason": reject.code(),
        "outlier-detail": reject.to_string(),
        "outlier-service": "process",
        "outlier-source": "waf.raw/3/1042",
        "a-header-of-the-record": "kept",
    });
    let wrong = [
        ("/outlier-reason", Value::Null),
        ("/outlier-reason", json!("because")),
        ("/outlier-detail", Value::Null),
        ("/outlier-service", json!("nobody")),
        ("/outlier-source", json!("waf.raw/3")),
    ];
    check("rejected-headers", &process, &wrong);
    let codes = schema("rejected-headers")["oneOf"][0]["properties"]["outlier-reason"]["enum"].clone();
    assert_eq!(codes, json!(Reject::CODES));
    let kinds = schema("rejected-headers")["oneOf"][1]["properties"]["outlier-reason"]["enum"].clone();
    assert_eq!(kinds, json!(KINDS));
    let sink = json!({
        "outlier-reason": "no-source",
        "outlier-detail": "the header outlier-source is not topic/partition/offset: was the record written by `process`?",
        "outlier-service": "sink",
        "outlier-source": "waf.enriched/3/1042",
    });
    check("rejected-headers", &sink, &[("/outlier-source", json!("3/1")), ("/outlier-reason", json!("syntax"))]);
}

/// The examples of `docs/topics.md`: a block `json NAME` is one of `docs/schemas/NAME.json`.
#[test]
fn the_examples_fit() {
    let page = text("docs/topics.md");
    let mut seen = Vec::new();
    for block in page.split("\n```json ").skip(1) {
        let (name, rest) = block.split_once('\n').unwrap();
        let (example, _) = rest.split_once("\n```").unwrap();
        if name == "log" {
            continue;
        }
        let example: Value = serde_json::from_str(example).expect(name);
        check(name, &example, &[]);
        seen.push(name.to_owned());
    }
    seen.sort();
    assert_eq!(seen, ["alerts", "anomalies", "enriched", "rejected-headers", "scores", "webhook"]);
}
