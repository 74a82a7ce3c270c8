//! Which source partitions wait for slower ones, so that uneven catch-up holds few windows open.
//!
//! Each instance looks at what the whole group has committed and finds the slowest partition that is *catching up*;
//! partitions that are ahead of it by more than the allowed time are not read on. It decides in which order records
//! are read and nothing else: scores do not depend on it.
//!
//! A look is soon out of date, and the faster partitions are read the sooner. So that partitions that keep step are
//! not slowed down, what the fastest of them moved between the last two looks is allowed twice on top.
//!
//! Invariants: the slowest partition never waits, so somebody always goes on; a partition holds the others only while
//! its owner gets on with a backlog, and for at most [`PATIENCE`] after that, so neither a partition that nobody
//! reads nor one with old clocks stops the rest for good.

use super::SourceTime;
use crate::pipeline::Millis;
use std::collections::BTreeMap;

/// A partition holds the others for this long after it was last seen to get on with a backlog; milliseconds.
pub const PATIENCE: Millis = 60_000;

/// What the group has committed for a source partition, and where it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The committed offset.
    pub offset: i64,
    /// Its metadata.
    pub time: SourceTime,
    /// The partition's last stable offset, if the broker said it.
    pub end: Option<i64>,
}

/// How far partitions may be read for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// The slowest partition, which is not limited.
    pub slowest: i32,
    /// The stream time that others may reach.
    pub time: Millis,
    /// Those that wait go on when they are so far below it that what is fetched then is worth it.
    slack: Millis,
}

impl Limit {
    /// Whether a partition at stream time `time` must not be read on; `waits` if it waits already.
    pub fn holds(&self, partition: i32, time: Millis, waits: bool) -> bool {
        let slack = if waits { self.slack } else { 0 };
        partition != self.slowest && time > self.time.saturating_sub(slack)
    }
}

/// Watches the source partitions of a group.
pub struct Alignment {
    align: Millis,
    sources: BTreeMap<i32, Seen>,
    limit: Option<Limit>,
}

/// A partition as of the last look.
struct Seen {
    offset: i64,
    time: Millis,
    end: Option<i64>,
    /// When it was last seen to get on with a backlog, or to wait with one.
    busy: Option<Millis>,
}

impl Alignment {
    /// Partitions may be ahead of the slowest by `align` milliseconds of event time.
    pub fn new(align: Millis) -> Self {
        Self { align, sources: BTreeMap::new(), limit: None }
    }

