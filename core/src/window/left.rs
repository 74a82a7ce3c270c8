//! Records that are in no window of a detector, by cause: what `transform` noticed, for the rows of `score`.
//!
//! Their own window is over, or has not begun, so they are told of in the window that was current when they came: the
//! one that holds the stream time of their partition. Invariant: like a difference, that depends on the partition
//! alone, and merging is commutative; so rows that tell of it are the same however partitions interleave.

use super::frame::Origin;
use super::varint::{Damaged, Reader, put_signed, put_text, put_unsigned};
use crate::pipeline::Millis;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// How many records of a detector were left out in the course of a window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LeftOut {
    /// They came after their window had closed, by the stream time of their own partition.
    #[serde(skip_serializing_if = "is_zero")]
    pub late: u64,
    /// They were rejected, as their event time was too far ahead.
    #[serde(skip_serializing_if = "is_zero")]
    pub skewed: u64,
    /// Their partition had been idle, or was added, and their pane was closed; of one windows partition.
    #[serde(skip_serializing_if = "is_zero")]
    pub after_close: u64,
}

/// For members of rows that are left out where they are zero.
pub(crate) fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl LeftOut {
    /// True if nothing was left out.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// Adds others.
    pub fn merge(&mut self, other: &LeftOut) {
        self.late = self.late.saturating_add(other.late);
        self.skewed = self.skewed.saturating_add(other.skewed);
        self.after_close = self.after_close.saturating_add(other.after_close);
    }
}

/// What a transaction left out of a detector's windows, told of in one of its panes.
#[derive(Debug, Clone, PartialEq)]
pub struct Omission {
    /// The detector and its panes.
    pub origin: Arc<Origin>,
    /// Start of the pane that was current.
    pub start: Millis,
    /// How many; none after the close, which only `score` knows.
    pub left_out: LeftOut,
}

impl Omission {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_text(out, &self.origin.detector);
        put_signed(out, i128::from(self.origin.pane));
        put_unsigned(out, u128::from(self.origin.layout));
        put_signed(out, i128::from(self.start));
        put_unsigned(out, u128::from(self.left_out.late));
        put_unsigned(out, u128::from(self.left_out.skewed));
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let detector = reader.text()?.to_owned();
        let origin = Arc::new(Origin { detector, pane: reader.millis()?, layout: reader.number()? });
        let start = reader.millis()?;
        let left_out = LeftOut { late: reader.number()?, skewed: reader.number()?, after_close: 0 };
        Ok(Self { origin, start, left_out })
    }
}
