//! Partitions that stand still though there is something to read.
//!
//! The client gives a partition up with one error, and a pause, which each rebalance makes, may throw that away: then nothing
//! would ever be heard of the partition again.
//!
//! Invariant: what is told has given neither a record nor its end from one look to the next, though the partition ended behind
//! its position all the time. What comes slowly, or waits in the client, looks the same: so the same partition is told again
//! only after twice as many looks, until something of it comes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(5);
/// After a look at which no broker told the ends.
const AFTER_SILENCE: Duration = Duration::from_secs(30);
/// The most looks between two times that a partition is told.
const MOST_PATIENCE: u32 = 64;

/// What was seen of a partition at the last look.
#[derive(Clone, Copy)]
struct Seen {
    /// The next record's offset.
    position: i64,
    /// Its end was given since.
    at_end: bool,
    /// Where it ended, if it stood still.
    end: Option<i64>,
    /// Up to where the client said that nothing is left: ends of transactions come as no record.
    nothing_until: i64,
    /// For so many looks it has stood still with something to read, of how many.
    still: u32,
    patience: u32,
}

/// Looks at the partitions of a worker.
pub struct Watch {
    seen: BTreeMap<i32, Seen>,
    due: Instant,
}

impl Watch {
    /// Nothing was seen yet.
    pub fn new() -> Self {
        Self { seen: BTreeMap::new(), due: Instant::now() + EVERY }
    }

    /// It is time for a look.
    pub fn is_due(&self) -> bool {
        self.due <= Instant::now()
    }

    /// The end of a partition was given.
    pub fn at_end(&mut self, partition: i32) {
        if let Some(seen) = self.seen.get_mut(&partition) {
            seen.at_end = true;
        }
    }

    /// Those of the partitions in `positions` (of the next record) that must be read anew. `ends` is asked where those end
    /// that stand still; `None`: no broker answers. Of other partitions nothing is remembered.
    pub fn look(
        &mut self,
        positions: &BTreeMap<i32, i64>,
        ends: impl FnOnce(Vec<i32>) -> Option<BTreeMap<i32, i64>>,
    ) -> Vec<i32> {
        self.seen.retain(|partition, _| positions.contains_key(partition));
        let stands = |(partition, seen): (&i32, &Seen)| {
            (!seen.at_end && positions.get(partition) == Some(&seen.position)).then_some(*partition)
        };
        let standing: Vec<i32> = self.seen.iter().filter_map(stands).collect();
        let ends = if standing.is_empty() { Some(BTreeMap::new()) } else { ends(standing.clone()) };
        self.due = Instant::now() + if ends.is_some() { EVERY } else { AFTER_SILENCE };
        let Some(ends) = ends else { return Vec::new() };
        let mut told = Vec::new();
        for (partition, position) in positions {
            let new = Seen { position: *position, at_end: false, end: None, nothing_until: 0, still: 0, patience: 1 };
            let seen = self.seen.entry(*partition).or_insert(new);
            if standing.binary_search(partition).is_err() {
                let nothing_until = seen.end.filter(|_| seen.at_end).unwrap_or(seen.nothing_until);
                *seen = Seen { nothing_until, ..new };
                continue;
            }
            if seen.end.is_some_and(|end| end > seen.nothing_until.max(*position)) {
                seen.still += 1;
            }
            if seen.still >= seen.patience {
                told.push(*partition);
                (seen.still, seen.patience) = (0, (2 * seen.patience).min(MOST_PATIENCE));
            }
            seen.end = ends.get(partition).copied();
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One partition's looks: position, end, whether its end was given since the look before; those at which it is told.
    fn check(what: &str, looks: &[(i64, i64, bool)], want: &[usize]) {
        let mut watch = Watch::new();
        let mut told = Vec::new();
        for (index, (position, end, at_end)) in looks.iter().enumerate() {
            if *at_end {
                watch.at_end(0);
            }
            if !watch.look(&BTreeMap::from([(0, *position)]), |_| Some(BTreeMap::from([(0, *end)]))).is_empty() {
                told.push(index);
            }
        }
        assert_eq!(told, want, "{what}");
    }

    #[test]
    fn what_stands_still_is_told() {
        check("given up for good", &[(5, 9, false); 20], &[2, 4, 8, 16]);
        let later = [(5, 9, true), (9, 9, true), (9, 12, false), (9, 14, false), (9, 14, false)];
        check("given up later", &later, &[3]);
        check(
            "a record between",
            &[(5, 9, false), (5, 9, false), (5, 9, false), (6, 9, false), (6, 9, false), (6, 9, false)],
            &[2, 5],
        );
        check("records come", &[(5, 9, false), (6, 20, false), (7, 30, false)], &[]);
        check("read to its end", &[(9, 9, true), (9, 9, false), (9, 9, false)], &[]);
        let ends =
            [(8, 9, true), (8, 9, false), (8, 9, false), (8, 9, true), (8, 9, false), (8, 9, false), (8, 9, false)];
        check("the end of a transaction, which begins anew once", &ends, &[2]);
        let other = [(8, 9, false), (8, 9, false), (8, 9, true), (8, 11, false), (8, 11, false), (8, 11, false)];
        check("another transaction", &other, &[4]);
        check("emptied", &[(5, 5, true), (5, 5, false), (5, 0, false), (5, 0, false)], &[]);
    }

    #[test]
    fn only_those_that_stand_still_are_asked_for() {
        let mut watch = Watch::new();
        let at = |position| BTreeMap::from([(0, position)]);
        let none = |_: Vec<i32>| -> Option<BTreeMap<i32, i64>> { panic!("nothing stands still") };
        assert!(watch.look(&at(5), none).is_empty());
        assert!(watch.look(&at(6), none).is_empty());
        assert!(watch.look(&at(6), |these| (these == [0]).then(|| at(9))).is_empty());
        assert!(watch.look(&at(6), |_| None).is_empty(), "no broker answers");
        assert_eq!(watch.look(&at(6), |_| Some(at(9))), [0]);
        assert!(watch.look(&BTreeMap::new(), none).is_empty(), "it waits for others");
        assert!(watch.look(&at(6), none).is_empty());
    }
}
