//! The index in production: OpenSearch's bulk API.
//!
//! ```text
//! documents ─► body (splice) ─► request ─► POST /_bulk ─► answer ─► outcomes
//!                                 as read     full or due
//! ```
//!
//! Invariants: only `create`, so nothing is ever overwritten; a request that is too large is halved until it fits, and
//! one that an ingest pipeline refuses for one of its documents, until the others are taken; an answer that cannot be
//! read leaves every document undecided.

pub mod answer;
#[cfg(feature = "aws")]
pub mod aws;
pub mod body;
pub mod client;
pub mod credentials;
mod nodes;
pub mod probe;
mod unreadable;
pub mod words;

pub use client::{Answer, Client};

use crate::config::{Config, Indices};
use crate::index::names::{self, STAGES};
use crate::index::{Document, Index, Outcome, Request, Unavailable};
use futures::future::BoxFuture;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::iter::once;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// What the answer needs to hold; the rest would be parsed for nothing.
const BULK: &str = "/_bulk?filter_path=error,items.*._id,items.*.status,items.*.error";

/// Why a single document is refused.
const TOO_LARGE: &str = "larger than OpenSearch (http.max_content_length) or a proxy before it takes (413)";

/// Requests are not made smaller than that for a limit on their size; bytes.
const LEAST: usize = 64 * 1024;
/// After so many requests of a limited size the limit is doubled.
const TRY_LARGER: u32 = 256;

/// Writes to OpenSearch.
pub struct OpenSearch {
    client: Client,
    indices: Indices,
    /// Index names by pipeline, in the order of [`STAGES`].
    names: BTreeMap<Arc<str>, [String; STAGES.len()]>,
    /// Larger requests were refused for their size.
    most_bytes: AtomicUsize,
    /// Requests that were taken since.
    taken_since: AtomicU32,
}

impl OpenSearch {
    /// Prepares the connection; nothing is sent.
    ///
    /// # Errors
    /// As [`Client::new`].
    pub fn new(config: &Config) -> anyhow::Result<Self> {
        let prefix = &config.opensearch.index_prefix;
        let of = |pipeline: &str| STAGES.map(|stage| names::index(prefix, pipeline, stage));
        let names = config.pipelines.iter().map(|p| (p.name.as_str().into(), of(&p.name))).collect();
        Ok(Self {
            client: Client::new(config)?,
            indices: config.opensearch.indices,
            names,
            most_bytes: AtomicUsize::new(usize::MAX),
            taken_since: AtomicU32::new(0),
        })
    }

    fn index_of(&self, pipeline: &Arc<str>, document: &Document<'_>) -> Cow<'_, str> {
        let position = STAGES.iter().position(|stage| *stage == document.stage).unwrap_or_default();
        let base = self.names.get(pipeline).map_or("", |names| &names[position]);
        names::of_period(base, self.indices, document.period_ms)
    }

    async fn write_all(&self, request: &Request) -> Result<Vec<Outcome>, Unavailable> {
        let mut outcomes = self.send(request).await?;
        self.ask_apart(request, &mut outcomes).await?;
        Ok(outcomes)
    }

    /// Asks again for documents that may have been refused for others, until each outcome is its document's own.
    async fn ask_apart(&self, request: &Request, outcomes: &mut [Outcome]) -> Result<(), Unavailable> {
        let places: Vec<usize> = (0..request.len()).filter(|i| answer::may_be_for_another(&outcomes[*i])).collect();
        if places.len() < 2 {
            return Ok(());
        }
        // The usual causes show without asking.
        let mut others = Vec::new();
        for place in places {
            let lines = request.lines(place..place + 1);
            let source = memchr::memchr(b'\n', &lines).map_or(&lines[..], |end| &lines[end + 1..]);
            let record = || request.document(place).body.map(Cow::into_owned).unwrap_or_default();
            match unreadable::reason(source, record) {
                Some(reason) => outcomes[place] = Outcome::Reject(reason),
                None => others.push(place),
            }
        }
        let mut groups = halves(&others);
        while let Some(group) = groups.pop() {
            let answers = self.send(&request.select(group.iter().copied())).await?;
            group.iter().zip(answers).for_each(|(i, outcome)| outcomes[*i] = outcome);
            let left: Vec<usize> = group.into_iter().filter(|i| answer::may_be_for_another(&outcomes[*i])).collect();
            if left.len() > 1 {
                groups.append(&mut halves(&left));
            }
        }
        Ok(())
    }

    /// Sends a request, in halves if need be.
    async fn send(&self, request: &Request) -> Result<Vec<Outcome>, Unavailable> {
        let mut outcomes = Vec::with_capacity(request.len());
        let mut parts: Vec<Range<usize>> = once(0..request.len()).collect();
        while let Some(part) = parts.pop() {
            if part.is_empty() {
                continue;
            }
            let lines = request.lines(part.clone());
            let bytes = lines.len();
            let answer = self.client.bulk(BULK, lines).await?;
            match answer.status {
                200..=299 => {
                    self.fits(bytes);
                    let ids: Vec<&str> = part.map(|place| request.id(place)).collect();
                    outcomes.append(&mut answer::outcomes(&answer.body, &ids).ok_or_else(|| odd(&answer))?);
                }
                413 if part.len() > 1 => {
                    self.too_large(bytes);
                    let middle = part.start + part.len() / 2;
                    parts.push(middle..part.end);
                    parts.push(part.start..middle);
                }
                413 => outcomes.push(Outcome::Reject(TOO_LARGE.to_owned())),
                _ => return Err(refused(&answer)),
            }
        }
        Ok(outcomes)
    }
}

impl OpenSearch {
    /// A request of so many bytes went in vain: half of it is below the limit, unless a single document is not.
    fn too_large(&self, bytes: usize) {
        let most = (bytes / 2).max(LEAST);
        self.taken_since.store(0, Ordering::Relaxed);
        if self.most_bytes.fetch_min(most, Ordering::Relaxed) > most {
            tracing::info!(bytes, "a request was too large for OpenSearch or a proxy before it (413): smaller ones go");
        }
    }

