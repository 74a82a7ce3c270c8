//! `backtest`: the live service's code over log files or a range of the raw topic, as fast as it goes, with a report.
//!
//! ```text
//! input (files, topic: merged by stream time) ─► engine (both stages of process) ─► tally ─► report (terminal, JSON, HTML)
//!                                             └► a second engine (--compare)     ─► tally ─┘
//! ```
//!
//! Invariants: rows are those that the live service gives for the same records in the same partitions; no broker is
//! written to; a record that cannot be used is counted by its reason and never stops the run.

pub(crate) mod bar;
mod charts;
mod compare;
pub(crate) mod engine;
mod incidents;
pub(crate) mod input;
mod judge;
mod labels;
mod options;
mod output;
mod report;
mod select;
mod tally;
pub(crate) mod words;

pub use options::Options;

use crate::config::Config;
use engine::{Clock, Engine};
use input::{Consumer, Item};
use labels::Label;
use outlier_core::pipeline::{Millis, Pipeline};
use output::{Outputs, Rows};
use report::{Comparison, Input, Report, Side};
use select::Choice;
use std::sync::Arc;
use std::time::Instant;
use tally::Tally;
use tokio_util::sync::CancellationToken;

/// How a run ends that is no plain success: the exit code of the process, and what to say.
#[derive(Debug, thiserror::Error)]
#[error("{say}")]
pub struct Ended {
    /// The exit code.
    pub code: u8,
    /// For standard error.
    pub say: String,
}

impl Ended {
    /// A wrong call, configuration or labels file.
    fn refused(error: anyhow::Error) -> anyhow::Error {
        Self { code: 2, say: format!("{error:#}") }.into()
    }
}

/// Runs a backtest until its input ends, or until `stop`, and reports.
///
/// # Errors
/// [`Ended`] with the exit code, or why it could not be done (code 1).
pub async fn run(config: Arc<Config>, options: Options, stop: CancellationToken) -> anyhow::Result<()> {
    tokio::task::spawn_blocking(move || work(&config, &options, &stop)).await?
}

fn work(config: &Config, options: &Options, stop: &CancellationToken) -> anyhow::Result<()> {
    let Choice { first, second } = select::choose(config, options).map_err(Ended::refused)?;
    let labels = options.labels.as_deref().map(labels::read).transpose().map_err(Ended::refused)?;
    let labels =
        labels.map(|labels| select::labels(labels, &first, second.as_ref())).transpose().map_err(Ended::refused)?;
    let mut outputs = Outputs::open(options).map_err(Ended::refused)?;

    let started = Instant::now();
    let pipelines: Vec<&Pipeline> =
        [Some(&first), second.as_ref()].into_iter().flatten().map(|c| &c.pipeline).collect();
    let bar = bar::new(options.no_progress);
    let longest = pipelines.iter().map(|pipeline| pipeline.max_record_bytes).max().unwrap_or_default();
    let (mut sources, size, starts) = match &options.topic {
        None => {
            let (sources, bytes) = input::files(&options.files, longest, &bar).map_err(Ended::refused)?;
            let starts = starts(options, longest, &pipelines);
            (sources, bytes, starts)
        }
        Some(name) => {
            let topic = name.as_deref().unwrap_or(&first.pipeline.topics.raw);
            let range = input::Range { topic, from: options.from, to: options.to };
            let (sources, records) = input::topic(config, &range, &bar)?;
            let none = vec![vec![None; sources.len()]; pipelines.len()];
            (sources, records, none)
        }
    };
    let unit = if options.topic.is_some() { bar::Unit::Records } else { bar::Unit::of(&options.files) };
    bar::begin(&bar, unit, size);
    let mut sides: Vec<Scored> = Vec::new();
    for (pipeline, starts) in pipelines.iter().zip(starts) {
        let rows = if sides.is_empty() { outputs.rows.take() } else { None };
        let tally = Tally::new(pipeline, labels.as_deref(), outputs.html.is_some());
        sides.push(Scored { engine: Engine::new(pipeline, starts), tally, rows });
    }
    let mut run = Run { sides };
    let problems = input::merge(&mut sources, &mut run, &bar, stop)?;
    bar.finish_and_clear();

    let input = Input {
        kind: if options.topic.is_some() { "topic" } else { "files" },
        sources: sources.len() as u64,
        names: names(&sources, options, &first.pipeline),
        problems,
        stopped: stop.is_cancelled(),
    };
    let mut sides = run.sides.into_iter();
    let first = finish(sides.next(), first)?;
    let second = second.map(|choice| finish(sides.next(), choice)).transpose()?;
    let comparison = second.map(|second| Comparison::new(&first, second));
    let report = Report::new(input, first, comparison, started.elapsed());
    outputs.write(&report)?;
    end(&report, options)
}

