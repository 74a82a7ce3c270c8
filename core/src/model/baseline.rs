//! The expected level of a series by time of day: a level and [`SLOTS`] slots, on the scale of the link.
//!
//! Used by `model`, which scores a window against it and then lets it learn. It is a Kalman filter with a
//! diagonal covariance: an innovation is shared out in proportion to what is uncertain, so that a young slot
//! learns the rhythm, while between known slots the level follows the traffic of today.
//!
//! Invariants: state is kept in `f32` exactly as it is encoded; all values are finite; a slot's variance is
//! [`UNSEEN`] or above zero.

use crate::pipeline::Millis;
use libm::{exp, floor};

/// Slots over the day; between their centres the baseline is interpolated.
pub(super) const SLOTS: usize = 24;
/// Variance of a slot that has learned nothing.
pub(super) const UNSEEN: f32 = -1.0;
const DAY: Millis = 86_400_000;
const HOUR: f64 = 3_600_000.0;
/// Variance of the level while nothing is known, or when it is given up.
const OPEN: f32 = 1.0;
/// The level's variance grows to at most this by waiting.
const IDLE_CAP: f64 = 0.5;
/// Growth of the level's variance: 10 % an hour.
const LEVEL_DRIFT: f64 = 0.01;
/// On the first day, the level drifts by this part of it: what changes then is the rhythm.
const FIRST_DAY: f64 = 0.05;
/// How fast the speed of the drift is learned, how strongly it is drawn to the assumed one, and its bounds.
const HURRY: f64 = 0.1;
const HURRY_LEAK: f64 = 0.01;
pub(super) const HASTE: (f64, f64) = (-9.0, 3.0);
/// Growth of a slot's variance: 5 % a day.
const SLOT_DRIFT: f64 = 0.0025;
/// How much the next, still unknown slot may differ from its neighbour: 30 %.
const SLOT_STEP: f32 = 0.1;
/// How much a slot may differ from all others: 50 %.
const SLOT_SPREAD: f32 = 0.25;
/// Variances do not fall below this, so that nothing is ever learned for good.
const FLOOR: f64 = 1e-8;
/// Bound of an amount's level and offsets, whatever the values.
pub(super) const REACH: f64 = 1e35;
/// The same on a logarithmic scale.
pub(super) const LOG_REACH: f64 = 200.0;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Slot {
    /// Offset from the level.
    pub(super) offset: f32,
    /// Variance of the offset, or [`UNSEEN`].
    pub(super) variance: f32,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Baseline {
    /// Level of today, on the link's scale.
    pub(super) level: f32,
    /// Variance of the level.
    pub(super) variance: f32,
    pub(super) slots: [Slot; SLOTS],
    /// Natural logarithm of how much faster than assumed the level drifts.
    pub(super) haste: f32,
    /// Standardised innovation of the window before, 0 if there was none.
    pub(super) echo: f32,
}

/// Where a window lies between two slot centres, with the weight of each.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place([(usize, f64); 2]);

impl Place {
    /// The place of a window's middle.
    pub(super) fn of(start: Millis, window: Millis) -> Self {
        let middle = start.saturating_add(window / 2).rem_euclid(DAY);
        let at = middle as f64 * SLOTS as f64 / DAY as f64 - 0.5 + SLOTS as f64;
        let slot = floor(at);
        let (first, weight) = (slot as usize % SLOTS, at - slot);
        Self([(first, 1.0 - weight), ((first + 1) % SLOTS, weight)])
    }
}

impl Baseline {
    pub(super) fn new() -> Self {
        let slot = Slot { offset: 0.0, variance: UNSEEN };
        Self { level: 0.0, variance: OPEN, slots: [slot; SLOTS], haste: 0.0, echo: 0.0 }
    }

    /// Lets `elapsed` pass before a window of length `window` at `place`: uncertainty grows, and slots seen
    /// for the first time start from their neighbour, else from the mean of all.
    pub(super) fn advance(&mut self, place: &Place, elapsed: Millis, window: Millis) {
        let hours = (elapsed as f64 / HOUR).clamp(0.0, 1.0);
        let cap = IDLE_CAP.max(f64::from(self.variance));
        let known = self.slots.iter().all(|s| s.variance != UNSEEN);
        let haste = exp(f64::from(self.haste));
        let drift = if known { LEVEL_DRIFT } else { LEVEL_DRIFT * FIRST_DAY } * haste;
        self.variance = (f64::from(self.variance) + drift * hours).min(cap) as f32;
        let [(first, _), (second, _)] = place.0;
        for (this, other) in [(first, second), (second, first)] {
            if self.slots[this].variance == UNSEEN {
                let near = self.slots[other];
                self.slots[this] = if near.variance == UNSEEN {
                    self.average()
                } else {
                    Slot { offset: near.offset, variance: (near.variance + SLOT_STEP).min(SLOT_SPREAD) }
                };
            }
        }
        let visit = (window as f64 * SLOTS as f64 / DAY as f64).min(1.0);
        for (i, weight) in place.0 {
            let slot = &mut self.slots[i];
            let grown = f64::from(slot.variance) + SLOT_DRIFT * haste.min(1.0) * weight * visit;
            slot.variance = grown.min(f64::from(SLOT_SPREAD)) as f32;
        }
    }

    fn average(&self) -> Slot {
        let seen = self.slots.iter().filter(|s| s.variance != UNSEEN);
        let (sum, n) = seen.fold((0.0, 0.0), |(sum, n), s| (sum + f64::from(s.offset), n + 1.0));
        if n == 0.0 {
            return Slot { offset: 0.0, variance: FLOOR as f32 };
        }
        Slot { offset: (sum / n) as f32, variance: SLOT_SPREAD }
    }

    /// Mean and variance on the link's scale.
    pub(super) fn at(&self, place: &Place) -> (f64, f64) {
        let start = (f64::from(self.level), f64::from(self.variance));
        place.0.iter().fold(start, |(mean, variance), &(i, w)| {
            let slot = self.slots[i];
            (mean + w * f64::from(slot.offset), variance + w * w * f64::from(slot.variance))
        })
    }

    /// Moves the prediction at `place` by `step`; `gain` (0 to 1) is how much of its variance is resolved.
    /// The mean stays within `limit`.
    pub(super) fn learn(&mut self, place: &Place, step: f64, gain: f64, limit: (f64, f64)) {
        let reach = if limit.1 > LOG_REACH { REACH } else { LOG_REACH };
        let (mean, total) = self.at(place);
        let step = (mean + step).clamp(limit.0, limit.1) - mean;
        let resolve = |variance: f32, weight: f64| {
            let own = f64::from(variance);
            let part = weight * own / total;
            let left = own * (1.0 - gain * weight * part);
            (part * step, left.max(FLOOR) as f32)
        };
        let (move_by, left) = resolve(self.variance, 1.0);
        self.level = (f64::from(self.level) + move_by).clamp(-reach, reach) as f32;
        self.variance = left;
        for (i, weight) in place.0 {
            let slot = &mut self.slots[i];
            let (move_by, left) = resolve(slot.variance, weight);
            slot.offset = (f64::from(slot.offset) + move_by).clamp(-reach, reach) as f32;
            slot.variance = left;
        }
    }

    /// Learns how fast the level drifts from two innovations in a row, standardised: a filter that follows too
    /// slowly sees them alike, one that follows too fast sees them alternate. Where `gain` is small the speed
    /// hardly matters, and hardly shows.
    pub(super) fn hurry(&mut self, innovation: f64, gain: f64) {
        let innovation = innovation.clamp(-3.0, 3.0);
        let haste = f64::from(self.haste);
        let change = HURRY * gain * (innovation * f64::from(self.echo) - HURRY_LEAK * haste);
        self.haste = (haste + change).clamp(HASTE.0, HASTE.1) as f32;
        self.echo = innovation as f32;
    }

    /// Gives the level up: nothing is known of it. The rhythm stays.
    pub(super) fn reopen(&mut self) {
        self.variance = OPEN;
        self.echo = 0.0;
    }

    /// Sets the level, known to this variance.
    pub(super) fn settle(&mut self, level: f32, variance: f32) {
        (self.level, self.variance, self.echo) = (level, variance, 0.0);
    }
}