    /// A request of so many bytes was taken: now and then a larger one is tried, as the limit may have gone.
    fn fits(&self, bytes: usize) {
        let most = self.most_bytes.load(Ordering::Relaxed);
        // Small ones tell nothing of it.
        if most != usize::MAX && bytes > most / 2 && self.taken_since.fetch_add(1, Ordering::Relaxed) + 1 >= TRY_LARGER
        {
            self.taken_since.store(0, Ordering::Relaxed);
            self.most_bytes.store(most.saturating_mul(2), Ordering::Relaxed);
        }
    }
}

impl Index for OpenSearch {
    fn most_bytes(&self) -> usize {
        self.most_bytes.load(Ordering::Relaxed)
    }

    fn add(&self, request: &mut Request, document: &Document<'_>) -> Result<(), String> {
        let index = self.index_of(request.pipeline(), document);
        request.add(document, |out| body::lines(out, &index, document))
    }

    fn write<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Vec<Outcome>, Unavailable>> {
        Box::pin(self.write_all(request))
    }
}

/// None of nothing, one of one.
fn halves(places: &[usize]) -> Vec<Vec<usize>> {
    places.chunks(places.len().div_ceil(2).max(1)).map(<[usize]>::to_vec).collect()
}

/// A good status with a body that is no bulk answer.
fn odd(answer: &Answer) -> Unavailable {
    match answer.json() {
        Ok(json) if !json["error"].is_null() => refused(answer),
        _ => answer.not_opensearch(),
    }
}

/// A status that is about the whole request.
fn refused(answer: &Answer) -> Unavailable {
    let (status, reason) = (answer.status, answer.reason());
    let reason = match status {
        403 => format!("OpenSearch does not allow the write: {reason}"),
        400 if reason.contains("no handler found") => format!("OpenSearch refused the request: {reason}"),
        429 | 502..=504 => format!("OpenSearch does not take the request now: {reason}"),
        _ => {
            format!(
                "OpenSearch refused the request: {reason}; check opensearch.urls and OpenSearch's version (2.7 or later)"
            )
        }
    };
    // OpenSearch's own 403 is about rights and blocks.
    let own = || answer.json().is_ok_and(|json| !json["error"].is_null());
    let passes = matches!(status, 404 | 405 | 407 | 408 | 429) || (status == 403 && own());
    Unavailable { reason, refused: matches!(status, 400..=499) && !passes }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;

    #[test]
    fn a_limit_on_size_is_learned_and_tried_again() {
        let config = Config::parse("[[pipeline]]\npreset = \"waf\"\n", "test", &Environment::default()).unwrap();
        let index = OpenSearch::new(&config).unwrap();
        let mut taken = 0;
        // Requests that were taken, one that was too large, and the limit then.
        for (take, too_large, want) in [
            (TRY_LARGER, None, usize::MAX),
            (0, Some(10 << 20), 5 << 20),
            (TRY_LARGER - 1, None, 5 << 20),
            (1, None, 10 << 20),
            (TRY_LARGER - 1, None, 10 << 20),
            (0, Some(12 << 20), 6 << 20),
            // A larger one says nothing new, but that it is too early for another.
            (TRY_LARGER - 1, Some(20 << 20), 6 << 20),
            (TRY_LARGER - 1, None, 6 << 20),
            // A single document may be larger than any limit.
            (0, Some(1_000), LEAST),
            (64 * TRY_LARGER, None, usize::MAX),
        ] {
            (0..take).for_each(|_| index.fits(index.most_bytes()));
            index.fits(LEAST / 2);
            too_large.into_iter().for_each(|bytes| index.too_large(bytes));
            taken += take;
            assert_eq!(index.most_bytes(), want, "after {taken}");
        }
    }
}
