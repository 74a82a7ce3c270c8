//! Bad records: each is rejected with its reason, and the next good one is enriched with the same scratch.

use super::KAFKA;
use crate::pipeline::{Millis, TimeFormat};
use crate::record::{Anomalies, Reject, Scratch, Transform};
use crate::testing::{START, waf};

const LIMIT: usize = 1 << 20;

fn syntax(at: usize) -> Reject {
    Reject::Syntax { at, in_string: false }
}

fn inner_syntax(at: usize) -> Reject {
    Reject::Syntax { at, in_string: true }
}

fn bad_time(text: &str) -> Reject {
    Reject::BadTimestamp(text.to_owned())
}

fn conflict(name: &str) -> Reject {
    Reject::NameConflict(name.to_owned())
}

#[test]
fn bad_records_are_rejected_with_the_reason() {
    let deep = format!("{{\"timestamp\":{START},\"x\":{}", "[".repeat(10_000));
    let deep_objects = "{\"a\":".repeat(10_000);
    let large = format!("{{\"timestamp\":{START},\"x\":\"{}\"}}", "x".repeat(LIMIT));
    let long_time = format!("{{\"timestamp\":\"{}\"}}", "é".repeat(1000));
    let cases: &[(&[u8], Reject)] = &[
        (b"", syntax(0)),
        (b" ", syntax(1)),
        (b"not json", syntax(0)),
        (b"{\"timestamp\":1", syntax(14)),
        (b"{\"timestamp\":1795399664758}{}", syntax(27)),
        (b"{\"timestamp\":1795399664758,}", syntax(27)),
        (b"{\"x\":\"\\ud800\"}", syntax(6)),
        (b"{\"x\":\"a\nb\"}", syntax(7)),
        (b"{'x':1}", syntax(1)),
        (b"{\"x\":NaN}", syntax(5)),
        (b"{\"x\":1795399664758}\xff", Reject::InvalidUtf8 { at: 19 }),
        (b"{\"x\":\"\xed\xa0\x80\"}", Reject::InvalidUtf8 { at: 6 }),
        (large.as_bytes(), Reject::TooLarge { bytes: large.len(), limit: LIMIT }),
        (deep.as_bytes(), Reject::TooDeep { limit: 128 }),
        (deep_objects.as_bytes(), Reject::TooDeep { limit: 128 }),
        (b"[]", Reject::NotAnObject),
        (b"[{\"timestamp\":1795399664758}]", Reject::NotAnObject),
        (b"null", Reject::NotAnObject),
        (b"-1.5", Reject::NotAnObject),
        (b"\"\"", Reject::NotAnObject),
        (b"\"just text\"", Reject::NotAnObject),
        (b"\"[]\"", Reject::NotAnObject),
        (b"\"\\\"{}\\\"\"", Reject::NotAnObject),
        (b"\"{\"", inner_syntax(1)),
        (b"\" {\\\"timestamp\\\":1}x\"", inner_syntax(16)),
        (b"{}", Reject::NoTimestamp),
        (b"\"{}\"", Reject::NoTimestamp),
        (b"{\"timestamp\":null}", Reject::NoTimestamp),
        (b"{\"timestamp\":{}}", Reject::NoTimestamp),
        (b"{\"timestamp\":1795399664758,\"timestamp\":[1795399664758]}", Reject::NoTimestamp),
        (b"{\"x\":{\"timestamp\":1795399664758}}", Reject::NoTimestamp),
        (b"{\"timestamp\":true}", bad_time("true")),
        (b"{\"timestamp\":\"\"}", bad_time("")),
        (b"{\"timestamp\":0}", bad_time("0")),
        (b"{\"timestamp\":-1}", bad_time("-1")),
        (b"{\"timestamp\":1e999}", bad_time("1e999")),
        (b"{\"timestamp\":99999999999999999999999}", bad_time("99999999999999999999999")),
        (b"{\"timestamp\":\"\\u0079esterday\"}", bad_time("yesterday")),
        (long_time.as_bytes(), bad_time(&"é".repeat(40))),
        (b"{\"timestamp\":1795399664758,\"K_action\":1}", conflict("K_action")),
        (b"{\"uncommon_method\":null}", conflict("uncommon_method")),
        (b"{\"\\u006futlier\":{}}", conflict("outlier")),
        (b"\"{\\\"outlier\\\":{}}\"", conflict("outlier")),
    ];
    let transform = Transform::new(&waf());
    let mut scratch = Scratch::default();
    let none = Anomalies::default();
    let good = format!("{{\"timestamp\":{START}}}");
    for (record, expected) in cases {
        let shown = String::from_utf8_lossy(&record[..record.len().min(80)]);
        let got = transform.apply(Some(record), KAFKA, &none, &mut scratch);
        assert_eq!(got, Err(expected.clone()), "{shown}");
        assert!(Reject::CODES.contains(&expected.code()), "{expected}");
        let next = transform.apply(Some(good.as_bytes()), KAFKA, &none, &mut scratch);
        assert_eq!(next.map(|e| e.event_time), Ok(START), "after {shown}");
    }
    assert_eq!(transform.apply(None, KAFKA, &none, &mut scratch), Err(Reject::Tombstone));
}

