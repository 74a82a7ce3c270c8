//! A worker and what the broker and the group do to it: health says what is wrong until it is over, and every partition is
//! read again then.

use super::stage::{Assigned, Next, Progress, Stage, Tell};
use super::{Setup, run};
use crate::config::{Config, Environment};
use crate::kafka::client;
use crate::kafka::output::Output;
use crate::telemetry::Telemetry;
use crate::telemetry::health::State;
use outlier_core::pipeline::Millis;
use rdkafka::Offset;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
use rdkafka::types::{RDKafkaApiKey as Key, RDKafkaRespErr as Refused};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

const TOPIC: &str = "quiet";
const SOON: Duration = Duration::from_secs(40);

/// Counts records and commits where it is.
#[derive(Default)]
struct Counts<'a> {
    read: Option<&'a AtomicU64>,
    next: BTreeMap<i32, i64>,
    owned: BTreeSet<i32>,
    /// It pauses its partition, once, as soon as it has it.
    pauses: bool,
    /// The pause has just begun.
    paused: bool,
}

impl Stage for Counts<'_> {
    fn topic(&self) -> &str {
        TOPIC
    }

    fn assign(&mut self, partitions: Vec<Assigned>, _: Millis, _: Tell<'_>) -> anyhow::Result<Vec<(i32, Offset)>> {
        let start = |assigned: Assigned| {
            let offset = assigned.committed.map_or(Offset::Beginning, |(offset, _)| Offset::Offset(offset));
            (assigned.partition, offset)
        };
        self.owned.extend(partitions.iter().map(|assigned| assigned.partition));
        Ok(partitions.into_iter().map(start).collect())
    }

    fn revoke(&mut self, _: i32) {}

    fn message(&mut self, message: &BorrowedMessage<'_>, _: &mut Output) -> anyhow::Result<Next> {
        self.next.insert(message.partition(), message.offset() + 1);
        if let Some(read) = self.read {
            read.fetch_add(1, Ordering::Relaxed);
        }
        Ok(Next::Message)
    }

    fn at_end(&mut self, _: i32, _: Millis) {}

    fn waiting(&mut self, _: &BTreeSet<i32>) -> BTreeSet<i32> {
        if self.owned.is_empty() || !std::mem::take(&mut self.pauses) {
            return BTreeSet::new();
        }
        // The client says what it has to say before the pause throws it away.
        std::thread::sleep(Duration::from_secs(1));
        self.paused = true;
        self.owned.clone()
    }

    fn skip(&mut self, partition: i32, to: i64) -> bool {
        self.next.insert(partition, to);
        true
    }

    fn wants_commit(&mut self, _: Millis) -> bool {
        if std::mem::take(&mut self.paused) {
            std::thread::sleep(Duration::from_secs(1));
        }
        !self.next.is_empty()
    }

    fn finish(&mut self, _: Millis, _: &mut Output) -> anyhow::Result<Vec<Progress>> {
        let next = std::mem::take(&mut self.next).into_iter();
        Ok(next.map(|(partition, offset)| Progress { partition, offset, metadata: String::new() }).collect())
    }

    fn committed(&mut self) {}

    fn aborted(&mut self) {
        self.next.clear();
    }
}

struct Scene {
    cluster: MockCluster<'static, DefaultProducerContext>,
    partitions: i32,
    setup: Setup,
    telemetry: Telemetry,
    stop: CancellationToken,
    read: AtomicU64,
}

impl Scene {
    fn new(partitions: i32) -> Self {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic(TOPIC, partitions, 1).unwrap();
        let text = format!(
            "[kafka]\nbootstrap_servers = \"{}\"\n[kafka.properties]\n\"session.timeout.ms\" = 45000\n[[pipeline]]\npreset = \"waf\"\n",
            cluster.bootstrap_servers()
        );
        let config = Config::parse(&text, "test", &Environment::default()).unwrap();
        let mut consumer = client::consumer(&config.kafka, "group");
        consumer.set("auto.offset.reset", "error");
        let setup = Setup {
            name: "worker".to_owned(),
            pipeline: "p".to_owned(),
            consumer,
            producer: client::producer(&config.kafka),
            transactional_id: "id".to_owned(),
            process: config.process.clone(),
        };
        let (telemetry, stop) = (Telemetry::default(), CancellationToken::new());
        Self { cluster, partitions, setup, telemetry, stop, read: AtomicU64::new(0) }
    }

    /// So many records, in turns.
    fn fill(&self, records: i32) {
        let producer: BaseProducer = self.setup.producer.create().unwrap();
        for record in 0..records {
            let partition = record % self.partitions;
            producer.send(BaseRecord::to(TOPIC).partition(partition).key("k").payload("v")).unwrap();
        }
        producer.flush(SOON).unwrap();
    }

    fn run(&self, pauses: bool, course: impl FnOnce(&Self)) {
        std::thread::scope(|scope| {
            let Self { setup, telemetry, stop, read, .. } = self;
            let running = scope.spawn(move || {
                let mut stage = Counts { read: Some(read), pauses, ..Counts::default() };
                run::run(setup, &mut stage, telemetry, stop)
            });
            // Also where an expectation fails.
            let _stop = self.stop.clone().drop_guard();
            course(self);
            self.stop.cancel();
            running.join().unwrap().unwrap();
        });
    }

