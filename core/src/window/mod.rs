//! Event-time windows: what `transform` counts and what it tells `score`.
//!
//! [`Counter`] turns records into differences (through `tally`) and progress marks, [`Frame`] carries both through the
//! windows topic, [`Watermark`] says on the other side how far event time has come. What is counted and closed are
//! *panes* of at most a minute; longer and overlapping windows are merged from closed panes.
//!
//! Invariants: panes and windows are aligned to the epoch, named by their start and closed by their end; a record is
//! late by the stream time of its own partition and the end of its pane alone.

mod alignment;
mod counter;
mod frame;
pub mod group;
mod interner;
mod left;
mod quiet;
mod room;
mod source;
mod tally;
pub(crate) mod varint;
mod watermark;

pub use alignment::{Alignment, Limit, Standing};
pub use counter::{Counter, Counts, Outgoing};
pub use frame::{Cells, Diff, Frame, FrameError, Mark, Origin};
pub(crate) use left::is_zero;
pub use left::{LeftOut, Omission};
pub use room::LARGEST_RECORD;
pub use source::{BadSourceTime, SourceTime};
pub use tally::Observed;
pub use watermark::Watermark;

use crate::pipeline::Millis;

/// Start of the window that holds `time`.
pub fn window_start(time: Millis, window: Millis) -> Millis {
    time.div_euclid(window).saturating_mul(window)
}

/// End of the last window that is over when event time is `time` and windows stay open for `lateness`.
pub fn closed_end(time: Millis, window: Millis, lateness: Millis) -> Millis {
    window_start(time.saturating_sub(lateness), window)
}

/// The windows partition of a group: FNV-1a over both names, spread by the finaliser of MurmurHash3.
///
/// Invariant: never changes, or running state would be looked for in the wrong partition.
pub fn partition_of(detector: &str, group: &str, partitions: i32) -> i32 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for byte in detector.bytes().chain([0xff]).chain(group.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^= hash >> 33;
    (hash % partitions.max(1) as u64) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_aligned_to_the_epoch() {
        for (time, start) in [(0, 0), (9_999, 0), (10_000, 10_000), (-1, -10_000)] {
            assert_eq!(window_start(time, 10_000), start, "{time}");
        }
        assert_eq!(closed_end(21_999, 10_000, 2_000), 10_000);
        assert_eq!(closed_end(22_000, 10_000, 2_000), 20_000);
    }

    #[test]
    fn a_series_keeps_its_partition() {
        let partitions = ["sum(K_action)", "sum(B_action)", "count"].map(|s| partition_of("action", s, 8));
        assert_eq!(partitions, [0, 1, 7]);
    }
}
