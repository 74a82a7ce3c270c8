//! Laws: on any bytes the transform agrees with a plain implementation over `serde_json::Value`.
//!
//! Two things are not compared, as `Value` cannot hold them: numbers beyond a float (the transform accepts
//! them), and nesting beyond serde_json's own limit (compared by hand below).

use super::KAFKA;
use crate::pipeline::{Fallback, FlagGroup, Matcher, Pipeline};
use crate::record::{Anomalies, Scratch, Transform};
use crate::testing::{START, waf};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Map, Value};

/// What the plain implementation says of a record.
#[derive(Debug)]
enum Plain {
    /// The enriched record, and how much of the text stays as it is.
    Enriched(Map<String, Value>, String),
    /// Rejected with one of these codes.
    Rejected(&'static [&'static str]),
    /// `Value` cannot tell.
    Unknown,
}

fn plain(pipeline: &Pipeline, record: &[u8]) -> Plain {
    let parse = |bytes: &[u8]| {
        serde_json::from_slice::<Value>(bytes).map_err(|error| {
            let text = error.to_string();
            let beyond = text.contains("number out of range") || text.contains("recursion limit");
            match beyond {
                true => Plain::Unknown,
                false => Plain::Rejected(&["syntax", "invalid-utf8", "not-an-object"]),
            }
        })
    };
    let parsed = parse(record).and_then(|value| match value {
        Value::String(inner) => parse(inner.as_bytes()).map(|value| (inner, value)),
        value => Ok((String::from_utf8(record.to_vec()).unwrap(), value)),
    });
    let (text, mut members) = match parsed {
        Ok((text, Value::Object(members))) => (text, members),
        Ok(_) => return Plain::Rejected(&["not-an-object"]),
        Err(verdict) => return verdict,
    };
    if pipeline.flag_names().chain(["outlier"]).any(|name| members.contains_key(name)) {
        return Plain::Rejected(&["name-conflict"]);
    }
    let Some(time) = scalar(members.get("timestamp")) else {
        return Plain::Rejected(&["no-timestamp"]);
    };
    let Some(event_time) = plain_number(&time).and_then(plain_time) else {
        return Plain::Rejected(&["bad-timestamp"]);
    };
    if event_time > KAFKA + pipeline.timestamp.max_skew {
        return Plain::Rejected(&["skewed"]);
    }
    for group in &pipeline.flags {
        let whole = Value::Object(members.clone());
        let mut names = group.field.segments().iter();
        let value = names.try_fold(&whole, |value, name| value.as_object()?.get(name));
        let (good, bad) = plain_flags(group, scalar(value).as_deref());
        members.insert(group.good.name.clone(), u8::from(good).into());
        members.insert(group.bad.name.clone(), u8::from(bad).into());
    }
    let outlier = serde_json::json!({"pipeline": pipeline.name, "event_time": event_time});
    members.insert("outlier".to_owned(), outlier);
    let kept = text.trim_ascii_end().strip_suffix('}').unwrap().to_owned();
    Plain::Enriched(members, kept)
}

fn scalar(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(text) => Some(text.clone()),
        value @ (Value::Bool(_) | Value::Number(_)) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A text is a number when it is one in JSON: not `30.`, nor `+30`, nor ` 30`.
fn plain_number(text: &str) -> Option<f64> {
    let bare = text.trim() == text;
    serde_json::from_str(text).ok().filter(|_| bare)
}

fn plain_time(number: f64) -> Option<i64> {
    let plausible = 946_684_800_000.0..4_102_444_800_000.0;
    let ms = [number.round(), (number * 1000.0).round()];
    ms.into_iter().find(|ms| plausible.contains(ms)).map(|ms| ms as i64)
}

fn plain_flags(group: &FlagGroup, text: Option<&str>) -> (bool, bool) {
    let matches = |matchers: &[Matcher], text: &str| {
        matchers.iter().any(|matcher| match matcher {
            Matcher::Literal(literal) => literal == text,
            Matcher::Class(class) => text.len() == 3 && text.parse::<u16>().is_ok_and(|n| n / 100 == u16::from(*class)),
            Matcher::Range(low, high) => plain_number(text).is_some_and(|n| *low <= n && n <= *high),
            Matcher::Prefix(prefix) => text.starts_with(prefix),
        })
    };
    let fallback = match text {
        None => group.missing,
        Some(text) if matches(&group.good.matchers, text) => return (true, false),
        Some(text) if matches(&group.bad.matchers, text) => return (false, true),
        Some(_) => group.other,
    };
    (false, fallback == Fallback::Bad)
}

/// The shipped pipeline with every kind of matcher, and the nesting that serde_json allows.
fn pipeline() -> Pipeline {
    let mut pipeline = waf();
    pipeline.max_depth = 127;
    pipeline.flags[0].bad.matchers.push(Matcher::Prefix("B".to_owned()));
    pipeline.flags[2].bad.matchers.push(Matcher::Range(0.5, 99.0));
    pipeline
}

fn check(record: &[u8]) -> Result<(), TestCaseError> {
    let pipeline = pipeline();
    let mut scratch = Scratch::default();
    let none = Anomalies::default();
    let transform = Transform::new(&pipeline);
    let got = transform.apply(Some(record), KAFKA, &none, &mut scratch);
    let shown = String::from_utf8_lossy(record);
    match (plain(&pipeline, record), got) {
        (Plain::Unknown, _) => {}
        (Plain::Rejected(codes), Err(reject)) => {
            prop_assert!(codes.contains(&reject.code()), "{reject}, not {codes:?}: {shown}");
        }
        (Plain::Enriched(members, kept), Ok(enriched)) => {
            let value: Value = serde_json::from_slice(enriched.bytes).unwrap();
            prop_assert_eq!(&value, &Value::Object(members), "{}", shown);
            prop_assert!(enriched.bytes.starts_with(kept.as_bytes()), "{shown}");
            // Nothing but the flags and one object was added, each once.
            let added = std::str::from_utf8(&enriched.bytes[kept.len()..]).unwrap();
            prop_assert_eq!(added.matches(':').count(), pipeline.flags.len() * 2 + 3, "{}", added);
            prop_assert_eq!(enriched.event_time, value["outlier"]["event_time"].as_i64().unwrap());
            for (name, flag) in pipeline.flag_names().zip(enriched.flags) {
                prop_assert_eq!(value[name].as_u64(), Some(u64::from(*flag)), "{}", name);
            }
        }
        (expected, got) => prop_assert!(false, "{expected:?} but {got:?}: {shown}"),
    }
    Ok(())
}

fn space() -> impl Strategy<Value = &'static str> {
    select(vec!["", "", "", "", " ", "\n\t ", "\r\n"])
}

