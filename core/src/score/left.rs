//! What a detector left out, until the rows of a window tell of it.
//!
//! Used by `scoring`. Invariant: what frames say of open panes is read again after a restart, like the panes
//! themselves; the rest is part of the progress record. So a row says the same whoever closes the window.

use crate::pipeline::{Detector, Millis};
use crate::window::{LeftOut, window_start};
use std::collections::BTreeMap;

/// The counts of one detector in one windows partition.
#[derive(Debug, Default)]
pub(super) struct Left {
    /// Of open panes by their end, with the offset of the first frame that tells of it.
    open: BTreeMap<Millis, (i64, LeftOut)>,
    /// Of closed panes that belong to a window to come, and of records that came after the close, by the end of the hop.
    pub kept: BTreeMap<Millis, LeftOut>,
}

/// The end of the hop that the pane with this end lies in.
pub(super) fn slot(end: Millis, hop: Millis) -> Millis {
    window_start(end.saturating_sub(1), hop).saturating_add(hop)
}

impl Left {
    /// Counts for an open pane, told by the frame at `offset`.
    pub fn add(&mut self, end: Millis, offset: i64, left_out: &LeftOut) {
        self.open.entry(end).or_insert((offset, LeftOut::default())).1.merge(left_out);
    }

    /// Counts for the pane that ends at `end`, for good.
    pub fn keep(&mut self, end: Millis, left_out: &LeftOut, detector: &Detector) {
        self.kept.entry(slot(end, detector.hop)).or_default().merge(left_out);
    }

    /// Offset of the first frame that tells of an open pane.
    pub fn needs(&self) -> Option<i64> {
        self.open.values().map(|(first, _)| *first).min()
    }

    /// What was left out in the course of the window that ends at `end`.
    pub fn window(&self, end: Millis, detector: &Detector) -> LeftOut {
        let begin = end.saturating_sub(detector.window);
        let kept = self.kept.range(..=end).map(|(slot, left_out)| (*slot, left_out));
        let open = self.open.range(..=end).map(|(end, (_, left_out))| (slot(*end, detector.hop), left_out));
        let mut sum = LeftOut::default();
        kept.chain(open).filter(|(slot, _)| *slot > begin).for_each(|(_, left_out)| sum.merge(left_out));
        sum
    }

    /// Panes up to `end` are closed: what no window to come needs is forgotten.
    pub fn close(&mut self, end: Millis, detector: &Detector) {
        while let Some(pane) = self.open.first_entry().filter(|pane| *pane.key() <= end) {
            let (end, (_, left_out)) = pane.remove_entry();
            self.keep(end, &left_out, detector);
        }
        let begin = window_start(end, detector.hop).saturating_add(detector.hop).saturating_sub(detector.window);
        self.kept.retain(|slot, _| *slot > begin);
    }

    /// The transaction was aborted: `kept` is what it was, and the rest is to be read again.
    pub fn go_back(&mut self, kept: BTreeMap<Millis, LeftOut>) {
        self.open.clear();
        self.kept = kept;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_tells_of_its_own_panes_alone() {
        let mut detector = Detector::new("d", Vec::new(), 180_000, 0);
        detector.hop = 60_000;
        let late = |late| LeftOut { late, ..LeftOut::default() };
        let mut left = Left::default();
        let mut seen = Vec::new();
        for minute in 1..=6i64 {
            left.add(minute * 60_000, minute, &late(1 << minute));
            assert_eq!(left.needs(), Some(minute), "what is closed is not read again");
            seen.push(left.window(minute * 60_000, &detector).late);
            left.close(minute * 60_000, &detector);
        }
        assert_eq!(seen, [2, 6, 14, 28, 56, 112]);
        assert_eq!(left.kept.len(), 2);
        left.keep(7 * 60_000, &late(1), &detector);
        assert_eq!(left.window(7 * 60_000, &detector).late, 32 + 64 + 1);
    }
}
