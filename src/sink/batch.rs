//! What is collected for one request to the index, and which offsets it answers for.
//!
//! Invariants: `positions` covers exactly the records that were added, so that its offsets may be committed when, and
//! only when, each of them is settled; what is prepared is of exactly the documents that are there.

use super::document::Unfit;
use crate::config::Stage;
use crate::index::{Document, Index, Prepared};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A partition of one of the pipeline's topics.
pub type Partition = (Stage, i32);

/// Where a record came from, to name it in the rejected topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// What its topic holds.
    pub stage: Stage,
    /// Its topic.
    pub topic: Arc<str>,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its Kafka timestamp, epoch milliseconds.
    pub timestamp_ms: i64,
    /// Its key.
    pub key: Option<Bytes>,
}

/// A record for the rejected topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Where it came from.
    pub source: Source,
    /// Its value as it came.
    pub body: Option<Bytes>,
    /// The id of its document, if the index refused it.
    pub document: Option<String>,
    /// Why.
    pub why: Unfit,
}

/// How far a partition was read, and in which turn of owning it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The offset to commit: the one after the last record.
    pub next: i64,
    /// See [`super::assignment::Owned`].
    pub turn: u64,
}

/// Records that go to the index together.
#[derive(Debug, Default)]
pub struct Batch {
    /// To be indexed.
    pub documents: Vec<Document>,
    /// Of `documents`, in their order.
    pub sources: Vec<Source>,
    /// Cannot be indexed.
    pub rejected: Vec<Rejected>,
    /// How far it reads.
    pub positions: BTreeMap<Partition, Position>,
    /// Of exactly these documents.
    pub prepared: Option<Prepared>,
    bytes: usize,
}

/// What a record takes beside its body and its key; about what its line in a request has, too.
const BESIDE: usize = 100;

fn size(source: &Source, body: Option<&Bytes>) -> usize {
    let length = |bytes: Option<&Bytes>| bytes.map_or(0, Bytes::len);
    BESIDE + length(source.key.as_ref()) + length(body)
}

impl Batch {
    /// Adds a record that was read in this turn of owning its partition.
    pub fn push(&mut self, turn: u64, source: Source, record: Result<Document, (Unfit, Option<Bytes>)>) {
        self.prepared = None;
        self.positions.insert((source.stage, source.partition), Position { next: source.offset + 1, turn });
        match record {
            Ok(document) => {
                self.bytes += size(&source, document.body.as_ref());
                self.documents.push(document);
                self.sources.push(source);
            }
            Err((why, body)) => {
                self.bytes += size(&source, body.as_ref());
                self.rejected.push(Rejected { source, body, document: None, why });
            }
        }
    }

    /// Makes ready what can be before it is sent, once.
    pub fn prepare(&mut self, index: &dyn Index) {
        self.prepared.get_or_insert_with(|| index.prepare(&self.documents));
    }

    /// The number of records.
    pub fn len(&self) -> usize {
        self.documents.len() + self.rejected.len()
    }

    /// True when there is no record.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// True when it has so many bytes or records.
    pub fn full(&self, bytes: usize, records: usize) -> bool {
        self.len() >= records || self.bytes >= bytes
    }

    /// Bytes of the records, with their keys and what else is kept of each.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Forgets the records of partitions for which `keep` is false.
    pub fn retain(&mut self, keep: impl Fn(Partition, u64) -> bool) {
        let lost: Vec<Partition> =
            self.positions.iter().filter(|(p, at)| !keep(**p, at.turn)).map(|(partition, _)| *partition).collect();
        if lost.is_empty() {
            return;
        }
        self.prepared = None;
        let kept = |source: &Source| !lost.contains(&(source.stage, source.partition));
        self.positions.retain(|partition, _| !lost.contains(partition));
        self.rejected.retain(|rejected| kept(&rejected.source));
        let pairs = std::mem::take(&mut self.documents).into_iter().zip(std::mem::take(&mut self.sources));
        (self.documents, self.sources) = pairs.filter(|(_, source)| kept(source)).unzip();
        let documents = self.documents.iter().zip(&self.sources).map(|(d, source)| size(source, d.body.as_ref()));
        let rejected = self.rejected.iter().map(|rejected| size(&rejected.source, rejected.body.as_ref()));
        self.bytes = documents.chain(rejected).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(batch: &mut Batch, stage: Stage, partition: i32, offset: i64, good: bool) {
        let body = Some(Bytes::from_static(b"12345"));
        let key = (partition == 0).then(|| Bytes::from_static(b"key"));
        let source = Source { stage, topic: "t".into(), partition, offset, timestamp_ms: 0, key };
        let why = Unfit { kind: "x", reason: String::new() };
        let id = format!("{stage:?}-{partition}-{offset}");
        let document = Document { pipeline: "p".into(), stage, id, timestamp_ms: 0, period_ms: 0, body: body.clone() };
        batch.push(7, source, if good { Ok(document) } else { Err((why, body)) });
    }

    #[test]
    fn what_is_lost_is_forgotten_with_its_offsets() {
        let mut batch = Batch::default();
        for offset in 0..3 {
            add(&mut batch, Stage::Raw, 0, offset, true);
            add(&mut batch, Stage::Raw, 1, offset, offset != 1);
            add(&mut batch, Stage::Scores, 1, offset, offset != 2);
        }
        assert_eq!((batch.len(), batch.bytes), (9, 9 * (BESIDE + 5) + 3 * 3));
        let prepare = |batch: &mut Batch| batch.prepared = Some(Prepared::default());
        prepare(&mut batch);
        batch.retain(|_, turn| turn == 7);
        assert_eq!((batch.len(), batch.prepared.is_some()), (9, true));
        batch.retain(|partition, _| partition != (Stage::Raw, 1));
        assert_eq!(batch.prepared, None);
        prepare(&mut batch);
        add(&mut batch, Stage::Raw, 2, 0, true);
        assert_eq!(batch.prepared.take(), None);
        batch.retain(|partition, _| partition != (Stage::Raw, 2));
        assert_eq!((batch.documents.len(), batch.rejected.len(), batch.bytes), (5, 1, 6 * (BESIDE + 5) + 3 * 3));
        let mut positions: Vec<_> = batch.positions.iter().map(|(partition, at)| (*partition, at.next)).collect();
        positions.sort();
        assert_eq!(positions, [((Stage::Raw, 0), 3), ((Stage::Scores, 1), 3)]);
        assert!(batch.documents.iter().zip(&batch.sources).all(|(d, s)| d.id.ends_with(&format!("-{}", s.offset))));
    }
}
