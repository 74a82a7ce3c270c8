//! A pipeline with the shipped flags, and records like its logs, for tests and benchmarks of this crate and its users.
//!
//! Not on the data path. Invariant: the flag groups are those of the design's table.

#![allow(clippy::expect_used)] // fixed texts, checked by every test

use crate::field::FieldPath;
use crate::measure::{Measure, Operand};
use crate::pipeline::{Detector, Fallback, Flag, FlagGroup, Matcher, Pipeline, TimeFormat, Timestamp, Topics};

/// An event time that the records of [`record`] start from: 2026-11-23T02:07:44.758Z.
pub const START: i64 = 1_795_399_664_758;

/// The field at a path.
///
/// # Panics
/// If the text is not a path.
pub fn field(path: &str) -> FieldPath {
    path.parse().expect("a field path")
}

/// A flag with literal and class (`2xx`) matchers, separated by spaces.
pub fn flag(name: &str, matchers: &str) -> Flag {
    let matcher = |text: &str| match text.as_bytes() {
        [class @ b'1'..=b'9', b'x', b'x'] => Matcher::Class(class - b'0'),
        _ => Matcher::Literal(text.to_owned()),
    };
    Flag { name: name.to_owned(), matchers: matchers.split(' ').map(matcher).collect() }
}

fn group(name: &str, path: &str, good: Flag, bad: Flag, other: Fallback) -> FlagGroup {
    FlagGroup { name: name.to_owned(), field: field(path), good, bad, other, missing: other, ignore_case: false }
}

/// The shipped pipeline: five flag groups, each with a detector that sums its two flags in minutes.
pub fn waf() -> Pipeline {
    use Fallback::{Bad, Neither};
    let flags = vec![
        group(
            "action",
            "action",
            flag("K_action", "ALLOW CAPTCHA Challenge Count"),
            flag("B_action", "BLOCK"),
            Neither,
        ),
        group("source", "httpSourceName", flag("K_source", "ALB APIGW APPSYNC CF"), flag("UNK_source", "-"), Bad),
        group("httpstatus", "httpStatus", flag("G_httpstatus", "2xx 3xx"), flag("B_httpstatus", "4xx 5xx"), Neither),
        group("country", "httpRequest.country", flag("K_country", "US UK IN"), flag("UNK_country", "XX YY ZZ WW"), Bad),
        group(
            "method",
            "httpRequest.httpMethod",
            flag("common_method", "GET HEAD POST"),
            flag("uncommon_method", "DELETE"),
            Neither,
        ),
    ];
    let sum = |index: usize, flag: &Flag| Measure::Sum(Operand::Flag(index, flag.name.clone()));
    let detector = |(index, group): (usize, &FlagGroup)| {
        let measures = vec![sum(index * 2, &group.good), sum(index * 2 + 1, &group.bad)];
        let explain = ["action", "httpSourceName", "httpStatus", "httpRequest.country", "httpRequest.httpMethod"];
        Detector { explain: explain.map(field).to_vec(), ..Detector::new(&group.name, measures, 60_000, 10_000) }
    };
    let topic = |stage: &str| format!("waf.{stage}");
    Pipeline {
        name: "waf".to_owned(),
        topics: Topics {
            raw: topic("raw"),
            enriched: topic("enriched"),
            windows: topic("windows"),
            scores: topic("scores"),
            state: topic("state"),
            anomalies: topic("anomalies"),
            alerts: topic("alerts"),
            rejected: topic("rejected"),
        },
        timestamp: Timestamp { field: field("timestamp"), format: TimeFormat::Auto, max_skew: 3_600_000 },
        max_record_bytes: 1 << 20,
        max_depth: 128,
        detectors: flags.iter().enumerate().map(detector).collect(),
        flags,
        windows_partitions: 8,
    }
}

/// The `n`th of a stream of WAF logs, about 670 bytes each, 200 ms apart, of varied values and lengths.
pub fn record(n: usize) -> String {
    let pick = |values: &[&'static str], step: usize| values[n / step % values.len()];
    let seconds = START + n as i64 * 200;
    format!(
        concat!(
            r#"{{"timestamp":{}.{:03},"formatVersion":1,"webaclId":"arn:aws:wafv2:us-east-1:123456789012:regional/"#,
            r#"webacl/example/a1b2c3d4-5678-90ab-cdef-EXAMPLE{:05}","terminatingRuleId":"{}","action":"{}","#,
            r#""httpSourceName":"{}","httpSourceId":"123456789012-app/lb/50dc6c495c0c9188","httpStatus":{},"#,
            r#""httpRequest":{{"clientIp":"{}.{}.113.7","country":"{}","headers":[{{"name":"Host","value":"#,
            r#""www.example.com"}},{{"name":"User-Agent","value":"Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0"}},{{"name":"#,
            r#""Accept","value":"*/*"}}],"uri":"/{}","args":"page={}","httpVersion":"HTTP/2.0","httpMethod":"{}","#,
            r#""requestId":"1-64a{:05x}-0123456789abcdef01234567"}}}}"#
        ),
        seconds / 1000,
        seconds % 1000,
        n % 99_991,
        pick(&["Default_Action", "RateLimit", "AWS-AWSManagedRulesCommonRuleSet"], 3),
        pick(&["ALLOW", "CAPTCHA", "Challenge", "Count", "BLOCK"], 1),
        pick(&["ALB", "APIGW", "APPSYNC", "CF", "-"], 5),
        pick(&["200", "202", "307", "308", "403", "404", "502", "504"], 7),
        n % 223 + 1,
        n % 256,
        pick(&["US", "UK", "IN", "XX", "YY", "ZZ", "WW"], 11),
        pick(&["", "login", "api/v1/items", "static/img/logo.png", "search"], 13),
        n % 1000,
        pick(&["GET", "HEAD", "POST", "DELETE"], 17),
        n % 0xfffff,
    )
}
