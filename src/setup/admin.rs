//! Asks the broker for topics and creates them.
//!
//! Invariant: a topic that another instance creates meanwhile counts as created.

use super::topics::{Found, Topic};
use crate::config::Kafka;
use crate::kafka::client;
use crate::kafka::explain::{diagnose, explain};
use anyhow::{Context, anyhow, bail};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::types::RDKafkaRespErr;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How long the broker may take.
const TIMEOUT: Duration = Duration::from_secs(15);

/// An administrative connection.
pub struct Admin {
    client: AdminClient<DefaultClientContext>,
    kafka: Kafka,
}

impl Admin {
    /// Prepares the connection; does not wait for the broker.
    ///
    /// # Errors
    /// A librdkafka property is wrong.
    pub fn connect(kafka: &Kafka) -> anyhow::Result<Self> {
        let client = client::base(kafka).create().context("check [kafka.properties]")?;
        Ok(Self { client, kafka: kafka.clone() })
    }

    /// What is there under the names of these topics, in their order.
    ///
    /// # Errors
    /// The broker does not answer.
    pub async fn find(self: &Arc<Self>, topics: &[Topic]) -> anyhow::Result<Vec<Found>> {
        let admin = Arc::clone(self);
        // All topics: asking for one by name can create it.
        let fetch = move || {
            let metadata = admin.client.inner().fetch_metadata(None, TIMEOUT);
            metadata.map_err(|error| diagnose(&admin.kafka).unwrap_or_else(|| explain(&error)))
        };
        let metadata = tokio::task::spawn_blocking(fetch).await?;
        let metadata = metadata.map_err(|reason| anyhow!("Kafka at {}: {reason}", self.kafka.bootstrap_servers))?;
        let mut found: Vec<Found> = topics
            .iter()
            .map(|topic| match metadata.topics().iter().find(|there| there.name() == topic.name) {
                None => Found::Missing,
                Some(there) => match there.error() {
                    Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED) => Found::Hidden,
                    Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) => Found::Missing,
                    _ => Found::There {
                        partitions: i32::try_from(there.partitions().len()).unwrap_or(i32::MAX),
                        settings: None,
                    },
                },
            })
            .collect();
        let there: Vec<usize> = (0..topics.len()).filter(|i| matches!(found[*i], Found::There { .. })).collect();
        if there.is_empty() {
            return Ok(found);
        }
        let asked: Vec<ResourceSpecifier<'_>> =
            there.iter().map(|i| ResourceSpecifier::Topic(&topics[*i].name)).collect();
        let Ok(described) = self.client.describe_configs(&asked, &options()).await else {
            return Ok(found);
        };
        for (i, resource) in there.into_iter().zip(described) {
            if let (Found::There { settings, .. }, Ok(resource)) = (&mut found[i], resource) {
                let entries = resource.entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?)));
                *settings = Some(entries.collect::<BTreeMap<_, _>>());
            }
        }
        Ok(found)
    }

    /// Creates topics; answers those that this user may not create.
    ///
    /// # Errors
    /// The broker does not answer or refuses for another reason.
    pub async fn create<'t>(&self, topics: &[&'t Topic], report: &mut Vec<String>) -> anyhow::Result<Vec<&'t Topic>> {
        let new: Vec<NewTopic<'_>> = topics
            .iter()
            .map(|topic| {
                let replication = TopicReplication::Fixed(topic.replication_factor);
                let new = NewTopic::new(&topic.name, topic.partitions, replication);
                topic.settings.iter().fold(new, |new, (key, value)| new.set(key, value))
            })
            .collect();
        let results = self.client.create_topics(&new, &options()).await;
        let results = match results {
            Ok(results) => results,
            Err(KafkaError::AdminOp(Code::ClusterAuthorizationFailed | Code::TopicAuthorizationFailed)) => {
                return Ok(topics.to_vec());
            }
            Err(error) => bail!("Kafka at {} did not create topics: {}", self.kafka.bootstrap_servers, explain(&error)),
        };
        let mut refused = Vec::new();
        for (topic, result) in topics.iter().zip(results) {
            match result {
                Ok(_) => report.push(format!("create {topic}")),
                Err((_, Code::TopicAlreadyExists)) => report.push(format!("ok     topic {}", topic.name)),
                Err((_, Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed)) => refused.push(*topic),
                Err((_, Code::InvalidReplicationFactor)) => bail!(too_many_copies(topic)),
                Err((_, code)) => {
                    bail!("the topic {} cannot be created: {}", topic.name, explain(&KafkaError::AdminOp(code)))
                }
            }
        }
        Ok(refused)
    }
}

/// What to do where there are fewer brokers than copies.
fn too_many_copies(topic: &Topic) -> String {
    let copies = match topic.replication_factor {
        ..=0 => "as many copies as the broker's default.replication.factor".to_owned(),
        1 => "1 copy".to_owned(),
        more => format!("{more} copies"),
    };
    format!(
        "the topic {} cannot have {copies}: set kafka.replication_factor to at most the number of brokers",
        topic.name
    )
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(TIMEOUT)).operation_timeout(Some(TIMEOUT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_told_as_they_are_configured() {
        for (replication_factor, want) in [
            (-1, "the topic t cannot have as many copies as the broker's default.replication.factor: set"),
            (1, "the topic t cannot have 1 copy: set"),
            (3, "the topic t cannot have 3 copies: set"),
        ] {
            let topic =
                Topic { name: "t".into(), partitions: 1, fixed: false, replication_factor, settings: Vec::new() };
            let told = too_many_copies(&topic);
            assert!(told.starts_with(want), "{told}");
        }
    }
}
