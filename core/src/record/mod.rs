//! Reads a log and splices the flags in: the transform of the data path's first stage.
//!
//! ```text
//! raw bytes ─► scan (validate, find the configured values) ─► time, flags, number ─► transform (splice)
//!                └ marks, string, names, trie                                          └ anomalies
//! ```
//!
//! Invariants: one pass over the bytes validates everything; what is read is decided by the pipeline alone;
//! a record that cannot be enriched is a [`Reject`], never a panic and never silence.

mod anomalies;
mod flags;
mod glance;
mod marks;
mod names;
mod number;
mod object;
mod probe;
mod reject;
mod scan;
mod string;
mod texts;
mod time;
mod transform;
mod trie;

pub use anomalies::Anomalies;
pub use object::{Object, Objects};
pub use probe::{Probe, Probed};
pub use reject::Reject;
pub use texts::Texts;
pub use time::event_time;
pub use transform::{Enriched, Scratch, Transform};

#[cfg(test)]
mod tests;
