//! What a stage is to the worker that runs it.
//!
//! Invariant: a stage keeps nothing that is not in what it writes and commits, so that `assign` makes it what it was.

use crate::kafka::output::Output;
use outlier_core::pipeline::Millis;
use rdkafka::Offset;
use rdkafka::message::BorrowedMessage;
use std::collections::BTreeSet;

/// A partition that the worker starts to own, with what the group committed for it.
pub struct Assigned {
    /// The partition.
    pub partition: i32,
    /// Offset and metadata, if there was a commit.
    pub committed: Option<(i64, String)>,
}

/// Where a stage says how far it is with what takes long; an error ends that, as the worker is to stop.
pub type Tell<'a> = &'a mut dyn FnMut(String) -> anyhow::Result<()>;

/// What a stage wants after a message.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// The message is done.
    Message,
    /// Commit, then give me the same message again: it makes more work than one transaction should hold.
    CommitAndRepeat,
}

/// An offset to commit.
pub struct Progress {
    /// The partition of the stage's input topic.
    pub partition: i32,
    /// The next offset to read.
    pub offset: i64,
    /// To be kept with it.
    pub metadata: String,
}

/// One stage of `process`, or `alert`: everything it decides is in what it writes and commits.
pub trait Stage {
    /// The topic it reads.
    fn topic(&self) -> &str;
    /// Starts to own partitions, or starts them again after an abort; answers the offset to read from for each. `tell` is
    /// told how far reading what was kept is.
    ///
    /// # Errors
    /// What was committed does not fit: the operator must decide.
    fn assign(&mut self, partitions: Vec<Assigned>, now: Millis, tell: Tell<'_>) -> anyhow::Result<Vec<(i32, Offset)>>;
    /// Stops to own a partition.
    fn revoke(&mut self, partition: i32);
    /// Works on one message.
    ///
    /// # Errors
    /// The results cannot be produced, or the message cannot be understood and must not be skipped.
    fn message(&mut self, message: &BorrowedMessage<'_>, output: &mut Output) -> anyhow::Result<Next>;
    /// The partition is read to its last stable offset.
    fn at_end(&mut self, partition: i32, now: Millis);
    /// The partitions that must not be read on for now, given those that wait already.
    fn waiting(&mut self, _wait: &BTreeSet<i32>) -> BTreeSet<i32> {
        BTreeSet::new()
    }
    /// Partitions are about to go, or the worker ends: what is under way elsewhere is brought to an end within seconds.
    /// A commit follows.
    fn letting_go(&mut self) {}
    /// How far was read belongs to the next commit, also where it would come later by itself.
    fn position_is_due(&mut self) {}
    /// So many records were deleted that were not read; below zero: the topic was made anew. True if the stage goes on
    /// without them, from where the topic begins.
    fn lost(&mut self, _partition: i32, _records: i64) -> bool {
        false
    }

    /// Goes on at `to`, before which nothing is left in the topic; false if there was something that is still needed.
    fn skip(&mut self, partition: i32, to: i64) -> bool;
    /// True if there is something to commit even without a message.
    fn wants_commit(&mut self, now: Millis) -> bool;
    /// Writes what belongs to the end of the transaction; answers the offsets to commit.
    ///
    /// # Errors
    /// The results cannot be produced.
    fn finish(&mut self, now: Millis, output: &mut Output) -> anyhow::Result<Vec<Progress>>;
    /// The transaction that `finish` ended is durable: counters may move.
    fn committed(&mut self);
    /// Forgets the transaction under way; `assign` follows for every owned partition.
    fn aborted(&mut self);
}
