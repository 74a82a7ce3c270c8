//! The records of a rejected topic, and the marks of those that went back.
//!
//! A mark has no value and one header, [`REPLAYED`]: `partition/offset` of the record that went back.

use crate::config::Kafka;
use crate::kafka::client;
use crate::kafka::read::to_end;
use crate::kafka::topics::partition_count;
use crate::sink::rejects::{DETAIL, DOCUMENT, REASON, SERVICE, SOURCE};
use outlier_core::pipeline::Millis;
use rdkafka::consumer::BaseConsumer;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{Offset, TopicPartitionList};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The header of a mark.
pub const REPLAYED: &str = "outlier-replayed";
/// Only the beginning of the record was kept; the header says how many bytes it had.
const CUT: &str = "outlier-original-bytes";

/// A rejected record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// Partition and offset in the rejected topic.
    pub place: (i32, i64),
    /// Kafka timestamp of the original.
    pub time: Option<Millis>,
    pub key: Option<Vec<u8>>,
    pub body: Option<Vec<u8>>,
    pub reason: String,
    pub detail: String,
    /// `process` or `sink`.
    pub service: String,
    /// `topic/partition/offset` of the original.
    pub source: String,
    /// The id that its document would have had, where the index refused it.
    pub document: Option<String>,
    /// The body is not all of it.
    pub cut: bool,
    /// The original's own headers; `None` where the client cannot give them.
    pub headers: Option<OwnHeaders>,
}

type OwnHeaders = Vec<(String, Option<Vec<u8>>)>;

/// Gives every rejected record, a partition's in their order, with whether it went back already.
///
/// # Errors
/// The broker does not answer, or those of `each`.
pub fn read(
    kafka: &Kafka,
    topic: &str,
    mut each: impl FnMut(Record, bool) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let consumer: BaseConsumer = client::reader(kafka).create()?;
    let mut starts = TopicPartitionList::new();
    for partition in 0..partition_count(&consumer, topic)? {
        starts.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    // Marks come behind what they mark, so everything is read twice.
    let mut replayed = BTreeSet::new();
    to_end(&consumer, topic, &starts, "looking for what went back", |message| {
        replayed.extend(mark(headers(message).as_ref()).flatten());
        Ok(())
    })?;
    to_end(&consumer, topic, &starts, "reading rejected records", |message| {
        let headers = headers(message);
        if mark(headers.as_ref()).is_some() {
            return Ok(());
        }
        let record = record(message, headers);
        let back = replayed.contains(&record.place);
        each(record, back)
    })?;
    Ok(())
}

/// The text of the last header of this name: the record's own come before those that say why it was rejected.
fn text(headers: Option<&OwnHeaders>, name: &str) -> Option<String> {
    let found = headers?.iter().rev().find(|(key, _)| key == name)?;
    Some(String::from_utf8_lossy(found.1.as_deref()?).into_owned())
}

/// Of a mark, the place of the record that went back, if it can be read. A rejected record keeps its own headers, which
/// may be anything; a mark has no reason.
fn mark(headers: Option<&OwnHeaders>) -> Option<Option<(i32, i64)>> {
    let place = text(headers, REPLAYED).filter(|_| text(headers, REASON).is_none())?;
    Some(place.split_once('/').and_then(|(partition, offset)| Some((partition.parse().ok()?, offset.parse().ok()?))))
}

fn record(message: &BorrowedMessage<'_>, headers: Option<OwnHeaders>) -> Record {
    let text = |name| text(headers.as_ref(), name);
    Record {
        place: (message.partition(), message.offset()),
        time: message.timestamp().to_millis(),
        key: message.key().map(<[u8]>::to_vec),
        body: message.payload().map(<[u8]>::to_vec),
        reason: text(REASON).unwrap_or_default(),
        detail: text(DETAIL).unwrap_or_default(),
        service: text(SERVICE).unwrap_or_default(),
        source: text(SOURCE).unwrap_or_default(),
        document: text(DOCUMENT),
        cut: text(CUT).is_some(),
        headers: headers.map(|all| all.into_iter().filter(|(key, _)| !key.starts_with("outlier-")).collect()),
    }
}

/// All headers; `None` if a name is not UTF-8, on which the client panics.
fn headers(message: &BorrowedMessage<'_>) -> Option<OwnHeaders> {
    let copy = || {
        let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
        headers.map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec))).collect()
    };
    catch_unwind(AssertUnwindSafe(copy)).ok()
}
