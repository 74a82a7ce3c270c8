//! What the client says of its own fetching: partitions that it does not read.
//!
//! The client gives a partition up with one error, and a pause, which each rebalance makes, may throw that away; for a
//! leader it waits without a word. Its statistics say both.
//!
//! Invariant: what is told did not fetch at two statistics in turn, some seconds apart, and was not assigned anew between
//! them: for a moment after that no partition is fetched. Statistics that come together were queued while nobody polled.

use rdkafka::{ClientConfig, Statistics};
use std::collections::BTreeSet;
use std::mem::take;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Between two statistics.
const EVERY: Duration = Duration::from_secs(5);
/// What the client calls a partition that it reads, and one of which it asks a new leader whether it has what was read; that
/// it asks again by itself, and reading anew would leave the question out.
const READ: [&str; 2] = ["active", "validate-epoch-wait"];

/// A partition of any topic.
pub type Place = (String, i32);

/// Partitions that are not fetched, ours or not.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Still {
    /// Neither read nor about to be.
    pub given_up: BTreeSet<Place>,
    /// Without a leader.
    pub leaderless: BTreeSet<Place>,
}

impl Still {
    fn of(statistics: &Statistics) -> Self {
        let mut still = Self::default();
        for (topic, found) in &statistics.topics {
            for (partition, found) in &found.partitions {
                let place = || (topic.clone(), *partition);
                if found.leader < 0 {
                    still.leaderless.insert(place());
                } else if !READ.contains(&found.fetch_state.as_str()) {
                    still.given_up.insert(place());
                }
            }
        }
        still
    }

    /// What is in both.
    fn and(&self, other: &Self) -> Self {
        let both = |one: &BTreeSet<Place>, other| one.intersection(other).cloned().collect();
        Self { given_up: both(&self.given_up, &other.given_up), leaderless: both(&self.leaderless, &other.leaderless) }
    }
}

/// Keeps what a consumer's last statistics said.
#[derive(Debug, Default)]
pub struct Fetching(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    /// When the last came, and what it said.
    last: Option<(Instant, Still)>,
    /// In the last and the one before.
    still: Option<Still>,
}

impl Fetching {
    /// Lets a consumer tell.
    pub fn set(settings: &mut ClientConfig) {
        settings.set("statistics.interval.ms", EVERY.as_millis().to_string());
    }

    /// Takes statistics in.
    pub fn told(&self, statistics: &Statistics) {
        self.told_at(Instant::now(), statistics);
    }

    fn told_at(&self, now: Instant, statistics: &Statistics) {
        let still = Still::of(statistics);
        let mut told = self.lock();
        if let Some((at, last)) = &told.last
            && now.duration_since(*at) >= EVERY / 2
        {
            told.still = Some(still.and(last));
        }
        told.last = Some((now, still));
    }

    /// Partitions were assigned.
    pub fn assigned(&self) {
        *self.lock() = Told::default();
    }

    /// What stands still, once after each of the statistics.
    pub fn still(&self) -> Option<Still> {
        take(&mut self.lock().still)
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::statistics::{Partition, Topic};

    /// Statistics of partitions of one topic: leader and state.
    fn statistics(partitions: &[(i32, &str)]) -> Statistics {
        let partition = |(number, (leader, state)): (i32, &(i32, &str))| {
            let fetch_state = (*state).to_owned();
            (number, Partition { partition: number, leader: *leader, fetch_state, ..Default::default() })
        };
        let partitions = (0..).zip(partitions).map(partition).collect();
        let topic = Topic { topic: "t".to_owned(), partitions, ..Default::default() };
        Statistics { topics: [("t".to_owned(), topic)].into(), ..Default::default() }
    }

    fn still(given_up: &[i32], leaderless: &[i32]) -> Option<Still> {
        let places = |partitions: &[i32]| partitions.iter().map(|partition| ("t".to_owned(), *partition)).collect();
        Some(Still { given_up: places(given_up), leaderless: places(leaderless) })
    }

    #[test]
    fn what_is_not_fetched_twice_in_turn_is_told() {
        let first = [(1, "active"), (1, "none"), (-1, "active"), (1, "offset-wait"), (-1, "none")];
        let second = [(1, "none"), (1, "none"), (-1, "none"), (1, "validate-epoch-wait"), (1, "none")];
        let (fetching, mut now) = (Fetching::default(), Instant::now());
        // After how long which statistics come, whether partitions are assigned before, and what is told.
        for (after, partitions, assigned, want) in [
            (EVERY, &first, false, None),
            (EVERY, &second, false, still(&[1], &[2])),
            (EVERY, &second, true, None),
            (Duration::ZERO, &second, false, None),
            (EVERY, &second, false, still(&[0, 1, 4], &[2])),
            (EVERY / 4, &second, false, None),
            (EVERY, &first, false, still(&[1], &[2])),
        ] {
            now += after;
            if assigned {
                fetching.assigned();
            }
            fetching.told_at(now, &statistics(partitions));
            assert_eq!(fetching.still(), want, "after {after:?}");
            assert_eq!(fetching.still(), None, "once");
        }
    }
}
