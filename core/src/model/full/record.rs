//! The record term: what a component gains when it is larger than it has ever been, lately.
//!
//! Third step of a point, once for each component. Invariant: the term lies between 0 and [`MOST`].

use super::tail::{OFFSET, WARM};
use libm::log;

/// The largest term.
const MOST: f64 = 10.0;
/// What is left of the largest value with each point.
const KEPT: f64 = 0.9999;

/// The largest value and the mean of one component.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Record {
    pub(super) largest: f64,
    pub(super) mean: f64,
}

impl Record {
    /// The term of the value of point `i`; then learns it.
    pub(super) fn observe(&mut self, value: f64, i: f64) -> f64 {
        let bound = self.largest + OFFSET * self.mean;
        let term = match () {
            () if i < WARM as f64 || value <= bound => 0.0,
            () if bound > 0.0 => (1.0 + 10.0 * log(value / bound)).min(MOST),
            () => 1.0,
        };
        self.largest = (self.largest * KEPT).max(value);
        self.mean += 0.001_f64.max(1.0 / (i + 1.0)) * (value - self.mean);
        term
    }
}
