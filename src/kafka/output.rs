//! The producer side of a worker: one transaction at a time, or plain at-least-once.
//!
//! ```text
//! Idle ──send──► Open ──commit──► Idle
//!                  └────abort───► Idle
//! ```
//!
//! Invariant: before a commit everything is flushed; what rdkafka calls so sleeps in steps of 100 ms, which would be the
//! speed of exactly-once.

use super::explain::explain;
use super::flush::flush;
use anyhow::{Context, bail};
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::{ClientConfig, ClientContext, TopicPartitionList};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a broker may take to acknowledge before the transaction is given up; below its own timeout.
const PATIENCE: Duration = Duration::from_secs(9);
/// Between two looks at whether a full queue has room again; and how long to take events, of which a poll without time
/// takes one.
const MOMENT: Duration = Duration::from_micros(250);
/// Between two polls for failed deliveries during a flush.
const STEP: Duration = Duration::from_millis(10);

/// Why the first delivery failed since it was asked for, and its topic.
#[derive(Default)]
pub struct Failures(Mutex<Option<String>>);

impl Failures {
    fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl ClientContext for Failures {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka client");
    }
}

impl ProducerContext for Failures {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, _: ()) {
        // What was thrown away when a transaction is given up, or because another message failed, says nothing.
        if let Err((error, message)) = result
            && !matches!(
                error.rdkafka_error_code(),
                Some(RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight)
            )
        {
            self.0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get_or_insert_with(|| format!("{}: {}", message.topic(), explain(error)));
        }
    }
}

/// How a commit ended.
#[derive(Debug)]
pub enum Commit {
    /// Results and offsets are durable.
    Done,
    /// Nothing of it happened; the stage must go back to its committed offsets.
    Aborted(String),
}

/// Produces a stage's results.
pub struct Output {
    producer: BaseProducer<Failures>,
    transactional: bool,
    open: bool,
    /// A delivery failed, so that the transaction can only be aborted: the client takes nothing more for it.
    failed: bool,
    /// Why the last delivery was refused, until something is committed. Its abort purges records unsent that the client
    /// counts as sent, so that the broker may refuse the next transaction too, with a reason that explains nothing.
    refused: Option<String>,
}

impl Output {
    /// Connects; with a transactional id, fences whoever used the same id before. Waits for a broker for as long as it
    /// takes: `waiting` is told why, and gives up by answering false. A transaction that is not committed within `timeout`
    /// is aborted by the broker.
    ///
    /// # Errors
    /// The configuration is refused, or it was given up.
    pub fn connect(
        mut config: ClientConfig,
        transactional_id: Option<&str>,
        timeout: Duration,
        mut waiting: impl FnMut(&KafkaError) -> bool,
    ) -> anyhow::Result<Self> {
        config.set("delivery.report.only.error", "true");
        if let Some(id) = transactional_id {
            config.set("transactional.id", id);
            config.set("transaction.timeout.ms", timeout.as_millis().to_string());
            config.set("message.timeout.ms", "9000");
        }
        let producer: BaseProducer<Failures> = config.create_with_context(Failures::default())?;
        if transactional_id.is_some() {
            loop {
                match producer.init_transactions(Duration::from_secs(1)) {
                    Ok(()) => break,
                    Err(KafkaError::Transaction(error))
                        if error.is_retriable() && waiting(&KafkaError::Global(error.code())) => {}
                    Err(error) => return Err(error).context("cannot start transactions"),
                }
            }
        }
        Ok(Self { producer, transactional: transactional_id.is_some(), open: false, failed: false, refused: None })
    }

    /// True while a transaction is open.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// True when the transaction under way can only be aborted, which a commit does.
    pub fn has_failed(&self) -> bool {
        self.failed
    }

