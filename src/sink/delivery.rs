//! Brings one batch to rest: every record in the index or in the rejected topic.
//!
//! ```text
//! documents ─► write ─► Created, AlreadyThere ─► done
//!    ▲           │ ├──► Reject ─► rejected topic ─► done
//!    │           │ │      ▲ its own fault: blame
//!    └─ backoff ─┘ └──► Fault, Retry, Unavailable
//! ```
//!
//! Invariants: what is not taken goes behind the others, so that one document holds up no other. It ends only when all is
//! settled, or when the sink stops and the index or the broker does not answer; then nothing of the batch may be
//! committed.

use super::backoff::Backoff;
use super::batch::{Batch, Partition, Position, Rejected, Source};
use super::blame::Blame;
use super::document::Unfit;
use super::pace::{Answered, Pace, Step};
use super::rejects::Rejects;
use super::suspects::{Suspect, Suspects};
use crate::index::{Document, Index, Outcome, Request, Stage, Unavailable, names};
use crate::telemetry::Telemetry;
use crate::telemetry::health::State;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
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
    /// Documents of each stage that the index has taken, of all batches.
    pub taken: Mutex<BTreeMap<Stage, u64>>,
    /// Batches of which only a few documents are left, with which the index failed.
    pub suspects: Suspects,
    /// Batches that wait now: while there is one, another's success makes nothing ready.
    pub waiting: Mutex<usize>,
}

/// A batch of which no more are left than so many, or than one of so many, needs no place on the way.
const FEW: usize = 64;
const ONE_OF: usize = 16;

/// The batch was given up because the sink stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abandoned;

/// What is left of a batch, and what became of the rest.
struct Left {
    request: Request,
    /// Of its documents, in their order.
    sources: Vec<Source>,
    rejected: Vec<Rejected>,
    created: u64,
    there: u64,
    /// Whose fault it is where the index fails.
    blames: BTreeMap<Stage, Blame>,
    /// How many go at once: fewer after a request that was refused as a whole or got no answer, as it may be too large
    /// for now.
    most: usize,
}

impl Left {
    fn new(request: Request, sources: Vec<Source>, rejected: Vec<Rejected>) -> Self {
        let blames = BTreeMap::new();
        Self { request, sources, rejected, created: 0, there: 0, blames, most: usize::MAX }
    }

    /// Takes out what goes next. The rest is copied, after failures only.
    fn portion(&mut self) -> (Request, Vec<Source>) {
        let most = self.most.min(self.request.len());
        let (later, later_sources) = (self.request.split_off(most), self.sources.split_off(most));
        (std::mem::replace(&mut self.request, later), std::mem::replace(&mut self.sources, later_sources))
    }

    /// What it takes in memory, in bytes.
    fn bytes(&self) -> usize {
        let bodies = self.rejected.iter().filter_map(|rejected| rejected.body.as_ref());
        self.request.bytes() + bodies.map(Bytes::len).sum::<usize>()
    }

    /// The index refused a document.
    fn reject(&mut self, Document { id, body, .. }: Document<'_>, source: Source, reason: String) {
        let why = Unfit { kind: "index", reason };
        let body = body.map(|body| Bytes::from(body.into_owned()));
        self.rejected.push(Rejected { source, body, document: Some(id.into_owned()), why });
    }
}

/// A batch that may have to wait.
struct Patience<'d> {
    backoff: Backoff,
    waiting: Waiting<'d>,
    suspect: Suspect<'d>,
    /// With so many documents left, or fewer, it may be a suspect, which takes no place.
    few: usize,
}

/// One of the batches that wait, once it has begun to.
struct Waiting<'d> {
    number: &'d Mutex<usize>,
    counts: bool,
}

impl Waiting<'_> {
    /// `show` tells of it before another batch may tell that all is well.
    fn begin(&mut self, show: impl FnOnce()) {
        let mut number = lock(self.number);
        *number += usize::from(!std::mem::replace(&mut self.counts, true));
        show();
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.counts {
            *lock(self.number) -= 1;
        }
    }
}

