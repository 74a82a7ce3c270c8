//! The time by which records are paced.
//!
//! Invariant: a wait is for a moment, never for a span, so that pacing cannot drift; a clock that is set, or a
//! machine that slept, is noticed within a second.

use crate::time::now;
use outlier_core::pipeline::Millis;
use std::time::Duration;

/// The longest sleep before the clock is looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Tells the time since the epoch.
#[derive(Debug, Clone, Copy)]
pub(super) enum Clock {
    /// The system's clock.
    Wall,
    /// Begins at this time and goes with tokio's clock, which tests stop and advance.
    #[cfg(test)]
    Manual(Millis, tokio::time::Instant),
}

impl Clock {
    /// Milliseconds since the epoch.
    pub fn now(self) -> Millis {
        match self {
            Self::Wall => now(),
            #[cfg(test)]
            Self::Manual(start, since) => start + since.elapsed().as_millis() as Millis,
        }
    }

    /// Waits until it is `at`; at once when it is already.
    pub async fn until(self, at: Millis) {
        loop {
            let left = at.saturating_sub(self.now());
            match u64::try_from(left) {
                Ok(left) if left > 0 => tokio::time::sleep(Duration::from_millis(left).min(LOOK_AGAIN)).await,
                _ => return,
            }
        }
    }
}
