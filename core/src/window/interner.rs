//! Byte strings numbered as they come: the values of a field, and what tells shapes apart.
//!
//! Below `tally`, on the path of every record. All strings lie in one buffer and the table holds numbers only, so that
//! what a record touches stays in the processor's cache and nothing is allocated once the buffers have grown.

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use std::hash::BuildHasher;

/// Strings and their numbers, counted from zero.
#[derive(Default)]
pub(super) struct Interner {
    table: HashTable<u32>,
    state: RandomState,
    bytes: Vec<u8>,
    /// Where each string ends.
    ends: Vec<usize>,
}

impl Interner {
    /// The number of a string: that of an equal one before it, or the next.
    #[inline]
    pub fn number(&mut self, string: &[u8]) -> u32 {
        let Self { table, state, bytes, ends } = self;
        let hash = state.hash_one(string);
        if let Some(number) = table.find(hash, |number| slice(bytes, ends, *number) == string) {
            return *number;
        }
        let number = ends.len() as u32;
        bytes.extend_from_slice(string);
        ends.push(bytes.len());
        table.insert_unique(hash, number, |number| state.hash_one(slice(bytes, ends, *number)));
        number
    }

    /// The string of a number that was given.
    pub fn get(&self, number: u32) -> &[u8] {
        slice(&self.bytes, &self.ends, number)
    }

    /// Forgets all strings.
    pub fn clear(&mut self) {
        self.table.clear();
        self.bytes.clear();
        self.ends.clear();
    }
}

#[inline]
fn slice<'a>(bytes: &'a [u8], ends: &[usize], number: u32) -> &'a [u8] {
    let number = number as usize;
    let start = number.checked_sub(1).map_or(0, |before| ends[before]);
    &bytes[start..ends[number]]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_strings_have_one_number() {
        let mut interner = Interner::default();
        for _ in 0..2 {
            let strings: Vec<String> = (0..1_000).map(|n| "x".repeat(n % 7) + &(n / 7).to_string()).collect();
            for (number, string) in strings.iter().enumerate() {
                assert_eq!(interner.number(string.as_bytes()), number as u32);
            }
            assert_eq!(interner.number(b""), 1_000);
            for (number, string) in strings.iter().enumerate() {
                assert_eq!(interner.number(string.as_bytes()), number as u32);
                assert_eq!(interner.get(number as u32), string.as_bytes());
            }
            interner.clear();
        }
    }
}
