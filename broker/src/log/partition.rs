//! The log of one partition: append, read, look up, truncate.
//!
//! Produce appends [`Batch`]es, the transaction coordinator appends markers, Fetch reads slices, retention removes
//! whole batches from the front. See the module above for the invariants.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use kafka_protocol::error::ResponseError;

use super::batch::{Batch, Header};
use super::marker::Marker;
use super::producers::{Producers, Verdict};
use super::transactions::{Aborted, TransactionIndex};
use crate::clock::Millis;

/// What a reader may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Isolation {
    /// Everything up to the high watermark.
    ReadUncommitted,
    /// Everything below the last stable offset, with a list of what was aborted.
    ReadCommitted,
}

impl From<i8> for Isolation {
    fn from(level: i8) -> Self {
        if level == 1 { Self::ReadCommitted } else { Self::ReadUncommitted }
    }
}

#[derive(Debug)]
struct Stored {
    base_offset: i64,
    last_offset: i64,
    max_timestamp: Millis,
    /// Place in the topic's order of arrival.
    arrival: u64,
    bytes: Bytes,
}

/// What a read found.
#[derive(Debug, Default)]
pub(crate) struct Slice {
    /// Whole batches in order, the first holding the offset asked for.
    pub(crate) batches: Vec<Bytes>,
    pub(crate) bytes: usize,
    /// With [`Isolation::ReadCommitted`], the aborted transactions that touch these batches.
    pub(crate) aborted: Vec<Aborted>,
}

/// The log of one partition.
#[derive(Debug, Default)]
pub(crate) struct PartitionLog {
    batches: VecDeque<Stored>,
    start: i64,
    end: i64,
    bytes: u64,
    producers: Producers,
    transactions: TransactionIndex,
}

impl PartitionLog {
    /// The first offset there is.
    pub(crate) fn start(&self) -> i64 {
        self.start
    }

    /// The offset that the next record gets; with one replica also the high watermark.
    pub(crate) fn end(&self) -> i64 {
        self.end
    }

    /// The first offset that a transaction still open may take back; else the end.
    pub(crate) fn last_stable(&self) -> i64 {
        self.transactions.first_open().unwrap_or(self.end)
    }

    /// Bytes of all batches.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The end of what a reader may see.
    pub(crate) fn visible_end(&self, isolation: Isolation) -> i64 {
        match isolation {
            Isolation::ReadUncommitted => self.end,
            Isolation::ReadCommitted => self.last_stable(),
        }
    }

    /// Appends a batch, or recognises it as appended before. Returns its base offset.
    ///
    /// # Errors
    /// The producer table's refusal; nothing was appended then.
    pub(crate) fn append(&mut self, batch: Batch, arrival: u64, now: Millis) -> Result<i64, ResponseError> {
        let Batch { header, bytes } = batch;
        let base_offset = self.end;
        if header.producer_id >= 0 {
            if let Verdict::Duplicate(offset) = self.producers.judge(&header)? {
                return Ok(offset);
            }
            if self.producers.appended(&header, base_offset, now) {
                self.transactions.opened(header.producer_id, base_offset);
            }
        }
        self.push(bytes, &header, arrival);
        Ok(base_offset)
    }

    /// Ends a producer's transaction with a control batch.
    ///
    /// # Errors
    /// Only a defect of the encoder; nothing changed then.
    pub(crate) fn append_marker(&mut self, marker: Marker, arrival: u64, now: Millis) -> Result<(), ResponseError> {
        let offset = self.end;
        let bytes = marker.encode(offset, now)?;
        let header = Header::parse(&bytes).ok_or(ResponseError::UnknownServerError)?;
        if let Some(first) = self.producers.completed(marker.producer_id, marker.epoch, now) {
            self.transactions.completed(marker.producer_id, first, offset, marker.commit);
        }
        self.push(bytes, &header, arrival);
        Ok(())
    }

    fn push(&mut self, mut bytes: BytesMut, header: &Header, arrival: u64) {
        let base_offset = self.end;
        Batch::place(&mut bytes, base_offset);
        self.end += i64::from(header.last_offset_delta) + 1;
        self.bytes += bytes.len() as u64;
        self.batches.push_back(Stored {
            base_offset,
            last_offset: self.end - 1,
            max_timestamp: header.max_timestamp,
            arrival,
            bytes: bytes.freeze(),
        });
    }

    /// Reads whole batches from `offset` while they fit in `max_bytes`; the first one is returned whatever its size
    /// when `at_least_one` says so.
    ///
    /// # Errors
    /// `OffsetOutOfRange` before the start or beyond the end.
    pub(crate) fn read(
        &self,
        offset: i64,
        max_bytes: usize,
        isolation: Isolation,
        at_least_one: bool,
    ) -> Result<Slice, ResponseError> {
        if offset < self.start || offset > self.end {
            return Err(ResponseError::OffsetOutOfRange);
        }
        let visible_end = self.visible_end(isolation);
        let mut slice = Slice::default();
        let mut read_to = offset;
        for stored in self.batches.range(self.position(offset)..) {
            let fits = slice.bytes.saturating_add(stored.bytes.len()) <= max_bytes;
            let forced = at_least_one && slice.batches.is_empty();
            if stored.base_offset >= visible_end || !(fits || forced) {
                break;
            }
            slice.bytes += stored.bytes.len();
            slice.batches.push(stored.bytes.clone());
            read_to = stored.last_offset + 1;
        }
        if isolation == Isolation::ReadCommitted {
            slice.aborted = self.transactions.aborted_between(offset, read_to);
        }
        Ok(slice)
    }

    /// The index of the batch that holds `offset`, or of the first one after it.
    fn position(&self, offset: i64) -> usize {
        self.batches.partition_point(|b| b.last_offset < offset)
    }

