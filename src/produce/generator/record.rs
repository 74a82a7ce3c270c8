//! Writes one AWS WAF log as JSON, some 600 to 700 bytes.
//!
//! Last step of the generator. Invariants: members and their order are those of AWS (with `httpStatus`, which the
//! real logs lack); addresses and names are from the ranges reserved for examples; texts that are put between
//! quotes here contain nothing to escape.

use super::fields::Drawn;
use super::rng::Rng;
use crate::produce::stamp::{self, Written};
use outlier_core::pipeline::Millis;

const BEGIN: &str = r#"{"timestamp":"#;
const WEB_ACL: &str = r#","formatVersion":1,"webaclId":"arn:aws:wafv2:us-east-1:123456789012:regional/webacl/shop/7f0e4b2a-1c55-4a0e","terminatingRuleId":""#;

/// What ended the evaluation: what blocks, and what does not.
const BLOCKING: [(&str, &str); 4] = [
    ("RateLimit", "RATE_BASED"),
    ("AWS-AWSManagedRulesCommonRuleSet", "MANAGED_RULE_GROUP"),
    ("AWS-AWSManagedRulesSQLiRuleSet", "MANAGED_RULE_GROUP"),
    ("BlockedAddresses", "REGULAR"),
];
const DEFAULT: (&str, &str) = ("Default_Action", "REGULAR");

const AGENTS: [&str; 6] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/142.0.0.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) Safari/605.1.15",
    "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Firefox/145.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5) Safari/605.1.15",
    "shop-app/4.12 (Android 16)",
    "curl/8.14.1",
];
const URIS: [&str; 10] = [
    "/",
    "/index.html",
    "/login",
    "/cart",
    "/checkout",
    "/search",
    "/api/v1/items",
    "/api/v1/orders",
    "/static/img/logo.png",
    "/static/js/app.js",
];
const ARGS: [&str; 4] = ["", "", "page=", "q=shoes&page="];

/// Appends the record to `out`.
pub(super) fn write(out: &mut Vec<u8>, at: Millis, written: Written, drawn: &Drawn<'_>, rng: &mut Rng) {
    let [action, source, status, country, method] = drawn;
    let (rule, kind) = if action.text == "BLOCK" { rng.pick(&BLOCKING) } else { DEFAULT };
    let mut put = |text: &str| out.extend_from_slice(text.as_bytes());
    put(BEGIN);
    stamp::write(out, at, written);
    let mut put = |text: &str| out.extend_from_slice(text.as_bytes());
    put(WEB_ACL);
    put(rule);
    put(r#"","terminatingRuleType":""#);
    put(kind);
    put(r#"","action":"#);
    put(&action.json);
    put(r#","httpSourceName":"#);
    put(&source.json);
    put(r#","httpSourceId":""#);
    put(source_id(&source.text));
    put(r#"","ruleGroupList":[],"nonTerminatingMatchingRules":[],"httpStatus":"#);
    put(&status.json);
    put(r#","httpRequest":{"clientIp":""#);
    client(out, rng);
    let mut put = |text: &str| out.extend_from_slice(text.as_bytes());
    put(r#"","country":"#);
    put(&country.json);
    put(r#","headers":[{"name":"Host","value":"shop.example.com"},{"name":"User-Agent","value":""#);
    put(rng.pick(&AGENTS));
    put(r#""}],"uri":""#);
    put(rng.pick(&URIS));
    put(r#"","args":""#);
    let args = rng.pick(&ARGS);
    put(args);
    if !args.is_empty() {
        stamp::decimal(out, u64::from(rng.below(100)), 1);
    }
    let mut put = |text: &str| out.extend_from_slice(text.as_bytes());
    put(r#"","httpVersion":""#);
    put(rng.pick(&["HTTP/2.0", "HTTP/2.0", "HTTP/1.1"]));
    put(r#"","httpMethod":"#);
    put(&method.json);
    put(r#","requestId":"1-"#);
    hex(out, (at.max(0) / 1000) as u64, 8);
    out.push(b'-');
    hex(out, rng.next(), 16);
    hex(out, rng.next(), 8);
    out.extend_from_slice(b"\"}}");
}

/// The resource that the web ACL protects.
fn source_id(source: &str) -> &'static str {
    match source {
        "ALB" => "123456789012-app/shop/50dc6c495c0c9188",
        "APIGW" => "123456789012:a1b2c3d4e5:prod",
        "APPSYNC" => "123456789012:apis/example123",
        "CF" => "E2EXAMPLE1ABCD",
        _ => "-",
    }
}

/// An address of 198.18.0.0/15; few clients send much, many send little.
fn client(out: &mut Vec<u8>, rng: &mut Rng) {
    let skewed = rng.unit() * rng.unit() * rng.unit();
    let host = (skewed * 131_072.0) as u64;
    out.extend_from_slice(b"198.");
    stamp::decimal(out, 18 + (host >> 16), 1);
    out.push(b'.');
    stamp::decimal(out, (host >> 8) & 0xff, 1);
    out.push(b'.');
    stamp::decimal(out, host & 0xff, 1);
}

/// The lowest `digits` hexadecimal digits of a number.
fn hex(out: &mut Vec<u8>, number: u64, digits: u32) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend((0..digits).rev().map(|i| DIGITS[(number >> (4 * i) & 15) as usize]));
}
