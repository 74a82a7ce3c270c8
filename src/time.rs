//! The wall clock, and waits that grow with each failure. Invariant: nothing here overflows or panics.

use outlier_core::pipeline::Millis;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// No more doublings than these: a thousandfold.
const DOUBLINGS: u32 = 10;

/// Milliseconds since the epoch.
pub fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX)
}

/// The wait after a failure: the first after none before it, doubled by each that was, up to the longest.
pub fn doubled(first: Duration, before: u32, longest: Duration) -> Duration {
    first.saturating_mul(1 << before.min(DOUBLINGS)).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_limit() {
        let second = Duration::from_secs;
        for (before, want) in [(0, 1), (1, 2), (3, 8), (6, 60), (u32::MAX, 60)] {
            assert_eq!(doubled(second(1), before, second(60)), second(want), "after {before}");
        }
    }
}
