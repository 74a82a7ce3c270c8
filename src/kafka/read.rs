//! Reading partitions to their ends, without a group.
//!
//! Invariant: a partition is read up to where it ended when that was asked, by offset. What the client tells as the end of a
//! partition is only where the broker that it reads from let it read: a new leader learns the high watermark late.

use super::explain::{an_answer_ends, explain};
use super::topics::{known_ends, leaderless};
use anyhow::{Context, bail};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{ClientConfig, ClientContext, Offset, Statistics, TopicPartitionList};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The broker must give something within this time.
const PATIENCE: Duration = Duration::from_secs(30);
/// And answer a question within this.
const ASK: Duration = Duration::from_secs(2);
/// An open transaction ends or times out within this time.
const SETTLE: Duration = Duration::from_secs(30);
/// What takes longer is told, and again after so long.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// How often the client tells how far it has fetched, in milliseconds, and one more for each partition of the topic, which it
/// tells of all; and how long a poll waits meanwhile.
const FETCHED_EVERY: i32 = 40;
const POLL: Duration = Duration::from_millis(10);

/// How far the client has fetched each partition, ends of transactions included, which come as no record.
#[derive(Default)]
struct Fetched(Mutex<Told>);

#[derive(Default)]
struct Told {
    next: BTreeMap<i32, i64>,
    times: u64,
}