/// A string's body: plain runs, characters of any length, every kind of escape.
fn text() -> impl Strategy<Value = String> {
    let escape = select(vec![
        r"\n",
        r#"\""#,
        r"\\",
        r"\/",
        r"\b\f\r\t",
        r"\u0041",
        r"\u00e9",
        r"\u20AC",
        r"\ud83d\ude00",
        r"\u0000",
    ]);
    let piece = prop_oneof![
        4 => "[ -!#-\\[\\]-~]{0,20}",
        1 => any::<char>().prop_filter("must be escaped", |c| *c >= ' ' && *c != '"' && *c != '\\').prop_map(String::from),
        1 => escape.prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 0..4).prop_map(|pieces| pieces.concat())
}

fn name() -> impl Strategy<Value = String> {
    let known = select(vec![
        "action",
        "httpSourceName",
        "httpStatus",
        "httpRequest",
        "country",
        "httpMethod",
        "timestamp",
        "\\u0061ction",
        "httpReque\\u0073t",
        "countr\\u0079",
        "Action",
        "acti\\u006fn",
    ]);
    let reserved = select(vec!["K_action", "outlier", "\\u006futlier"]);
    prop_oneof![20 => known.prop_map(str::to_owned), 8 => text(), 1 => reserved.prop_map(str::to_owned)]
}

fn number() -> impl Strategy<Value = String> {
    let odd = select(vec![
        "0",
        "-0",
        "0.0",
        "1e5",
        "2E+02",
        "200.0",
        "-1.5e-7",
        "123456789012345678901234567890",
        "1e308",
        "1e999",
    ]);
    prop_oneof![
        (0u16..700).prop_map(|n| n.to_string()),
        any::<i64>().prop_map(|n| n.to_string()),
        any::<f64>().prop_filter("JSON has none", |n| n.is_finite()).prop_map(|n| format!("{n:?}")),
        odd.prop_map(str::to_owned),
    ]
}

fn value() -> impl Strategy<Value = String> {
    let known = select(vec![
        "\"ALLOW\"",
        "\"BLOCK\"",
        "\"BL\\u004fCK\"",
        "\"Count\"",
        "\"ALB\"",
        "\"-\"",
        "\"404\"",
        "200",
        "404",
        "\"US\"",
        "\"XX\"",
        "\"GET\"",
        "\"DELETE\"",
        "null",
        "true",
        "false",
    ]);
    let leaf = prop_oneof![
        6 => known.prop_map(str::to_owned),
        2 => number(),
        3 => text().prop_map(|text| format!("\"{text}\"")),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        let array = (prop::collection::vec(inner.clone(), 0..5), space())
            .prop_map(|(values, space)| format!("[{space}{}{space}]", values.join(&format!("{space},"))));
        prop_oneof![2 => array, 5 => object(prop::collection::vec((name(), inner), 0..6))]
    })
}

fn object(members: impl Strategy<Value = Vec<(String, String)>>) -> impl Strategy<Value = String> {
    (members, space(), space()).prop_map(|(members, one, two)| {
        let members: Vec<String> =
            (members.iter()).map(|(name, value)| format!("{one}\"{name}\"{two}:{one}{value}{two}")).collect();
        format!("{{{one}{}}}", members.join(","))
    })
}

