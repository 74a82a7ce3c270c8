//! Where records come from: log files, each a source partition of its own, or the partitions of a topic.
//!
//! ```text
//! files │ topic ─► one Source each ─► merge (the one that is furthest behind goes next) ─► Consumer
//! ```
//!
//! Invariants: records of one source keep their order; the order between sources changes no result, it only keeps few
//! windows and few files open; a file that cannot be read on is a [`Problem`] and never the end of the run.

mod files;
mod merge;
mod topic;

pub use files::{open as files, starts};
pub use merge::{Consumer, merge};
pub use topic::{Range, open as topic};

use outlier_core::pipeline::Millis;
use serde::Serialize;

/// One or more records of a source.
pub enum Item<'a> {
    /// A record, and its Kafka timestamp; below zero, it has none.
    Record(Option<&'a [u8]>, Millis),
    /// So many lines that were too long, and skipped.
    TooLong(u64),
}

/// How a source goes on.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// There may be more.
    More,
    /// That was the last record.
    End,
    /// It ended before its end; why.
    Broken(String),
}

/// Records of one source partition, in their order.
pub trait Source {
    /// Hands the next records on, some hundreds at most.
    ///
    /// # Errors
    /// Nothing can be read any more, from no source.
    fn advance(&mut self, each: &mut dyn FnMut(Item<'_>)) -> anyhow::Result<Next>;
    /// For messages.
    fn name(&self) -> String;
    /// It holds something while it is between its first and its last record, of which there must not be too many.
    fn is_scarce(&self) -> bool;
}

/// A source that could not be read to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file.
    pub source: String,
    /// Why, and after what.
    pub detail: String,
}
