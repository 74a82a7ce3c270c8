//! Whose fault it is that the index fails with a document: its own, or the index's.
//!
//! Pure: times come in. Invariant: as long as the index takes nothing else of the stage either, nothing is held against a
//! document.

use std::time::Duration;
use tokio::time::Instant;

/// So often must others have been taken between two failures in a row, and for so long.
const ROUNDS: u32 = 3;
const LEAST: Duration = Duration::from_secs(60);

/// What speaks against the documents of a stage that a batch still has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Blame {
    since: Option<Instant>,
    rounds: u32,
    taken: u64,
}

impl Blame {
    /// Notes a failure; `taken` is how many documents of their stage the sink has brought into the index so far. True when
    /// it is the documents' own fault: one after the other was taken, and these were not.
    pub fn failed(&mut self, taken: u64, now: Instant) -> bool {
        let since = *self.since.get_or_insert(now);
        if taken > self.taken {
            self.rounds += 1;
            self.taken = taken;
        }
        self.rounds > ROUNDS && now.duration_since(since) >= LEAST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_must_have_been_taken_for_a_while() {
        let start = Instant::now();
        for (failures, want) in [
            // Seconds and documents taken until then.
            (&[(0, 5), (20, 6), (40, 7), (61, 8)][..], true),
            (&[(0, 5), (20, 6), (40, 7), (59, 8)], false),
            (&[(0, 5), (20, 6), (40, 6), (600, 7)], false),
            (&[(0, 5), (600, 5), (1_200, 5), (6_000, 5), (9_000, 5)], false),
            (&[(0, 0), (1, 1), (2, 2), (3, 3), (4, 4), (300, 4)], true),
        ] {
            let mut blame = Blame::default();
            let verdicts =
                failures.iter().map(|(second, taken)| blame.failed(*taken, start + Duration::from_secs(*second)));
            assert_eq!(verdicts.collect::<Vec<_>>().last(), Some(&want), "{failures:?}");
        }
    }
}
