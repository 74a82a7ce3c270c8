//! Real AWS WAF logs through the whole path, with the shipped `config/aws-waf.toml`: file → raw → process → sink →
//! OpenSearch, and every indexed document checked field by field.
//!
//! Needs `KAFKA_BOOTSTRAP_SERVERS`, `OPENSEARCH_URL` and the logs under `OUTLIER_SHARED`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use serde_json::{Value, json};
use std::io::Read;
use std::time::Duration;
use support::opensearch::{address, all, documents};
use support::outlier::Outlier;
use support::{Workplace, wait};

const PATIENCE: Duration = Duration::from_secs(90);

/// The flags by a plain reading of `config/aws-waf.toml`: good, bad, and the member and rule that decide.
fn flags(log: &Value) -> Vec<(&'static str, bool)> {
    let text = |pointer: &str| log.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_uppercase();
    let (action, rule, source) = (text("/action"), text("/terminatingRuleType"), text("/httpSourceName"));
    let (country, method) = (text("/httpRequest/country"), text("/httpRequest/httpMethod"));
    let status = log["responseCodeSent"].as_u64();
    let any = |value: &str, list: &[&str]| list.contains(&value);
    let known = any(&source, &["CF", "ALB", "APIGW", "APPSYNC", "COGNITOIDP", "APPRUNNER", "VERIFIED_ACCESS"]);
    let usual = any(&method, &["GET", "HEAD", "POST", "OPTIONS"]);
    let lettered = country.starts_with(|c: char| c.is_ascii_uppercase());
    vec![
        ("K_action", any(&action, &["ALLOW", "COUNT"])),
        ("B_action", action == "BLOCK"),
        ("not_challenged", any(&action, &["ALLOW", "BLOCK", "COUNT"])),
        ("challenged", any(&action, &["CAPTCHA", "CHALLENGE"])),
        ("regular_rule", rule == "REGULAR"),
        ("special_rule", !rule.is_empty() && rule != "REGULAR"),
        ("K_source", known),
        ("UNK_source", !known),
        ("G_httpstatus", status.is_some_and(|s| (200..400).contains(&s))),
        ("B_httpstatus", status.is_some_and(|s| (400..600).contains(&s))),
        ("K_country", lettered),
        ("UNK_country", !lettered),
        ("common_method", usual),
        ("uncommon_method", !usual),
    ]
}

#[test]
fn real_waf_logs_are_indexed_field_by_field() {
    let (Some(url), Some(shared), Ok(bootstrap)) =
        (support::opensearch(), support::shared(), std::env::var("KAFKA_BOOTSTRAP_SERVERS"))
    else {
        println!("skipped: needs KAFKA_BOOTSTRAP_SERVERS, OPENSEARCH_URL and OUTLIER_SHARED");
        return;
    };
    let file = shared.join("samples/aws_waf/aws-waf-security-automations-test_waf_log.gz");
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(std::fs::File::open(&file).unwrap()).read_to_string(&mut text).unwrap();
    let place = Workplace::new("aws");
    let prefix = &place.prefix;
    let shipped = include_str!("../config/aws-waf.toml");
    let config = place.file(
        "outlier.toml",
        &format!(
            r#"
[kafka]
bootstrap_servers = "{bootstrap}"
topic_prefix = "{prefix}"
replication_factor = 1
[process]
idle_timeout = "2s"
[opensearch]
urls = ["{url}"]
index_prefix = "{prefix}"
replicas = 0
[telemetry]
listen = "127.0.0.1:0"
{shipped}"#
        ),
    );
    assert!(Outlier::run_to_end(&config, "setup", &["setup"]).success());
    assert!(Outlier::run_to_end(&config, "produce", &["produce", "--input", file.to_str().unwrap()]).success());
    let process = Outlier::start(&config, "process", &["process"]);
    let sink = Outlier::start(&config, "sink", &["sink"]);

    let server = address(&url);
    let index = |stage: &str| format!("{prefix}aws-waf-{stage}").to_lowercase();
    let mut logs: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for stage in ["raw", "enriched"] {
        wait(&format!("all documents in {stage}"), PATIENCE, || documents(server, &index(stage)) == logs.len() as u64);
    }
    // By their own id: what the index holds must be exactly what was in the file.
    let id = |log: &Value| (log["httpRequest"]["requestId"].to_string(), log["timestamp"].as_i64(), log.to_string());
    logs.sort_by_key(id);
    for stage in ["raw", "enriched"] {
        let mut indexed = Vec::new();
        for (document, mut source) in all(server, &index(stage)) {
            let members = source.as_object_mut().unwrap();
            let time = members.remove("@timestamp").unwrap();
            if stage == "enriched" {
                let about = members.remove("outlier").unwrap();
                let event_time = &members["timestamp"];
                assert_eq!((&time, &about["event_time"]), (event_time, event_time), "{document}");
                assert_eq!(about["pipeline"], json!("aws-waf"));
                let expected = flags(&Value::Object(members.clone()));
                for (flag, set) in expected {
                    assert_eq!(members.remove(flag), Some(json!(u8::from(set))), "{flag} of {document}: {members:?}");
                }
            }
            indexed.push(source);
        }
        indexed.sort_by_key(id);
        assert_eq!(indexed, logs, "{stage}");
    }
    wait("scores", PATIENCE, || documents(server, &index("scores")) > 0);
    assert!(process.stop().success());
    assert!(sink.stop().success());
}
