//! Sum of a component's last values.
//!
//! Part of the second step of a point. Invariant: a sum is kept by adding the new and taking the oldest away, of the
//! cells as they are held. What rounding leaves behind does not stay: the sum is taken anew each time around, and when
//! what goes is so much larger than what stays that it hid it.

use super::cell::Cell;

/// A value that goes leaves no more than this part of itself in its sum that is not rounding.
const HIDDEN: f64 = 1e-6;

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

    /// Forgets the oldest value for this one. Each of `sums` is over so many of the newest values.
    pub(super) fn push<const S: usize>(&mut self, value: C, sums: [(&mut f64, usize); S]) {
        let gone = sums.each_ref().map(|(_, newest)| self.ago(*newest));
        self.values[self.next] = value;
        self.next = (self.next + 1) % N;
        for ((sum, newest), gone) in sums.into_iter().zip(gone) {
            *sum += value.get() - gone;
            if self.next == 0 || sum.abs() < HIDDEN * gone.abs() {
                *sum = self.sum(newest);
            }
        }
    }

    /// The sum of so many of the newest values.
    pub(super) fn sum(&self, newest: usize) -> f64 {
        (1..=newest).map(|ago| self.ago(ago)).sum()
    }
}
