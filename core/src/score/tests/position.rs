//! What a windows partition has to commit: what closed, and its position where it is asked for.

use super::{Bench, MINUTE, by};
use crate::measure::Measure;
use crate::score::Position;

#[test]
fn frames_that_close_nothing_need_no_commit() {
    let mut bench = Bench::new(by(vec![Measure::Count], &[]));
    let partition = crate::window::partition_of("d", "", 2);
    bench.add(0, &[], None);
    bench.flow();
    // Seconds, what asking with and without the position gives, and the offset of the oldest frame that is needed.
    for (offset, second, closes) in [(1, 1, false), (2, 2, false), (3, 61, true), (4, 62, false)] {
        bench.add(second * 1_000, &[], None);
        let outgoing = bench.counter.take(1);
        let scorer = &mut bench.scorers[partition as usize];
        scorer.apply(offset, &outgoing.frames[&partition]);
        while scorer.close(1).is_some() {}
        assert!(scorer.has_changes(Position::Due));
        let changes = scorer.take_changes(Position::MayWait);
        assert_eq!(changes.is_some(), closes, "second {second}");
        assert_eq!(scorer.has_changes(Position::Due), !closes, "what was not taken is still there");
        let first = if second * 1_000 < MINUTE { 0 } else { 3 };
        let changes = changes.or_else(|| scorer.take_changes(Position::Due));
        assert_eq!(changes.map(|changes| changes.offset), Some(first), "second {second}");
        assert!(!scorer.has_changes(Position::Due));
        scorer.commit();
    }
}
