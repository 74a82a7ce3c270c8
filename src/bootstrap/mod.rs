//! `bootstrap`: models learn from history before `process` goes live.
//!
//! ```text
//! files │ index │ topic ─► engine (both stages, as in backtest) ─► what is known ─► state topic, offsets of the score group
//! ```
//!
//! Invariants: what is learned is what `process` would have learned from the same records; it is handed over as a whole
//! or not at all, and only where `process` never was; windows up to the end of the history are closed for it.

mod document;
mod handover;
mod index;
mod options;

pub use options::Options;

use crate::backtest::engine::{Clock, Engine};
use crate::backtest::input::{self, Consumer, Item, Problem, Source};
use crate::backtest::{bar, words};
use crate::config::{Config, Stage};
use crate::index::names;
use crate::index::opensearch::Client;
use crate::telemetry::Telemetry;
use crate::telemetry::health::State;
use anyhow::{bail, ensure};
use handover::Handover;
use indicatif::ProgressBar;
use outlier_core::pipeline::{Millis, Pipeline};
use outlier_core::score::Scorer;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// How often the log and `/health` say how far it is, where there is no terminal.
const TELL: Duration = Duration::from_secs(10);

/// Learns from the history that the options name and hands it over; says on standard output what was done.
///
/// # Errors
/// There is nothing to learn from, part of it cannot be read, or `process` has worked on the pipeline before.
pub async fn run(
    config: Arc<Config>,
    options: Options,
    telemetry: Telemetry,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    tokio::task::spawn_blocking(move || work(&config, &options, &telemetry, &stop)).await?
}

fn work(config: &Config, options: &Options, telemetry: &Telemetry, stop: &CancellationToken) -> anyhow::Result<()> {
    let pipeline = crate::produce::choose(config, options.pipeline.as_deref())?;
    let component = format!("bootstrap {}", pipeline.name);
    let tell = |state| telemetry.health.set(&component, state);
    tell(State::Starting { reason: "looking at what is there".into() });
    let handover = Handover::new(config, pipeline, options.dry_run, stop)?;
    handover.check()?;

    let bar = bar::new(options.no_progress);
    let (mut sources, starts, unit, size) = open(config, pipeline, options, &bar)?;
    bar::begin(&bar, unit, size);
    let mut engine = Engine::new(pipeline, starts);
    engine.until = options.until;
    let mut learning = Learning { engine, bar: &bar, tell: &tell, told: Instant::now() };
    let problems = input::merge(&mut sources, &mut learning, &bar, stop)?;
    let mut engine = learning.engine;
    bar.finish_and_clear();
    ensure!(!stop.is_cancelled(), "stopped before the end of the history: nothing was written");
    refuse(&problems)?;
    engine.finish();

    let out = &mut std::io::stdout();
    let known = summary(&engine, pipeline, out)?;
    ensure!(known > 0, "no window is over in this history: nothing is known that could be handed over");
    if options.dry_run {
        writeln!(out, "would be written to {}; nothing was changed (dry run)", pipeline.topics.state)?;
        return Ok(());
    }
    tell(State::Starting { reason: format!("writing what is known of {known} series") });
    let records = handover.write(engine.scorers(), stop)?;
    writeln!(out, "written: {} records to {}; start `process` now", words::count(records), pipeline.topics.state)?;
    tell(State::Ready);
    Ok(())
}

type Opened = (Vec<Box<dyn Source>>, Vec<Option<Millis>>, bar::Unit, u64);

