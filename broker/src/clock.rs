//! The broker's clocks: the time of day that records carry, and the time by which spans are measured.
//!
//! Only the async shell reads them; logs, groups and transactions are given `now`.
//!
//! Producers stamp records with their wall clocks, so records are held against this machine's: it goes on while the
//! machine is suspended. Sessions, rebalances and transactions are measured by a monotonic clock, because a wall clock
//! that is set forward by hours, or a machine that wakes, would else end all of them at once.
//!
//! Invariant: two reads of one clock never decrease, even when the system's clock is set back.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Milliseconds.
pub(crate) type Millis = i64;

/// One moment, on both clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    /// Since the Unix epoch: for the times of records.
    pub(crate) wall: Millis,
    /// Since the broker's start: for spans and deadlines.
    pub(crate) steady: Millis,
}

#[derive(Debug)]
pub(crate) struct Clock {
    started: Instant,
    /// Reads the wall clock.
    wall: fn() -> Millis,
    /// The latest time of day that was read.
    latest: AtomicI64,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self::reading(|| millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()))
    }

    /// A clock that takes the time of day from `wall`.
    pub(crate) fn reading(wall: fn() -> Millis) -> Self {
        Self { started: Instant::now(), wall, latest: AtomicI64::new(0) }
    }

    pub(crate) fn now(&self) -> Now {
        let read = (self.wall)();
        let latest = self.latest.fetch_max(read, Ordering::Relaxed);
        Now { wall: latest.max(read), steady: millis(self.started.elapsed()) }
    }

    /// The instant at which the steady clock will have reached `at` (at most a day ahead, so that it always exists).
    pub(crate) fn instant(&self, at: Millis) -> Instant {
        let ahead = at.saturating_sub(self.now().steady).clamp(0, 86_400_000);
        Instant::now() + Duration::from_millis(ahead.unsigned_abs())
    }
}

fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Millis = 3_600_000;

    #[test]
    fn follows_the_wall_clock_forward_only() {
        static WALL: AtomicI64 = AtomicI64::new(0);
        let clock = Clock::reading(|| WALL.load(Ordering::Relaxed));
        // What the wall clock shows, and what the records are held against.
        let readings = [(10 * HOUR, 10 * HOUR), (12 * HOUR, 12 * HOUR), (10 * HOUR, 12 * HOUR), (13 * HOUR, 13 * HOUR)];
        let mut steady = 0;
        for (shown, expected) in readings {
            WALL.store(shown, Ordering::Relaxed);
            let now = clock.now();
            assert_eq!(now.wall, expected, "{shown}");
            assert!((steady..HOUR).contains(&now.steady), "spans do not jump: {}", now.steady);
            steady = now.steady;
        }
    }
}
