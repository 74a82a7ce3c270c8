//! `rejected replay`: records go back to where they were refused.

use super::Which;
use super::record::{REPLAYED, Record, read};
use crate::backtest::words;
use crate::config::Config;
use crate::index::{self, Document, Index, Outcome, Request, Stage};
use crate::kafka::client;
use crate::kafka::output::{Commit, Output};
use crate::sink::document::{Origin, Times, identify, times};
use crate::worker::group;
use anyhow::{Context, bail};
use outlier_core::pipeline::Pipeline;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::BaseRecord;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;

/// What to send back.
#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    pub which: Which,
    /// Where to: raw takes what `process` rejected, index what the sink rejected
    #[arg(long, value_enum)]
    to: Target,
    /// Count what would go back, and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// Where records go back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Target {
    Raw,
    Index,
}

/// Records that go back together, and their bytes.
const BATCH: usize = 1_000;
const BATCH_BYTES: usize = 8 << 20;
/// The broker aborts what is not committed within this time, for which whoever reads the topic then waits.
const TRANSACTION: Duration = Duration::from_secs(20);
/// How often a broker that does not answer is asked, a second each.
const ATTEMPTS: u32 = 10;

/// What became of records.
#[derive(Default)]
struct Tally {
    back: u64,
    before: u64,
    /// Those that could not go back, by why.
    left: BTreeMap<String, u64>,
}

/// Sends them back.
///
/// # Errors
/// The broker or the index does not answer, or some could not go back.
pub fn run(config: &Config, pipeline: &Pipeline, options: &Options, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut tally = Tally::default();
    let mut back = if options.dry_run { None } else { Some(Back::connect(config, pipeline, options.to)?) };
    let mut batch: Vec<Record> = Vec::new();
    let mut bytes = 0;
    let service = if options.to == Target::Raw { "process" } else { "sink" };
    let mut send = |batch: &mut Vec<Record>, tally: &mut Tally| match &mut back {
        Some(back) => back.send(std::mem::take(batch), tally),
        None => {
            tally.back += batch.len() as u64;
            batch.clear();
            Ok(())
        }
    };
    read(&config.kafka, &pipeline.topics.rejected, |record, before| {
        if record.service != service || !options.which.takes(&record) {
            return Ok(());
        }
        if before {
            tally.before += 1;
            return Ok(());
        }
        match obstacle(&record, options.to) {
            Some(why) => *tally.left.entry(why.to_owned()).or_default() += 1,
            None => {
                bytes += record.body.as_ref().map_or(0, Vec::len);
                batch.push(record);
            }
        }
        if batch.len() < BATCH && bytes < BATCH_BYTES {
            return Ok(());
        }
        bytes = 0;
        send(&mut batch, &mut tally)
    })?;
    if !batch.is_empty() {
        send(&mut batch, &mut tally)?;
    }
    let to = if options.to == Target::Raw { &pipeline.topics.raw } else { "the index" };
    let would = if options.dry_run { "would go" } else { "went" };
    let records = words::of(tally.back, "record", "records");
    writeln!(out, "{records} {would} back to {to}; {} had gone back before", tally.before)?;
    for (why, count) in &tally.left {
        writeln!(out, "{count} could not: {why}")?;
    }
    match tally.left.values().sum::<u64>() {
        0 => Ok(()),
        left => bail!("{} left", words::of(left, "record is", "records are")),
    }
}

/// Two replays at once would send everything twice: the later one ends the earlier. Named as those of the services are,
/// whatever the topic is called, so that one right is good for all.
fn transactional_id(config: &Config, pipeline: &Pipeline) -> String {
    format!("{}.replay", group(config, pipeline, "rejected"))
}

/// Why a record cannot go back.
fn obstacle(record: &Record, to: Target) -> Option<&'static str> {
    match (to, &record.headers) {
        _ if record.cut => Some(
            "only their beginning was kept: they were far beyond max_record_bytes, or max.message.bytes of the rejected topic",
        ),
        (Target::Raw, None) => Some("the name of one of their headers is not UTF-8"),
        _ => None,
    }
}

/// The way back.
struct Back<'c> {
    pipeline: &'c Pipeline,
    output: Output,
    index: Option<Arc<dyn Index>>,
}

impl<'c> Back<'c> {
    fn connect(config: &Config, pipeline: &'c Pipeline, to: Target) -> anyhow::Result<Self> {
        let mut producer = client::producer(&config.kafka);
        client::fit(&mut producer, config);
        let id = transactional_id(config, pipeline);
        let mut attempts = 0;
        let output = Output::connect(producer, Some(&id), TRANSACTION, |_| {
            attempts += 1;
            attempts < ATTEMPTS
        })?;
        let index = if to == Target::Index { Some(index::open(config)?) } else { None };
        Ok(Self { pipeline, output, index })
    }

