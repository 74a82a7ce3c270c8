//! Requests that are on the way: they end in any order, and what they settle is handed out in the order in which they began.
//!
//! Invariant: a slow one holds up no other one's place on the way, and at most [`AHEAD`] that ended wait behind it.

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use std::collections::BTreeMap;
use tokio::task::{JoinError, JoinHandle};

/// They hold offsets only, and after a crash are sent again.
const AHEAD: usize = 64;

type Ended<T> = Result<T, JoinError>;

/// Tasks in the order of their start.
pub struct InFlight<T> {
    running: FuturesUnordered<BoxFuture<'static, (u64, Ended<T>)>>,
    ended: BTreeMap<u64, Ended<T>>,
    /// The number of the next to begin, and of the next to be handed out.
    begins: u64,
    leaves: u64,
}

impl<T: Send + 'static> InFlight<T> {
    /// None yet.
    pub fn new() -> Self {
        Self { running: FuturesUnordered::new(), ended: BTreeMap::new(), begins: 0, leaves: 0 }
    }

    /// Adds a task behind all others.
    pub fn push(&mut self, task: JoinHandle<T>) {
        let number = self.begins;
        self.begins += 1;
        self.running.push(Box::pin(async move { (number, task.await) }));
    }

    /// True while fewer than `most` run and not too many wait for a slow one.
    pub fn room(&self, most: usize) -> bool {
        self.running.len() < most && self.ended.len() < AHEAD
    }

    /// True when none runs; then none waits either.
    pub fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Waits for the end of one; answers those whose turn it is, which may be none. Nothing is lost if it is dropped.
    pub async fn next(&mut self) -> Vec<Ended<T>> {
        if let Some((number, ended)) = self.running.next().await {
            self.ended.insert(number, ended);
        }
        let mut ready = Vec::new();
        while let Some(ended) = self.ended.remove(&self.leaves) {
            self.leaves += 1;
            ready.push(ended);
        }
        ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot::{Sender, channel};

    fn task(all: &mut InFlight<u32>, number: u32) -> Sender<()> {
        let (end, ended) = channel::<()>();
        all.push(tokio::spawn(async move {
            let _ = ended.await;
            number
        }));
        end
    }

    #[tokio::test]
    async fn they_leave_in_order_and_a_slow_one_keeps_no_place() {
        let mut all = InFlight::new();
        let mut ends: Vec<Sender<()>> = (0..4).map(|number| task(&mut all, number)).collect();
        assert!(!all.room(4) && !all.is_empty());
        let mut left = Vec::new();
        for (end, room, want) in [(2, true, vec![]), (0, true, vec![0]), (0, true, vec![1, 2]), (0, true, vec![3])] {
            ends.remove(end).send(()).unwrap();
            let ready: Vec<u32> = all.next().await.into_iter().map(Result::unwrap).collect();
            assert_eq!((all.room(4), &ready), (room, &want));
            left.extend(ready);
        }
        assert_eq!((left, all.is_empty()), (vec![0, 1, 2, 3], true));
    }

    #[tokio::test]
    async fn what_waits_for_a_slow_one_is_bounded() {
        let mut all = InFlight::new();
        let slow = task(&mut all, 0);
        let mut number = 0;
        while all.room(2) {
            number += 1;
            task(&mut all, number).send(()).unwrap();
            assert!(all.next().await.is_empty());
        }
        assert_eq!(number as usize, AHEAD);
        slow.send(()).unwrap();
        assert_eq!(all.next().await.len(), AHEAD + 1);
    }
}
