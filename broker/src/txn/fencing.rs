//! Taking over a transactional id: InitProducerId and timeouts, the two ways an epoch grows.
//!
//! Invariants: an epoch handed out is larger than every epoch that could still write; an open transaction is aborted
//! in the same step, with markers of the new epoch, so that its old producer cannot append after them.

use kafka_protocol::error::ResponseError;

use super::{Completion, MAX_IDS, MAX_TIMEOUT_MS, Phase, ProducerEpoch, Transaction, Transactions};
use crate::clock::Millis;

/// The last epoch before a new producer id is given.
const LAST_EPOCH: i16 = i16::MAX - 1;

impl Transactions {
    /// Gives a producer its id and epoch. With a transactional id, fences the one before and aborts its transaction.
    /// `expected` is what the caller holds, when it only wants its own epoch raised (KIP-360).
    ///
    /// # Errors
    /// A bad id or timeout, or a caller that was itself fenced.
    pub(crate) fn init(
        &mut self,
        id: Option<&str>,
        timeout_ms: i32,
        expected: Option<ProducerEpoch>,
        now: Millis,
    ) -> Result<(ProducerEpoch, Option<Completion>), ResponseError> {
        let Some(id) = id else {
            return Ok((ProducerEpoch { producer_id: self.new_producer_id(), epoch: 0 }, None));
        };
        if id.is_empty() {
            return Err(ResponseError::InvalidRequest);
        }
        if !(1..=MAX_TIMEOUT_MS).contains(&timeout_ms) {
            return Err(ResponseError::InvalidTransactionTimeout);
        }
        if !self.by_id.contains_key(id) {
            return Ok((self.create(id, timeout_ms, now), None));
        }
        let spare_id = self.new_producer_id();
        let transaction = self.by_id.get_mut(id).ok_or(ResponseError::UnknownServerError)?;
        if let Some(expected) = expected.filter(|e| *e != transaction.current) {
            // A repetition of the last bump, whose answer was lost, gets the same answer.
            let repeated = transaction.previous == Some(expected) && transaction.phase != Phase::Ongoing;
            return if repeated { Ok((transaction.current, None)) } else { Err(ResponseError::ProducerFenced) };
        }
        let before = transaction.current;
        let completion = transaction.fence(spare_id, now);
        transaction.previous = expected.map(|_| before);
        transaction.timeout_ms = timeout_ms;
        transaction.touched = now;
        if completion.is_none() {
            transaction.phase = Phase::Empty;
        }
        let current = transaction.current;
        if current.producer_id != before.producer_id {
            self.id_of.remove(&before.producer_id);
            self.id_of.insert(current.producer_id, id.to_owned());
        }
        Ok((current, completion))
    }

    fn create(&mut self, id: &str, timeout_ms: i32, now: Millis) -> ProducerEpoch {
        if self.by_id.len() >= MAX_IDS {
            let idle = self.by_id.iter().filter(|(_, t)| t.phase != Phase::Ongoing);
            if let Some(oldest) = idle.min_by_key(|(_, t)| t.touched).map(|(id, _)| id.clone())
                && let Some(forgotten) = self.by_id.remove(&oldest)
            {
                self.id_of.remove(&forgotten.current.producer_id);
            }
        }
        let current = ProducerEpoch { producer_id: self.new_producer_id(), epoch: 0 };
        let transaction = Transaction {
            current,
            previous: None,
            timeout_ms,
            phase: Phase::Empty,
            partitions: Default::default(),
            groups: Default::default(),
            started: now,
            touched: now,
        };
        self.id_of.insert(current.producer_id, id.to_owned());
        self.by_id.insert(id.to_owned(), transaction);
        current
    }

    /// Aborts the transactions whose time is up, and fences their producers.
    pub(crate) fn expire(&mut self, now: Millis) -> Vec<Completion> {
        let mut spare_ids = self.producers;
        let mut ended = Vec::new();
        let mut moved = Vec::new();
        for (id, transaction) in &mut self.by_id {
            if transaction.deadline().is_some_and(|deadline| deadline <= now) {
                let before = transaction.current.producer_id;
                ended.extend(transaction.fence(spare_ids, now));
                transaction.previous = None;
                if transaction.current.producer_id != before {
                    spare_ids += 1;
                    moved.push((before, transaction.current.producer_id, id.clone()));
                }
            }
        }
        self.producers = spare_ids;
        for (before, after, id) in moved {
            self.id_of.remove(&before);
            self.id_of.insert(after, id);
        }
        ended
    }
}

impl Transaction {
    /// Raises the epoch (or takes `spare_id` when epochs are used up) and aborts what is open.
    fn fence(&mut self, spare_id: i64, now: Millis) -> Option<Completion> {
        let open = self.phase == Phase::Ongoing;
        // Markers carry the raised epoch, also the very last one, so that the logs refuse the old producer.
        self.current.epoch = self.current.epoch.saturating_add(1);
        let completion = open.then(|| self.complete(false, now));
        if self.current.epoch > LAST_EPOCH {
            self.current = ProducerEpoch { producer_id: spare_id, epoch: 0 };
        }
        completion
    }
}