/// What the process ends with, once everything is written.
fn end(report: &Report, options: &Options) -> anyhow::Result<()> {
    let problems = report.input.problems.len();
    if report.input.stopped || problems > 0 {
        let say = match problems {
            0 => "stopped before the end of the input: the report holds what was read until then".to_owned(),
            1 => "an input could not be read to its end: see the report".to_owned(),
            _ => format!("{problems} inputs could not be read to their ends: see the report"),
        };
        return Err(Ended { code: 1, say }.into());
    }
    let alerts = report.first.alerts.total;
    if options.fail_on_anomaly && alerts > 0 {
        return Err(
            Ended { code: 3, say: format!("{} (--fail-on-anomaly)", words::of(alerts, "alert", "alerts")) }.into()
        );
    }
    Ok(())
}

/// When each file begins, for each pipeline.
fn starts(options: &Options, longest: usize, pipelines: &[&Pipeline]) -> Vec<Vec<Option<Millis>>> {
    let start = |pipeline: &&Pipeline| {
        let mut clock = Clock::new(pipeline);
        input::starts(&options.files, longest, |record| clock.time(record))
    };
    pipelines.iter().map(start).collect()
}

/// What was read, in a few words.
fn names(sources: &[Box<dyn input::Source>], options: &Options, pipeline: &Pipeline) -> String {
    match &options.topic {
        Some(name) => format!("topic {}", name.as_deref().unwrap_or(&pipeline.topics.raw)),
        None => match sources {
            [one] => one.name(),
            [first, .., last] => {
                format!("{} files, {} to {}", words::count(sources.len() as u64), first.name(), last.name())
            }
            [] => String::new(),
        },
    }
}

/// One configuration at work.
struct Scored {
    engine: Engine,
    tally: Tally,
    rows: Option<Rows>,
}

struct Run {
    sides: Vec<Scored>,
}

impl Consumer for Run {
    fn item(&mut self, source: usize, item: Item<'_>) {
        for Scored { engine, .. } in &mut self.sides {
            match item {
                Item::Record(record, kafka_ms) => engine.record(source, record, kafka_ms),
                Item::TooLong(lines) => engine.too_long(lines),
            }
        }
    }

    fn ended(&mut self, source: usize) {
        self.sides.iter_mut().for_each(|side| side.engine.ended(source));
    }

    fn stream_time(&self, source: usize) -> Option<Millis> {
        self.sides.first()?.engine.stream_time(source)
    }

    fn settle(&mut self) -> anyhow::Result<()> {
        for Scored { engine, tally, rows } in &mut self.sides {
            engine.settle(&mut |row| {
                tally.row(row);
                rows.as_mut().map_or(Ok(()), |rows| rows.write(row))
            })?;
        }
        Ok(())
    }
}

fn finish(side: Option<Scored>, choice: select::Chosen) -> anyhow::Result<Side> {
    let Some(Scored { engine, tally, rows }) = side else { anyhow::bail!("a configuration was not scored") };
    if let Some(rows) = rows {
        rows.finish()?;
    }
    let incomplete = engine.open_windows() as u64;
    let scored = engine.scored;
    Ok(Side::new(choice, engine.ledger, tally.finish(scored, incomplete)))
}

/// Labels that concern what is scored.
type Labels = Vec<Label>;
