//! A worker and a broker that goes and comes back.

use super::stage::{Assigned, Next, Progress, Stage, Tell};
use super::{Setup, run};
use crate::config::{Config, Environment};
use crate::kafka::client;
use crate::kafka::output::Output;
use crate::telemetry::Telemetry;
use crate::telemetry::health::State;
use outlier_core::pipeline::Millis;
use rdkafka::Offset;
use rdkafka::message::BorrowedMessage;
use rdkafka::mocking::MockCluster;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

const TOPIC: &str = "quiet";

/// Has nothing to do.
struct Quiet;

impl Stage for Quiet {
    fn topic(&self) -> &str {
        TOPIC
    }

    fn assign(&mut self, partitions: Vec<Assigned>, _: Millis, _: Tell<'_>) -> anyhow::Result<Vec<(i32, Offset)>> {
        Ok(partitions.into_iter().map(|assigned| (assigned.partition, Offset::Beginning)).collect())
    }

    fn revoke(&mut self, _: i32) {}

    fn message(&mut self, _: &BorrowedMessage<'_>, _: &mut Output) -> anyhow::Result<Next> {
        Ok(Next::Message)
    }

    fn at_end(&mut self, _: i32, _: Millis) {}

    fn skip(&mut self, _: i32, _: i64) -> bool {
        true
    }

    fn wants_commit(&mut self, _: Millis) -> bool {
        false
    }

    fn finish(&mut self, _: Millis, _: &mut Output) -> anyhow::Result<Vec<Progress>> {
        Ok(Vec::new())
    }

    fn committed(&mut self) {}

    fn aborted(&mut self) {}
}

/// The end of a partition is told once: on a quiet topic there is no other news.
#[test]
fn a_broker_that_is_back_is_noticed_on_a_quiet_topic() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic(TOPIC, 1, 1).unwrap();
    let text = format!(
        "[kafka]\nbootstrap_servers = \"{}\"\n[kafka.properties]\n\"session.timeout.ms\" = 45000\n[[pipeline]]\npreset = \"waf\"\n",
        cluster.bootstrap_servers()
    );
    let config = Config::parse(&text, "test", &Environment::default()).unwrap();
    let setup = Setup {
        name: "worker".to_owned(),
        pipeline: "p".to_owned(),
        consumer: client::consumer(&config.kafka, "group"),
        producer: client::producer(&config.kafka),
        transactional_id: "id".to_owned(),
        process: config.process.clone(),
    };
    let (telemetry, stop) = (Telemetry::default(), CancellationToken::new());
    std::thread::scope(|scope| {
        let running = scope.spawn(|| run::run(&setup, &mut Quiet, &telemetry, &stop));
        let wait = |what: &str, found: fn(Option<&State>) -> bool| {
            let began = Instant::now();
            while !found(telemetry.health.components().get("worker")) {
                if began.elapsed() > Duration::from_secs(30) {
                    stop.cancel();
                    panic!("{what}: {:?}", telemetry.health.components());
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        };
        let ready: fn(Option<&State>) -> bool = |state| state == Some(&State::Ready);
        wait("it works", ready);
        cluster.broker_down(1).unwrap();
        wait("the broker is missed", |state| matches!(state, Some(State::Waiting { .. })));
        cluster.broker_up(1).unwrap();
        wait("it works again", ready);
        stop.cancel();
        running.join().unwrap().unwrap();
    });
}
