//! The main path on the containers that users run: `setup`, `produce`, `process` and `sink` on the public images of Kafka
//! and OpenSearch, started by testcontainers.
//!
//! Only with `OUTLIER_TEST_CONTAINERS=1`, because it needs a Docker engine.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;
use support::opensearch::{documents, get};
use support::outlier::Outlier;
use support::{Workplace, wait};
use testcontainers::core::IntoContainerPort;
use testcontainers::runners::SyncRunner;
use testcontainers::{Container, GenericImage, ImageExt};
use testcontainers_modules::kafka::apache;

/// Logs of a test.
const RECORDS: u64 = 500;
/// A container starts and a service does its work within this, on a slow machine too.
const PATIENCE: Duration = Duration::from_secs(180);

#[test]
fn logs_reach_the_index_through_containers() {
    if std::env::var("OUTLIER_TEST_CONTAINERS").as_deref() != Ok("1") {
        println!("skipped: OUTLIER_TEST_CONTAINERS is not 1, and the test needs a Docker engine");
        return;
    }
    let (kafka, opensearch) = (start_kafka(), start_opensearch());
    let broker = format!("127.0.0.1:{}", kafka.get_host_port_ipv4(apache::KAFKA_PORT).unwrap());
    let index = format!("127.0.0.1:{}", opensearch.get_host_port_ipv4(9200.tcp()).unwrap());
    wait("OpenSearch", PATIENCE, || get(&index, "/_cluster/health?wait_for_status=yellow&timeout=1s").is_some());

    let place = Workplace::new("containers");
    let config = place.file("outlier.toml", &configuration(&broker, &index));
    assert!(Outlier::run_to_end(&config, "setup", &["setup"]).success());
    let process = Outlier::start(&config, "process", &["process"]);
    let sink = Outlier::start(&config, "sink", &["sink"]);
    let count = RECORDS.to_string();
    let logs =
        ["produce", "--backfill=5m", "--backfill-only", "--rate=10", "--rhythm=flat", "--seed=1", "--count", &count];
    assert!(Outlier::run_to_end(&config, "produce", &logs).success());

    // Scores have their documents as windows close; that there are some is enough here.
    for (name, expected) in [("waf-raw", RECORDS), ("waf-enriched", RECORDS), ("waf-scores", 1)] {
        wait(&format!("{expected} documents in {name}"), PATIENCE, || documents(&index, name) >= expected);
    }
    for name in ["waf-raw", "waf-enriched"] {
        assert_eq!(documents(&index, name), RECORDS, "{name}: each record once");
    }
    assert!(process.stop().success(), "process ends well");
    assert!(sink.stop().success(), "sink ends well");
}

fn start_kafka() -> Container<apache::Kafka> {
    // One broker holds all replicas of the transaction log.
    let image = apache::Kafka::default().with_jvm_image().with_tag("4.1.0").with_startup_timeout(PATIENCE);
    let image = image.with_env_var("KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR", "1");
    image.with_env_var("KAFKA_TRANSACTION_STATE_LOG_MIN_ISR", "1").start().unwrap()
}

fn start_opensearch() -> Container<GenericImage> {
    let image = GenericImage::new("opensearchproject/opensearch", "3.4.0").with_exposed_port(9200.tcp());
    let image = image.with_startup_timeout(PATIENCE).with_env_var("discovery.type", "single-node");
    let image =
        image.with_env_var("DISABLE_SECURITY_PLUGIN", "true").with_env_var("DISABLE_INSTALL_DEMO_CONFIG", "true");
    let image = image.with_env_var("cluster.routing.allocation.disk.threshold_enabled", "false");
    image.with_env_var("OPENSEARCH_JAVA_OPTS", "-Xms512m -Xmx512m").start().unwrap()
}

fn configuration(broker: &str, index: &str) -> String {
    format!(
        r#"
[kafka]
bootstrap_servers = "{broker}"
replication_factor = 1
[process]
idle_timeout = "3s"
[opensearch]
urls = ["http://{index}"]
replicas = 0
[telemetry]
listen = "127.0.0.1:0"
[[pipeline]]
preset = "waf"
window = "10s"
lateness = "2s"
"#
    )
}
