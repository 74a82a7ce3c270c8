//! Where documents go: one trait, two indices. The last step of the path.
//!
//! `sink` makes [`Document`]s from records, and an [`Index`] makes [`Request`]s of them and writes those; [`opensearch`] is
//! for production, [`sqlite`] for a laptop. Invariants: a document is created at most once, by its id; every document of a
//! request gets exactly one [`Outcome`]; what is `Created` or `AlreadyThere` survives a crash of this process.

pub mod names;
pub mod opensearch;
mod request;
pub mod score;
pub mod sqlite;

pub use crate::config::Stage;
pub use request::{Document, Request, Written};

use crate::config::{Config, IndexKind};
use anyhow::Context;
use futures::future::BoxFuture;
use std::sync::Arc;

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

/// Takes documents.
pub trait Index: Send + Sync {
    /// Puts a document behind those of a request, in the form in which it is sent.
    ///
    /// # Errors
    /// Why it can never be one of this index's; the request is as it was.
    fn add(&self, request: &mut Request, document: &Document<'_>) -> Result<(), String>;

    /// Writes a request; the outcomes are in the order of its documents.
    ///
    /// # Errors
    /// No outcome is known. Writing the same request again is harmless.
    fn write<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Vec<Outcome>, Unavailable>>;

    /// The most bytes that a request may have, as far as is known: larger ones were refused and went in parts.
    fn most_bytes(&self) -> usize {
        usize::MAX
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
