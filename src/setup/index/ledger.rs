//! What the setup has written, kept in an index of its own, and who may write at present.
//!
//! One document a thing, and one a lease. Invariants: only the holder of a lease writes; a lease that its holder
//! lost by a crash runs out; secrets are kept as their hash.

use super::thing::{Kind, Thing};
use crate::index::opensearch::{Answer, Client};
use crate::time::now;
use anyhow::bail;
use bytes::Bytes;
use opensearch::http::Method;
use outlier_core::pipeline::Millis;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;

/// The most things that are read back.
const MOST: usize = 5_000;

/// How long somebody else's lease is waited for, beyond its own time.
const PATIENCE: Duration = Duration::from_secs(30);

/// The kind of the documents that say that a detector was started.
const STARTED: &str = "started";

/// How often.
const LOOK: Duration = Duration::from_millis(500);

/// How long the index may be unreadable after another setup made it: it has no shard for a moment.
const BIRTH: Duration = Duration::from_secs(5);

/// What was written, by kind and name.
pub type Written = BTreeMap<(Kind, String), Note>;

/// What is known of a thing that was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Note {
    /// Its body, secrets masked.
    pub body: Value,
    /// It was about to be written, and nothing is known of how that ended.
    pub pending: bool,
}

/// The index of what was written. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Ledger {
    client: Client,
    index: String,
    replicas: u32,
}

/// The right to write, for a while.
#[derive(Debug)]
pub struct Lease {
    id: String,
    seq_no: i64,
    primary_term: i64,
    until: Millis,
}

impl Lease {
    /// Whether it has so much time left.
    pub fn lasts(&self, more: Duration) -> bool {
        now() + more.as_millis() as Millis <= self.until
    }
}

impl Ledger {
    /// The ledger of a configuration's prefix.
    pub fn new(client: &Client, prefix: &str, replicas: u32) -> Self {
        Self { client: client.clone(), index: format!("{prefix}outlier-setup"), replicas }
    }

    /// The index's name.
    pub fn index(&self) -> &str {
        &self.index
    }

    /// Everything that was written and not taken away.
    ///
    /// # Errors
    /// No answer, or no right to read.
    pub async fn read(&self) -> anyhow::Result<Written> {
        let entries = self.entries().await?.into_iter();
        Ok(entries.filter_map(|(word, name, note)| Some(((Kind::of(&word)?, name), note))).collect())
    }

    /// The detectors that were started and not stopped.
    ///
    /// # Errors
    /// As [`Ledger::read`].
    pub async fn started(&self) -> anyhow::Result<BTreeSet<String>> {
        let entries = self.entries().await?.into_iter();
        Ok(entries.filter(|(word, ..)| word == STARTED).map(|(_, name, _)| name).collect())
    }

    /// Kind, name and note of every document that is no lease.
    async fn entries(&self) -> anyhow::Result<Vec<(String, String, Note)>> {
        let query = json!({"size": MOST, "query": {"exists": {"field": "kind"}}});
        let path = format!("/{}/_search", self.index);
        let query = bytes(&query)?;
        let deadline = Instant::now() + BIRTH;
        let answer = loop {
            let answer = self.client.send(Method::Post, &path, Some(query.clone())).await?;
            if answer.status != 503 || Instant::now() > deadline {
                break answer;
            }
            tokio::time::sleep(LOOK).await;
        };
        if answer.status == 404 {
            return Ok(Vec::new());
        }
        self.check(&answer, "read")?;
        let json = answer.json()?;
        let hits = json["hits"]["hits"].as_array().into_iter().flatten();
        let entries = hits.filter_map(|hit| {
            let source = &hit["_source"];
            let text = |name: &str| source[name].as_str().map(str::to_owned);
            let body = serde_json::from_str(source["body"].as_str()?).ok()?;
            Some((text("kind")?, text("name")?, Note { body, pending: source["pending"] == true }))
        });
        Ok(entries.collect())
    }

    /// Notes that a thing was written.
    ///
    /// # Errors
    /// No answer, or no right to write.
    pub async fn note(&self, thing: &Thing) -> anyhow::Result<()> {
        self.put(thing.kind.word(), &thing.name, &thing.masked(), false).await
    }