    fn send(&mut self, batch: Vec<Record>, tally: &mut Tally) -> anyhow::Result<()> {
        let batch = match &self.index {
            Some(index) => self.write_index(&**index, batch, tally)?,
            None => {
                for record in &batch {
                    self.write_raw(record)?;
                }
                batch
            }
        };
        for Record { place: (partition, offset), .. } in &batch {
            let place = format!("{partition}/{offset}");
            let headers = OwnedHeaders::new().insert(Header { key: REPLAYED, value: Some(&place) });
            let mark: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(&self.pipeline.topics.rejected);
            self.output.send(mark.partition(*partition).headers(headers))?;
        }
        if let Commit::Aborted(why) = self.output.commit_alone()? {
            bail!("nothing of the last {} records was sent: {why}; run it again", batch.len());
        }
        tally.back += batch.len() as u64;
        Ok(())
    }

    /// As it was, in the partition that it was in.
    fn write_raw(&mut self, record: &Record) -> anyhow::Result<()> {
        let mut headers = OwnedHeaders::new();
        for (key, value) in record.headers.iter().flatten() {
            headers = headers.insert(Header { key, value: value.as_ref() });
        }
        let mut raw: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(&self.pipeline.topics.raw).headers(headers);
        (raw.key, raw.payload) = (record.key.as_deref(), record.body.as_deref());
        raw.partition = record.source.rsplit('/').nth(1).and_then(|partition| partition.parse().ok());
        raw.timestamp = record.time;
        self.output.send(raw)
    }

    /// Those that are in the index now.
    fn write_index(&self, index: &dyn Index, batch: Vec<Record>, tally: &mut Tally) -> anyhow::Result<Vec<Record>> {
        let mut request = Request::new(Arc::from(self.pipeline.name.as_str()));
        let mut records = Vec::new();
        let mut id = String::new();
        for record in batch {
            match self.document(&record, &mut id).and_then(|document| index.add(&mut request, &document)) {
                Ok(()) => records.push(record),
                Err(why) => *tally.left.entry(why).or_default() += 1,
            }
        }
        let outcomes = Handle::current().block_on(index.write(&request)).context("run it again later")?;
        let mut there = Vec::new();
        for (record, outcome) in records.into_iter().zip(outcomes) {
            match outcome {
                Outcome::Created | Outcome::AlreadyThere => there.push(record),
                Outcome::Retry(why) | Outcome::Fault(why) | Outcome::Reject(why) => {
                    *tally.left.entry(why).or_default() += 1
                }
            }
        }
        Ok(there)
    }

    /// The document of a record; its id is left in `id`.
    fn document<'r>(&self, record: &'r Record, id: &'r mut String) -> Result<Document<'r>, String> {
        let mut parts = record.source.rsplitn(3, '/');
        let (offset, partition, topic) = (parts.next(), parts.next(), parts.next().unwrap_or_default());
        let stages = [Stage::Raw, Stage::Enriched, Stage::Scores, Stage::Alerts];
        let Some(stage) = stages.into_iter().find(|stage| stage.topic(self.pipeline) == topic) else {
            return Err("their topic is not one of the pipeline's".to_owned());
        };
        let (Some(offset), Some(partition)) =
            (offset.and_then(|n| n.parse().ok()), partition.and_then(|n| n.parse().ok()))
        else {
            return Err("their header outlier-source is not topic/partition/offset".to_owned());
        };
        let (body, sent_ms) = (record.body.as_deref(), record.time.unwrap_or_default());
        let found = match &record.document {
            Some(known) => {
                known.clone_into(id);
                times(stage, sent_ms, body)
            }
            None => identify(stage, Origin { topic, partition, offset, timestamp_ms: sent_ms, source: None }, body, id),
        };
        let Times { timestamp_ms, period_ms } = found.map_err(|unfit| unfit.reason)?;
        Ok(Document { stage, id: id.as_str().into(), timestamp_ms, period_ms, body: body.map(Cow::Borrowed) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;
    use crate::setup::acl::commands;

    #[test]
    fn the_rights_that_setup_prints_are_good_for_it() {
        for topics in ["", "[pipeline.topics]\nrejected = \"refused\"\n"] {
            let text = format!("[kafka]\ntopic_prefix = \"prod.\"\n[[pipeline]]\npreset = \"waf\"\n{topics}");
            let config = Config::parse(&text, "test", &Environment::default()).unwrap();
            assert_eq!(transactional_id(&config, &config.pipelines[0]), "prod.waf.rejected.replay");
            let lines = commands(&config).join("\n");
            assert!(lines.contains("--transactional-id prod.waf. --resource-pattern-type prefixed"), "{lines}");
        }
    }

    #[test]
    fn what_is_not_whole_does_not_go_back() {
        for (service, cut, headers, to, want) in [
            ("process", false, Some(Vec::new()), Target::Raw, None),
            ("process", false, None, Target::Raw, Some("not UTF-8")),
            ("process", true, Some(Vec::new()), Target::Raw, Some("beginning")),
            ("sink", true, Some(Vec::new()), Target::Index, Some("beginning")),
            ("sink", false, None, Target::Index, None),
        ] {
            let record = Record { service: service.to_owned(), cut, headers, ..Record::default() };
            let why = obstacle(&record, to);
            assert_eq!(why.is_some(), want.is_some(), "{record:?}");
            assert!(why.unwrap_or_default().contains(want.unwrap_or_default()), "{why:?}");
        }
    }
}
