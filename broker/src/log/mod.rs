//! A partition's log: batches as they came, producer sequences, open and aborted transactions.
//!
//! Stands behind Produce (append), Fetch (read) and ListOffsets (look-up). Pure: no clock, no lock, no I/O.
//!
//! Invariants: offsets are dense per batch and grow; nothing is ever changed once appended; log start ≤ last stable
//! offset ≤ end; what the producer table refuses never reaches the log.

pub(crate) mod batch;
mod decompress;
pub(crate) mod marker;
pub(crate) mod partition;
pub(crate) mod producers;
pub(crate) mod search;
pub(crate) mod transactions;

pub(crate) use batch::Batch;
pub(crate) use partition::{Isolation, PartitionLog};
