//! A broker and what tests ask of it.

use outlier_broker::{Broker, Config};
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use std::time::{Duration, Instant};

/// Records are of a fixed day. A broker deletes them when that day is a week ago and it looks, half a minute after its
/// start and every five minutes.
const FOR_EVER: [&str; 2] = ["retention.ms", "-1"];

/// A broker for one test.
pub struct Kafka {
    pub bootstrap: String,
    runtime: Option<tokio::runtime::Runtime>,
    embedded: Option<Broker>,
}

/// A record as a test sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    pub partition: i32,
    pub offset: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, String)>,
}

impl Record {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.value.as_deref().unwrap_or_default()).into_owned()
    }
}

impl Kafka {
    /// The broker of the environment, else an embedded one. May be called in async tests too.
    pub fn start() -> Self {
        let start = || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            let running = std::env::var("KAFKA_BOOTSTRAP_SERVERS").ok();
            let embedded = running.is_none().then(|| runtime.block_on(Broker::start(Config::default())).unwrap());
            let bootstrap = running.unwrap_or_else(|| embedded.as_ref().unwrap().address().to_string());
            Self { bootstrap, runtime: Some(runtime), embedded }
        };
        std::thread::scope(|scope| scope.spawn(start).join().unwrap())
    }

    pub fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap);
        config
    }

    pub fn create(&self, topics: &[(String, i32)]) {
        let admin: AdminClient<DefaultClientContext> = self.client().create().unwrap();
        // Room for records over the limit of a pipeline, and for their headers.
        let topic = |(name, partitions)| {
            let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
            topic.set("max.message.bytes", "4300000").set(FOR_EVER[0], FOR_EVER[1])
        };
        let new: Vec<_> = topics.iter().map(|(name, n)| topic((name.as_str(), *n))).collect();
        let options = AdminOptions::new().request_timeout(Some(Duration::from_secs(30)));
        let runtime = self.runtime.as_ref().unwrap();
        for result in runtime.block_on(admin.create_topics(&new, &options)).unwrap() {
            result.unwrap();
        }
    }

    /// Gives a topic one setting besides its retention: this request takes away all others.
    pub fn set(&self, topic: &str, name: &str, value: &str) {
        let admin: AdminClient<DefaultClientContext> = self.client().create().unwrap();
        let change = AlterConfig::new(ResourceSpecifier::Topic(topic)).set(FOR_EVER[0], FOR_EVER[1]).set(name, value);
        let changed = admin.alter_configs([&change], &AdminOptions::new());
        self.runtime.as_ref().unwrap().block_on(changed).unwrap().remove(0).unwrap();
    }

    /// Deletes all that a topic holds, as its retention may.
    pub fn empty(&self, topic: &str, partitions: i32) {
        let admin: AdminClient<DefaultClientContext> = self.client().create().unwrap();
        let mut all = TopicPartitionList::new();
        for partition in 0..partitions {
            all.add_partition_offset(topic, partition, Offset::End).unwrap();
        }
        let deleted = admin.delete_records(&all, &AdminOptions::new());
        let deleted = self.runtime.as_ref().unwrap().block_on(deleted).unwrap();
        deleted.elements().iter().for_each(|element| element.error().unwrap());
    }

    pub fn producer(&self) -> BaseProducer {
        self.client().set("enable.idempotence", "true").set("linger.ms", "2").create().unwrap()
    }

    /// A record in a transaction that stays open until `timeout`, as somebody leaves it who is killed.
    pub fn open_transaction(&self, id: &str, timeout: Duration, record: BaseRecord<'_, str, str>) -> BaseProducer {
        let mut config = self.client();
        config.set("transactional.id", id).set("transaction.timeout.ms", timeout.as_millis().to_string());
        let producer: BaseProducer = config.create().unwrap();
        producer.init_transactions(Duration::from_secs(30)).unwrap();
        producer.begin_transaction().unwrap();
        producer.send(record).map_err(|(error, _)| error).unwrap();
        producer.flush(Duration::from_secs(30)).unwrap();
        producer
    }

    /// Every committed record of a topic, by partition and offset.
    pub fn read_all(&self, topic: &str) -> Vec<Record> {
        let mut config = self.client();
        config.set("group.id", "test-reader").set("isolation.level", "read_committed");
        config.set("enable.partition.eof", "true").set("enable.auto.commit", "false");
        let consumer: BaseConsumer = config.create().unwrap();
        let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(30)).unwrap();
        let mut list = TopicPartitionList::new();
        for partition in metadata.topics()[0].partitions() {
            list.add_partition_offset(topic, partition.id(), Offset::Beginning).unwrap();
        }
        consumer.assign(&list).unwrap();
        let (mut records, mut ended) = (Vec::new(), 0);
        let deadline = Instant::now() + Duration::from_secs(60);
        while ended < list.count() {
            assert!(Instant::now() < deadline, "topic {topic} could not be read to its end");
            match consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => records.push(record(&message)),
                Some(Err(KafkaError::PartitionEOF(_))) => ended += 1,
                Some(Err(error)) => println!("reading {topic}: {error}"),
                None => {}
            }
        }
        records.sort_by_key(|r| (r.partition, r.offset));
        records
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }
}

/// Deletes the topics whose names begin so. What cannot be deleted stays, with a line that says why.
pub fn delete_topics(servers: &str, prefix: &str) {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", servers);
    let admin: AdminClient<DefaultClientContext> = client.create().unwrap();
    let metadata = match admin.inner().fetch_metadata(None, Duration::from_secs(10)) {
        Ok(metadata) => metadata,
        Err(error) => return println!("topics {prefix}* stay: {error}"),
    };
    let names: Vec<_> = metadata.topics().iter().map(|topic| topic.name()).filter(|n| n.starts_with(prefix)).collect();
    if names.is_empty() {
        return;
    }
    let options = AdminOptions::new().request_timeout(Some(Duration::from_secs(30)));
    // A runtime does not start within another one.
    let delete = || tokio::runtime::Runtime::new().unwrap().block_on(admin.delete_topics(&names, &options));
    match std::thread::scope(|scope| scope.spawn(delete).join()).unwrap() {
        Ok(deleted) => deleted.into_iter().flat_map(Result::err).for_each(|stays| println!("stays: {stays:?}")),
        Err(error) => println!("topics {prefix}* stay: {error}"),
    }
}

fn record(message: &rdkafka::message::BorrowedMessage<'_>) -> Record {
    let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
    Record {
        partition: message.partition(),
        offset: message.offset(),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: message
            .headers()
            .map_or(Vec::new(), |headers| headers.iter().map(|h| (h.key.to_owned(), text(h.value))).collect()),
    }
}

/// Sends a record to a partition, waiting while the queue is full.
pub fn send(producer: &BaseProducer, topic: &str, partition: i32, value: Option<&[u8]>, time: i64) {
    let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic).partition(partition).timestamp(time);
    if let Some(value) = value {
        record = record.payload(value);
    }
    while let Err((_, back)) = producer.send(record) {
        record = back;
        producer.poll(Duration::from_millis(10));
    }
}

pub fn flush(producer: &BaseProducer) {
    producer.flush(Duration::from_secs(60)).unwrap();
}
