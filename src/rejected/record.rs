//! The records of a rejected topic, and the marks of those that went back.
//!
//! A mark has no value and one header, [`REPLAYED`]: `partition/offset` of the record that went back.

use crate::config::Kafka;
use crate::kafka::client;
use crate::kafka::read::{logged, settled, to_end};
use crate::kafka::topics::partition_count;
use crate::sink::headers::at;
use crate::sink::rejects::{CUT, DETAIL, DOCUMENT, REASON, SERVICE, SOURCE};
use outlier_core::pipeline::Millis;
use rdkafka::consumer::BaseConsumer;
use rdkafka::message::{BorrowedMessage, Header, Headers, Message};
use std::collections::{BTreeMap, BTreeSet};

/// The header of a mark.
pub const REPLAYED: &str = "outlier-replayed";

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
    /// The original's own headers; `None` where the client cannot give all of them.
    pub headers: Option<Vec<OwnHeader>>,
}

/// Name and value.
pub type OwnHeader = (String, Option<Vec<u8>>);

/// Gives every rejected record, a partition's in their order, with whether it went back already.
///
/// # Errors
/// The broker does not answer, a transaction stays open for too long, or those of `each`.
pub fn read(
    kafka: &Kafka,
    topic: &str,
    mut each: impl FnMut(Record, bool) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let connection = client::reader(kafka);
    let consumer: BaseConsumer = connection.create()?;
    let partitions: Vec<i32> = (0..partition_count(&consumer, topic)?).collect();
    // Marks may be behind a transaction of a `process` that died.
    let ends = settled(&connection, topic, &partitions, logged("looking for what went back"))?;
    // Marks come behind what they mark, so everything is read twice.
    let (mut replayed, mut last) = (BTreeSet::new(), BTreeMap::new());
    to_end(&connection, topic, &ends, logged("looking for what went back"), |message| {
        replayed.extend(mark(&headers(message)).flatten());
        last.insert(message.partition(), message.offset());
        Ok(())
    })?;
    to_end(&connection, topic, &ends, logged("reading rejected records"), |message| {
        let headers = headers(message);
        // What came since may be what `each` sent back, rejected again.
        let since = last.get(&message.partition()).is_none_or(|last| message.offset() > *last);
        if since || mark(&headers).is_some() {
            return Ok(());
        }
        let record = record(message, headers);
        let back = replayed.contains(&record.place);
        each(record, back)
    })?;
    Ok(())
}

/// The text of the last header of this name: the record's own come before those that say why it was rejected.
fn text(headers: &[Option<OwnHeader>], name: &str) -> Option<String> {
    let found = headers.iter().rev().flatten().find(|(key, _)| key == name)?;
    Some(String::from_utf8_lossy(found.1.as_deref()?).into_owned())
}

/// Of a mark, the place of the record that went back, if it can be read. A rejected record keeps its own headers, which
/// may be anything; a mark has no reason.
fn mark(headers: &[Option<OwnHeader>]) -> Option<Option<(i32, i64)>> {
    let place = text(headers, REPLAYED).filter(|_| text(headers, REASON).is_none())?;
    Some(place.split_once('/').and_then(|(partition, offset)| Some((partition.parse().ok()?, offset.parse().ok()?))))
}

fn record(message: &BorrowedMessage<'_>, headers: Vec<Option<OwnHeader>>) -> Record {
    let text = |name| text(&headers, name);
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
        headers: own(headers),
    }
}

/// The original's own ones; `None` if one of them cannot be read.
fn own(headers: Vec<Option<OwnHeader>>) -> Option<Vec<OwnHeader>> {
    let outliers = |header: &Option<OwnHeader>| header.as_ref().is_some_and(|(key, _)| key.starts_with("outlier-"));
    headers.into_iter().filter(|header| !outliers(header)).collect()
}

fn headers(message: &BorrowedMessage<'_>) -> Vec<Option<OwnHeader>> {
    message.headers().map(copy).unwrap_or_default()
}

/// All headers, those with an unreadable name as `None`.
fn copy(headers: &impl Headers) -> Vec<Option<OwnHeader>> {
    let owned = |header: Header<'_, &[u8]>| (header.key.to_owned(), header.value.map(<[u8]>::to_vec));
    (0..headers.count()).map(|place| at(headers, place).map(owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::headers::tests::Foreign;

    #[test]
    fn an_unreadable_name_hides_no_reason() {
        let reasons: [(&[u8], &str); 3] =
            [(b"outlier-reason", "syntax"), (b"outlier-service", "process"), (b"outlier-source", "t/0/1")];
        for (before, kept) in [
            (&[][..], Some(&[][..])),
            (&[(&b"host"[..], "a")], Some(&["host"])),
            (&[(b"\xff", "a")], None),
            (&[(b"host", "a"), (b"\xff", "a"), (b"outlier-service", "sink")], None),
            (&[(b"outlier-replayed", "0/0"), (b"outlier-source", "another/0/7")], Some(&[])),
        ] {
            let headers = copy(&Foreign(&[before, &reasons].concat()));
            let said = [REASON, SERVICE, SOURCE].map(|name| text(&headers, name).unwrap());
            assert_eq!(said, ["syntax", "process", "t/0/1"], "{before:?}");
            assert_eq!(mark(&headers), None, "{before:?}");
            let names = own(headers).map(|all| all.into_iter().map(|(name, _)| name).collect::<Vec<_>>());
            assert_eq!(names, kept.map(|all| all.iter().map(|name| (*name).to_owned()).collect()), "{before:?}");
        }
    }

    #[test]
    fn a_mark_names_its_record() {
        for (all, want) in [
            (&[][..], None),
            (&[(&b"outlier-replayed"[..], "1/42")], Some(Some((1, 42)))),
            (&[(b"outlier-replayed", "what")], Some(None)),
            (&[(b"outlier-replayed", "1/42"), (b"outlier-reason", "syntax")], None),
        ] {
            assert_eq!(mark(&copy(&Foreign(all))), want, "{all:?}");
        }
    }
}