    /// Notes that a thing is about to be written, so that after a crash it is known for ours.
    ///
    /// # Errors
    /// As [`Ledger::note`].
    pub async fn note_pending(&self, thing: &Thing) -> anyhow::Result<()> {
        self.put(thing.kind.word(), &thing.name, &thing.masked(), true).await
    }

    /// Puts back what was known of a thing.
    ///
    /// # Errors
    /// As [`Ledger::note`].
    pub async fn restore(&self, kind: Kind, name: &str, note: Option<&Note>) -> anyhow::Result<()> {
        match note {
            Some(Note { body, pending }) => self.put(kind.word(), name, body, *pending).await,
            None => self.forget(kind, name).await,
        }
    }

    /// Notes that a detector was started.
    ///
    /// # Errors
    /// As [`Ledger::note`].
    pub async fn note_started(&self, detector: &str) -> anyhow::Result<()> {
        self.put(STARTED, detector, &Value::Null, false).await
    }

    async fn put(&self, word: &str, name: &str, body: &Value, pending: bool) -> anyhow::Result<()> {
        let source = json!({"kind": word, "name": name, "body": body.to_string(), "pending": pending});
        self.act(&json!({"index": {"_index": self.index, "_id": format!("{word}:{name}")}}), Some(&source)).await?;
        Ok(())
    }

    /// Notes that a thing was taken away.
    ///
    /// # Errors
    /// As [`Ledger::note`].
    pub async fn forget(&self, kind: Kind, name: &str) -> anyhow::Result<()> {
        self.delete(kind.word(), name).await
    }

    /// Notes that a detector was stopped.
    ///
    /// # Errors
    /// As [`Ledger::note`].
    pub async fn forget_started(&self, detector: &str) -> anyhow::Result<()> {
        self.delete(STARTED, detector).await
    }

    async fn delete(&self, word: &str, name: &str) -> anyhow::Result<()> {
        self.act(&json!({"delete": {"_index": self.index, "_id": format!("{word}:{name}")}}), None).await?;
        Ok(())
    }

    /// Takes the ledger itself away.
    ///
    /// # Errors
    /// As [`Ledger::note`].
    pub async fn remove(&self) -> anyhow::Result<()> {
        let answer = self.client.send(Method::Delete, &format!("/{}", self.index), None).await?;
        if answer.status == 404 { Ok(()) } else { self.check(&answer, "deleted") }
    }

