//! The ten flags of the shipped pipeline, and what exactly is spliced in.

use super::{KAFKA, enrich};
use crate::measure::{Measure, Operand};
use crate::pipeline::{Fallback, Matcher};
use crate::record::{Anomalies, Scratch, Transform};
use crate::testing::{START, field, waf};
use serde_json::Value;

/// Good and bad flag of group `index` for a record whose members are `members`.
fn flags_of(members: &str, index: usize) -> (u8, u8) {
    let record = format!("{{\"timestamp\":{START},{members}}}");
    let mut scratch = Scratch::default();
    let transform = Transform::new(&waf());
    let enriched = transform
        .apply(Some(record.as_bytes()), KAFKA, &Anomalies::default(), &mut scratch)
        .unwrap_or_else(|reject| panic!("{record}: {reject}"));
    let value: Value = serde_json::from_slice(enriched.bytes).unwrap();
    for (name, flag) in waf().flag_names().zip(enriched.flags) {
        assert_eq!(value[name], Value::from(u8::from(*flag)), "{name} of {record}");
    }
    let (good, bad) = (enriched.flags[index * 2], enriched.flags[index * 2 + 1]);
    (u8::from(good), u8::from(bad))
}

/// Every value of `values` (JSON, separated by spaces) gives these flags, wherever the field is.
fn check(index: usize, values: &str, expected: (u8, u8)) {
    let group = &waf().flags[index];
    for value in values.split(' ') {
        let mut member = value.to_owned();
        for segment in group.field.segments().iter().rev() {
            member = format!("\"{segment}\":{member}");
            if segment != &group.field.segments()[0] {
                member = format!("{{{member}}}");
            }
        }
        assert_eq!(flags_of(&member, index), expected, "{member}");
    }
}

