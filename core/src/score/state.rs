//! The records of the compacted state topic: progress of a windows partition, and one record a group.
//!
//! Keys: `progress`, and `group/<detector id>/<group>`; a detector whose window or `by` changes starts new series.
//! Progress is JSON for people to read, a group is a version byte and binary (`group`).

use crate::pipeline::Millis;
use crate::window::{LeftOut, Watermark};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Version of [`Progress`]. Version 1 had a record a series, in another partition.
pub(super) const VERSION: u8 = 2;
/// A series without a record for this long is silent.
pub(super) const SILENT: Millis = 24 * 3_600_000;
pub(super) const PROGRESS_KEY: &str = "progress";

/// How far one windows partition has been scored.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Format of this record.
    pub version: u8,
    /// Offset of the first frame that was not applied yet. What comes before is read again only for the
    /// windows that are still open.
    pub read_through: i64,
    /// The marks applied so far.
    pub watermark: Watermark,
    /// For each detector's id, the end of the last closed pane.
    pub closed: BTreeMap<String, Millis>,
    /// For each detector's id whose next pane is closed in part, the last group that it is closed for: a close of many
    /// series is split over transactions.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub closing: BTreeMap<String, Closing>,
    /// For each detector's id, what was left out in the course of windows to come, by the end of their hops.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub left_out: BTreeMap<String, BTreeMap<Millis, LeftOut>>,
    /// The ids of detectors that go on from a bootstrap, or are not configured for now, and have not closed a pane with
    /// records since: between the end of the history and the first record nobody can tell silence from a gap.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub resumed: BTreeSet<String>,
}

/// How far the close of a pane has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closing {
    /// End of the pane.
    pub end: Millis,
    /// The last group that is closed.
    pub through: String,
}

/// Why the state topic cannot be used; nothing is ever reset because of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// A record no version of this outlier wrote.
    #[error("state record {key:?} cannot be read: {why}")]
    Unreadable {
        /// The record's key.
        key: String,
        /// What is wrong with it.
        why: String,
    },
    /// Written by an earlier version of outlier.
    #[error(
        "the state topic was written by an earlier version of outlier (format {0}, this one reads {VERSION}) and cannot be \
         taken over: stop all instances, delete the windows and state topics and the score consumer group, run `outlier setup` and start \
         again; the series learn anew"
    )]
    Outdated(u8),
    /// Models exist, but the group has no committed offset to go on from.
    #[error(
        "the state topic holds models but the consumer group has no committed offset (it was deleted, or expired): \
         to start afresh, delete the state topic; to go on, restore the group's offsets"
    )]
    StateWithoutOffset,
    /// The group has an offset, but the models are gone.
    #[error(
        "the consumer group has committed offset {0} but the state topic holds no progress (it was deleted or emptied): \
         to start afresh, delete the consumer group; to go on, restore the topic"
    )]
    OffsetWithoutState(i64),
}

/// The key of a group's record; `id` is [`crate::pipeline::Detector::id`].
pub(super) fn group_key(id: &str, group: &str) -> String {
    format!("group/{id}/{group}")
}

/// Detector id and group of a `group/…` key.
pub(super) fn parse_group_key(key: &str) -> Option<(&str, &str)> {
    key.strip_prefix("group/")?.split_once('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn group_keys_round_trip() {
        assert_eq!(parse_group_key(&group_key("action-0a1b2c3d", "a/b")), Some(("action-0a1b2c3d", "a/b")));
        assert_eq!(parse_group_key("series/10000/action/sum(x)"), None);
    }
}
