//! The report: one value that the terminal, the JSON file and the page show.
//!
//! Invariant: what [`Report`] serialises to is described in `docs/backtest.md` and `docs/schemas/backtest.json`, and
//! members are only ever added.

pub mod html;
mod svg;
pub mod terminal;

use super::charts::Charts;
use super::compare::{Difference, difference};
use super::engine::Ledger;
use super::incidents::Incident;
use super::input::Problem;
use super::judge::Judgement;
use super::select::Chosen;
use super::tally::{Alerts, Tallied, Windows};
use super::words;
use serde::Serialize;
use std::time::Duration;

/// Everything there is to say about a backtest.
#[derive(Serialize)]
pub struct Report {
    /// Of this form.
    pub version: u32,
    /// Of the program.
    pub outlier: &'static str,
    /// What was read.
    pub input: Input,
    /// What the configuration makes of it.
    #[serde(flatten)]
    pub first: Side,
    /// What another one makes of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compare: Option<Comparison>,
    /// What a reader should know before believing the numbers.
    pub notes: Vec<String>,
    /// How fast.
    pub run: Run,
}

/// What was read.
#[derive(Debug, Serialize)]
pub struct Input {
    /// `files` or `topic`.
    pub kind: &'static str,
    /// In a few words.
    pub names: String,
    /// Files, or partitions.
    pub sources: u64,
    /// What could not be read to its end.
    pub problems: Vec<Problem>,
    /// A signal ended the run before the input's end.
    pub stopped: bool,
}

/// How fast.
#[derive(Debug, Serialize)]
pub struct Run {
    /// Wall clock, reading included.
    pub seconds: f64,
    /// Records a second.
    pub records_per_second: f64,
}

/// What one configuration makes of the records.
#[derive(Serialize)]
pub struct Side {
    /// The configuration's file, for the second side.
    #[serde(skip)]
    pub config: String,
    /// The pipeline's name.
    pub pipeline: String,
    /// The detectors that were scored.
    pub detectors: Vec<Detector>,
    /// What became of the records.
    pub records: Ledger,
    /// What was scored.
    pub windows: Windows,
    /// How often.
    pub alerts: Alerts,
    /// What would have alerted, by start.
    pub incidents: Vec<Incident>,
    /// How well that fits the labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<Judgement>,
    /// For the page.
    #[serde(skip)]
    pub charts: Option<Charts>,
}

/// A detector, as configured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Detector {
    /// Its name.
    pub name: String,
    /// Length of its windows; milliseconds.
    pub window: i64,
    /// From one window's start to the next; milliseconds.
    pub hop: i64,
    /// How long they stay open; milliseconds.
    pub lateness: i64,
    /// Scores from here on are anomalies.
    pub threshold: f64,
}

impl Side {
    /// Puts it together.
    pub fn new(choice: Chosen, records: Ledger, tallied: Tallied) -> Self {
        let detector = |d: &outlier_core::pipeline::Detector| Detector {
            name: d.name.clone(),
            window: d.window,
            hop: d.hop,
            lateness: d.lateness,
            threshold: d.threshold,
        };
        let Tallied { windows, alerts, incidents, labels, charts } = tallied;
        Self {
            config: choice.config,
            detectors: choice.pipeline.detectors.iter().map(detector).collect(),
            pipeline: choice.pipeline.name,
            records,
            windows,
            alerts,
            incidents,
            labels,
            charts,
        }
    }
}

/// The second configuration, and how it differs.
#[derive(Serialize)]
pub struct Comparison {
    /// Its file.
    pub config: String,
    /// What it makes of the records.
    #[serde(flatten)]
    pub second: Side,
    /// Whose incident is whose.
    pub difference: Difference,
}

impl Comparison {
    /// Compares.
    pub fn new(first: &Side, second: Side) -> Self {
        let difference = difference(&first.incidents, &second.incidents);
        Self { config: second.config.clone(), second, difference }
    }
}

impl Report {
    /// Puts it together.
    pub fn new(input: Input, first: Side, compare: Option<Comparison>, took: Duration) -> Self {
        let seconds = took.as_secs_f64();
        let records_per_second = first.records.read as f64 / seconds.max(1e-9);
        let notes = notes(&input, &first, compare.as_ref());
        let outlier = env!("CARGO_PKG_VERSION");
        Self { version: 1, outlier, input, first, compare, notes, run: Run { seconds, records_per_second } }
    }
}

fn notes(input: &Input, first: &Side, compare: Option<&Comparison>) -> Vec<String> {
    let mut notes = Vec::new();
    if input.stopped {
        notes.push("The run was stopped before the end of its input.".to_owned());
    }
    notes.extend(input.problems.iter().map(|problem| format!("{} {}.", problem.source, problem.detail)));
    notes.extend(side_notes(first));
    if let Some(compare) = compare {
        notes.extend(side_notes(&compare.second).into_iter().map(|note| format!("{}: {note}", compare.config)));
    }
    notes
}

fn side_notes(side: &Side) -> Vec<String> {
    let mut notes = Vec::new();
    let (records, windows) = (&side.records, &side.windows);
    if records.read == 0 {
        notes.push("There are no records in the input.".to_owned());
    } else if records.accepted == 0 {
        let most = records.rejected.iter().max_by_key(|(_, count)| **count).map_or("", |(reason, _)| reason);
        let remedy = match most {
            "no-timestamp" | "bad-timestamp" => "check `field` and `format` under [pipeline.timestamp]",
            "syntax" | "invalid-utf8" | "not-an-object" => "is there one JSON object a line?",
            "too-large" => "raise `max_record_bytes`",
            "name-conflict" => "they hold flags already: read the raw records, or rename the flags",
            _ => "see the reasons",
        };
        notes.push(format!("Every record was rejected, most of them as {most}: {remedy}."));
    } else if windows.scored == 0 {
        notes.push(
            "No window was closed: a window closes when a later record's time has passed its end and its lateness."
                .to_owned(),
        );
    } else if windows.rows > 0 && windows.learning == windows.rows {
        notes.push("All of the time was spent learning: give it more history, or shorter windows.".to_owned());
    }
    if records.accepted > 0 && records.late * 20 > records.accepted * side.detectors.len() as u64 {
        notes.push(format!(
            "{} came after their window had closed: raise `lateness`, and check that each file is in the order of its times.",
            words::of(records.late, "record (times its detectors)", "records (times their detectors)")
        ));
    }
    if records.overflow > 0 {
        notes.push(format!(
            "{} of groups beyond `max_series` are summed in the overflow series.",
            words::of(records.overflow, "record", "records")
        ));
    }
    if let Some(labels) = side.labels.as_ref().filter(|labels| labels.outside > 0) {
        notes.push(format!(
            "{} outside of the scored time, and not counted: check their time zone.",
            words::of(labels.outside, "label is", "labels are")
        ));
    }
    notes
}