impl Fetched {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Fetched {
    fn stats(&self, statistics: Statistics) {
        let mut told = self.told();
        told.times += 1;
        let partitions = statistics.topics.into_values().flat_map(|topic| topic.partitions);
        told.next.extend(partitions.map(|(partition, found)| (partition, found.next_offset)));
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka client");
    }
}

impl ConsumerContext for Fetched {}

/// Tells the log how far reading is, as a part of what is done.
pub fn logged(doing: &'static str) -> impl FnMut(String) -> anyhow::Result<()> {
    move |progress| {
        tracing::info!("{doing}: {progress}");
        Ok(())
    }
}

/// Gives every record of a topic's partitions from their beginnings to `ends`, and perhaps some behind; how many. `tell` is
/// told each second how far it is, and may end it.
///
/// # Errors
/// The broker gives nothing for too long, or those of `tell` and `each`.
pub fn to_end(
    connection: &ClientConfig,
    topic: &str,
    ends: &BTreeMap<i32, i64>,
    mut tell: impl FnMut(String) -> anyhow::Result<()>,
    mut each: impl FnMut(&BorrowedMessage<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<u64> {
    let mut settings = connection.clone();
    let others = ends.keys().last().copied().unwrap_or_default();
    settings.set("statistics.interval.ms", FETCHED_EVERY.saturating_add(others).to_string());
    let consumer: BaseConsumer<Fetched> = settings.create_with_context(Fetched::default())?;
    let mut starts = TopicPartitionList::new();
    for partition in ends.keys() {
        starts.add_partition_offset(topic, *partition, Offset::Beginning)?;
    }
    consumer.assign(&starts)?;
    let mut unread = ends.clone();
    let mut records = 0u64;
    // How far all are fetched, also where what is there was aborted.
    let mut furthest = i64::MIN;
    let (mut heard, mut told) = (Instant::now(), Instant::now());
    while !unread.is_empty() {
        let before = consumer.context().told().times;
        let polled = consumer.poll(POLL);
        let now = Instant::now();
        match polled {
            Some(Ok(message)) => {
                each(&message)?;
                records += 1;
                let partition = message.partition();
                if let Some(end) = unread.get(&partition) {
                    heard = now;
                    if message.offset() + 1 >= *end {
                        unread.remove(&partition);
                    }
                }
            }
            Some(Err(KafkaError::PartitionEOF(_))) => {}
            Some(Err(error)) => tracing::debug!(%error, topic, "reading"),
            None => {
                let fetched = consumer.context().told();
                // What the client tells overtakes its records. Where a poll gave nothing else either, all of them were given.
                let next: i64 = fetched.next.values().sum();
                if next > furthest {
                    (furthest, heard) = (next, now);
                }
                if fetched.times == before {
                    unread.retain(|partition, end| fetched.next.get(partition).is_none_or(|next| next < end));
                }
            }
        }
        if now - told >= TELL_EVERY {
            told = now;
            tell(format!("{records} records of {topic}, {} partitions not at their end", unread.len()))?;
        }
        if now - heard > PATIENCE {
            bail!("{topic} gave nothing for {} s while it was read", PATIENCE.as_secs());
        }
    }
    Ok(records)
}

/// Reads every committed record of these partitions of a compacted topic, oldest first: partition, key and value; how many.
///
/// Order matters: the caller has the group's committed offsets, which no open transaction holds back; then transactions
/// are waited for, so that nothing of the same ones can still be hidden; then the partitions are read to their ends.
///
/// # Errors
/// The broker does not answer, or those of `tell` and `each`.
pub fn committed(
    connection: &ClientConfig,
    topic: &str,
    partitions: &[i32],
    mut tell: impl FnMut(String) -> anyhow::Result<()>,
    mut each: impl FnMut(i32, &str, Option<&[u8]>) -> anyhow::Result<()>,
) -> anyhow::Result<u64> {
    // A follower that is near may be behind.
    let mut connection = connection.clone();
    connection.set("client.rack", "");
    let ends = settled(&connection, topic, partitions, &mut tell)?;
    to_end(&connection, topic, &ends, tell, |message| {
        let key = String::from_utf8_lossy(message.key().unwrap_or_default());
        each(message.partition(), &key, message.payload())
    })
}

/// The ends of these partitions, as soon as no open transaction hides any record that is before them: the high watermarks
/// are asked, then the last stable offsets must reach them.
///
/// # Errors
/// The broker does not answer, a transaction stays open or a leader is missing for too long, or those of `tell`.
pub fn settled(
    connection: &ClientConfig,
    topic: &str,
    partitions: &[i32],
    mut tell: impl FnMut(String) -> anyhow::Result<()>,
) -> anyhow::Result<BTreeMap<i32, i64>> {
    let committed: BaseConsumer = connection.create()?;
    let uncommitted: BaseConsumer = connection.clone().set("isolation.level", "read_uncommitted").create()?;
    let started = Instant::now();
    let mut told = Instant::now();
    let (mut ends, mut unsettled) = (BTreeMap::new(), partitions.to_vec());
    loop {
        let ask = |consumer, these: &[i32]| known_ends(consumer, topic, these, ASK);
        let unknown: Vec<i32> = unsettled.iter().copied().filter(|partition| !ends.contains_key(partition)).collect();
        let asked = ask(&uncommitted, &unknown).and_then(|found| {
            ends.extend(found);
            let stable = ask(&committed, &unsettled)?;
            unsettled.retain(|partition| match (ends.get(partition), stable.get(partition)) {
                (Some(end), Some(stable)) => stable < end,
                _ => true,
            });
            Ok(())
        });
        let Some(partition) = unsettled.first() else { return Ok(ends) };
        // What the client knows of the leaders is new then.
        let looked_up = leaderless(&uncommitted, topic, ASK).and_then(|_| leaderless(&committed, topic, ASK));
        let wait = match (asked.and(looked_up), ends.contains_key(partition)) {
            (Err(error), _) if an_answer_ends(&error) => format!("waiting for {topic}: {}", explain(&error)),
            (Err(error), _) => return Err(error).with_context(|| format!("cannot look up the ends of {topic}")),
            (Ok(_), true) => format!("waiting for the end of a transaction in {topic}/{partition}"),
            (Ok(leaderless), _) if leaderless.contains(partition) => {
                format!("waiting for a leader of {topic}/{partition}")
            }
            (Ok(_), false) => format!("waiting for the leader of {topic}/{partition} to know its end"),
        };
        if started.elapsed() > SETTLE {
            bail!("for more than {} s {wait}", SETTLE.as_secs());
        }
        if told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            tell(wait)?;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Environment};
    use crate::kafka::client;
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
    use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

    /// Two brokers; a record each, of the topic's only partition, whose leader is the first.
    fn cluster(records: usize) -> (MockCluster<'static, rdkafka::producer::DefaultProducerContext>, ClientConfig) {
        let cluster = MockCluster::new(2).unwrap();
        cluster.create_topic("t", 1, 2).unwrap();
        cluster.partition_leader("t", 0, Some(1)).unwrap();
        let text = format!(
            "[kafka]\nbootstrap_servers = \"{}\"\n[[pipeline]]\npreset = \"waf\"\n",
            cluster.bootstrap_servers()
        );
        let config = Config::parse(&text, "test", &Environment::default()).unwrap();
        let producer: BaseProducer = client::producer(&config.kafka).create().unwrap();
        for _ in 0..records {
            producer.send(BaseRecord::to("t").key("k").payload("v")).unwrap();
            producer.flush(PATIENCE).unwrap();
        }
        let mut connection = client::reader(&config.kafka);
        connection.set("client.rack", "near");
        (cluster, connection)
    }

    #[test]
    fn the_end_that_a_replica_that_is_behind_tells_is_not_the_end() {
        let (cluster, connection) = cluster(5);
        cluster.partition_follower("t", 0, 2).unwrap();
        cluster.follower_watermarks("t", 0, Some(0), Some(3)).unwrap();
        let ends = settled(&connection, "t", &[0], |_| Ok(())).unwrap();
        assert_eq!(ends, BTreeMap::from([(0, 5)]));
        // It catches up a while after its end was told.
        let began = Instant::now();
        let tell = |_| {
            if began.elapsed() > 2 * TELL_EVERY {
                cluster.follower_watermarks("t", 0, None, None).unwrap();
            }
            Ok(())
        };
        let mut read = Vec::new();
        let each = |message: &BorrowedMessage<'_>| {
            read.push(message.offset());
            Ok(())
        };
        // The mock tells no last stable offset of its own for a follower.
        let records =
            to_end(connection.clone().set("isolation.level", "read_uncommitted"), "t", &ends, tell, each).unwrap();
        assert_eq!((records, read), (5, vec![0, 1, 2, 3, 4]));
    }

    #[test]
    fn a_leader_that_is_missing_is_waited_for() {
        let (cluster, connection) = cluster(2);
        cluster.partition_leader("t", 0, None).unwrap();
        let mut told = Vec::new();
        let tell = |progress: String| {
            // What the client knows of the topic it knows for a while.
            if progress.contains("a leader") {
                cluster.partition_leader("t", 0, Some(2)).unwrap();
            }
            told.push(progress);
            Ok(())
        };
        let records = committed(&connection, "t", &[0], tell, |_, _, _| Ok(())).unwrap();
        assert_eq!(records, 2);
        assert!(told.iter().any(|told| told == "waiting for a leader of t/0"), "{told:?}");
    }

    /// As a leader does that was elected a moment ago.
    #[test]
    fn a_leader_that_does_not_know_the_end_yet_is_waited_for() {
        let (cluster, connection) = cluster(2);
        cluster
            .request_errors(RDKafkaApiKey::ListOffsets, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE; 6]);
        assert_eq!(committed(&connection, "t", &[0], |_| Ok(()), |_, _, _| Ok(())).unwrap(), 2);
    }

    #[test]
    fn nothing_is_read_of_what_is_empty() {
        let (_cluster, connection) = cluster(0);
        assert_eq!(committed(&connection, "t", &[0], |_| Ok(()), |_, _, _| Ok(())).unwrap(), 0);
        assert_eq!(committed(&connection, "t", &[], |_| Ok(()), |_, _, _| Ok(())).unwrap(), 0);
    }
}
