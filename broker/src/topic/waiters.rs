//! Readers that wait for a partition to change.
//!
//! A long-polling fetch leaves its handle with every partition it reads, then sleeps; an append rings them all.
//!
//! Invariant: handles of readers that have gone are dropped at the next visit, so the list is as long as the number
//! of readers that wait now.

use std::sync::{Arc, Weak};

use tokio::sync::Notify;

/// The waiting readers of one partition.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    handles: Vec<Weak<Notify>>,
}

impl Waiters {
    /// Leaves a reader's handle.
    pub(crate) fn add(&mut self, reader: &Arc<Notify>) {
        let stays = |handle: &Weak<Notify>| handle.strong_count() > 0 && handle.as_ptr() != Arc::as_ptr(reader);
        self.handles.retain(stays);
        self.handles.push(Arc::downgrade(reader));
    }

    /// Wakes all and forgets them; they come back if they need more.
    pub(crate) fn ring(&mut self) {
        for reader in self.handles.drain(..).filter_map(|handle| handle.upgrade()) {
            reader.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_that_left_do_not_pile_up() {
        let mut waiters = Waiters::default();
        for _ in 0..100 {
            waiters.add(&Arc::new(Notify::new()));
        }
        assert_eq!(waiters.handles.len(), 1);
        let patient = Arc::new(Notify::new());
        for _ in 0..100 {
            waiters.add(&patient);
        }
        assert_eq!(waiters.handles.len(), 1);
    }
}
