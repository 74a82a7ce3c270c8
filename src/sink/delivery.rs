//! Brings one batch to rest: every record in the index or in the rejected topic.
//!
//! ```text
//! documents ─► write ─► Created, AlreadyThere ─► done
//!    ▲           │ ├──► Reject ─► rejected topic ─► done
//!    └─ backoff ─┘ └──► Retry, Unavailable
//! ```
//!
//! Invariant: it ends only when all is settled, or when the sink stops and the index or the broker does not answer;
//! then nothing of the batch may be committed.

use super::backoff::Backoff;
use super::batch::{Batch, Partition, Position, Rejected};
use super::document::Unfit;
use super::pace::{Answered, Pace, Step};
use super::rejects::Rejects;
use crate::index::{Document, Index, Outcome};
use crate::telemetry::Telemetry;
use crate::telemetry::health::State;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio_util::sync::CancellationToken;

/// What deliveries of one pipeline share.
pub struct Delivery {
    /// Where documents go.
    pub index: Arc<dyn Index>,
    /// Where the others go.
    pub rejects: Rejects,
    /// Health and the ledger.
    pub telemetry: Telemetry,
    /// The pipeline's name.
    pub pipeline: String,
    /// How much goes to the index at once.
    pub pace: Mutex<Pace>,
    /// From here on a failed attempt is the last.
    pub stop: CancellationToken,
    /// Batches that wait now: while there is one, another's success makes nothing ready.
    pub waiting: AtomicUsize,
}

/// The batch was given up because the sink stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abandoned;

/// A batch that may have to wait.
struct Patience<'d> {
    backoff: Backoff,
    waiting: &'d AtomicUsize,
    began: bool,
}

impl Patience<'_> {
    fn begin(&mut self) {
        if !std::mem::replace(&mut self.began, true) {
            self.waiting.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Patience<'_> {
    fn drop(&mut self) {
        if self.began {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Delivery {
    fn patience(&self) -> Patience<'_> {
        Patience { backoff: Backoff::default(), waiting: &self.waiting, began: false }
    }

    /// The health component of what the sink writes to.
    pub fn component(&self) -> String {
        format!("sink.{}.index", self.pipeline)
    }

    /// How much goes to the index at once now.
    pub fn step(&self) -> Step {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner).step()
    }

    fn note(&self, answered: Answered) {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner).note(answered);
        let Step { bytes, requests } = self.step();
        for (name, level) in [("bulk_bytes", bytes), ("bulk_requests", requests)] {
            self.telemetry.metrics.gauge("sink", &self.pipeline, name).set(level as i64);
        }
    }

    /// Settles a batch, which is `full` if it was not sent before its time; answers which offsets that covers.
    ///
    /// # Errors
    /// It was given up.
    pub async fn settle(&self, batch: Batch, full: bool) -> Result<BTreeMap<Partition, Position>, Abandoned> {
        let bytes = batch.bytes();
        let mut first = true;
        let Batch { mut documents, mut sources, mut rejected, positions, mut prepared, .. } = batch;
        let records = documents.len() + rejected.len();
        let (mut created, mut there) = (0_u64, 0_u64);
        let mut patience = self.patience();
        let asked = !documents.is_empty();
        // After a request that was refused as a whole or got no answer, fewer at a time: it may be too large for now.
        let mut portion = usize::MAX;
        while !documents.is_empty() {
            let later = documents.split_off(portion.min(documents.len()));
            let later_sources = sources.split_off(documents.len());
            let ready = prepared.take().filter(|_| later.is_empty());
            let ready = ready.unwrap_or_else(|| self.index.prepare(&documents));
            let begun = Instant::now();
            let written = self.index.write_prepared(&documents, ready).await;
            let all = |outcomes: &Vec<Outcome>| !outcomes.iter().any(|outcome| matches!(outcome, Outcome::Retry(_)));
            self.note(match &written {
                // What is written again is not a whole batch.
                Ok(outcomes) if all(outcomes) => Answered::Took { bytes, after: begun.elapsed(), full: full && first },
                _ => Answered::TooMuch,
            });
            first = false;
            let mut why = None;
            match written {
                Err(unavailable) => {
                    portion = documents.len().div_ceil(2);
                    why = Some(unavailable.0);
                }
                Ok(outcomes) => {
                    portion = documents.len().saturating_mul(2);
                    let mut again: (Vec<Document>, Vec<_>) = (Vec::new(), Vec::new());
                    for ((document, source), outcome) in documents.into_iter().zip(sources).zip(outcomes) {
                        match outcome {
                            Outcome::Created => created += 1,
                            Outcome::AlreadyThere => there += 1,
                            Outcome::Retry(reason) => {
                                why = Some(reason);
                                again.0.push(document);
                                again.1.push(source);
                            }
                            Outcome::Reject(reason) => {
                                let why = Unfit { kind: "index", reason };
                                let Document { id, body, .. } = document;
                                rejected.push(Rejected { source, body, document: Some(id), why });
                            }
                        }
                    }
                    (documents, sources) = again;
                    why = why.map(|reason| format!("{} documents wait: {reason}", documents.len()));
                }
            }
            documents.extend(later);
            sources.extend(later_sources);
            if let Some(why) = why {
                self.wait(&mut patience, why).await?;
            }
        }
        self.reject(rejected).await?;
        drop(patience);
        if asked && self.waiting.load(Ordering::Relaxed) == 0 {
            self.telemetry.health.set(&self.component(), State::Ready);
        }
        // Counted when all is settled, so that the ledger adds up at any moment.
        self.count("in", "", records as u64);
        self.count("out", "", created);
        self.count("already_there", "", there);
        Ok(positions)
    }

    async fn reject(&self, mut rejected: Vec<Rejected>) -> Result<(), Abandoned> {
        let Some(first) = rejected.first() else {
            return Ok(());
        };
        let (source, reason) = (&first.source, &first.why.reason);
        tracing::warn!(
            pipeline = self.pipeline,
            records = rejected.len(),
            topic = &*source.topic,
            partition = source.partition,
            offset = source.offset,
            reason,
            "sink: records rejected; the first of them is shown"
        );
        let kinds: Vec<&'static str> = rejected.iter().map(|record| record.why.kind).collect();
        let mut patience = self.patience();
        while let Err((left, why)) = self.rejects.write(rejected).await {
            rejected = left;
            self.wait(&mut patience, why).await?;
        }
        for kind in kinds {
            self.count("rejected", kind, 1);
        }
        Ok(())
    }

    async fn wait(&self, patience: &mut Patience<'_>, reason: String) -> Result<(), Abandoned> {
        patience.begin();
        self.telemetry.health.set(&self.component(), State::Waiting { reason });
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(Abandoned),
            () = patience.backoff.wait() => Ok(()),
        }
    }

    fn count(&self, outcome: &str, reason: &str, by: u64) {
        if by > 0 {
            self.telemetry.metrics.records("sink", &self.pipeline, outcome, reason).inc_by(by);
        }
    }
}