fn timestamp() -> impl Strategy<Value = String> {
    let odd = select(vec!["null", "true", "\"x\"", "0", "1e3", "{}", "[1]", "17953996647580", "\"\\u0031e9\""]);
    prop_oneof![
        4 => (-1_000_000_000..4_000_000i64).prop_map(|ms| (START + ms).to_string()),
        4 => (-1_000_000_000..4_000_000i64).prop_map(|ms| {
            let ms = START + ms;
            format!("{}.{:03}", ms / 1000, ms % 1000)
        }),
        1 => (0..4_000_000_000i64).prop_map(|seconds| format!("\"{seconds}\"")),
        1 => odd.prop_map(str::to_owned),
    ]
}

/// A member that some flag group looks at, with a value that it may know.
fn flagged() -> impl Strategy<Value = (String, String)> {
    let one_of = |name: &'static str, values: &'static str| {
        let values: Vec<&str> = values.split(' ').collect();
        select(values).prop_map(move |value| (name.to_owned(), value.to_owned()))
    };
    let inner = prop_oneof![
        one_of("country", r#""US" "UK" "XX" "WW" "DE" null "\u0055S""#),
        one_of("httpMethod", r#""GET" "POST" "DELETE" "PUT" {}"#),
        (name(), value()),
    ];
    prop_oneof![
        one_of("action", r#""ALLOW" "Count" "BLOCK" "BL\u004fCK" "Block" "x" null"#),
        one_of("acti\\u006fn", r#""ALLOW" "BLOCK" []"#),
        one_of("httpSourceName", r#""ALB" "CF" "-" "?" null false"#),
        one_of("httpStatus", r#"200 "308" 404 "504" 404.0 1 50.5 99 0.4 100 -1 1e1 [404] null"#),
        object(prop::collection::vec(inner, 0..4)).prop_map(|object| ("httpRequest".to_owned(), object)),
    ]
}

/// A record: an object with a timestamp among its members, sometimes inside a string.
fn record() -> impl Strategy<Value = String> {
    let member = prop_oneof![2 => flagged(), 1 => (name(), value())];
    let members =
        (prop::collection::vec(member, 0..10), timestamp(), any::<Index>()).prop_map(|(mut members, time, at)| {
            members.insert(at.index(members.len() + 1), ("timestamp".to_owned(), time));
            members
        });
    (object(members), space(), 0..10u8).prop_map(|(object, space, kind)| {
        let padded = format!("{space}{object}{space}");
        match kind {
            0 => format!("{space}{}{space}", Value::from(padded)),
            _ => padded,
        }
    })
}

/// Changes a record here and there.
fn mutate(record: &mut Vec<u8>, edits: &[(u8, Index, u8)]) {
    const LIKELY: &[u8] = b"\"\\{}[]:,0-.eE+utn \n\x00\x1f\x7f\x80\xc3\xff\xed";
    for (kind, at, byte) in edits {
        let at = at.index(record.len() + 1);
        let likely = LIKELY[usize::from(*byte) % LIKELY.len()];
        match kind {
            0 => record.insert(at, likely),
            1 => record.insert(at, *byte),
            2 if at < record.len() => record[at] = likely,
            3 if at < record.len() => drop(record.remove(at)),
            4 => record.truncate(at),
            _ => {
                let end = (at + usize::from(*byte)).min(record.len());
                let copy = record[at..end].to_vec();
                record.splice(at..at, copy);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn records_agree(record in record()) {
        check(record.as_bytes())?;
    }

    #[test]
    fn any_json_agrees(value in value()) {
        check(value.as_bytes())?;
    }

    #[test]
    fn damaged_records_agree(
        record in record(),
        edits in prop::collection::vec((0..7u8, any::<Index>(), any::<u8>()), 1..4),
    ) {
        let mut record = record.into_bytes();
        mutate(&mut record, &edits);
        check(&record)?;
    }

    #[test]
    fn any_bytes_agree(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        check(&bytes)?;
    }

    #[test]
    fn numbers_agree(digits in "[-+0-9.eE]{1,7}") {
        check(format!("{{\"timestamp\":{START},\"x\":{digits}}}").as_bytes())?;
    }
}

#[test]
fn nesting_agrees_up_to_serde_jsons_limit() {
    let transform = Transform::new(&pipeline());
    for levels in [1, 126, 127, 128, 500] {
        let inner = levels - 1;
        let record = format!("{{\"timestamp\":{START},\"x\":{}{}}}", "[".repeat(inner), "]".repeat(inner));
        let record = record.replace("\"x\":}", "\"x\":0}");
        let plain = serde_json::from_str::<Value>(&record).is_ok();
        let mut scratch = Scratch::default();
        let got = transform.apply(Some(record.as_bytes()), KAFKA, &Anomalies::default(), &mut scratch);
        let code = got.err().map(|reject| reject.code());
        assert_eq!(code, (!plain).then_some("too-deep"), "{levels} levels");
    }
}