    /// Takes in what is committed for every partition of the group, about twice a second. `now` is in milliseconds of a
    /// clock that never goes back. Answers how far partitions may be read until the next look; `None` is as far as they
    /// go.
    pub fn look(&mut self, now: Millis, standings: &BTreeMap<i32, Standing>) -> Option<Limit> {
        // One without a stream time, or idle, has nothing that others could wait for.
        let speaks = |standing: &&Standing| standing.time.time.is_some() && !standing.time.idle;
        self.sources.retain(|partition, _| standings.get(partition).filter(speaks).is_some());
        let (mut slowest, mut moved): (Option<(Millis, i32)>, Millis) = (None, 0);
        for (&partition, standing) in standings.iter().filter(|(_, standing)| speaks(standing)) {
            let Some(time) = standing.time.time else { continue };
            let busy = match self.sources.get(&partition) {
                // What came since the last look need not have been read: a live partition has no backlog.
                Some(seen) => {
                    let behind = seen.end.is_some_and(|end| standing.offset < end);
                    let waits = self.limit.is_some_and(|limit| limit.holds(partition, time, true));
                    if behind && (waits || standing.offset != seen.offset) { Some(now) } else { seen.busy }
                }
                None => standing.end.is_some_and(|end| standing.offset < end).then_some(now),
            };
            if busy.is_some_and(|busy| now.saturating_sub(busy) <= PATIENCE) {
                slowest = Some(slowest.map_or((time, partition), |slowest| slowest.min((time, partition))));
                let before = self.sources.get(&partition).map_or(time, |seen| seen.time);
                moved = moved.max(time.saturating_sub(before));
            }
            self.sources.insert(partition, Seen { offset: standing.offset, time, end: standing.end, busy });
        }
        self.limit = slowest.map(|(time, slowest)| Limit {
            slowest,
            time: time.saturating_add(self.align).saturating_add(moved.saturating_mul(2)),
            slack: self.align / 2,
        });
        self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALIGN: Millis = 10_000;

    fn standing(offset: i64, time: Millis, end: i64) -> Standing {
        Standing { offset, time: SourceTime { time: Some(time), idle: false }, end: Some(end) }
    }

    fn slowest(limit: Option<Limit>) -> Option<i32> {
        limit.map(|limit| limit.slowest)
    }

    /// The slowest partition, and what others may reach less [`ALIGN`], in looks a second apart, with the partitions as
    /// (offset, time, end).
    fn looks(looks: &[&[(i64, Millis, i64)]]) -> Vec<Option<(i32, Millis)>> {
        let mut alignment = Alignment::new(ALIGN);
        let table = |row: &[(i64, Millis, i64)]| {
            (0..).zip(row.iter().map(|(offset, time, end)| standing(*offset, *time, *end))).collect()
        };
        let look = |(second, row): (Millis, &&[(i64, Millis, i64)])| {
            alignment.look(second * 1_000, &table(row)).map(|limit| (limit.slowest, limit.time - ALIGN))
        };
        (0..).zip(looks).map(look).collect()
    }

    #[test]
    fn the_slowest_that_catches_up_decides() {
        // Both have a backlog from the beginning; then the first is through.
        assert_eq!(
            looks(&[&[(1, 100, 50), (1, 900, 50)], &[(9, 300, 50), (9, 990, 50)], &[(50, 400, 50), (19, 999, 50)]]),
            // The fastest moved by 200, then by 100; twice that is allowed on top.
            [Some((0, 100)), Some((0, 300 + 400)), Some((0, 400 + 200))]
        );
        // Live partitions: all that had come by the last look is read. One's clock is far behind; nobody waits.
        assert_eq!(looks(&[&[(5, 100, 5), (5, 90_000, 5)], &[(8, 101, 9), (9, 90_001, 9)]]), [None, None]);
    }

    #[test]
    fn what_has_nothing_to_read_holds_nobody() {
        let mut alignment = Alignment::new(ALIGN);
        let behind = standing(1, 0, 100);
        let idle = Standing { time: SourceTime { idle: true, ..behind.time }, ..behind };
        let empty = Standing { time: SourceTime::default(), ..behind };
        let unknown = Standing { end: None, ..behind };
        for nobody in [idle, empty, unknown] {
            assert_eq!(alignment.look(0, &[(0, nobody)].into()), None);
        }
        assert_eq!(slowest(alignment.look(0, &[(1, behind)].into())), Some(1));
    }

    #[test]
    fn a_partition_that_does_not_move_is_given_up() {
        let mut alignment = Alignment::new(ALIGN);
        let stuck = (0, standing(1, 0, 100));
        let mut given_up = None;
        for second in 0..120 {
            let live = (1, standing(second, second * 1_000, second));
            if alignment.look(second * 1_000, &[stuck, live].into()).is_none() {
                given_up = given_up.or(Some(second));
            }
        }
        assert_eq!(given_up, Some(PATIENCE / 1_000 + 1));
        // When it moves again, it counts again.
        assert_eq!(slowest(alignment.look(121_000, &[(0, standing(2, 5, 100))].into())), Some(0));
    }

    #[test]
    fn one_that_waits_is_not_given_up() {
        let mut alignment = Alignment::new(ALIGN);
        let waiting = |offset| (1, standing(offset, 50_000, 100));
        for second in 0..200 {
            let slow = (0, standing(second, second * 10, 1_000));
            let standings = [slow, waiting(5), (2, standing(5, 90_000, 100))].into();
            assert_eq!(slowest(alignment.look(second * 1_000, &standings)), Some(0));
        }
        // The slow one is gone: the next one holds the third.
        let gone = Standing { time: SourceTime { time: Some(2_000), idle: true }, ..standing(1_000, 0, 1_000) };
        let standings = [(0, gone), waiting(5), (2, standing(5, 90_000, 100))].into();
        assert_eq!(slowest(alignment.look(200_000, &standings)), Some(1));
    }

    #[test]
    fn waiting_has_two_thresholds() {
        let limit = Limit { slowest: 3, time: 10_000, slack: 5_000 };
        for (partition, time, waits, expected) in [
            (0, 10_000, false, false),
            (0, 10_001, false, true),
            (0, 5_001, true, true),
            (0, 5_000, true, false),
            (3, i64::MAX, true, false),
        ] {
            assert_eq!(limit.holds(partition, time, waits), expected, "{partition} {time} {waits}");
        }
    }

    /// However fast they are read, partitions that keep step do not wait for each other.
    #[test]
    fn those_that_keep_step_go_on() {
        let mut alignment = Alignment::new(ALIGN);
        let speed = 100 * ALIGN;
        for second in 0..50 {
            let standing = |ahead| standing(1 + second, second * speed + ahead, 100);
            let limit = alignment.look(second * 1_000, &[(0, standing(0)), (1, standing(ALIGN / 2))].into());
            let next = (second + 1) * speed + ALIGN / 2;
            assert!(second == 0 || !limit.unwrap().holds(1, next, false), "{second}");
        }
    }

    proptest! {
        /// Whatever the partitions hold and however unlike their speeds: none is further ahead than allowed, and all are
        /// read to their ends, though a partition at its end holds the others until it is given up.
        #[test]
        fn all_come_to_their_ends(
            partitions in prop::collection::vec((1i64..200, 1i64..40, 1i64..3_000, -50_000i64..50_000), 1..6),
        ) {
            let mut alignment = Alignment::new(ALIGN);
            let mut offsets = vec![1i64; partitions.len()];
            let mut waits = vec![false; partitions.len()];
            let time = |p: usize, offset: i64| partitions[p].3 + offset * partitions[p].2;
            let most: i64 = partitions.iter().map(|p| p.0 + PATIENCE / 1_000 + 2).sum();
            for second in 0..most {
                let standings = (0..partitions.len())
                    .map(|p| (p as i32, standing(offsets[p], time(p, offsets[p]), partitions[p].0)))
                    .collect();
                let limit = alignment.look(second * 1_000, &standings);
                for (p, (length, speed, step, _)) in partitions.iter().enumerate() {
                    for _ in 0..*speed {
                        let held = |limit: Limit| limit.holds(p as i32, time(p, offsets[p]), waits[p]);
                        waits[p] = limit.is_some_and(held);
                        if !waits[p] && offsets[p] < *length {
                            offsets[p] += 1;
                            let free = |limit: Limit| limit.slowest == p as i32;
                            let allowed = limit.filter(|limit| !free(*limit)).map_or(i64::MAX, |limit| limit.time);
                            prop_assert!(time(p, offsets[p]) <= allowed.saturating_add(*step));
                        }
                    }
                }
            }
            prop_assert!((0..partitions.len()).all(|p| offsets[p] >= partitions[p].0), "{offsets:?}");
        }
    }
}
