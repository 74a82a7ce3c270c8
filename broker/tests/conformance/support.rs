//! What the conformance tests share: the brokers under test, clients, and short ways to produce and consume.
//!
//! Every scenario is written against a bootstrap address. It runs against the embedded broker, and against the server
//! that `KAFKA_BOOTSTRAP_SERVERS` names as the oracle.

#![allow(dead_code)]

use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use outlier_broker::{Broker, Config};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::message::{Message, OwnedMessage};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;

/// Longer than anything here takes; a wait ends as soon as its event comes.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A broker under test.
pub struct Server {
    pub bootstrap: String,
    pub embedded: bool,
}

/// Runs a scenario on the embedded broker, and on the real one when the environment names it.
pub fn on_each(name: &str, scenario: impl Fn(&Server)) {
    on_embedded(Config::default(), &scenario);
    match std::env::var("KAFKA_BOOTSTRAP_SERVERS") {
        Ok(bootstrap) => scenario(&Server { bootstrap, embedded: false }),
        Err(_) => {
            println!("skipped: {name} on a real Kafka, because KAFKA_BOOTSTRAP_SERVERS is not set")
        }
    }
}

/// Runs a scenario on an embedded broker of its own.
pub fn on_embedded(config: Config, scenario: impl Fn(&Server)) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let broker = runtime.block_on(Broker::start(config)).unwrap();
    scenario(&Server { bootstrap: broker.address().to_string(), embedded: true });
    runtime.block_on(broker.shutdown());
}

/// A name that no other test and no other run uses.
pub fn unique(prefix: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    format!("{prefix}-{now:x}-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

pub fn now_ms() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// Waits for one future of the admin client.
pub fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

impl Server {
    pub fn config(&self, settings: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap);
        settings.iter().for_each(|(key, value)| {
            config.set(*key, *value);
        });
        config
    }

    pub fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.config(&[]).create().unwrap()
    }

    /// A new topic.
    pub fn topic(&self, prefix: &str, partitions: i32, settings: &[(&str, &str)]) -> String {
        let name = unique(prefix);
        let mut topic = NewTopic::new(&name, partitions, TopicReplication::Fixed(1));
        topic.config = settings.to_vec();
        let results = wait(self.admin().create_topics([&topic], &AdminOptions::new())).unwrap();
        results.into_iter().for_each(|result| drop(result.unwrap()));
        name
    }

    pub fn producer(&self, settings: &[(&str, &str)]) -> BaseProducer {
        let defaults = [("linger.ms", "0"), ("message.timeout.ms", "20000")];
        self.config(&[&defaults, settings].concat()).create().unwrap()
    }

    /// A producer with transactions; `init_transactions` is done.
    pub fn transactional(&self, id: &str) -> BaseProducer {
        let producer = self.uninitialised(id, "20000");
        producer.init_transactions(PATIENCE).unwrap();
        producer
    }

    pub fn uninitialised(&self, id: &str, timeout_ms: &str) -> BaseProducer {
        let timeouts = [("transaction.timeout.ms", timeout_ms), ("message.timeout.ms", timeout_ms)];
        self.producer(&[&timeouts[..], &[("transactional.id", id)]].concat())
    }

    pub fn consumer(&self, group: &str, settings: &[(&str, &str)]) -> Member {
        Member(self.consumer_with(group, settings, Leaving::default()))
    }

    pub fn consumer_with<C: ConsumerContext>(
        &self,
        group: &str,
        settings: &[(&str, &str)],
        context: C,
    ) -> BaseConsumer<C> {
        let defaults = [
            ("group.id", group),
            ("auto.offset.reset", "earliest"),
            ("enable.auto.commit", "false"),
            ("session.timeout.ms", "6000"),
            ("heartbeat.interval.ms", "200"),
            ("partition.assignment.strategy", "cooperative-sticky"),
            ("fetch.wait.max.ms", "100"),
            ("topic.metadata.refresh.interval.ms", "1000"),
        ];
        self.config(&[&defaults, settings].concat()).create_with_context(context).unwrap()
    }

    /// A consumer on one partition from its start, outside of any group's assignment.
    pub fn reader(&self, topic: &str, partition: i32, isolation: &str) -> Member {
        let consumer = self.consumer(&unique("reader"), &[("isolation.level", isolation)]);
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
        consumer.assign(&list).unwrap();
        consumer
    }

    /// The values of partition 0 up to its end as the isolation level shows it.
    pub fn values(&self, topic: &str, isolation: &str) -> Vec<String> {
        let reader = self.config(&[
            ("group.id", "values"),
            ("isolation.level", isolation),
            ("auto.offset.reset", "earliest"),
            ("enable.partition.eof", "true"),
            ("enable.auto.commit", "false"),
            ("fetch.wait.max.ms", "100"),
        ]);
        let reader: BaseConsumer = reader.create().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, 0, Offset::Beginning).unwrap();
        reader.assign(&list).unwrap();
        let mut values = Vec::new();
        loop {
            match reader.poll(PATIENCE).expect("the end of the partition within the time") {
                Ok(message) => values.push(String::from_utf8(message.payload().unwrap().to_vec()).unwrap()),
                Err(rdkafka::error::KafkaError::PartitionEOF(_)) => return values,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// A consumer with the cooperative protocol that may be dropped at any moment.
pub struct Member(BaseConsumer<Leaving>);

impl Deref for Member {
    type Target = BaseConsumer<Leaving>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.0.context().leaving.store(true, Ordering::Relaxed);
    }
}

/// Answers rebalances; of a consumer that leaves only one. With the answer librdkafka ends the group, and who answers one
/// more that was queued at that moment waits for ever.
#[derive(Default)]
pub struct Leaving {
    leaving: AtomicBool,
    answered: AtomicBool,
}

impl ClientContext for Leaving {}

impl ConsumerContext for Leaving {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, code: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        let leaving = self.leaving.load(Ordering::Relaxed);
        if leaving && self.answered.swap(true, Ordering::Relaxed) {
            return;
        }
        let answer = match code {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => consumer.incremental_assign(partitions),
            _ => consumer.incremental_unassign(partitions),
        };
        assert!(leaving || answer.is_ok(), "{answer:?}");
    }
}

/// Queues one value for partition 0.
pub fn send(producer: &BaseProducer, topic: &str, value: &str) {
    send_to(producer, topic, 0, value);
}

pub fn send_to(producer: &BaseProducer, topic: &str, partition: i32, value: &str) {
    let record = BaseRecord::<(), str>::to(topic).partition(partition).payload(value);
    producer.send(record).map_err(|(error, _)| error).unwrap();
}

/// Waits until all that is queued is acknowledged or failed.
pub fn flush(producer: &BaseProducer) {
    producer.flush(PATIENCE).unwrap();
}

/// The next `count` messages.
pub fn take<C: ConsumerContext>(consumer: &BaseConsumer<C>, count: usize) -> Vec<OwnedMessage> {
    let until = Instant::now() + PATIENCE;
    let mut messages = Vec::new();
    while messages.len() < count {
        assert!(Instant::now() < until, "{} of {count} messages came in time", messages.len());
        if let Some(message) = consumer.poll(Duration::from_millis(100)) {
            messages.push(message.unwrap().detach());
        }
    }
    messages
}

pub fn text(message: &OwnedMessage) -> &str {
    std::str::from_utf8(message.payload().unwrap()).unwrap()
}
