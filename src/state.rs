//! `state inspect`: what the models of a pipeline's series know, in words.
//!
//! Reads the state topic to its end, as a restart does, and changes nothing.

use crate::backtest::words::plain;
use crate::config::Config;
use crate::kafka::client;
use crate::kafka::read;
use crate::kafka::topics::partition_count;
use anyhow::bail;
use outlier_core::pipeline::Millis;
use outlier_core::score::{Inspected, inspect};
use rdkafka::consumer::BaseConsumer;
use std::collections::BTreeMap;
use std::io::Write;

/// What `state` can do.
#[derive(Debug, clap::Subcommand)]
pub enum State {
    /// Print what is known of series: windows learned, what is expected next and at each hour of the day.
    Inspect(Options),
}

/// Which series to print.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The pipeline, where the configuration has several
    #[arg(long)]
    pipeline: Option<String>,
    /// Series of this detector only
    #[arg(long)]
    detector: Option<String>,
    /// Series whose name contains this text only
    #[arg(long, value_name = "TEXT")]
    series: Option<String>,
    /// The most series to print
    #[arg(long, default_value_t = 20)]
    limit: usize,
}

/// Prints the series.
///
/// # Errors
/// No such pipeline, the broker does not answer, or a record cannot be read.
pub fn run(config: &Config, State::Inspect(options): &State, out: &mut dyn Write) -> anyhow::Result<()> {
    let named = |name: &String| config.pipelines.iter().find(|pipeline| pipeline.name == *name);
    let pipeline = match (&options.pipeline, config.pipelines.as_slice()) {
        (Some(name), _) => named(name),
        (None, [only]) => Some(only),
        (None, _) => None,
    };
    let Some(pipeline) = pipeline else {
        let names: Vec<&str> = config.pipelines.iter().map(|pipeline| pipeline.name.as_str()).collect();
        bail!("name one of the pipelines with --pipeline: {}", names.join(", "));
    };
    let connection = client::reader(&config.kafka);
    let topic = &pipeline.topics.state;
    let partitions: Vec<i32> = (0..partition_count(&connection.create::<BaseConsumer>()?, topic)?).collect();
    let mut found: BTreeMap<(i32, String), Vec<u8>> = BTreeMap::new();
    read::committed(&connection, topic, &partitions, read::logged("reading the state"), |partition, key, value| {
        let key = (partition, key.to_owned());
        match value {
            Some(value) => found.insert(key, value.to_vec()),
            None => found.remove(&key),
        };
        Ok(())
    })?;
    let mut series = Vec::new();
    for ((partition, key), value) in &found {
        series.extend(inspect(pipeline, *partition, key, value)?);
    }
    let wanted = |one: &Inspected| {
        options.detector.as_ref().is_none_or(|detector| one.name.detector == *detector)
            && options.series.as_ref().is_none_or(|text| one.name.series.contains(text))
    };
    series.retain(wanted);
    series.sort_by(|a, b| a.name.cmp(&b.name));
    for one in series.iter().take(options.limit) {
        describe(one, out)?;
    }
    match series.len() {
        0 => writeln!(out, "{topic} knows no such series")?,
        all if all > options.limit => {
            writeln!(out, "{} more; --detector, --series and --limit choose", all - options.limit)?;
        }
        _ => {}
    }
    Ok(())
}

fn describe(one: &Inspected, out: &mut dyn Write) -> anyhow::Result<()> {
    let Inspected { name, windows, next, .. } = one;
    writeln!(out, "{} · {}", name.detector, plain(&name.series))?;
    let window = span(one.window);
    let learning = if next.learning { "; still learning, so it has no score yet" } else { "" };
    let newest = one.newest.map_or_else(String::new, |time| format!(", the newest ended {}", when(time)));
    writeln!(out, "  {windows} windows of {window} learned{newest}{learning}")?;
    let empty = if one.empty > 0 { format!("; {} windows without a record", one.empty) } else { String::new() };
    writeln!(out, "  last value {}{empty}", short(one.last))?;
    if let Some(since) = one.anomalous_since {
        writeln!(out, "  anomalous since {}", when(since))?;
    }
    let Inspected { next, by_hour, .. } = one;
    let (expected, lower, upper) = (short(next.expected), short(next.lower), short(next.upper));
    writeln!(out, "  next window: {expected} expected, {lower} to {upper} normal, confidence {:.2}", next.confidence)?;
    let hours: Vec<String> =
        by_hour.iter().enumerate().map(|(hour, value)| format!("{hour:02} {}", short(*value))).collect();
    for line in hours.chunks(8) {
        writeln!(out, "  {}", line.iter().map(|hour| format!("{hour:<14}")).collect::<String>().trim_end())?;
    }
    Ok(())
}

fn span(millis: Millis) -> String {
    match millis {
        minutes if minutes % 60_000 == 0 => format!("{} min", minutes / 60_000),
        seconds if seconds % 1_000 == 0 => format!("{} s", seconds / 1_000),
        millis => format!("{millis} ms"),
    }
}

/// `2026-11-23 02:07:44 UTC`
fn when(time: Millis) -> String {
    crate::produce::stamp::text(time)
}

/// A number with three digits that matter.
fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 || value == 0.0 => format!("{value:.0}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}
