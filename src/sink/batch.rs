//! What is collected for one request to the index, and which offsets it answers for.
//!
//! Invariants: `positions` covers exactly the records that were added, so that its offsets may be committed when, and
//! only when, each of them is settled.

use super::document::Unfit;
use crate::config::Stage;
use crate::index::{Document, Index, Request};
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
#[derive(Debug)]
pub struct Batch {
    /// To be indexed.
    pub request: Request,
    /// Of the documents, in their order.
    pub sources: Vec<Source>,
    /// Cannot be indexed.
    pub rejected: Vec<Rejected>,
    /// How far it reads.
    pub positions: BTreeMap<Partition, Position>,
    bytes: usize,
}

/// About what a record's lines in a request have beside its body.
const BESIDE: usize = 100;

fn size(source: &Source, body: usize) -> usize {
    BESIDE + source.key.as_ref().map_or(0, Bytes::len) + body
}

impl Batch {
    /// Without records.
    pub fn new(pipeline: Arc<str>) -> Self {
        Self::of(Request::new(pipeline))
    }

    /// Without records, with room for about as many.
    pub fn successor(&self) -> Self {
        Self { sources: Vec::with_capacity(self.sources.len()), ..Self::of(self.request.successor()) }
    }

    fn of(request: Request) -> Self {
        Self { request, sources: Vec::new(), rejected: Vec::new(), positions: BTreeMap::new(), bytes: 0 }
    }

    /// Adds a record that was read in this turn of owning its partition; what the index cannot take is rejected.
    pub fn push(&mut self, turn: u64, source: Source, document: Document<'_>, index: &dyn Index) {
        match index.add(&mut self.request, &document) {
            Ok(()) => {
                self.read(turn, &source, document.body.as_deref());
                self.sources.push(source);
            }
            Err(reason) => {
                let why = Unfit { kind: "index", reason };
                self.reject(turn, source, document.body.as_deref(), Some(document.id.into_owned()), why);
            }
        }
    }

    /// Adds a record that cannot be indexed.
    pub fn reject(&mut self, turn: u64, source: Source, body: Option<&[u8]>, document: Option<String>, why: Unfit) {
        self.read(turn, &source, body);
        self.rejected.push(Rejected { source, body: body.map(Bytes::copy_from_slice), document, why });
    }

    fn read(&mut self, turn: u64, source: &Source, body: Option<&[u8]>) {
        self.positions.insert((source.stage, source.partition), Position { next: source.offset + 1, turn });
        self.bytes += size(source, body.map_or(0, <[u8]>::len));
    }

    /// The number of records.
    pub fn len(&self) -> usize {
        self.request.len() + self.rejected.len()
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
        let kept = |source: &Source| !lost.contains(&(source.stage, source.partition));
        self.positions.retain(|partition, _| !lost.contains(partition));
        self.rejected.retain(|rejected| kept(&rejected.source));
        let places: Vec<usize> = (0..self.sources.len()).filter(|place| kept(&self.sources[*place])).collect();
        self.sources.retain(kept);
        self.request = self.request.select(places);
        let documents = self.sources.iter().enumerate().map(|(place, s)| size(s, self.request.body_len(place)));
        let length = |rejected: &Rejected| rejected.body.as_ref().map_or(0, Bytes::len);
        let rejected = self.rejected.iter().map(|rejected| size(&rejected.source, length(rejected)));
        self.bytes = documents.chain(rejected).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::opensearch::body;
    use crate::index::{Outcome, Unavailable};
    use futures::future::BoxFuture;

    /// Refuses what is no object.
    struct Picky;

    impl Index for Picky {
        fn add(&self, request: &mut Request, document: &Document<'_>) -> Result<(), String> {
            match document.body.as_deref().is_some_and(|body| body.starts_with(b"{")) {
                true => request.add(document, |out| body::lines(out, "i", document)),
                false => Err("no object".to_owned()),
            }
        }

        fn write<'a>(&'a self, _: &'a Request) -> BoxFuture<'a, Result<Vec<Outcome>, Unavailable>> {
            unimplemented!()
        }
    }

    fn body_of(offset: i64) -> Vec<u8> {
        // With a space behind it a body is kept apart.
        format!("{{\"a\":{offset}}}{}", if offset == 2 { " " } else { "" }).into_bytes()
    }

    fn add(batch: &mut Batch, stage: Stage, partition: i32, offset: i64, good: bool) {
        let key = (partition == 0).then(|| Bytes::from_static(b"key"));
        let source = Source { stage, topic: "t".into(), partition, offset, timestamp_ms: 0, key };
        let id = format!("{stage:?}-{partition}-{offset}");
        let body = Some(if good { body_of(offset).into() } else { b"12345".as_slice().into() });
        batch.push(7, source, Document { stage, id: id.into(), timestamp_ms: 0, period_ms: 0, body }, &Picky);
    }

    #[test]
    fn what_is_lost_is_forgotten_with_its_offsets() {
        let mut batch = Batch::new("p".into());
        for offset in 0..3 {
            add(&mut batch, Stage::Raw, 0, offset, true);
            add(&mut batch, Stage::Raw, 1, offset, offset != 1);
            add(&mut batch, Stage::Scores, 1, offset, offset != 2);
        }
        assert_eq!((batch.len(), batch.bytes), (9, 9 * BESIDE + 7 * 7 + 2 + 2 * 5 + 3 * 3));
        let refused: Vec<_> = batch.rejected.iter().map(|r| (r.document.as_deref(), &*r.why.reason)).collect();
        assert_eq!(refused, [(Some("Raw-1-1"), "no object"), (Some("Scores-1-2"), "no object")]);
        batch.retain(|_, turn| turn == 7);
        assert_eq!(batch.len(), 9);
        batch.retain(|partition, _| partition != (Stage::Raw, 1));
        add(&mut batch, Stage::Raw, 2, 0, true);
        batch.retain(|partition, _| partition != (Stage::Raw, 2));
        assert_eq!(
            (batch.request.len(), batch.rejected.len(), batch.bytes),
            (5, 1, 6 * BESIDE + 5 * 7 + 1 + 5 + 3 * 3)
        );
        let mut positions: Vec<_> = batch.positions.iter().map(|(partition, at)| (*partition, at.next)).collect();
        positions.sort();
        assert_eq!(positions, [((Stage::Raw, 0), 3), ((Stage::Scores, 1), 3)]);
        let of = |source: &Source| format!("{:?}-{}-{}", source.stage, source.partition, source.offset);
        for (document, source) in batch.request.documents().zip(&batch.sources) {
            assert_eq!((&*document.id, document.body.as_deref()), (&*of(source), Some(&*body_of(source.offset))));
        }
    }
}
