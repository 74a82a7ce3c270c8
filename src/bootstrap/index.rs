//! The documents of an OpenSearch index as one source, oldest first.
//!
//! A point in time is opened, so that what is written meanwhile changes nothing, and read in pages with `search_after`.
//! Invariants: sorted by `@timestamp`, then by a tie-breaker, so that no document is skipped or read twice; a page is
//! asked for again while the cluster does not answer, for as long as [`PATIENCE`].

use super::document::Stripper;
use crate::backtest::input::{Item, Next, Source};
use crate::index::opensearch::{Answer, Client};
use anyhow::{Context, bail};
use bytes::Bytes;
use indicatif::ProgressBar;
use opensearch::http::Method;
use outlier_core::pipeline::{Millis, Pipeline};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// Documents of a page.
const PAGE: usize = 2_000;
/// How long the cluster keeps the point in time between two pages.
const KEPT: &str = "10m";
/// A cluster that does not answer is asked again for this long.
const PATIENCE: Duration = Duration::from_secs(60);

/// Which part of which index.
#[derive(Debug, Clone)]
pub struct Range<'a> {
    /// The index, an alias or a pattern.
    pub index: &'a str,
    /// The first `@timestamp`, at least.
    pub from: Option<Millis>,
}

/// An index between two pages.
pub struct Documents {
    client: Client,
    runtime: Handle,
    name: String,
    pit: String,
    query: Value,
    /// How ties are broken; older clusters know the second one only.
    tie: &'static str,
    after: Option<Value>,
    stripper: Stripper,
    bar: ProgressBar,
}

#[derive(Deserialize)]
struct Page<'p> {
    #[serde(borrow)]
    hits: Hits<'p>,
}

#[derive(Deserialize)]
struct Hits<'p> {
    #[serde(default)]
    total: Option<Total>,
    #[serde(borrow)]
    hits: Vec<Hit<'p>>,
}

#[derive(Deserialize)]
struct Total {
    value: u64,
}

#[derive(Deserialize)]
struct Hit<'p> {
    #[serde(borrow, rename = "_source")]
    source: &'p RawValue,
    sort: Value,
}

impl Documents {
    /// Opens the point in time; the documents, and how many there are. Blocks.
    ///
    /// # Errors
    /// The cluster does not answer, or has no such index.
    pub fn open(
        client: Client,
        runtime: Handle,
        pipeline: &Pipeline,
        range: &Range<'_>,
        bar: &ProgressBar,
    ) -> anyhow::Result<(Self, u64)> {
        let index = range.index;
        let path = format!("/{index}/_search/point_in_time?keep_alive={KEPT}");
        let answer = runtime.block_on(client.send(Method::Post, &path, None))?;
        if !answer.good() {
            bail!("index {index} cannot be read: {}", answer.reason());
        }
        let pit = answer.json()?["pit_id"].as_str().map(str::to_owned);
        let pit =
            pit.with_context(|| format!("OpenSearch opened no point in time of {index}: it needs 2.4 or later"))?;
        let mut time = json!({"format": "epoch_millis"});
        if let Some(from) = range.from {
            time["gte"] = from.into();
        }
        let mut documents = Self {
            client,
            runtime,
            name: index.to_owned(),
            pit,
            query: json!({"range": {"@timestamp": time}}),
            tie: "_shard_doc",
            after: None,
            stripper: Stripper::new(pipeline),
            bar: bar.clone(),
        };
        let total = documents.total()?;
        Ok((documents, total))
    }

    /// How many there are; finds the tie-breaker, too.
    fn total(&mut self) -> anyhow::Result<u64> {
        let mut answer = self.ask(0)?;
        if answer.status == 400 {
            self.tie = "_id";
            answer = self.ask(0)?;
        }
        let page: Page<'_> = self.read(&answer)?;
        Ok(page.hits.total.map_or(0, |total| total.value))
    }

    fn ask(&self, size: usize) -> anyhow::Result<Answer> {
        let mut body = json!({
            "size": size,
            "track_total_hits": size == 0,
            "query": self.query,
            "pit": {"id": self.pit, "keep_alive": KEPT},
            "sort": [{"@timestamp": {"order": "asc"}}, {self.tie: "asc"}],
        });
        if let Some(after) = &self.after {
            body["search_after"] = after.clone();
        }
        let body = Bytes::from(body.to_string());
        let started = Instant::now();
        loop {
            let answer = self.runtime.block_on(self.client.send(Method::Post, "/_search", Some(body.clone())));
            let again = match &answer {
                Ok(answer) => matches!(answer.status, 429 | 502 | 503 | 504),
                Err(_) => true,
            };
            if !again || started.elapsed() > PATIENCE {
                return Ok(answer?);
            }
            std::thread::sleep(Duration::from_secs(1));
        }
    }

    fn read<'p>(&self, answer: &'p Answer) -> anyhow::Result<Page<'p>> {
        if !answer.good() {
            bail!("index {} cannot be read on: {}", self.name, answer.reason());
        }
        serde_json::from_slice(&answer.body).map_err(|_| answer.not_opensearch().into())
    }
}

impl Source for Documents {
    fn advance(&mut self, each: &mut dyn FnMut(Item<'_>)) -> anyhow::Result<Next> {
        let answer = self.ask(PAGE)?;
        let page = self.read(&answer)?;
        let mut buffer = Vec::new();
        for hit in &page.hits.hits {
            each(Item::Record(Some(self.stripper.log(hit.source.get(), &mut buffer)), -1));
        }
        let read = page.hits.hits.len();
        self.bar.inc(read as u64);
        match page.hits.hits.last() {
            Some(last) => self.after = Some(last.sort.clone()),
            None => return Ok(Next::End),
        }
        Ok(if read < PAGE { Next::End } else { Next::More })
    }

    fn name(&self) -> String {
        format!("index {}", self.name)
    }

    fn is_scarce(&self) -> bool {
        false
    }
}

impl Drop for Documents {
    /// Best effort: a point in time that is left behind ends by itself.
    fn drop(&mut self) {
        let body = Bytes::from(json!({"pit_id": [self.pit]}).to_string());
        let _ = self.runtime.block_on(self.client.send(Method::Delete, "/_search/point_in_time", Some(body)));
    }
}
