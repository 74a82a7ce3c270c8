//! The nodes of a cluster: whose turn it is, and which rest because they were of no use. No I/O.
//!
//! Invariant: every node can be asked; those that rest come last.

use crate::time::doubled;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a node rests after its first failure in a row, and at most; each failure doubles it.
const REST: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// A node and how it did lately.
#[derive(Debug)]
pub struct Node<T> {
    /// How it is reached.
    pub value: T,
    /// Failures in a row, and when it may be asked again before others.
    lately: Mutex<(u32, Option<Instant>)>,
}

/// The nodes, in the order of the configuration.
#[derive(Debug)]
pub struct Nodes<T> {
    all: Vec<Node<T>>,
    turn: AtomicUsize,
}

impl<T> Nodes<T> {
    /// None of them rests.
    pub fn new(values: impl IntoIterator<Item = T>) -> Self {
        let node = |value| Node { value, lately: Mutex::default() };
        Self { all: values.into_iter().map(node).collect(), turn: AtomicUsize::new(0) }
    }

    /// Each node once: the one whose turn it is and those behind it, then those that rest. `once`: the request is asked of
    /// one node only, so that is no node that failed when it was asked last.
    pub fn in_turn(&self, now: Instant, once: bool) -> Vec<&Node<T>> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let count = self.all.len();
        let (resting, mut order): (Vec<_>, Vec<_>) =
            (0..count).map(|i| &self.all[(turn + i) % count]).partition(|node| node.rests(now) || once && node.fails());
        order.extend(resting);
        order
    }
}

impl<T> Node<T> {
    fn lately(&self) -> MutexGuard<'_, (u32, Option<Instant>)> {
        self.lately.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rests(&self, now: Instant) -> bool {
        self.lately().1.is_some_and(|until| until > now)
    }

    fn fails(&self) -> bool {
        self.lately().0 > 0
    }

    /// It answered, and had a cluster behind it.
    pub fn answered(&self) {
        *self.lately() = (0, None);
    }

    /// It did not answer, or reached no cluster.
    pub fn failed(&self, now: Instant) {
        let (failures, until) = &mut *self.lately();
        *until = Some(now + doubled(REST.0, *failures, REST.1));
        *failures = failures.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_fails_comes_last_for_a_while() {
        let nodes = Nodes::new(["a", "b", "c"]);
        let start = Instant::now();
        let asked = |seconds: u64, once: bool| -> String {
            nodes.in_turn(start + Duration::from_secs(seconds), once).iter().map(|node| node.value).collect()
        };
        let order = |seconds: u64| asked(seconds, false);
        assert_eq!([order(0), order(0), order(0), order(0)], ["abc", "bca", "cab", "abc"]);
        let fail = |node: usize, seconds: u64| nodes.all[node].failed(start + Duration::from_secs(seconds));
        fail(1, 0);
        assert_eq!([order(0), order(0), order(1)], ["cab", "cab", "abc"], "for a second");
        fail(1, 1);
        assert_eq!([order(2), order(2), order(3)], ["cab", "cab", "abc"], "then for two");
        (0..20).for_each(|_| fail(1, 3));
        assert_eq!([order(62), order(62), order(63)], ["cab", "cab", "abc"], "and a minute at most");
        assert_eq!([asked(63, true), asked(63, true), asked(63, true)], ["cab", "cab", "acb"], "not while others do");
        (0..3).for_each(|node| fail(node, 63));
        assert_eq!([order(63), order(63)], ["bca", "cab"], "somebody must be asked");
        (0..3).for_each(|node| nodes.all[node].answered());
        assert_eq!(order(63), "abc");
    }
}
