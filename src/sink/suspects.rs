//! Batches of which a few documents are left, with which the index failed: they take no place on the way from others.
//!
//! Invariant: their number and their bytes are bounded, but for one alone, which is always let.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The most batches: they do not take all places before the first of them is decided.
const MOST: usize = 256;
/// The most bytes of their documents, which stay in memory beside those of the requests.
const MOST_BYTES: usize = 4 << 20;

/// All of them.
#[derive(Debug, Default)]
pub struct Suspects(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    number: usize,
    bytes: usize,
}

impl Suspects {
    /// How many there are.
    pub fn number(&self) -> usize {
        self.held().number
    }

    /// A batch that is none yet.
    pub fn none(&self) -> Suspect<'_> {
        Suspect { all: self, bytes: None }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A batch that may be one; it is none any more when dropped.
#[derive(Debug)]
pub struct Suspect<'s> {
    all: &'s Suspects,
    bytes: Option<usize>,
}

impl Suspect<'_> {
    /// Lets it be one of so many bytes, if there is room, or none.
    pub fn set(&mut self, bytes: Option<usize>) {
        if self.bytes == bytes {
            return;
        }
        let mut held = self.all.held();
        if let Some(before) = self.bytes.take() {
            held.number -= 1;
            held.bytes -= before;
        }
        let fits = |bytes: &usize| held.number == 0 || held.number < MOST && held.bytes + bytes <= MOST_BYTES;
        if let Some(bytes) = bytes.filter(fits) {
            held.number += 1;
            held.bytes += bytes;
            self.bytes = Some(bytes);
        }
    }
}

impl Drop for Suspect<'_> {
    fn drop(&mut self) {
        self.set(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_bounded_in_number_and_bytes() {
        for (each, most) in [(1, MOST), (MOST_BYTES / 10, 10), (MOST_BYTES + 1, 1)] {
            let all = Suspects::default();
            let mut suspects: Vec<_> = (0..2 * MOST).map(|_| all.none()).collect();
            suspects.iter_mut().for_each(|suspect| suspect.set(Some(each)));
            assert_eq!(all.number(), most, "of {each} bytes");
            // One that shrinks keeps its place, and what leaves makes room.
            suspects[0].set(Some(1));
            assert_eq!(all.number(), most);
            suspects[0].set(None);
            suspects[MOST].set(Some(each));
            assert_eq!(all.number(), most);
            drop(suspects);
            let Held { number, bytes } = *all.held();
            assert_eq!((number, bytes), (0, 0));
        }
    }
}
