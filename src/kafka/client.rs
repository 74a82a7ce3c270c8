//! How clients connect: one place for what all of them share, and for the user's own librdkafka properties.
//!
//! Invariant: `[kafka.properties]` wins over every default here, except where a property would break exactly-once.

use crate::config::{Config, Kafka};
use outlier_core::window::LARGEST_RECORD;
use rdkafka::ClientConfig;

/// The group of readers that join none: without a name librdkafka assigns nothing; with one it asks who coordinates it.
pub const READER: &str = "outlier-reader";
/// Flags and metadata come on top of a record.
const ADDED_BYTES: usize = 64 * 1024;

/// What every client has: where the brokers are, who we are, the user's properties.
pub fn base(kafka: &Kafka) -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", &kafka.bootstrap_servers);
    client.set("client.id", "outlier");
    // A refused connection is tried again soon, also after a long outage.
    client.set("reconnect.backoff.max.ms", "2000");
    for (name, value) in &kafka.properties {
        client.set(name, value.expose());
    }
    client
}

/// Sets a property unless the user has.
pub fn default(client: &mut ClientConfig, kafka: &Kafka, name: &str, value: &str) {
    if !kafka.properties.contains_key(name) {
        client.set(name, value);
    }
}

/// A consumer that reads committed records only. `group` is the consumer group; offsets are never committed behind
/// the caller's back.
pub fn consumer(kafka: &Kafka, group: &str) -> ClientConfig {
    let mut client = base(kafka);
    let defaults = [
        ("session.timeout.ms", "6000"),
        ("heartbeat.interval.ms", "1500"),
        // Small queues cost neither speed nor memory; a full one is looked at again soon.
        ("queued.max.messages.kbytes", "8192"),
        ("fetch.message.max.bytes", "1048576"),
        ("fetch.queue.backoff.ms", "10"),
        ("fetch.wait.max.ms", "250"),
        ("fetch.error.backoff.ms", "100"),
    ];
    defaults.iter().for_each(|(name, value)| default(&mut client, kafka, name, value));
    client.set("group.id", group);
    client.set("partition.assignment.strategy", "cooperative-sticky");
    client.set("enable.auto.commit", "false");
    client.set("enable.auto.offset.store", "false");
    client.set("auto.offset.reset", "earliest");
    client.set("isolation.level", "read_committed");
    client.set("enable.partition.eof", "true");
    client
}

/// A consumer that is assigned partitions by hand and never commits.
pub fn reader(kafka: &Kafka) -> ClientConfig {
    consumer(kafka, READER)
}

/// An idempotent producer with large compressed batches.
pub fn producer(kafka: &Kafka) -> ClientConfig {
    let mut client = base(kafka);
    let defaults = [
        ("compression.codec", "lz4"),
        ("linger.ms", "5"),
        ("batch.size", "1000000"),
        ("message.max.bytes", "2097152"),
        ("queue.buffering.max.kbytes", "16384"),
        ("queue.buffering.max.messages", "200000"),
        // While so many requests are under way, records gather to larger batches; and the client does not spin, as it
        // does when a partition has reached the five requests that an idempotent producer may have under way.
        ("max.in.flight.requests.per.connection", "2"),
    ];
    defaults.iter().for_each(|(name, value)| default(&mut client, kafka, name, value));
    client.set("enable.idempotence", "true");
    client.set("acks", "all");
    client
}

/// Bytes of the largest message that `process` and the sink write, its headers included; of the topics that they write
/// to, too. Twice the largest record of a pipeline, as rejected copies may be larger, or the largest of the windows and
/// state topics; and what is added.
pub fn largest_message(config: &Config) -> usize {
    let largest = config.pipelines.iter().map(|pipeline| pipeline.max_record_bytes).max().unwrap_or_default();
    largest.saturating_mul(2).max(LARGEST_RECORD).saturating_add(ADDED_BYTES).min(1_000_000_000)
}

/// Lets a producer take the [largest message](largest_message). One that its queue has no room for would wait for ever.
pub fn fit(producer: &mut ClientConfig, config: &Config) {
    let largest = largest_message(config);
    let set = |producer: &ClientConfig, name: &str| producer.get(name).and_then(|set| set.parse().ok());
    let bytes = largest.max(set(producer, "message.max.bytes").unwrap_or_default());
    let room = set(producer, "queue.buffering.max.kbytes").unwrap_or_default();
    producer.set("message.max.bytes", bytes.to_string());
    producer.set("queue.buffering.max.kbytes", bytes.div_ceil(1024).max(room).to_string());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;
    use rdkafka::consumer::BaseConsumer;

    #[test]
    fn the_usual_security_is_built_in() {
        for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] {
            let text = format!(
                "[kafka.properties]\n\"security.protocol\" = \"SASL_SSL\"\n\"sasl.mechanism\" = \"{mechanism}\"\n\
                 \"sasl.username\" = \"u\"\n\"sasl.password\" = \"p\"\n[[pipeline]]\npreset = \"waf\"\n"
            );
            let config = Config::parse(&text, "test", &Environment::default()).unwrap();
            let client = reader(&config.kafka).create::<BaseConsumer>();
            assert!(client.is_ok(), "{mechanism}: {:?}", client.err());
        }
        let mut unknown = ClientConfig::new();
        let refused = unknown.set("security.protocol", "SASL_SSL").set("sasl.mechanism", "NONE").set("group.id", "g");
        assert!(refused.create::<BaseConsumer>().is_err(), "a mechanism that is not built in is refused");
    }

    #[test]
    fn the_queue_has_room_for_the_largest_record() {
        for (max_record_bytes, room) in [("1MiB", 16_384), ("16MiB", 32 * 1024 + 64)] {
            let text = format!(
                "[process]\nconsumer_queue_bytes = \"64MiB\"\nproducer_queue_bytes = \"64MiB\"\n[[pipeline]]\npreset = \"waf\"\n\
                 max_record_bytes = \"{max_record_bytes}\"\n"
            );
            let config = Config::parse(&text, "test", &Environment::default()).unwrap();
            let mut settings = producer(&config.kafka);
            fit(&mut settings, &config);
            assert_eq!(
                settings.get("queue.buffering.max.kbytes"),
                Some(room.to_string().as_str()),
                "{max_record_bytes}"
            );
        }
    }
}
