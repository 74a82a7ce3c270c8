//! Foreign clients and secured listeners: what users have is not only rdkafka on a plain port.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use support::kafka::Kafka;
use support::outlier::Outlier;
use support::{Workplace, wait};

const PATIENCE: Duration = Duration::from_secs(60);

fn configuration(place: &Workplace, kafka: &str) -> PathBuf {
    let text = format!(
        r#"
[kafka]
topic_prefix = "{}"
replication_factor = 1
{kafka}
[telemetry]
listen = "127.0.0.1:0"
[[pipeline]]
preset = "waf"
"#,
        place.prefix
    );
    place.file("outlier.toml", &text)
}

/// Sets up, writes `count` logs and processes them; answers the enriched topic.
fn enrich(config: &Path, place: &Workplace, kafka: &Kafka, count: usize) -> String {
    assert!(Outlier::run_to_end(config, "setup", &["setup", "--only-topics"]).success());
    let count_text = count.to_string();
    assert!(
        Outlier::run_to_end(
            config,
            "produce",
            &["produce", "--backfill=10m", "--backfill-only", "--count", &count_text]
        )
        .success()
    );
    let process = Outlier::start(config, "process", &["process"]);
    let enriched = format!("{}waf.enriched", place.prefix);
    wait("every enriched record", PATIENCE, || kafka.read_all(&enriched).len() == count);
    assert!(process.stop().success());
    enriched
}

/// kcat reads the enriched topic, and what it reads fits the published schema.
#[test]
fn kcat_reads_what_the_schema_says() {
    if Command::new("kcat").arg("-V").output().is_err() {
        println!("skipped: kcat is not installed");
        return;
    }
    let kafka = Kafka::start();
    let place = Workplace::new("kcat");
    let config = configuration(&place, &format!("bootstrap_servers = \"{}\"", kafka.bootstrap));
    let enriched = enrich(&config, &place, &kafka, 200);
    let output = Command::new("kcat")
        .args(["-b", &kafka.bootstrap, "-t", &enriched, "-C", "-e", "-q", "-X", "isolation.level=read_committed"])
        .output()
        .unwrap();
    let schema = include_str!("../docs/schemas/enriched-waf.json");
    let schema = jsonschema::validator_for(&serde_json::from_str(schema).unwrap()).unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 200);
    for line in text.lines() {
        let record = serde_json::from_str(line).unwrap();
        assert!(schema.is_valid(&record), "{line}: {:?}", schema.iter_errors(&record).next());
    }
}

/// TLS with SASL PLAIN and SCRAM on a real broker; a wrong password ends with a sentence that says what to do.
///
/// `OUTLIER_SASL_SERVERS` names the listener, `OUTLIER_SASL_CA` its CA, `OUTLIER_SASL_USER` and
/// `OUTLIER_SASL_PASSWORD` the credentials; `KAFKA_BOOTSTRAP_SERVERS` is a plain listener of the same broker.
#[test]
fn sasl_and_tls_work() {
    let var = |name: &str| std::env::var(name).ok();
    let (Some(servers), Some(ca), Some(user), Some(password), Some(_)) = (
        var("OUTLIER_SASL_SERVERS"),
        var("OUTLIER_SASL_CA"),
        var("OUTLIER_SASL_USER"),
        var("OUTLIER_SASL_PASSWORD"),
        var("KAFKA_BOOTSTRAP_SERVERS"),
    ) else {
        println!("skipped: OUTLIER_SASL_SERVERS, …_CA, …_USER, …_PASSWORD and KAFKA_BOOTSTRAP_SERVERS are not all set");
        return;
    };
    let kafka = Kafka::start();
    let secured = |mechanism: &str, password: &str| {
        format!(
            r#"bootstrap_servers = "{servers}"
[kafka.properties]
"security.protocol" = "SASL_SSL"
"ssl.ca.location" = "{ca}"
"sasl.mechanism" = "{mechanism}"
"sasl.username" = "{user}"
"sasl.password" = "{password}""#
        )
    };
    for mechanism in ["PLAIN", "SCRAM-SHA-512"] {
        let place = Workplace::new("sasl");
        let config = configuration(&place, &secured(mechanism, &password));
        enrich(&config, &place, &kafka, 50);
    }
    let place = Workplace::new("wrong");
    let config = configuration(&place, &secured("PLAIN", "wrong"));
    assert!(!Outlier::run_to_end(&config, "setup", &["setup", "--only-topics"]).success());
    let log = support::read(&place.dir.join("setup.log"));
    assert!(log.contains("sasl.password"), "the remedy is named: {log}");
}