    /// Waits for the lease `what` and takes it for `length`.
    ///
    /// # Errors
    /// Somebody else keeps it; no answer; no right to write.
    pub async fn hold(&self, what: &str, length: Duration) -> anyhow::Result<Lease> {
        let patience = length + PATIENCE;
        let deadline = Instant::now() + patience;
        loop {
            if let Some(lease) = self.try_hold(what, length).await? {
                return Ok(lease);
            }
            if Instant::now() > deadline {
                bail!(
                    "another outlier has been setting OpenSearch up for {} s: wait for it, or delete the document lease-{what} of the index {}",
                    patience.as_secs(),
                    self.index
                );
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Takes the lease `what` for `length`, if nobody has it.
    ///
    /// # Errors
    /// No answer, or no right to write.
    pub async fn try_hold(&self, what: &str, length: Duration) -> anyhow::Result<Option<Lease>> {
        self.create().await?;
        let id = format!("lease-{what}");
        let until = now() + length.as_millis() as Millis;
        let source = json!({"until": until});
        let create = json!({"create": {"_index": self.index, "_id": id}});
        if let Some(lease) = self.take(&create, &source, &id, until).await? {
            return Ok(Some(lease));
        }
        let found = self.lease(&id).await?;
        let Some((seq_no, primary_term, end)) = found else {
            return Ok(None);
        };
        if end > now() {
            return Ok(None);
        }
        self.take(&self.replace(&id, seq_no, primary_term), &source, &id, until).await
    }

    /// Keeps a lease for `length` from now. False: somebody else has it.
    ///
    /// # Errors
    /// As [`Ledger::try_hold`].
    pub async fn renew(&self, lease: &mut Lease, length: Duration) -> anyhow::Result<bool> {
        let until = now() + length.as_millis() as Millis;
        let action = self.replace(&lease.id, lease.seq_no, lease.primary_term);
        let taken = self.take(&action, &json!({"until": until}), &lease.id.clone(), until).await?;
        let kept = taken.is_some();
        if let Some(taken) = taken {
            *lease = taken;
        }
        Ok(kept)
    }

    /// Gives a lease back. Should that fail, it runs out.
    pub async fn release(&self, lease: Lease) {
        let action = json!({"delete": {
            "_index": self.index, "_id": lease.id, "if_seq_no": lease.seq_no, "if_primary_term": lease.primary_term,
        }});
        if let Err(error) = self.act(&action, None).await {
            tracing::debug!("a lease of the setup was not given back: {error:#}");
        }
    }

    fn replace(&self, id: &str, seq_no: i64, primary_term: i64) -> Value {
        json!({"index": {"_index": self.index, "_id": id, "if_seq_no": seq_no, "if_primary_term": primary_term}})
    }

    async fn take(&self, action: &Value, source: &Value, id: &str, until: Millis) -> anyhow::Result<Option<Lease>> {
        let item = self.act(action, Some(source)).await?;
        let (Some(seq_no), Some(primary_term)) = (item["_seq_no"].as_i64(), item["_primary_term"].as_i64()) else {
            return Ok(None);
        };
        Ok(Some(Lease { id: id.to_owned(), seq_no, primary_term, until }))
    }

    /// Where a lease is and when it ends; `None` when it was given back meanwhile.
    async fn lease(&self, id: &str) -> anyhow::Result<Option<(i64, i64, Millis)>> {
        let query = json!({"docs": [{"_index": self.index, "_id": id}]});
        let answer = self.client.send(Method::Post, "/_mget", Some(bytes(&query)?)).await?;
        self.check(&answer, "read")?;
        let found = &answer.json()?["docs"][0];
        let (seq_no, term) = (found["_seq_no"].as_i64(), found["_primary_term"].as_i64());
        Ok(seq_no.zip(term).map(|(seq_no, term)| (seq_no, term, found["_source"]["until"].as_i64().unwrap_or(0))))
    }

    /// Creates the index if it is not there.
    async fn create(&self) -> anyhow::Result<()> {
        let body = json!({
            "settings": {"index": {"number_of_shards": 1, "number_of_replicas": self.replicas, "hidden": true}},
            "mappings": {"dynamic": false, "properties": {"kind": {"type": "keyword"}}},
        });
        let path = format!("/{}", self.index);
        if self.client.send(Method::Head, &path, None).await?.good() {
            return Ok(());
        }
        let answer = self.client.send(Method::Put, &path, Some(bytes(&body)?)).await?;
        if answer.reason().contains("resource_already_exists_exception") {
            return Ok(());
        }
        self.check(&answer, "created")
    }

    /// One action of a bulk request, which needs no id in a URL; answers its item. A conflict is no error.
    async fn act(&self, action: &Value, source: Option<&Value>) -> anyhow::Result<Value> {
        let mut lines = format!("{action}\n");
        if let Some(source) = source {
            lines.push_str(&format!("{source}\n"));
        }
        let answer = self.client.send(Method::Post, "/_bulk?refresh=true", Some(lines.into())).await?;
        self.check(&answer, "written")?;
        let mut json = answer.json()?;
        let item = json["items"][0].as_object_mut().and_then(|item| item.values_mut().next().map(Value::take));
        let item = item.unwrap_or_default();
        match item["status"].as_u64() {
            Some(200..=299) => Ok(item),
            Some(404) if source.is_none() => Ok(item),
            Some(409) => Ok(Value::Null),
            _ => bail!("the index {} cannot be written: {}", self.index, item["error"]["reason"]),
        }
    }

    fn check(&self, answer: &Answer, verb: &str) -> anyhow::Result<()> {
        if answer.good() {
            return Ok(());
        }
        bail!("the index {}, in which the setup notes what it made, cannot be {verb}: {}", self.index, answer.reason())
    }
}

fn bytes(body: &Value) -> anyhow::Result<Bytes> {
    Ok(Bytes::from(serde_json::to_vec(body)?))
}