#[test]
fn every_value_of_the_table() {
    const GOOD: (u8, u8) = (1, 0);
    const BAD: (u8, u8) = (0, 1);
    const NEITHER: (u8, u8) = (0, 0);
    check(0, r#""ALLOW" "CAPTCHA" "Challenge" "Count" "\u0041LLOW""#, GOOD);
    check(0, r#""BLOCK" "BL\u004fCK""#, BAD);
    check(0, r#""allow" "block" "" "X" 1 true null {} [] ["BLOCK"] {"action":"BLOCK"}"#, NEITHER);
    check(1, r#""ALB" "APIGW" "APPSYNC" "CF""#, GOOD);
    check(1, r#""-" "" "alb" "EC2" 0 -1 false null {} [] ["ALB"]"#, BAD);
    check(2, r#"200 202 307 308 299 300 "200" "308" 399"#, GOOD);
    check(2, r#"403 404 502 504 400 599 "404""#, BAD);
    check(2, r#"100 600 0 -404 4040 404.0 4e2 40 "4xx" "" true null {} [404]"#, NEITHER);
    check(3, r#""US" "UK" "IN""#, GOOD);
    check(3, r#""XX" "YY" "ZZ" "WW" "DE" "us" "" 1 true null {} ["US"]"#, BAD);
    check(4, r#""GET" "HEAD" "POST""#, GOOD);
    check(4, r#""DELETE""#, BAD);
    check(4, r#""PUT" "get" "" 7 false null {} ["GET"]"#, NEITHER);
}

#[test]
fn missing_fields_and_other_shapes() {
    for (members, index, expected) in [
        (r#""x":1"#, 0, (0, 0)),
        (r#""x":1"#, 1, (0, 1)),
        (r#""x":1"#, 2, (0, 0)),
        (r#""x":1"#, 3, (0, 1)),
        (r#""x":1"#, 4, (0, 0)),
        (r#""httpRequest":"US""#, 3, (0, 1)),
        (r#""httpRequest":[{"country":"US"}]"#, 3, (0, 1)),
        (r#""country":"US""#, 3, (0, 1)),
        (r#""httpRequest":{"x":{"country":"US"}}"#, 3, (0, 1)),
        (r#""httpRequest":{"country":"XX","country":"US"}"#, 3, (1, 0)),
        (r#""httpRequest":{"country":"US"},"httpRequest":{"httpMethod":"GET"}"#, 3, (0, 1)),
        (r#""httpRequest":{"country":"US"},"httpRequest":{"httpMethod":"GET"}"#, 4, (1, 0)),
        (r#""httpRequest":{"country":"US"},"httpReque\u0073t":null"#, 3, (0, 1)),
        (r#""action":"BLOCK","action":"ALLOW""#, 0, (1, 0)),
        (r#""x":{"action":"BLOCK"},"y":[{"action":"BLOCK"}]"#, 0, (0, 0)),
    ] {
        assert_eq!(flags_of(members, index), expected, "{members}");
    }
}

#[test]
fn other_and_missing_rules_and_case() {
    let mut pipeline = waf();
    let action = &mut pipeline.flags[0];
    action.ignore_case = true;
    action.other = Fallback::Bad;
    action.missing = Fallback::Neither;
    action.bad.matchers = vec![Matcher::Literal("ALLOW".to_owned())];
    for (action, flags) in [
        (r#","action":"aLLow""#, r#""K_action":1,"B_action":0"#),
        (r#","action":"x""#, r#""K_action":0,"B_action":1"#),
        (r#","action":null"#, r#""K_action":0,"B_action":0"#),
    ] {
        let record = format!("{{\"timestamp\":{START}{action}}}");
        let enriched = enrich(&pipeline, record.as_bytes()).unwrap();
        assert!(enriched.contains(flags), "{enriched}");
    }
}

/// The flags of a record that has nothing but a timestamp.
const NOTHING: &str = r#""K_action":0,"B_action":0,"K_source":0,"UNK_source":1,"G_httpstatus":0,"B_httpstatus":0,"K_country":0,"UNK_country":1,"common_method":0,"uncommon_method":0,"outlier":{"pipeline":"waf","event_time":1795399664758}}"#;

#[test]
fn what_is_spliced_in() {
    for (record, kept) in [
        (r#"{"timestamp":1795399664.758}"#, r#"{"timestamp":1795399664.758,"#),
        (
            "\n {\t\"timestamp\" : \"2026-11-23T02:07:44.758Z\" , \"é\\u00e9\":1e400,\"x\":1,\"x\":2 \r\n} \n",
            "\n {\t\"timestamp\" : \"2026-11-23T02:07:44.758Z\" , \"é\\u00e9\":1e400,\"x\":1,\"x\":2 \r\n,",
        ),
        // A string that holds an object: the inner object after unescaping.
        (
            r#" "{\"timestamp\": 1795399664758,\n\"m\":\"\\\"\\u00e9\u00e9\"} " "#,
            "{\"timestamp\": 1795399664758,\n\"m\":\"\\\"\\u00e9é\",",
        ),
    ] {
        let enriched = enrich(&waf(), record.as_bytes());
        assert_eq!(enriched, Ok(format!("{kept}{NOTHING}")), "{record}");
    }
}

#[test]
fn anomalies_follow_the_event_time() {
    let mut scratch = Scratch::default();
    let anomalies = Anomalies::new([("method", 91.0), ("action", 97.5)]);
    let record = format!("{{\"timestamp\":{START}}}");
    let enriched = Transform::new(&waf()).apply(Some(record.as_bytes()), KAFKA, &anomalies, &mut scratch).unwrap();
    let tail =
        r#""outlier":{"pipeline":"waf","event_time":1795399664758,"anomalies":["action","method"],"score":97.5}}"#;
    assert!(std::str::from_utf8(enriched.bytes).unwrap().ends_with(tail));
}

#[test]
fn numbers_are_those_of_the_summed_fields() {
    let mut pipeline = waf();
    let sum = |path: &str| Measure::Sum(Operand::Field(field(path)));
    pipeline.detectors[0].measures.push(sum("size"));
    pipeline.detectors[3].measures.extend([sum("http.ms"), sum("size")]);
    let transform = Transform::new(&pipeline);
    let fields: Vec<String> = pipeline.number_fields().iter().map(ToString::to_string).collect();
    assert_eq!(fields, ["size", "http.ms"]);
    let mut scratch = Scratch::default();
    for (members, expected) in [
        (r#""size":512,"http":{"ms":0.25}"#, [Some(512_000_000), Some(250_000)]),
        (r#""size":"512","http":{"ms":"-1e-1"}"#, [Some(512_000_000), Some(-100_000)]),
        (r#""size":true,"http":{"ms":"1 ms"}"#, [None, None]),
        (r#""size":1e999,"http":{"ms":1e30}"#, [None, None]),
        (r#""size":null,"http":{"ms":[1]}"#, [None, None]),
        (r#""size":"\u0031","x":0"#, [Some(1_000_000), None]),
    ] {
        let record = format!("{{\"timestamp\":{START},{members}}}");
        let enriched = transform.apply(Some(record.as_bytes()), KAFKA, &Anomalies::default(), &mut scratch).unwrap();
        assert_eq!(enriched.numbers, expected, "{members}");
    }
}

#[test]
fn a_pipeline_without_flags_still_says_which_it_is() {
    let mut pipeline = waf();
    pipeline.flags.clear();
    pipeline.detectors.clear();
    pipeline.name = "my \"logs\"".to_owned();
    let enriched = enrich(&pipeline, b"{\"timestamp\":1795399664758}").unwrap();
    assert_eq!(
        enriched,
        r#"{"timestamp":1795399664758,"outlier":{"pipeline":"my \"logs\"","event_time":1795399664758}}"#
    );
}

#[test]
fn workers_share_a_transform() {
    fn check<T: Send + Sync>() {}
    check::<Transform>();
    check::<Anomalies>();
}
