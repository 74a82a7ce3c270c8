//! What Kafka keeps in the simulation: topics, committed offsets, and transactions that end later than they write.

use outlier_core::score::Score;
use outlier_core::window::Limit;
use std::collections::BTreeMap;

/// A record of the raw topic.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Event {
    pub time: i64,
    /// Whether its bad flag is set.
    pub bad: bool,
    /// What some detectors split by.
    pub key: u8,
    /// A number, and a value among many.
    pub number: u16,
    /// It cannot be used.
    pub rejected: bool,
}

/// An entry of a windows partition.
pub enum Entry {
    /// Written by a transaction that has not ended; nothing behind it is visible to read_committed.
    Pending(u64, Vec<u8>),
    /// Committed.
    Frame(Vec<u8>),
    /// Aborted, or a control record.
    Gap,
}

#[derive(Default)]
pub struct Topics {
    pub raw: Vec<Vec<Event>>,
    pub windows: Vec<Vec<Entry>>,
    pub state: Vec<Vec<(String, Option<Vec<u8>>)>>,
    pub scores: Vec<Score>,
    /// Committed offset and metadata of each raw partition.
    pub raw_offsets: BTreeMap<i32, (usize, String)>,
    /// What the last look at them gave.
    pub limit: Option<Limit>,
    /// Committed offset of each windows partition.
    pub windows_offsets: BTreeMap<i32, i64>,
}

impl Topics {
    /// Ends the transaction that wrote `id`: its entries become visible or gaps, then its control record.
    pub fn end(&mut self, id: u64, commit: bool) {
        for partition in &mut self.windows {
            let mut written = false;
            for entry in partition.iter_mut() {
                if let Entry::Pending(owner, bytes) = entry
                    && *owner == id
                {
                    written = true;
                    *entry = if commit { Entry::Frame(std::mem::take(bytes)) } else { Entry::Gap };
                }
            }
            if written {
                partition.push(Entry::Gap);
            }
        }
    }

    /// The last stable offset of a windows partition.
    pub fn stable(&self, partition: i32) -> usize {
        let entries = &self.windows[partition as usize];
        entries.iter().position(|e| matches!(e, Entry::Pending(..))).unwrap_or(entries.len())
    }
}
