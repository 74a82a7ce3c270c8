//! When surprise becomes an alarm: not again soon, unless twice as strong, and not for what came yesterday.
//!
//! Last step of a point, as the Numenta Anomaly Benchmark asks for it; the score stage has rules of its own.
//! Invariant: an alarm is at least [`Gate::LEAST`] strong.

use libm::{exp2, log10};

/// Half hours of a day.
const SLOTS: usize = 48;
/// Seconds.
const DAY: f64 = 86_400.0;

/// The alarms so far.
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    /// Point and strength of the last alarm.
    last: Option<(u64, f64)>,
    /// Strength and time of what was strong at each half hour.
    habits: [(f64, i64); SLOTS],
}

impl Default for Gate {
    fn default() -> Gate {
        Gate { last: None, habits: [(0.0, 0); SLOTS] }
    }
}

impl Gate {
    /// Strength that an alarm needs.
    pub const LEAST: f64 = 10.0;

    /// Strength of the alarm that the surprise of point `i` at `time` (seconds) raises, if any.
    pub fn observe(&mut self, i: u64, time: i64, surprise: f64) -> Option<f64> {
        let history = (i.max(50) as f64).min(7000.0);
        let strength = surprise - 3.5 * log10(history / 1000.0);
        if strength <= Gate::LEAST {
            return None;
        }
        if let Some((last, before)) = self.last {
            let wait = 25.0_f64.max(0.03 * i as f64);
            if ((i - last) as f64) < wait && strength <= 2.0 * before {
                return None;
            }
        }
        let slot = time.rem_euclid(86_400) as usize / 1800;
        let usual = self.usual(slot, time);
        let habit = &mut self.habits[slot];
        *habit = (faded(*habit, time).max(strength), time);
        if strength <= 0.5 * usual {
            return None;
        }
        self.last = Some((i, strength));
        Some(strength)
    }

    /// What was strongest within an hour and a half of this half hour on days before, fading by half a week.
    fn usual(&self, slot: usize, time: i64) -> f64 {
        let near = (0..7).map(|k| self.habits[(slot + SLOTS + k - 3) % SLOTS]);
        let old = near.filter(|&(_, at)| time - at > 43_200);
        old.map(|habit| faded(habit, time)).fold(0.0, f64::max)
    }
}

fn faded((strength, at): (f64, i64), time: i64) -> f64 {
    strength * exp2(-((time - at) as f64) / DAY / 7.0)
}
