//! The broker's clock: milliseconds since the Unix epoch that never run backwards.
//!
//! Only the async shell reads it; logs, groups and transactions are given `now`.
//!
//! Invariant: two reads of one clock never decrease, even when the system's clock is set back.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Milliseconds since the Unix epoch.
pub(crate) type Millis = i64;

/// The system's time at the start, carried on by a monotonic clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    started: Instant,
    epoch_ms: Millis,
}

impl Clock {
    pub(crate) fn start() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { started: Instant::now(), epoch_ms: millis(since_epoch) }
    }

    pub(crate) fn now(&self) -> Millis {
        self.epoch_ms.saturating_add(millis(self.started.elapsed()))
    }

    /// The instant at which `now()` will have reached `at` (at most a day ahead, so that it always exists).
    pub(crate) fn instant(&self, at: Millis) -> Instant {
        let ahead = at.saturating_sub(self.now()).clamp(0, 86_400_000);
        Instant::now() + Duration::from_millis(ahead.unsigned_abs())
    }
}

fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX)
}