    /// Sends one record within the transaction, which it opens if need be. Waits while the queue is full. After a delivery
    /// that failed it does nothing until the transaction is ended.
    ///
    /// # Errors
    /// The broker takes nothing for too long, or refuses.
    pub fn send(&mut self, record: BaseRecord<'_, [u8], [u8]>) -> anyhow::Result<()> {
        self.begin()?;
        if self.failed {
            return Ok(());
        }
        match self.producer.send(record) {
            Ok(()) => Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), record)) => {
                let sent = self.send_when_free(record);
                self.unless_failed(sent)
            }
            Err((error, _)) => self.unless_failed(Err(error)),
        }
    }

    #[cold]
    fn unless_failed(&mut self, sent: Result<(), KafkaError>) -> anyhow::Result<()> {
        self.failed = self.transactional && sent == Err(KafkaError::MessageProduction(RDKafkaErrorCode::State));
        if self.failed { Ok(()) } else { sent.context("cannot produce") }
    }

    /// The rest of [`Output::send`] while the queue is full. Apart, as a look at the clock costs as much as a record.
    #[cold]
    fn send_when_free(&self, mut record: BaseRecord<'_, [u8], [u8]>) -> Result<(), KafkaError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.wait();
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back))
                    if Instant::now() < deadline =>
                {
                    record = back;
                }
                Err((error, _)) => return Err(error),
            }
        }
    }

    /// The error of [`Output::send`] says that the client takes no message of this size: nothing was sent, and the
    /// transaction goes on.
    pub fn is_too_large(error: &anyhow::Error) -> bool {
        let too_large = KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge);
        error.downcast_ref::<KafkaError>() == Some(&too_large)
    }

    /// Commits what was sent together with the consumer's offsets.
    ///
    /// # Errors
    /// The producer is fenced or broken: it must be made anew.
    pub fn commit(
        &mut self,
        offsets: &TopicPartitionList,
        group: &ConsumerGroupMetadata,
        plain: impl FnOnce(&TopicPartitionList) -> Result<(), KafkaError>,
    ) -> anyhow::Result<Commit> {
        self.begin()?;
        let drained = self.drain()?;
        if !self.transactional {
            if let Some(reason) = self.producer.context().take() {
                bail!("records could not be delivered: {reason}");
            }
            self.open = false;
            // The client refuses to commit none.
            if offsets.count() > 0 {
                plain(offsets).context("cannot commit offsets")?;
            }
            return Ok(Commit::Done);
        }
        // Without its offsets a transaction must not be committed; and a commit that timed out is still under way: only
        // asking again tells how it ended.
        let send = || self.producer.send_offsets_to_transaction(offsets, group, PATIENCE);
        let sent = drained.and_then(|()| again(3 * PATIENCE, send));
        if let Err(KafkaError::Transaction(error)) = &sent
            && error.is_retriable()
        {
            return self.give_up(error.to_string());
        }
        self.end(sent)
    }

    /// Commits what was sent, without offsets; of a transactional producer.
    ///
    /// # Errors
    /// As those of [`Output::commit`].
    pub fn commit_alone(&mut self) -> anyhow::Result<Commit> {
        self.begin()?;
        let drained = self.drain()?;
        self.end(drained)
    }

    fn end(&mut self, sent: Result<(), KafkaError>) -> anyhow::Result<Commit> {
        // Records are missing: whatever the client would say, it must not be committed.
        if self.failed {
            return self.give_up("a record could not be delivered".to_owned());
        }
        match sent.and_then(|()| again(3 * PATIENCE, || self.producer.commit_transaction(PATIENCE))) {
            Ok(()) => {
                self.open = false;
                self.refused = None;
                Ok(Commit::Done)
            }
            Err(KafkaError::Transaction(error)) if error.txn_requires_abort() => self.give_up(error.to_string()),
            Err(error) => Err(error).context("the transaction can neither be committed nor aborted"),
        }
    }

    /// Aborts for a reason, or for that of a delivery that failed.
    fn give_up(&mut self, reason: String) -> anyhow::Result<Commit> {
        self.refused = self.roll_back()?.or_else(|| self.refused.take());
        Ok(Commit::Aborted(self.refused.clone().unwrap_or(reason)))
    }

    /// Gives up what was sent since the last commit.
    ///
    /// # Errors
    /// The producer is fenced or broken: it must be made anew.
    pub fn abort(&mut self) -> anyhow::Result<()> {
        self.roll_back().map(drop)
    }

    /// Aborts what is open, and returns why a delivery failed, if one did.
    fn roll_back(&mut self) -> anyhow::Result<Option<String>> {
        self.failed = false;
        if !std::mem::take(&mut self.open) || !self.transactional {
            return Ok(None);
        }
        // The client purges what is queued and waits until its delivery events are taken, which only a poll does.
        let step = || {
            let result = self.producer.abort_transaction(Duration::from_millis(100));
            self.producer.poll(MOMENT);
            result
        };
        let aborted = again(3 * PATIENCE, step).context("cannot abort a transaction");
        let refused = self.producer.context().take();
        aborted.map(|()| refused)
    }

    /// Lets the client serve its callbacks.
    pub fn poll(&self) {
        self.producer.poll(Duration::ZERO);
    }

    fn begin(&mut self) -> anyhow::Result<()> {
        if !self.open {
            if self.transactional {
                self.producer.begin_transaction().context("cannot begin a transaction")?;
            }
            self.open = true;
        }
        Ok(())
    }

    /// Waits until everything is acknowledged. Inside, the error of a transaction that cannot be committed any more: of
    /// that the client sends nothing more, and to commit it would wait for that.
    fn drain(&self) -> anyhow::Result<Result<(), KafkaError>> {
        let deadline = Instant::now() + PATIENCE;
        while !flush(&self.producer, STEP) {
            if Instant::now() > deadline {
                bail!("the broker did not acknowledge within {} s", PATIENCE.as_secs());
            }
            self.producer.poll(MOMENT);
            // The client may say so in no delivery event. Of all its calls this one changes nothing while a transaction is
            // open.
            if self.transactional
                && let Err(KafkaError::Transaction(error)) = self.producer.begin_transaction()
                && (error.txn_requires_abort() || error.is_fatal())
            {
                return Ok(Err(KafkaError::Transaction(error)));
            }
        }
        Ok(Ok(()))
    }

    /// Gives the client's own threads a moment. Its poll would not: of a time to wait it spends the last, broken
    /// millisecond asking again and again.
    fn wait(&self) {
        std::thread::sleep(MOMENT);
        self.poll();
    }
}

