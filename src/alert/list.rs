//! `alert list`: the alerts that are open, from their topic.

use super::notify::reasons;
use crate::backtest::words::{number, plain, second, span};
use crate::config::Config;
use crate::kafka::client;
use crate::kafka::read;
use crate::kafka::topics::partition_count;
use crate::produce::choose;
use outlier_core::alert::{Alert, MOST_OPEN, Severity};
use rdkafka::consumer::BaseConsumer;
use std::collections::BTreeMap;
use std::io::Write;

/// What `alert` can do beside running as a service.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Print the alerts that are open, the worst first: id, state, since when, score and why.
    List(Options),
}

/// Which alerts to print.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The pipeline [default: the first one configured]
    #[arg(long, value_name = "NAME")]
    pipeline: Option<String>,
    /// The most alerts to print
    #[arg(long, value_name = "NUMBER", default_value_t = 50)]
    limit: usize,
    /// One JSON object a line, as in the alerts topic, instead of text
    #[arg(long)]
    json: bool,
}

/// Prints them. Blocks.
///
/// # Errors
/// No such pipeline, the broker does not answer, or the output is closed.
pub fn run(config: &Config, Command::List(options): &Command, out: &mut dyn Write) -> anyhow::Result<()> {
    let topic = &choose(config, options.pipeline.as_deref())?.topics.alerts;
    let connection = client::reader(&config.kafka);
    let partitions: Vec<i32> = (0..partition_count(&connection.create::<BaseConsumer>()?, topic)?).collect();
    let most = MOST_OPEN * partitions.len();
    let mut open: BTreeMap<String, Alert> = BTreeMap::new();
    read::committed(&connection, topic, &partitions, read::logged("reading the alerts"), |_, key, value| {
        match value.and_then(|bytes| Alert::parse(bytes).ok()).filter(Alert::open) {
            Some(alert) if open.len() < most || open.contains_key(key) => {
                open.insert(key.to_owned(), alert);
            }
            // The service opens no more either.
            Some(_) => {}
            None => {
                open.remove(key);
            }
        }
        Ok(())
    })?;
    let mut open: Vec<Alert> = open.into_values().collect();
    open.sort_by(|a, b| b.peak.score.total_cmp(&a.peak.score).then_with(|| a.start.cmp(&b.start)));
    for alert in open.iter().take(options.limit) {
        if options.json {
            writeln!(out, "{}", serde_json::to_string(alert)?)?;
        } else {
            describe(alert, out)?;
        }
    }
    if options.json {
        return Ok(());
    }
    match open.len() {
        0 => writeln!(out, "{topic} holds no open alert")?,
        all if all > options.limit => writeln!(out, "{} more; --limit shows them", all - options.limit)?,
        _ => {}
    }
    Ok(())
}

fn describe(alert: &Alert, out: &mut dyn Write) -> anyhow::Result<()> {
    let Alert { id, state, severity, name, start, end, peak, .. } = alert;
    let critical = if *severity == Severity::Critical { ", critical" } else { "" };
    writeln!(out, "{id}  {}{critical}  {} {}", state.name(), plain(&name.detector), plain(&name.series))?;
    let (value, expected, score) = (number(peak.value), number(peak.expected), number(peak.score));
    writeln!(
        out,
        "    since {} UTC, {}; {value} where {expected} was expected, score {score}",
        second(*start),
        span(end - start)
    )?;
    if !peak.why.is_empty() {
        writeln!(out, "    why: {}", reasons(&peak.why))?;
    }
    Ok(())
}