#[test]
fn a_record_of_the_limit_passes() {
    let head = format!("{{\"timestamp\":{START},\"x\":\"");
    let record = format!("{head}{}\"}}", "x".repeat(LIMIT - head.len() - 2));
    assert_eq!(record.len(), LIMIT);
    let mut scratch = Scratch::default();
    let got = Transform::new(&waf()).apply(Some(record.as_bytes()), KAFKA, &Anomalies::default(), &mut scratch);
    assert!(got.is_ok());
}

#[test]
fn skew_is_measured_against_the_kafka_timestamp() {
    const HOUR: Millis = 3_600_000;
    let ahead = HOUR + 1;
    let skewed = Err(Reject::Skewed { ahead, limit: HOUR });
    let record = format!("{{\"timestamp\":{START}}}");
    let transform = Transform::new(&waf());
    for (kafka_ms, expected) in [
        (START, Ok(START)),
        (START - HOUR, Ok(START)),
        (START - ahead, skewed),
        (START + 1000 * HOUR, Ok(START)),
        (-1, Ok(START)),
    ] {
        let mut scratch = Scratch::default();
        let got = transform.apply(Some(record.as_bytes()), kafka_ms, &Anomalies::default(), &mut scratch);
        assert_eq!(got.map(|e| e.event_time), expected, "{kafka_ms}");
    }
}

#[test]
fn the_format_decides_what_a_time_is() {
    for (value, format, expected) in [
        ("1795399664.758", TimeFormat::EpochSeconds, Some(START)),
        ("\"1795399664.758\"", TimeFormat::EpochSeconds, Some(START)),
        ("1795399664758", TimeFormat::EpochMillis, Some(START)),
        ("\"1795399664758\"", TimeFormat::EpochMillis, Some(START)),
        ("1795399664", TimeFormat::EpochMillis, None),
        ("1795399664758", TimeFormat::EpochSeconds, None),
        ("1795399664758", TimeFormat::Iso8601, None),
        ("\"2026-11-23T03:07:44.758+01:00\"", TimeFormat::Iso8601, Some(START)),
        ("\"2026-11-23 02:07:44.758\"", TimeFormat::Auto, Some(START)),
    ] {
        let mut pipeline = waf();
        pipeline.timestamp.format = format;
        let record = format!("{{\"timestamp\":{value}}}");
        let mut scratch = Scratch::default();
        let got = Transform::new(&pipeline).apply(Some(record.as_bytes()), KAFKA, &Anomalies::default(), &mut scratch);
        assert_eq!(got.ok().map(|e| e.event_time), expected, "{value} as {format:?}");
    }
}

#[test]
fn reasons_are_sentences() {
    for (reject, code, sentence) in [
        (syntax(7), "syntax", "the record is not JSON at byte 7"),
        (inner_syntax(7), "syntax", "the record is not JSON at byte 7 of the text inside its JSON string"),
        (
            conflict("K_x"),
            "name-conflict",
            "the record already has a member \"K_x\", which is to be added; rename the flag",
        ),
        (Reject::Tombstone, "tombstone", "the record has no value (a tombstone)"),
    ] {
        assert_eq!((reject.code(), reject.to_string().as_str()), (code, sentence));
    }
}
