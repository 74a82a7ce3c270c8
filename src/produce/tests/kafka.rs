//! The way into Kafka, on the real one that `KAFKA_BOOTSTRAP_SERVERS` names.

use super::{NOW, telemetry};
use crate::config::{Config, Environment};
use crate::kafka::client;
use crate::produce::{Control, Options, run};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Message, Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// A configuration for the real Kafka with topics of its own; `None` when there is no Kafka.
fn config(test: &str) -> Option<Arc<Config>> {
    let Ok(servers) = std::env::var("KAFKA_BOOTSTRAP_SERVERS") else {
        println!("skipped: KAFKA_BOOTSTRAP_SERVERS is not set, so there is no Kafka to write to");
        return None;
    };
    let prefix = format!("test-produce-{test}-{}-", std::process::id());
    let text = format!(
        "[kafka]\nbootstrap_servers = \"{servers}\"\ntopic_prefix = \"{prefix}\"\n[[pipeline]]\npreset = \"waf\"\n"
    );
    Some(Arc::new(Config::parse(&text, "test", &Environment::default()).unwrap()))
}

async fn create(config: &Config, partitions: i32) -> AdminClient<DefaultClientContext> {
    let admin: AdminClient<DefaultClientContext> = client::base(&config.kafka).create().unwrap();
    let topic = &config.pipelines[0].topics.raw;
    let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
    for created in admin.create_topics(&[new], &AdminOptions::new()).await.unwrap() {
        created.unwrap();
    }
    admin
}

/// Key, Kafka timestamp and value of every record, by partition.
type Read = BTreeMap<i32, Vec<(Option<String>, i64, String)>>;

fn read(config: &Config, partitions: i32, records: usize) -> Read {
    let topic = &config.pipelines[0].topics.raw;
    let consumer: BaseConsumer = client::consumer(&config.kafka, "test-produce").create().unwrap();
    let mut all = TopicPartitionList::new();
    for partition in 0..partitions {
        all.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&all).unwrap();
    let mut got = Read::new();
    while got.values().map(Vec::len).sum::<usize>() < records {
        match consumer.poll(Duration::from_secs(20)).expect("the records are there") {
            Ok(message) => got.entry(message.partition()).or_default().push((
                message.key().map(|key| String::from_utf8_lossy(key).into_owned()),
                message.timestamp().to_millis().unwrap(),
                String::from_utf8_lossy(message.payload().unwrap()).into_owned(),
            )),
            Err(rdkafka::error::KafkaError::PartitionEOF(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    got
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_reaches_every_partition_in_order() {
    let Some(config) = config("history") else { return };
    let admin = create(&config, 3).await;
    let telemetry = telemetry();
    let options =
        Options { seed: Some(1), start: Some(NOW), count: Some(30_000), rate: Some(1e5), ..Options::default() };
    let summary =
        run(config.clone(), options, telemetry.clone(), Control::default(), CancellationToken::new()).await.unwrap();
    assert_eq!((summary.sent, summary.failed), (30_000, 0));
    assert_eq!(telemetry.metrics.records("produce", "waf", "out", "").get(), 30_000);
    let got = read(&config, 3, 30_000);
    assert_eq!(got.values().map(Vec::len).collect::<Vec<_>>(), [10_000; 3]);
    for records in got.values() {
        assert!(records.is_sorted_by_key(|(_, at, _)| *at));
        assert!(records.iter().all(|(key, at, value)| key.is_none() && super::time_of(value) == *at));
    }
    let _ = admin.delete_topics(&[&config.pipelines[0].topics.raw], &AdminOptions::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_keeps_its_partition() {
    let Some(config) = config("key") else { return };
    let admin = create(&config, 3).await;
    let options = Options {
        start: Some(NOW),
        count: Some(1000),
        key: Some("httpRequest.country".parse().unwrap()),
        ..Options::default()
    };
    let stop = CancellationToken::new();
    let summary = run(config.clone(), options, telemetry(), Control::default(), stop).await.unwrap();
    assert_eq!(summary.sent, 1000);
    let mut partitions = BTreeMap::new();
    for (partition, records) in read(&config, 3, 1000) {
        for (key, _, value) in records {
            let key = key.unwrap();
            assert!(value.contains(&format!("\"country\":\"{key}\"")));
            assert_eq!(*partitions.entry(key).or_insert(partition), partition);
        }
    }
    let _ = admin.delete_topics(&[&config.pipelines[0].topics.raw], &AdminOptions::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_ends_a_live_run_and_the_wait_for_a_broker() {
    let nobody = "[kafka]\nbootstrap_servers = \"127.0.0.1:1\"\n[[pipeline]]\npreset = \"waf\"\n";
    let nobody = Arc::new(Config::parse(nobody, "test", &Environment::default()).unwrap());
    let stop = CancellationToken::new();
    stop.cancel();
    let summary = run(nobody, Options::default(), telemetry(), Control::default(), stop).await.unwrap();
    assert_eq!(summary.sent, 0);

    let Some(config) = config("stop") else { return };
    let admin = create(&config, 1).await;
    let (control, stop) = (Control::default(), CancellationToken::new());
    let mut progress = control.progress();
    let options = Options { rate: Some(50.0), ..Options::default() };
    let running = tokio::spawn(run(config.clone(), options, telemetry(), control, stop.clone()));
    progress.wait_for(|progress| progress.records >= 5).await.unwrap();
    stop.cancel();
    let summary = running.await.unwrap().unwrap();
    let handed = progress.borrow().records;
    assert_eq!((summary.sent, summary.failed), (handed, 0));
    assert_eq!(read(&config, 1, handed as usize)[&0].len() as u64, handed);
    let _ = admin.delete_topics(&[&config.pipelines[0].topics.raw], &AdminOptions::new()).await;
}
