//! The broker of a measurement: the one of `--servers`, or an embedded one; its topics, and how far groups have come.

use super::PARTITIONS;
use anyhow::Context;
use outlier_broker::{Broker, Config};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};
use std::time::Duration;
use tokio::runtime::Runtime;

const PATIENCE: Duration = Duration::from_secs(30);

/// A broker to measure on.
pub struct Kafka {
    /// Bootstrap servers.
    pub servers: String,
    admin: AdminClient<DefaultClientContext>,
    runtime: Runtime,
    _embedded: Option<Broker>,
}

impl Kafka {
    /// Connects to `servers`, or starts an embedded broker.
    pub fn open(servers: Option<&str>) -> anyhow::Result<Self> {
        let runtime = Runtime::new()?;
        let embedded = match servers {
            Some(_) => None,
            None => {
                let config = Config { retention_bytes: 4 << 30, ..Config::default() };
                Some(runtime.block_on(Broker::start(config))?)
            }
        };
        let servers = servers.map(str::to_owned).or(embedded.as_ref().map(|broker| broker.address().to_string()));
        let servers = servers.unwrap_or_default();
        let admin = ClientConfig::new().set("bootstrap.servers", &servers).create()?;
        Ok(Self { servers, admin, runtime, _embedded: embedded })
    }

    /// Creates topics, each with its number of partitions.
    pub fn create(&self, topics: &[(String, i32)]) -> anyhow::Result<()> {
        let new: Vec<_> = topics.iter().map(|(name, n)| NewTopic::new(name, *n, TopicReplication::Fixed(1))).collect();
        for result in self.runtime.block_on(self.admin.create_topics(&new, &AdminOptions::new()))? {
            result.map_err(|(name, code)| anyhow::anyhow!("cannot create topic {name}: {code}"))?;
        }
        Ok(())
    }

    /// Deletes topics, so that a long measurement does not fill the disk.
    pub fn delete(&self, topics: &[(String, i32)]) -> anyhow::Result<()> {
        let names: Vec<&str> = topics.iter().map(|(name, _)| name.as_str()).collect();
        self.runtime.block_on(self.admin.delete_topics(&names, &AdminOptions::new()))?;
        Ok(())
    }

    /// Watches how far a group has come in a topic of [`PARTITIONS`] partitions.
    pub fn watch(&self, group: &str, topic: &str) -> anyhow::Result<Watch> {
        let consumer = ClientConfig::new().set("bootstrap.servers", &self.servers).set("group.id", group).create()?;
        Ok(Watch { consumer, topic: topic.to_owned() })
    }
}

/// Reads a group's committed offsets without being a member.
pub struct Watch {
    consumer: BaseConsumer,
    topic: String,
}

impl Watch {
    /// How many records of the topic the group has committed; transaction markers count as well.
    pub fn committed(&self) -> anyhow::Result<i64> {
        let mut list = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            list.add_partition(&self.topic, partition);
        }
        let list = self.consumer.committed_offsets(list, PATIENCE).context("cannot read committed offsets")?;
        let offset = |offset| if let Offset::Offset(offset) = offset { offset } else { 0 };
        Ok(list.elements().iter().map(|element| offset(element.offset())).sum())
    }
}
