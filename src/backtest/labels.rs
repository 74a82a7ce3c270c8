//! Known incidents, read from a file: CSV with a head line, or a JSON array of objects.
//!
//! Invariant: what is read is valid: known columns only, times that can be read, an end after its start. The first
//! mistake says the line or the entry and what to do.

use anyhow::{Context, bail};
use outlier_core::pipeline::{Millis, TimeFormat};
use outlier_core::record::event_time;
use outlier_core::score::Score;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The largest file; bytes.
const LARGEST: u64 = 64 << 20;
const COLUMNS: [&str; 4] = ["start", "end", "detector", "series"];

/// A known incident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Label {
    /// When it began; epoch milliseconds.
    pub start: Millis,
    /// When it was over; epoch milliseconds, exclusive.
    pub end: Millis,
    /// The only detector that it concerns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detector: Option<String>,
    /// The only series that it concerns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub series: Option<String>,
}

impl Label {
    /// It concerns this series.
    pub fn concerns(&self, name: &outlier_core::score::SeriesName) -> bool {
        self.detector.as_ref().is_none_or(|detector| *detector == name.detector)
            && self.series.as_ref().is_none_or(|series| *series == name.series)
    }

    /// It concerns this row's series, and its window has a moment of it.
    pub fn covers(&self, row: &Score) -> bool {
        row.window_start < self.end && self.start < row.window_end && self.concerns(&row.name)
    }
}

/// An entry as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    start: Time,
    end: Time,
    #[serde(default)]
    detector: Option<String>,
    #[serde(default)]
    series: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Time {
    Whole(i64),
    Number(f64),
    Text(String),
}

impl Time {
    fn read(&self) -> anyhow::Result<Millis> {
        let text = match self {
            Self::Whole(number) => number.to_string(),
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.trim().to_owned(),
        };
        event_time(text.as_bytes(), TimeFormat::Auto).with_context(|| {
            format!("{text:?} is no time: write ISO 8601, as 2026-11-23T02:07:44Z, or seconds or milliseconds since the epoch")
        })
    }
}

impl Entry {
    fn label(self) -> anyhow::Result<Label> {
        let (start, end) = (self.start.read()?, self.end.read()?);
        anyhow::ensure!(start < end, "the end is not after the start");
        let some = |text: Option<String>| text.map(|t| t.trim().to_owned()).filter(|text| !text.is_empty());
        Ok(Label { start, end, detector: some(self.detector), series: some(self.series) })
    }
}

/// Reads a file of labels, in the order of their starts.
///
/// # Errors
/// It cannot be read, or the first mistake in it.
pub fn read(path: &Path) -> anyhow::Result<Vec<Label>> {
    let name = path.display();
    let size = std::fs::metadata(path).with_context(|| format!("{name} cannot be read"))?.len();
    anyhow::ensure!(size <= LARGEST, "{name} has {size} bytes: are these labels?");
    let bytes = std::fs::read(path).with_context(|| format!("{name} cannot be read"))?;
    let text = String::from_utf8(bytes).ok().with_context(|| format!("{name} is not UTF-8: are these labels?"))?;
    parse(&text).with_context(|| format!("the labels in {name} cannot be used"))
}

fn parse(text: &str) -> anyhow::Result<Vec<Label>> {
    let text = text.trim_start_matches('\u{feff}');
    let mut labels = if text.trim_start().starts_with('[') { json(text) } else { csv(text) }?;
    labels.sort_by_key(|label| (label.start, label.end));
    Ok(labels)
}

fn json(text: &str) -> anyhow::Result<Vec<Label>> {
    let entries: Vec<serde_json::Value> = serde_json::from_str(text).context("this is not a JSON array of objects")?;
    let label = |(i, entry): (usize, serde_json::Value)| {
        let entry = serde_json::from_value(entry).map_err(|error| anyhow::anyhow!("{error}"));
        entry.and_then(Entry::label).with_context(|| format!("entry {}", i + 1))
    };
    entries.into_iter().enumerate().map(label).collect()
}

fn csv(text: &str) -> anyhow::Result<Vec<Label>> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
    let head = reader.headers().context("the first line cannot be read")?.clone();
    for name in head.iter() {
        if !COLUMNS.contains(&name) {
            let near = crate::config::suggestion(name, &COLUMNS);
            bail!(
                "line 1: unknown column {name:?}{near}; the first line names the columns: start,end[,detector[,series]]"
            );
        }
    }
    for name in &COLUMNS[..2] {
        anyhow::ensure!(
            head.iter().any(|column| column == *name),
            "line 1: there is no column {name}; the first line names the columns: start,end[,detector[,series]]"
        );
    }
    let mut labels = Vec::new();
    for record in reader.records() {
        let record = record.context("this is not CSV")?;
        let line = record.position().map_or(0, csv::Position::line);
        let entry: Entry = record.deserialize(Some(&head)).with_context(|| format!("line {line}"))?;
        labels.push(entry.label().with_context(|| format!("line {line}"))?);
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms() {
        let expected = [
            Label { start: 1_795_399_660_000, end: 1_795_399_670_000, detector: None, series: None },
            Label {
                start: 1_795_399_664_000,
                end: 1_795_399_674_500,
                detector: Some("action".into()),
                series: Some("sum(a,b)".into()),
            },
        ];
        for text in [
            "start,end,detector,series\n1795399664,2026-11-23T02:07:54.5Z,action,\"sum(a,b)\"\n1795399660000, 1795399670000 ,,\n",
            "\u{feff}end, start ,series,detector\r\n2026-11-23 02:07:54.5,1795399664.0,\"sum(a,b)\",action\r\n1795399670000,1795399660000,,\r\n",
            r#" [{"start":1795399664,"end":"2026-11-23T03:07:54.5+01:00","detector":"action","series":"sum(a,b)"},
                {"start":1795399660000,"end":"1795399670000"}]"#,
        ] {
            assert_eq!(parse(text).unwrap(), expected, "{text}");
        }
        assert_eq!(parse("start,end\n").unwrap(), []);
        assert_eq!(parse("[]").unwrap(), []);
    }

    #[test]
    fn mistakes_say_where_and_what_to_do() {
        for (text, words) in [
            ("", "no column start"),
            ("start,ende\n1,2\n", "unknown column \"ende\"; did you mean `end`?"),
            ("start,end,colour\n", "it is one of start, end, detector, series"),
            ("start,detector\n", "no column end"),
            ("start,end\n1795399664,1795399665\nyesterday,1795399664\n", "line 3"),
            ("start,end\nyesterday,1795399664\n", "ISO 8601"),
            ("start,end\n1795399664,1795399664\n", "not after"),
            ("start,end\n1,2,3\n", "CSV"),
            ("[{\"start\":1795399664}]", "missing field `end`"),
            ("[{\"start\":1795399664,\"end\":1795399665},{\"begin\":1}]", "entry 2"),
            ("[1", "JSON array"),
        ] {
            let error = format!("{:#}", parse(text).unwrap_err());
            assert!(error.contains(words), "{text:?}: {error}");
        }
    }
}