    fn state(&self) -> Option<State> {
        self.telemetry.health.components().remove("worker")
    }

    fn waits_for(&self, part: &str) -> bool {
        matches!(self.state(), Some(State::Waiting { reason }) if reason.contains(part))
    }

    fn is_ready(&self) -> bool {
        self.state() == Some(State::Ready)
    }

    fn has_read(&self, records: u64) -> bool {
        self.read.load(Ordering::Relaxed) == records
    }

    fn until(&self, what: &str, found: impl Fn(&Self) -> bool) {
        let began = Instant::now();
        while !found(self) {
            assert!(began.elapsed() < SOON, "{what}: {:?}, {} read", self.state(), self.read.load(Ordering::Relaxed));
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The end of a partition is told once: on a quiet topic there is no other news.
#[test]
fn a_broker_that_is_back_is_noticed_on_a_quiet_topic() {
    Scene::new(2).run(false, |scene| {
        scene.until("it works", Scene::is_ready);
        scene.cluster.broker_down(1).unwrap();
        scene.until("the broker is missed", |scene| scene.waits_for(""));
        scene.cluster.broker_up(1).unwrap();
        scene.until("it works again", Scene::is_ready);
    });
}

#[test]
fn a_right_that_is_missing_is_told_until_it_is_there() {
    let scene = Scene::new(2);
    scene.fill(6);
    scene.cluster.topic_error(TOPIC, Refused::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED).unwrap();
    scene.run(false, |scene| {
        scene.until("the right is told", |scene| scene.waits_for("may not use the topic"));
        // The group gives it no partitions meanwhile, which ends nothing, and it asks after twelve seconds.
        std::thread::sleep(Duration::from_secs(14));
        assert!(scene.waits_for("may not use the topic"), "{:?}", scene.state());
        scene.cluster.topic_error(TOPIC, Refused::RD_KAFKA_RESP_ERR_NO_ERROR).unwrap();
        scene.until("all is read", |scene| scene.has_read(6));
        scene.until("all is well", Scene::is_ready);
    });
}

#[test]
fn a_right_to_the_group_that_is_missing_is_told_until_it_is_there() {
    let scene = Scene::new(2);
    scene.fill(6);
    let refused = [Refused::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED; 100];
    scene.cluster.request_errors(Key::JoinGroup, &refused);
    scene.run(false, |scene| {
        scene.until("the right is told", |scene| scene.waits_for("consumer group"));
        std::thread::sleep(Duration::from_secs(14));
        assert!(scene.waits_for("consumer group"), "{:?}", scene.state());
        scene.cluster.clear_request_errors(Key::JoinGroup);
        scene.until("all is read", |scene| scene.has_read(6));
        scene.until("all is well", Scene::is_ready);
    });
}

/// The client waits for a leader without a word.
#[test]
fn a_partition_without_a_leader_is_told_and_read_once_it_has_one() {
    let scene = Scene::new(2);
    // In later versions the mock falls over a fetch from no leader.
    scene.cluster.apiversion(Key::Fetch, None, Some(11)).unwrap();
    scene.run(false, |scene| {
        scene.fill(4);
        scene.until("all is read", |scene| scene.has_read(4));
        scene.until("it works", Scene::is_ready);
        scene.cluster.partition_leader(TOPIC, 1, None).unwrap();
        scene.until("the missing leader is told", |scene| scene.waits_for("no leader"));
        scene.cluster.partition_leader(TOPIC, 1, Some(1)).unwrap();
        scene.until("it works again", Scene::is_ready);
        scene.fill(4);
        scene.until("what comes is read", |scene| scene.has_read(8));
    });
}

/// A right that was missing for a moment: the client goes on by itself, and on a quiet topic nothing says so.
#[test]
fn what_no_answer_ends_is_over_on_a_quiet_topic_too() {
    Scene::new(2).run(false, |scene| {
        scene.until("it works", Scene::is_ready);
        scene.cluster.request_errors(Key::Fetch, &[Refused::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED]);
        scene.until("the right is told", |scene| scene.waits_for("may not use the topic"));
        scene.until("it works again", Scene::is_ready);
        scene.fill(4);
        scene.until("what comes is read", |scene| scene.has_read(4));
    });
}

/// A leader that knows less than the one before says that an offset is outside of the topic.
#[test]
fn a_partition_that_is_given_up_though_nothing_is_gone_is_read_on() {
    Scene::new(2).run(false, |scene| {
        scene.fill(4);
        scene.until("all is read", |scene| scene.has_read(4));
        scene.cluster.request_errors(Key::Fetch, &[Refused::RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE; 4]);
        std::thread::sleep(Duration::from_secs(2));
        scene.fill(4);
        scene.until("what comes is read", |scene| scene.has_read(8));
        scene.until("all is well", Scene::is_ready);
    });
}

/// Whether the client's error comes through or the pause throws it away, which is a race of its threads.
#[test]
fn a_partition_that_is_given_up_while_it_is_paused_is_read_on() {
    let scene = Scene::new(1);
    scene.fill(4);
    scene.cluster.request_errors(Key::Fetch, &[Refused::RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE]);
    scene.run(true, |scene| {
        scene.until("all is read", |scene| scene.has_read(4));
        scene.until("all is well", Scene::is_ready);
    });
}
