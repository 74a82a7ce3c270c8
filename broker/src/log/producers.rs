//! Idempotent producers of one partition: which sequence number each may append next.
//!
//! Asked by the log before every append. The rules are Kafka's `ProducerAppendInfo` and `ProducerStateEntry`.
//!
//! Invariants: a batch is appended once however often it is sent (the last five batches are remembered); an older
//! epoch never appends; the table is bounded, and a producer with an open transaction is never forgotten.

use std::collections::{HashMap, VecDeque};

use kafka_protocol::error::ResponseError;

use super::batch::Header;
use crate::clock::Millis;

/// Batches a producer may have in flight, and so the batches remembered.
const REMEMBERED_BATCHES: usize = 5;
/// Producers remembered for a partition.
const MAX_PRODUCERS: usize = 10_000;

#[derive(Debug, Clone, Copy)]
struct Remembered {
    first_sequence: i32,
    last_sequence: i32,
    base_offset: i64,
}

#[derive(Debug)]
struct Producer {
    epoch: i16,
    batches: VecDeque<Remembered>,
    /// Offset of the first record of the open transaction.
    open_from: Option<i64>,
    last_seen: Millis,
}

/// What the table says about a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// In order: append it.
    Append,
    /// Appended before, at this offset: acknowledge it again.
    Duplicate(i64),
}

/// The producers of one partition.
#[derive(Debug, Default)]
pub(crate) struct Producers {
    by_id: HashMap<i64, Producer>,
}

impl Producers {
    /// Judges a batch of an idempotent producer without changing anything.
    ///
    /// # Errors
    /// Old epoch, sequence out of order, or a plain batch within a transaction.
    pub(crate) fn judge(&self, header: &Header) -> Result<Verdict, ResponseError> {
        let Some(producer) = self.by_id.get(&header.producer_id) else {
            // A producer unknown here may begin anywhere: its state may have been forgotten.
            return Ok(Verdict::Append);
        };
        if header.producer_epoch < producer.epoch {
            return Err(ResponseError::InvalidProducerEpoch);
        }
        if header.producer_epoch > producer.epoch {
            return if header.base_sequence == 0 {
                Ok(Verdict::Append)
            } else {
                Err(ResponseError::OutOfOrderSequenceNumber)
            };
        }
        let same =
            |b: &&Remembered| (b.first_sequence, b.last_sequence) == (header.base_sequence, header.last_sequence());
        if let Some(seen) = producer.batches.iter().find(same) {
            return Ok(Verdict::Duplicate(seen.base_offset));
        }
        let expected = match producer.batches.back() {
            Some(last) if last.last_sequence == i32::MAX => 0,
            Some(last) => last.last_sequence + 1,
            None => 0,
        };
        if header.base_sequence != expected {
            return Err(ResponseError::OutOfOrderSequenceNumber);
        }
        if producer.open_from.is_some() && !header.is_transactional() {
            return Err(ResponseError::InvalidTxnState);
        }
        Ok(Verdict::Append)
    }

    /// Notes a batch appended at `base_offset`. Returns true when it opened a transaction in this partition.
    pub(crate) fn appended(&mut self, header: &Header, base_offset: i64, now: Millis) -> bool {
        if !self.by_id.contains_key(&header.producer_id) {
            self.make_room();
        }
        let producer = self.by_id.entry(header.producer_id).or_insert_with(|| Producer {
            epoch: header.producer_epoch,
            batches: VecDeque::with_capacity(REMEMBERED_BATCHES),
            open_from: None,
            last_seen: now,
        });
        if producer.epoch != header.producer_epoch {
            producer.epoch = header.producer_epoch;
            producer.batches.clear();
        }
        producer.last_seen = now;
        if producer.batches.len() == REMEMBERED_BATCHES {
            producer.batches.pop_front();
        }
        producer.batches.push_back(Remembered {
            first_sequence: header.base_sequence,
            last_sequence: header.last_sequence(),
            base_offset,
        });
        let opens = header.is_transactional() && producer.open_from.is_none();
        if opens {
            producer.open_from = Some(base_offset);
        }
        opens
    }

    /// Ends the producer's transaction; returns where it began in this partition, when it had written here.
    pub(crate) fn completed(&mut self, producer_id: i64, epoch: i16, now: Millis) -> Option<i64> {
        let producer = self.by_id.get_mut(&producer_id)?;
        if epoch > producer.epoch {
            producer.epoch = epoch;
            producer.batches.clear();
        }
        producer.last_seen = now;
        producer.open_from.take()
    }

    fn make_room(&mut self) {
        if self.by_id.len() < MAX_PRODUCERS {
            return;
        }
        let idle = self.by_id.iter().filter(|(_, p)| p.open_from.is_none());
        if let Some(oldest) = idle.min_by_key(|(_, p)| p.last_seen).map(|(id, _)| *id) {
            self.by_id.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::marker::tests::data_batch;

    /// Appends one-record batches `(epoch, sequence)` in order and checks the verdict on each.
    fn check(name: &str, steps: &[(i16, i32, Result<Verdict, ResponseError>)]) {
        let mut producers = Producers::default();
        for (offset, (epoch, sequence, expected)) in (0_i64..).zip(steps) {
            let header = data_batch(1, *epoch, *sequence, 1, false).header;
            let verdict = producers.judge(&header);
            assert_eq!(verdict, *expected, "{name}: epoch {epoch}, sequence {sequence}");
            if verdict == Ok(Verdict::Append) {
                producers.appended(&header, offset, 0);
            }
        }
    }

    #[test]
    fn sequences_follow_kafka() {
        let append = Ok(Verdict::Append);
        let disorder = Err(ResponseError::OutOfOrderSequenceNumber);
        check("in order", &[(0, 0, append), (0, 1, append), (0, 2, append)]);
        check("again", &[(0, 0, append), (0, 1, append), (0, 0, Ok(Verdict::Duplicate(0)))]);
        check("gap", &[(0, 0, append), (0, 2, disorder)]);
        check("unknown producer", &[(0, 40, append), (0, 41, append)]);
        check("new epoch begins at 0", &[(0, 0, append), (1, 1, disorder), (1, 0, append)]);
        check("old epoch", &[(1, 0, append), (0, 1, Err(ResponseError::InvalidProducerEpoch))]);
        check("wrap", &[(0, i32::MAX, append), (0, 0, append)]);
        let forgotten = [0, 1, 2, 3, 4, 5].map(|s| (0, s, append));
        check("beyond five", &[&forgotten[..], &[(0, 0, disorder)]].concat());
    }

    #[test]
    fn a_transaction_opens_once_and_ends_once() {
        let mut producers = Producers::default();
        let header = |sequence, transactional| data_batch(1, 0, sequence, 1, transactional).header;
        assert!(producers.appended(&header(0, true), 10, 0));
        assert!(!producers.appended(&header(1, true), 11, 0));
        assert_eq!(producers.judge(&header(2, false)), Err(ResponseError::InvalidTxnState));
        assert_eq!(producers.completed(1, 0, 0), Some(10));
        assert_eq!(producers.completed(1, 1, 0), None);
        assert_eq!(producers.judge(&header(2, true)), Err(ResponseError::InvalidProducerEpoch));
    }
}
