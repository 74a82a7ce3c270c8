//! The level that a series had before its present one was accepted: what it may come back to.
//!
//! Used by `learn`. When an outage has lasted long enough, its zeros are accepted as a new level; without this
//! memory the return would be anomalous for as long again. Invariant: a level is kept for [`KEPT`] at most, and
//! only if it was held for [`HELD`] or nothing better is known, so that what was accepted in between, the outage
//! itself, is never what a series comes back to.

use super::learn::Window;
use super::spread::Spread;
use super::{Model, PATIENCE};
use crate::pipeline::Millis;

/// Windows in a row that must fit the former level before it is taken up again.
pub(super) const RETURNS: u8 = 3;
/// Natural logarithm of the tail probability from which on a value fits: 1 %.
const FITS: f64 = -4.6;
/// Variance of the former level on the link's scale, for it may have moved meanwhile: 20 %.
const UNSURE: f32 = 0.04;
/// How long a level must have been held to be worth more than the one that is already remembered.
const HELD: Millis = 86_400_000;
/// How long a level is remembered: a week.
const KEPT: Millis = 604_800_000;

/// A level that was given up.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Former {
    pub(super) level: f32,
    pub(super) spread: Spread,
}

impl Model {
    /// Remembers the present level, which is about to be given up.
    pub(super) fn remember(&mut self, now: Millis) {
        let held = now.saturating_sub(self.changed);
        if self.former.is_none() || held >= HELD {
            let spread = Spread { pending: [0.0; 2], ..self.spread.clone() };
            self.former = Some(Box::new(Former { level: self.baseline.level, spread }));
        }
        self.changed = now;
        self.returning = 0;
    }

    /// True when this outlier ends a run that fits the former level, which is then the present one again.
    pub(super) fn comes_back(&mut self, window: &Window) -> bool {
        let Some(former) = &self.former else { return false };
        if window.start.saturating_sub(self.changed) > KEPT {
            self.former = None;
            return false;
        }
        let mut back = self.clone();
        back.baseline.settle(former.level, UNSURE);
        back.spread = former.spread.clone();
        let prediction = back.predict(&window.place, window.n);
        if prediction.tail.ln_p(window.value) < FITS {
            self.returning = 0;
            return false;
        }
        self.returning += 1;
        if self.returning < RETURNS {
            return false;
        }
        back.learn_level(window, window.value, &prediction);
        back.suspicion = back.suspicion.min(0.25 * PATIENCE);
        (back.former, back.returning, back.run) = (None, 0, 0);
        *self = back;
        true
    }
}