/// Calls again while the client says that the same call may succeed later.
fn again(limit: Duration, mut call: impl FnMut() -> Result<(), KafkaError>) -> Result<(), KafkaError> {
    let deadline = Instant::now() + limit;
    loop {
        match call() {
            Err(KafkaError::Transaction(error)) if error.is_retriable() && Instant::now() < deadline => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Environment};
    use crate::kafka::client;
    use rdkafka::mocking::MockCluster;
    use rdkafka::types::{RDKafkaApiKey as Key, RDKafkaRespErr as Refused};

    /// Whatever is still queued: a refusal aborts the transaction with its reason, and what the client miscounts then too.
    #[test]
    fn a_refusal_aborts_with_its_reason() {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("t", 1, 1).unwrap();
        let servers = cluster.bootstrap_servers();
        let text = format!("[kafka]\nbootstrap_servers = \"{servers}\"\n[[pipeline]]\npreset = \"waf\"\n");
        let config = Config::parse(&text, "test", &Environment::default()).unwrap();
        let producer = client::producer(&config.kafka);
        let mut output = Output::connect(producer, Some("id"), Duration::from_secs(60), |_| true).unwrap();
        let body = vec![b'x'; 100_000];
        for (records, refusals) in [(3, 0), (3, 1), (120, 1), (120, 3), (120, 0)] {
            let mut aborted = 0;
            loop {
                if aborted < refusals {
                    cluster.request_errors(Key::Produce, &[Refused::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE]);
                }
                for _ in 0..records {
                    let record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to("t").partition(0).payload(&body);
                    output.send(record).unwrap();
                }
                let Commit::Aborted(why) = output.commit_alone().unwrap() else { break };
                assert!(why.starts_with("t: ") && why.contains("raise max.message.bytes"), "{why}");
                assert!(!output.is_open() && !output.has_failed());
                aborted += 1;
            }
            assert!((refusals..=2 * refusals).contains(&aborted), "{records} records: {aborted}");
            cluster.clear_request_errors(Key::Produce);
        }
    }
}