    /// The first batch that holds a record at `at` or later.
    pub(crate) fn batch_at_or_after(&self, at: Millis) -> Option<Bytes> {
        self.batches.iter().find(|b| b.max_timestamp >= at).map(|b| b.bytes.clone())
    }

    /// The batch with the latest record, and that record's time.
    pub(crate) fn latest_batch(&self) -> Option<(Millis, Bytes)> {
        // Of equals the first counts.
        let latest = self.batches.iter().rev().max_by_key(|b| b.max_timestamp)?;
        Some((latest.max_timestamp, latest.bytes.clone()))
    }

    /// The arrival number of the oldest batch, when retention may remove it: it is decided, and not the only one.
    pub(crate) fn oldest_removable(&self) -> Option<u64> {
        let oldest = self.batches.front()?;
        (self.batches.len() > 1 && oldest.last_offset < self.last_stable()).then_some(oldest.arrival)
    }

    /// Removes the oldest batch; the log then starts behind it.
    pub(crate) fn remove_oldest(&mut self) {
        if let Some(oldest) = self.batches.pop_front() {
            self.bytes -= oldest.bytes.len() as u64;
            self.start = self.start.max(oldest.last_offset + 1);
            self.transactions.truncate_before(self.start);
        }
    }

    /// Moves the start to `offset` (DeleteRecords); whole batches below it are freed.
    ///
    /// # Errors
    /// `OffsetOutOfRange` beyond the end.
    pub(crate) fn delete_before(&mut self, offset: i64) -> Result<i64, ResponseError> {
        let offset = if offset == -1 { self.end } else { offset };
        if offset < 0 || offset > self.end {
            return Err(ResponseError::OffsetOutOfRange);
        }
        let offset = offset.min(self.last_stable());
        while self.batches.front().is_some_and(|b| b.last_offset < offset) {
            self.remove_oldest();
        }
        self.start = self.start.max(offset);
        Ok(self.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::marker::tests::data_batch;

    fn offsets(slice: &Slice) -> Vec<i64> {
        slice.batches.iter().map(|b| i64::from_be_bytes(b[..8].try_into().unwrap())).collect()
    }

    /// Two producers write in turn; 1 aborts and 2 commits later.
    fn interleaved() -> PartitionLog {
        let mut log = PartitionLog::default();
        for (arrival, (producer, sequence)) in (0..).zip([(1, 0), (2, 0), (1, 1), (2, 1)]) {
            log.append(data_batch(producer, 0, sequence, 1, true), arrival, 0).unwrap();
        }
        log
    }

    #[test]
    fn the_stable_offset_waits_for_the_oldest_open_transaction() {
        let mut log = interleaved();
        assert_eq!((log.last_stable(), log.end()), (0, 4));
        log.append_marker(Marker { producer_id: 1, epoch: 0, commit: false }, 4, 0).unwrap();
        assert_eq!((log.last_stable(), log.end()), (1, 5));
        let seen = log.read(0, usize::MAX, Isolation::ReadCommitted, true).unwrap();
        assert_eq!(offsets(&seen), [0]);
        assert_eq!(seen.aborted, [Aborted { producer_id: 1, first_offset: 0, marker_offset: 4 }]);
        log.append_marker(Marker { producer_id: 2, epoch: 0, commit: true }, 5, 0).unwrap();
        assert_eq!((log.last_stable(), log.end()), (6, 6));
        let seen = log.read(5, usize::MAX, Isolation::ReadCommitted, true).unwrap();
        assert_eq!((offsets(&seen), seen.aborted), (vec![5], vec![]));
    }

    #[test]
    fn reads_are_bounded_and_always_move_on() {
        let mut log = PartitionLog::default();
        for sequence in 0..4 {
            log.append(data_batch(1, 0, sequence * 3, 3, false), 0, 0).unwrap();
        }
        let one = usize::try_from(log.bytes() / 4).unwrap();
        let read = |offset, max, forced| {
            log.read(offset, max, Isolation::ReadUncommitted, forced).map(|slice| offsets(&slice))
        };
        assert_eq!(read(0, usize::MAX, false), Ok(vec![0, 3, 6, 9]));
        assert_eq!(read(4, 2 * one, false), Ok(vec![3, 6]));
        assert_eq!(read(4, 1, false), Ok(vec![]));
        assert_eq!(read(4, 1, true), Ok(vec![3]));
        assert_eq!(read(12, one, true), Ok(vec![]));
        assert_eq!(read(13, one, true), Err(ResponseError::OffsetOutOfRange));
    }

    #[test]
    fn retention_stops_at_open_transactions() {
        let mut log = interleaved();
        assert_eq!(log.oldest_removable(), None);
        log.append_marker(Marker { producer_id: 1, epoch: 0, commit: false }, 4, 0).unwrap();
        assert_eq!(log.oldest_removable(), Some(0));
        log.remove_oldest();
        assert_eq!((log.start(), log.oldest_removable()), (1, None));
        assert_eq!(log.delete_before(-1), Ok(1));
        assert_eq!(log.read(0, 1, Isolation::ReadCommitted, true).err(), Some(ResponseError::OffsetOutOfRange));
    }

    #[test]
    fn a_duplicate_answers_the_first_offset() {
        let mut log = PartitionLog::default();
        let batch = |sequence| data_batch(1, 0, sequence, 2, false);
        assert_eq!(log.append(batch(0), 0, 0), Ok(0));
        assert_eq!(log.append(batch(2), 1, 0), Ok(2));
        assert_eq!(log.append(batch(0), 2, 0), Ok(0));
        assert_eq!(log.end(), 4);
    }
}
