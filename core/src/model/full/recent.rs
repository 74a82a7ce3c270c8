//! Sum of a component's last values.
//!
//! Part of the second step of a point. Invariant: the sum is kept by adding the new and taking the oldest
//! away, of the cells as they are held.

use super::cell::Cell;

/// The last `N` values and sums over the newest of them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Recent<C, const N: usize> {
    pub(super) values: [C; N],
    /// Where the next value goes.
    pub(super) next: usize,
}

impl<C: Cell, const N: usize> Recent<C, N> {
    pub(super) fn new() -> Recent<C, N> {
        Recent { values: [C::default(); N], next: 0 }
    }

    /// The value of `ago` steps before the next one, 1 to `N`.
    pub(super) fn ago(&self, ago: usize) -> f64 {
        self.values[(self.next + N - ago) % N].get()
    }

    /// Forgets the oldest value for this one.
    pub(super) fn push(&mut self, value: C) {
        self.values[self.next] = value;
        self.next = (self.next + 1) % N;
    }
}
