//! Requests that are on the way: they end in any order, and what they settle is handed out in the order in which they began.
//!
//! Invariant: a slow one holds up no other one's place on the way; what ended behind it waits as one, so that no more waits
//! than there are slow ones.

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use std::collections::BTreeMap;
use std::ops::Range;
use tokio::task::{JoinError, JoinHandle};

type Ended<T> = Result<T, JoinError>;

/// What can be handed out as one with what follows it.
pub trait Join: Sized {
    /// Takes `later` in; gives it back if it must stay by itself.
    fn join(&mut self, later: Self) -> Option<Self>;
}

/// Tasks in the order of their start.
pub struct InFlight<T> {
    running: FuturesUnordered<BoxFuture<'static, (u64, Ended<T>)>>,
    /// By the number of the first: up to which number, and what came of them.
    ended: BTreeMap<u64, (u64, Ended<T>)>,
    /// The number of the next to begin, and of the next to be handed out.
    begins: u64,
    leaves: u64,
}

impl<T: Join + Send + 'static> InFlight<T> {
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

    /// True while fewer than `most` run.
    pub fn room(&self, most: usize) -> bool {
        self.running.len() < most
    }

    /// True when none runs; then none waits either.
    pub fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Waits for the end of one; answers those whose turn it is, which may be none. Nothing is lost if it is dropped.
    pub async fn next(&mut self) -> Vec<Ended<T>> {
        if let Some((number, ended)) = self.running.next().await {
            self.end(number..number + 1, ended);
        }
        let mut ready = Vec::new();
        while let Some((next, ended)) = self.ended.remove(&self.leaves) {
            self.leaves = next;
            ready.push(ended);
        }
        ready
    }

    fn end(&mut self, Range { mut start, mut end }: Range<u64>, mut ended: Ended<T>) {
        if let Some((next, later)) = self.ended.remove(&end) {
            match together(ended, later) {
                (one, None) => (end, ended) = (next, one),
                (one, Some(later)) => {
                    ended = one;
                    self.ended.insert(end, (next, later));
                }
            }
        }
        let before = self.ended.range(..start).next_back().map(|(first, (next, _))| (*first, *next));
        if let Some((first, _)) = before.filter(|(_, next)| *next == start)
            && let Some((_, earlier)) = self.ended.remove(&first)
        {
            match together(earlier, ended) {
                (one, None) => (start, ended) = (first, one),
                (one, Some(later)) => {
                    self.ended.insert(first, (start, one));
                    ended = later;
                }
            }
        }
        self.ended.insert(start, (end, ended));
    }
}

fn together<T: Join>(first: Ended<T>, later: Ended<T>) -> (Ended<T>, Option<Ended<T>>) {
    match (first, later) {
        (Ok(mut first), Ok(later)) => {
            let left = first.join(later);
            (Ok(first), left.map(Ok))
        }
        (first, later) => (first, Some(later)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot::{Sender, channel};

    /// Even numbers stay by themselves.
    impl Join for Vec<u32> {
        fn join(&mut self, later: Self) -> Option<Self> {
            if self.iter().chain(&later).any(|number| number % 2 == 0) {
                return Some(later);
            }
            self.extend(later);
            None
        }
    }

    fn task(all: &mut InFlight<Vec<u32>>, number: u32) -> Sender<()> {
        let (end, ended) = channel::<()>();
        all.push(tokio::spawn(async move {
            let _ = ended.await;
            vec![number]
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
            let ready: Vec<u32> = all.next().await.into_iter().flat_map(Result::unwrap).collect();
            assert_eq!((all.room(4), &ready), (room, &want));
            left.extend(ready);
        }
        assert_eq!((left, all.is_empty()), (vec![0, 1, 2, 3], true));
    }

    #[tokio::test]
    async fn what_waits_for_a_slow_one_waits_as_one() {
        for order in [[1, 3, 5, 7], [7, 5, 3, 1], [5, 1, 7, 3]] {
            let mut all = InFlight::new();
            let slow = task(&mut all, 0);
            let mut ends: BTreeMap<u32, Sender<()>> =
                [1, 3, 5, 7].map(|number| (number, task(&mut all, number))).into_iter().collect();
            for number in order {
                ends.remove(&number).unwrap().send(()).unwrap();
                assert!(all.next().await.is_empty());
            }
            assert_eq!((all.ended.len(), all.room(2)), (1, true), "{order:?}");
            slow.send(()).unwrap();
            let ready: Vec<Vec<u32>> = all.next().await.into_iter().map(Result::unwrap).collect();
            assert_eq!(ready, [vec![0], vec![1, 3, 5, 7]]);
        }
    }
}