/// Nothing panics while it holds one.
fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Delivery {
    fn patience(&self, few: usize) -> Patience<'_> {
        let waiting = Waiting { number: &self.waiting, counts: false };
        Patience { backoff: Backoff::default(), waiting, suspect: self.suspects.none(), few }
    }

    /// The health component of what the sink writes to.
    pub fn component(&self) -> String {
        format!("sink.{}.index", self.pipeline)
    }

    /// How much goes to the index at once now.
    pub fn step(&self) -> Step {
        let step = lock(&self.pace).step();
        // A few documents that nobody may ever take keep no place of another request.
        Step { bytes: step.bytes.min(self.index.most_bytes()), requests: step.requests + self.suspects.number() }
    }

    /// Notes what the index took of these documents.
    fn took(&self, request: &Request, outcomes: &[Outcome]) -> usize {
        let taken = |outcome: &Outcome| matches!(outcome, Outcome::Created | Outcome::AlreadyThere);
        let mut number = 0;
        let mut by_stage = lock(&self.taken);
        for (place, _) in outcomes.iter().enumerate().filter(|(_, outcome)| taken(outcome)) {
            *by_stage.entry(request.stage(place)).or_default() += 1;
            number += 1;
        }
        number
    }

    /// Notes that the index failed with documents of a stage; true when it is their own fault.
    fn blamed(&self, blames: &mut BTreeMap<Stage, Blame>, stage: Stage) -> bool {
        let taken = lock(&self.taken).get(&stage).copied();
        blames.entry(stage).or_default().failed(taken.unwrap_or_default(), Instant::now())
    }

    fn note(&self, answered: Answered) {
        let mut pace = lock(&self.pace);
        pace.note(answered);
        let Step { bytes, requests } = pace.step();
        drop(pace);
        let bytes = bytes.min(self.index.most_bytes());
        for (name, level) in [("bulk_bytes", bytes), ("bulk_requests", requests)] {
            self.telemetry.metrics.gauge("sink", &self.pipeline, name).set(level as i64);
        }
    }

    /// Settles a batch, which is `full` if it was not sent before its time; answers which offsets that covers.
    ///
    /// # Errors
    /// It was given up.
    pub async fn settle(&self, batch: Batch, full: bool) -> Result<BTreeMap<Partition, Position>, Abandoned> {
        let (records, bytes) = (batch.len(), batch.bytes());
        let Batch { request, sources, rejected, positions, .. } = batch;
        let asked = !request.is_empty();
        let mut patience = self.patience(FEW.max(records / ONE_OF));
        let mut left = Left::new(request, sources, rejected);
        let mut first = true;
        while !left.request.is_empty() {
            let (request, sources) = left.portion();
            let begun = Instant::now();
            let written = self.index.write(&request).await;
            // What is written again is not a whole batch.
            self.judge_pace(&written, bytes, begun.elapsed(), full && std::mem::take(&mut first));
            let why = match written {
                Ok(outcomes) => self.answered(&mut left, request, sources, outcomes, &mut patience),
                Err(why) => self.unanswered(&mut left, request, sources, why, &mut patience),
            };
            if let Some(why) = why {
                self.wait(&mut patience, why).await?;
            }
        }
        // What waits for the rejected topic is decided.
        patience.suspect.set(None);
        self.reject(left.rejected, &mut patience).await?;
        let waited = patience.waiting.counts;
        drop(patience);
        let waiting = lock(&self.waiting);
        if (asked || waited) && *waiting == 0 {
            self.telemetry.health.set(&self.component(), State::Ready);
        }
        drop(waiting);
        // Counted when all is settled, so that the ledger adds up at any moment.
        self.count("in", "", records as u64);
        self.count("out", "", left.created);
        self.count("already_there", "", left.there);
        Ok(positions)
    }

    fn judge_pace(&self, written: &Result<Vec<Outcome>, Unavailable>, bytes: usize, after: Duration, full: bool) {
        match written {
            Ok(outcomes) if outcomes.iter().any(|outcome| matches!(outcome, Outcome::Retry(_))) => {
                self.note(Answered::TooMuch);
            }
            Ok(_) => self.note(Answered::Took { bytes, after, full }),
            // What is in a request says nothing about how much it may be.
            Err(Unavailable { refused, .. }) if *refused => {}
            Err(_) => self.note(Answered::TooMuch),
        }
    }

    /// Takes in what became of each document; why some are to wait, if any.
    fn answered(
        &self,
        left: &mut Left,
        request: Request,
        sources: Vec<Source>,
        outcomes: Vec<Outcome>,
        patience: &mut Patience<'_>,
    ) -> Option<String> {
        left.most = request.len().saturating_mul(2);
        let taken = self.took(&request, &outcomes);
        let faulty = outcomes.iter().enumerate().filter(|(_, outcome)| matches!(outcome, Outcome::Fault(_)));
        let faulty: BTreeSet<Stage> = faulty.map(|(place, _)| request.stage(place)).collect();
        let blamed: Vec<Stage> = faulty.iter().copied().filter(|s| self.blamed(&mut left.blames, *s)).collect();
        let (mut why, mut again) = (None, Vec::new());
        for (place, (source, outcome)) in sources.into_iter().zip(outcomes).enumerate() {
            match outcome {
                Outcome::Created => left.created += 1,
                Outcome::AlreadyThere => left.there += 1,
                Outcome::Fault(reason) if blamed.contains(&request.stage(place)) => {
                    left.reject(request.document(place), source, reason);
                }
                Outcome::Reject(reason) => left.reject(request.document(place), source, reason),
                Outcome::Retry(reason) | Outcome::Fault(reason) => {
                    why = Some(reason);
                    again.push(place);
                    left.sources.push(source);
                }
            }
        }
        let waits = again.len();
        let stages: BTreeSet<Stage> = again.iter().map(|place| request.stage(*place)).collect();
        left.request.copy_from(&request, again);
        let few = !faulty.is_empty() && left.request.len() <= patience.few;
        patience.suspect.set(few.then(|| left.bytes()));
        if taken > waits {
            patience.backoff = Backoff::default();
        }
        let stages = stages.into_iter().map(names::stage).collect::<Vec<_>>().join(", ");
        why.map(|reason| format!("{waits} documents wait ({stages}): {reason}"))
    }

    /// Takes in that a request was refused as a whole or got no answer; why its documents are to wait, if they are.
    fn unanswered(
        &self,
        left: &mut Left,
        request: Request,
        mut sources: Vec<Source>,
        Unavailable { reason, refused }: Unavailable,
        patience: &mut Patience<'_>,
    ) -> Option<String> {
        left.most = request.len().div_ceil(2);
        let few = refused && request.len() + left.request.len() <= patience.few;
        patience.suspect.set(few.then(|| request.bytes() + left.bytes()));
        if refused
            && request.len() == 1
            && self.blamed(&mut left.blames, request.stage(0))
            && let Some(source) = sources.pop()
        {
            left.reject(request.document(0), source, reason);
            return None;
        }
        left.request.append(request);
        left.sources.append(&mut sources);
        Some(reason)
    }

    async fn reject(&self, mut rejected: Vec<Rejected>, patience: &mut Patience<'_>) -> Result<(), Abandoned> {
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
        while let Err((left, why)) = self.rejects.write(rejected).await {
            rejected = left;
            self.wait(patience, why).await?;
        }
        for kind in kinds {
            self.count("rejected", kind, 1);
        }
        Ok(())
    }

    async fn wait(&self, patience: &mut Patience<'_>, reason: String) -> Result<(), Abandoned> {
        patience.waiting.begin(|| self.telemetry.health.set(&self.component(), State::Waiting { reason }));
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
