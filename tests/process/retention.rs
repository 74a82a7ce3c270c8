//! Topics whose retention has deleted what was read, down to the end of a transaction that no reader sees.

use crate::support::kafka::{Kafka, flush, send};
use crate::support::opensearch::get;
use crate::support::outlier::Outlier;
use crate::support::pipeline::{self, START, WINDOWS};
use crate::support::{Workplace, wait};
use rdkafka::producer::{BaseProducer, Producer};
use std::time::Duration;

/// A pipeline that was quiet for longer than its topics are kept goes on after a restart.
#[test]
fn a_quiet_week_ends_nothing() {
    let kafka = Kafka::start();
    let place = Workplace::new("quiet");
    let raw = format!("{}raw", place.prefix);
    kafka.create(&[(raw.clone(), 1)]);
    pipeline::create(&kafka, &place, "quiet");
    let config = pipeline::configuration(&kafka, &place, ["quiet"; 2], &raw, "idle_timeout = \"1s\"", "");
    let topic = |stage: &str| pipeline::topic(&place, "quiet", stage);
    let producer: BaseProducer = kafka.client().set("transactional.id", &raw).create().unwrap();
    producer.init_transactions(Duration::from_secs(30)).unwrap();
    let (enriched, scores) = (topic("enriched"), topic("scores"));
    let mut all = 0;
    let mut scored = 0;
    for round in 0..3i64 {
        // Three windows, of which the last one stays open.
        producer.begin_transaction().unwrap();
        for second in (0..150).step_by(5) {
            let time = START + round * 600_000 + second * 1_000;
            send(&producer, &raw, 0, Some(format!(r#"{{"timestamp":{time},"action":"ALLOW"}}"#).as_bytes()), time);
            all += 1;
        }
        flush(&producer);
        producer.commit_transaction(Duration::from_secs(30)).unwrap();
        let process = Outlier::start(&config, "process", &["process"]);
        wait("the records", Duration::from_secs(60), || kafka.read_all(&enriched).len() == all);
        wait("the scores", Duration::from_secs(60), || {
            let now = kafka.read_all(&scores).len();
            now > scored && get(&process.telemetry(), "/ready").is_some()
        });
        scored = kafka.read_all(&scores).len();
        assert!(process.stop().success());
        kafka.empty(&raw, 1);
        // What is still open is read again from here.
        if round == 0 {
            kafka.empty(&topic("anomalies"), 1);
        }
    }
    // Where an open window needs what is gone, going on would lose it: an operator decides.
    kafka.empty(&topic("windows"), WINDOWS);
    assert!(!Outlier::run_to_end(&config, "process", &["process"]).success());
}