/// The sources, when each begins where that is known, and how much there is. Kafka's timestamps and `@timestamp` may be
/// later than event times: what is not before `--until` is left out record by record.
fn open(config: &Config, pipeline: &Pipeline, options: &Options, bar: &ProgressBar) -> anyhow::Result<Opened> {
    let from = options.from;
    if let Some(topic) = &options.topic {
        ensure!(
            *topic != pipeline.topics.raw,
            "{topic} is the topic that `process` reads: from its oldest record on, where it never was; there is nothing to do \
             but to start it"
        );
        let (sources, records) = input::topic(config, &input::Range { topic, from, to: None }, bar)?;
        let starts = vec![None; sources.len()];
        return Ok((sources, starts, bar::Unit::Records, records));
    }
    if let Some(index) = &options.index {
        let own = || names::index(&config.opensearch.index_prefix, &pipeline.name, Stage::Enriched);
        let index = index.clone().unwrap_or_else(own);
        let range = index::Range { index: &index, from };
        let runtime = tokio::runtime::Handle::current();
        let (documents, count) = index::Documents::open(Client::new(config)?, runtime, pipeline, &range, bar)?;
        return Ok((vec![Box::new(documents)], vec![None], bar::Unit::Records, count));
    }
    let longest = pipeline.max_record_bytes;
    let (sources, bytes) = input::files(&options.files, longest, bar)?;
    let mut clock = Clock::new(pipeline);
    // A file that begins behind the end of the history has nothing to say of when it is.
    let before = |time: &Millis| options.until.is_none_or(|until| *time < until);
    let starts = input::starts(&options.files, longest, |record| clock.time(record).filter(before));
    Ok((sources, starts, bar::Unit::of(&options.files), bytes))
}

fn refuse(problems: &[Problem]) -> anyhow::Result<()> {
    for Problem { source, detail } in problems {
        tracing::error!("{source}: {detail}");
    }
    match problems {
        [] => Ok(()),
        [Problem { source, detail }] => bail!("{source} {detail}; nothing was written: mend it, or leave it out"),
        [first, ..] => bail!(
            "{} inputs could not be read to their ends, the first is {}; nothing was written: mend them, or leave them out",
            problems.len(),
            first.source
        ),
    }
}

/// Says what was learned; the series known.
fn summary(engine: &Engine, pipeline: &Pipeline, out: &mut dyn Write) -> anyhow::Result<u64> {
    let ledger = &engine.ledger;
    write!(out, "read: {} records", words::count(ledger.read))?;
    if let (Some(first), Some(last)) = (ledger.first, ledger.last) {
        write!(out, " from {} to {} UTC", words::instant(first), words::instant(last))?;
    }
    writeln!(out)?;
    let beyond = (engine.beyond > 0).then_some(("not before --until", engine.beyond));
    let left_out = ledger.rejected.iter().map(|(reason, count)| (*reason, *count)).chain(beyond);
    for (reason, count) in left_out.chain((ledger.late > 0).then_some(("late", ledger.late))) {
        writeln!(out, "left out: {} ({reason})", words::count(count))?;
    }
    let scorers = engine.scorers().iter();
    let (series, learning) = scorers.clone().map(Scorer::series).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
    write!(out, "learned: {} windows of {} series", words::count(engine.scored), words::count(series))?;
    match learning {
        0 => writeln!(out)?,
        some => writeln!(out, ", of which {} are still learning", words::count(some))?,
    }
    for detector in &pipeline.detectors {
        let closed = scorers.clone().flat_map(Scorer::closed).find(|(name, _)| *name == detector.name);
        if let Some((name, end)) = closed {
            writeln!(out, "{name}: `process` goes on from {} UTC", words::instant(end))?;
        }
    }
    Ok(series)
}

struct Learning<'a> {
    engine: Engine,
    bar: &'a ProgressBar,
    tell: &'a dyn Fn(State),
    told: Instant,
}

impl Consumer for Learning<'_> {
    fn item(&mut self, source: usize, item: Item<'_>) {
        match item {
            Item::Record(record, kafka_ms) => self.engine.record(source, record, kafka_ms),
            Item::TooLong(lines) => self.engine.too_long(lines),
        }
    }

    fn ended(&mut self, source: usize) {
        self.engine.ended(source);
    }

    fn stream_time(&self, source: usize) -> Option<Millis> {
        self.engine.stream_time(source)
    }

    fn settle(&mut self) -> anyhow::Result<()> {
        self.engine.settle(&mut |_| Ok(()))?;
        if self.bar.is_hidden() && self.told.elapsed() >= TELL {
            self.told = Instant::now();
            let records = words::count(self.engine.ledger.read);
            let part = self.bar.length().filter(|all| *all > 0).map(|all| 100 * self.bar.position() / all);
            let part = part.map_or_else(String::new, |part| format!("{part} %, "));
            (self.tell)(State::Starting { reason: format!("learning from history: {part}{records} records") });
        }
        Ok(())
    }
}
