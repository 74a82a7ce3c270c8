//! When surprise becomes an alarm: not again soon, unless twice as strong, and not for what comes every day.
//!
//! Last step of a point, as the Numenta Anomaly Benchmark asks for it; the score stage has rules of its own.
//! Invariant: an alarm is at least [`Gate::LEAST`] strong.

use libm::{exp2, log10};

/// Half hours of a day.
const SLOTS: usize = 48;
/// Seconds.
const DAY: f64 = 86_400.0;

/// How much of what was strongest at this time of the day an alarm must exceed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Habit {
    /// Half of it: the measured prototype.
    Half,
    /// `k / (k + 1)` of it after `k` days on which something was strong: Laplace's rule of succession, by which what came
    /// `k` times will come again with this probability at least.
    Succession,
}

/// The alarms so far.
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    habit: Habit,
    /// Point and strength of the last alarm.
    last: Option<(u64, f64)>,
    /// What was strong at each half hour.
    slots: [Slot; SLOTS],
}

/// What was strong at one half hour.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Slot {
    /// The strongest of it, and how often it was; both as of the last time, in seconds.
    strength: f64,
    times: f64,
    at: i64,
}

impl Slot {
    /// What is left of it: half after a week.
    fn faded(self, time: i64) -> Slot {
        let left = exp2(-((time - self.at) as f64) / DAY / 7.0);
        Slot { strength: self.strength * left, times: self.times * left, at: time }
    }
}

impl Gate {
    /// Strength that an alarm needs.
    pub const LEAST: f64 = 10.0;

    /// No alarm yet.
    pub fn new(habit: Habit) -> Gate {
        Gate { habit, last: None, slots: [Slot::default(); SLOTS] }
    }

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
        let place = time.rem_euclid(86_400) as usize / 1800;
        let usual = self.usual(place, time);
        let slot = &mut self.slots[place];
        let old = slot.faded(time);
        *slot = Slot { strength: old.strength.max(strength), times: old.times + 1.0, at: time };
        if strength <= usual {
            return None;
        }
        self.last = Some((i, strength));
        Some(strength)
    }

    /// What an alarm must exceed by what was strong within an hour and a half of this half hour, on days before.
    fn usual(&self, place: usize, time: i64) -> f64 {
        let near = (0..7).map(|k| self.slots[(place + SLOTS + k - 3) % SLOTS]);
        let old = near.filter(|slot| time - slot.at > 43_200).map(|slot| slot.faded(time));
        let (strongest, times) = old.fold((0.0_f64, 0.0), |(s, n), slot| (s.max(slot.strength), n + slot.times));
        match self.habit {
            Habit::Half => 0.5 * strongest,
            Habit::Succession => times / (times + 1.0) * strongest,
        }
    }
}
