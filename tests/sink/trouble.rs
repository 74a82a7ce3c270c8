//! What Kafka refuses for one topic or partition is shown until it is over, whatever comes of the others, and nothing is left
//! unread then.

use super::commits::Scene;
use super::service::{config_on, fill};
use super::*;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

const KAFKA: &str = "sink.p.kafka";

fn waits_for(telemetry: &Telemetry, part: &str) -> bool {
    matches!(telemetry.health.components().get(KAFKA), Some(State::Waiting { reason }) if reason.contains(part))
}

fn is_ready(telemetry: &Telemetry) -> bool {
    telemetry.health.components().get(KAFKA) == Some(&State::Ready)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_is_read_once_it_has_a_leader() {
    let scene = Scene::new();
    scene.fill(5).await;
    scene.cluster.partition_leader(&scene.topic, 1, None).unwrap();
    let running = Running::start(&scene.config);
    until("the missing leader is told", || waits_for(&running.telemetry, "no leader")).await;
    until("the other partition is read", || outcomes(&running.telemetry, "p").1 == 5).await;
    // It looks again every two seconds.
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(waits_for(&running.telemetry, "no leader"));
    scene.cluster.partition_leader(&scene.topic, 1, Some(1)).unwrap();
    until("all is there", || outcomes(&running.telemetry, "p").1 == 10).await;
    until("all is well", || is_ready(&running.telemetry)).await;
    assert_eq!(running.stop().await, (10, 10, 0, 0));
}

/// Something of it is read and committed already: the client waits without a word.
#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_loses_its_leader_is_told_until_it_has_one() {
    let scene = Scene::new();
    // The mock answers later versions, for a partition without a leader, in a form that the client cannot read.
    scene.cluster.apiversion(RDKafkaApiKey::Fetch, None, Some(11)).unwrap();
    scene.fill(5).await;
    let running = Running::start(&scene.config);
    until("all is there", || outcomes(&running.telemetry, "p").1 == 10).await;
    scene.cluster.partition_leader(&scene.topic, 1, None).unwrap();
    until("the missing leader is told", || waits_for(&running.telemetry, "no leader")).await;
    scene.cluster.partition_leader(&scene.topic, 1, Some(1)).unwrap();
    scene.fill(5).await;
    until("more is there", || outcomes(&running.telemetry, "p").1 == 20).await;
    until("all is well", || is_ready(&running.telemetry)).await;
    assert_eq!(running.stop().await, (20, 20, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_missing_is_told_while_others_are_read() {
    let kafka = support::kafka::Kafka::start();
    let name = support::Name::new("missing");
    let folder = Folder::new();
    let path = folder.0.join("index.sqlite");
    let head = format!("[sink]\nindex = \"sqlite\"\nflush_interval = \"10ms\"\n[sqlite]\npath = {path:?}");
    let there = config_on(&kafka.bootstrap, &name, &format!("{name}."), &head);
    setup::ensure_topics(&there).await.unwrap();
    let mut config = there.clone();
    config.pipelines[0].topics.alerts = format!("{name}.others");
    let running = Running::start(&config);
    let (all, _) = fill(&kafka.bootstrap, &there).await;
    // All but the alerts, which are elsewhere.
    let all = all - 501;
    until("all is settled", || outcomes(&running.telemetry, "p").0 == all).await;
    // Whenever it comes, no record ends it.
    until("the missing topic is told", || waits_for(&running.telemetry, "outlier setup")).await;
    fill(&kafka.bootstrap, &there).await;
    until("more is settled", || outcomes(&running.telemetry, "p").0 == 2 * all).await;
    assert!(waits_for(&running.telemetry, "outlier setup"));
    setup::ensure_topics(&config).await.unwrap();
    until("all is well", || is_ready(&running.telemetry)).await;
    fill(&kafka.bootstrap, &config).await;
    until("the alerts are read, too", || outcomes(&running.telemetry, "p").0 == 3 * all + 501).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_to_one_topic_that_is_missing_is_told_until_it_is_there() {
    let scene = Scene::new();
    let mut config = scene.config.clone();
    config.sink.what.push(Stage::Enriched);
    let enriched = &config.pipelines[0].topics.enriched;
    scene.cluster.create_topic(enriched, 1, 1).unwrap();
    scene.cluster.topic_error(enriched, RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED).unwrap();
    scene.fill(5).await;
    let running = Running::start(&config);
    until("the other topic is read", || outcomes(&running.telemetry, "p").1 == 10).await;
    until("the right is told", || waits_for(&running.telemetry, "may not use the topic")).await;
    scene.fill(5).await;
    until("more is read", || outcomes(&running.telemetry, "p").1 == 20).await;
    assert!(waits_for(&running.telemetry, "may not use the topic"));
    scene.cluster.topic_error(enriched, RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR).unwrap();
    until("all is well", || is_ready(&running.telemetry)).await;
    let servers = scene.cluster.bootstrap_servers();
    let producer: FutureProducer = ClientConfig::new().set("bootstrap.servers", servers).create().unwrap();
    let headers = OwnedHeaders::new().insert(Header { key: "outlier-source", value: Some("r/7/7") });
    let record = FutureRecord::to(enriched).payload(r#"{"outlier":{"event_time":5}}"#).key("k").headers(headers);
    producer.send(record, Duration::from_secs(30)).await.unwrap();
    until("it is read, too", || outcomes(&running.telemetry, "p").1 == 21).await;
    assert_eq!(running.stop().await, (21, 21, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_to_the_group_that_is_missing_is_told_until_it_is_there() {
    let scene = Scene::new();
    scene.fill(5).await;
    let refused = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED; 100];
    scene.cluster.request_errors(RDKafkaApiKey::FindCoordinator, &refused);
    let running = Running::start(&scene.config);
    until("the right is told", || waits_for(&running.telemetry, "consumer group")).await;
    // Reading begins anew after ten seconds, and the broker is asked after twelve.
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert!(waits_for(&running.telemetry, "consumer group"));
    scene.cluster.clear_request_errors(RDKafkaApiKey::FindCoordinator);
    until("all is there", || outcomes(&running.telemetry, "p").1 == 10).await;
    until("all is well", || is_ready(&running.telemetry)).await;
    assert_eq!(running.stop().await, (10, 10, 0, 0));
}
