//! How long to wait before the next attempt.
//!
//! Invariant: waits grow from a fifth of a second to ten, and are spread so that instances do not come back at once.

use crate::time::doubled;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(10);

/// Waits between attempts that fail in a row.
#[derive(Debug, Clone, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The next wait: doubled each time, then between half of it and all of it.
    pub fn next_wait(&mut self) -> Duration {
        let whole = doubled(FIRST, self.failures, LONGEST);
        self.failures = self.failures.saturating_add(1);
        // The standard library's only source of randomness; spreading needs no better one.
        let random = RandomState::new().build_hasher().finish() % 1_000;
        whole.mul_f64(0.5 + random as f64 / 2_000.0)
    }

    /// Waits that long.
    pub async fn wait(&mut self) {
        tokio::time::sleep(self.next_wait()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_cap() {
        let mut backoff = Backoff::default();
        let waits: Vec<Duration> = (0..40).map(|_| backoff.next_wait()).collect();
        for (i, wait) in waits.iter().enumerate() {
            let whole = doubled(FIRST, i as u32, LONGEST);
            assert!(*wait >= whole / 2 && *wait <= whole, "{i}: {wait:?}");
        }
    }
}
