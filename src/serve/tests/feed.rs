//! A feed without Kafka.

use super::super::feed;
use super::super::hub::Hub;
use super::super::testing::config;
use crate::telemetry::Telemetry;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn without_a_broker_feeds_say_what_to_do_and_stop() {
    let config = config("[kafka]\nbootstrap_servers = \"127.0.0.1:1\"\n[[pipeline]]\npreset = \"waf\"\n");
    let (config, stop) = (Arc::new(config), CancellationToken::new());
    let address = config.serve.listen.address;
    let hub = Arc::new(Hub::new(&config, None, Telemetry::default(), address, stop.clone()));
    let mut events = hub.subscribe();
    let mut feeds = feed::start(&config, &hub, &stop);
    loop {
        let event = events.recv().await.expect("an event");
        if event.data.contains("topic waf.scores") {
            assert_eq!(event.name, "status");
            assert!(event.data.contains("check kafka.bootstrap_servers"), "{}", event.data);
            break;
        }
    }
    stop.cancel();
    while let Some(ended) = feeds.join_next().await {
        ended.expect("a feed ends without a panic");
    }
}
