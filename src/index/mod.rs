//! Where documents go: one trait, two indices. The last step of the path.
//!
//! `sink` makes [`Document`]s from records and hands batches to an [`Index`]; [`opensearch`] is for production,
//! [`sqlite`] for a laptop. Invariants: a document is created at most once, by its id; every document of a batch
//! gets exactly one [`Outcome`]; what is `Created` or `AlreadyThere` survives a crash of this process.

pub mod names;
pub mod opensearch;
pub mod score;
pub mod sqlite;

pub use crate::config::Stage;

use crate::config::{Config, IndexKind};
use anyhow::Context;
use bytes::Bytes;
use futures::future::BoxFuture;
use std::sync::Arc;

/// Something to be indexed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The pipeline it belongs to.
    pub pipeline: Arc<str>,
    /// Which of the pipeline's indices.
    pub stage: Stage,
    /// Unique in that index and the same whenever the record is read; at most [`MAX_ID_BYTES`].
    pub id: String,
    /// `@timestamp`, epoch milliseconds.
    pub timestamp_ms: i64,
    /// Decides on a dated index; epoch milliseconds. The same for every record of this id.
    pub period_ms: i64,
    /// The record as it came. Enriched and scores are JSON objects; raw is anything, `None` a tombstone.
    pub body: Option<Bytes>,
}

impl Document {
    /// The length of the body in bytes.
    pub fn len(&self) -> usize {
        self.body.as_ref().map_or(0, Bytes::len)
    }

    /// True when there is no body or it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The longest id that OpenSearch takes; one longer makes it refuse a whole request.
pub const MAX_ID_BYTES: usize = 512;

/// What became of one document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is there now.
    Created,
    /// A document of this id was there before; nothing changed.
    AlreadyThere,
    /// Not now, for this reason; it must be written again.
    Retry(String),
    /// The index failed with it, for this reason: it must be written again, and whether the document is the cause shows
    /// when others are taken.
    Fault(String),
    /// Never, for this reason: the document itself is the cause.
    Reject(String),
}

/// The index took nothing: what is wrong and what to do. It is worth trying again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Unavailable {
    /// For the operator.
    pub reason: String,
    /// The request was read and refused for what is in it or who sent it; a document in it may be the cause.
    pub refused: bool,
}

impl Unavailable {
    /// Whatever the request held, it would not have been taken.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), refused: false }
    }
}

/// What of a batch is made ready before its turn: nothing needs to be done between two requests then.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// The request, as its index wants it.
    pub request: Vec<u8>,
    /// Documents that are not in it, by their position, ascending; and why they never can be.
    pub refused: Vec<(usize, String)>,
}

/// Takes documents.
pub trait Index: Send + Sync {
    /// Does what of writing a batch needs no answer from the index.
    fn prepare(&self, batch: &[Document]) -> Prepared;

    /// Writes a batch; the outcomes are in its order. `prepared` is of exactly this batch.
    ///
    /// # Errors
    /// No outcome is known. Writing the same batch again is harmless.
    fn write_prepared<'a>(
        &'a self,
        batch: &'a [Document],
        prepared: Prepared,
    ) -> BoxFuture<'a, Result<Vec<Outcome>, Unavailable>>;

    /// The most bytes that a request may have, as far as is known: larger ones were refused and went in parts.
    fn most_bytes(&self) -> usize {
        usize::MAX
    }

    /// Prepares a batch and writes it.
    ///
    /// # Errors
    /// As [`Index::write_prepared`].
    fn write<'a>(&'a self, batch: &'a [Document]) -> BoxFuture<'a, Result<Vec<Outcome>, Unavailable>> {
        self.write_prepared(batch, self.prepare(batch))
    }
}

/// The configured index. Does not wait for it to answer.
///
/// # Errors
/// The configuration cannot work: a certificate or the database file cannot be read.
pub fn open(config: &Config) -> anyhow::Result<Arc<dyn Index>> {
    Ok(match config.sink.index {
        IndexKind::OpenSearch => Arc::new(opensearch::OpenSearch::new(config)?),
        IndexKind::Sqlite => Arc::new(
            sqlite::Sqlite::open(config)
                .with_context(|| format!("cannot use the database {}", config.sqlite.path.display()))?,
        ),
    })
}
