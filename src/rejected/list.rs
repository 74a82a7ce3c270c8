//! `rejected list`: the newest rejected records and a count by reason.

use super::Which;
use super::record::{Record, read};
use crate::backtest::words::{plain, second};
use crate::config::Kafka;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::io::Write;

/// What to print.
#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    pub which: Which,
    /// The most records to print, the newest
    #[arg(long, value_name = "NUMBER", default_value_t = 20)]
    limit: usize,
    /// One JSON object a line, with the whole record, instead of a table
    #[arg(long)]
    json: bool,
}

/// Characters of a record that the table shows.
const SHOWN: usize = 100;

/// Prints them.
///
/// # Errors
/// The broker does not answer, or the output is closed.
pub fn run(kafka: &Kafka, topic: &str, options: &Options, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut newest: VecDeque<(Record, bool)> = VecDeque::new();
    let mut counts: BTreeMap<(String, String), [u64; 2]> = BTreeMap::new();
    read(kafka, topic, |record, back| {
        if options.which.takes(&record) {
            let count = counts.entry((record.service.clone(), record.reason.clone())).or_default();
            count[0] += 1;
            count[1] += u64::from(back);
            newest.push_back((record, back));
            // Partitions come one after the other: the newest are known at the end.
            if newest.len() > options.limit.saturating_mul(2).max(64) {
                keep(&mut newest, options.limit);
            }
        }
        Ok(())
    })?;
    keep(&mut newest, options.limit);
    if options.json {
        for (record, back) in &newest {
            writeln!(out, "{}", as_json(record, *back))?;
        }
        return Ok(());
    }
    for (record, back) in &newest {
        let time = record.time.map_or_else(|| "no time".to_owned(), second);
        let Record { service, reason, source, detail, .. } = record;
        let back = if *back { "  (went back)" } else { "" };
        writeln!(out, "{time}  {service}  {reason}  {source}{back}\n    {detail}\n    {}", beginning(record))?;
    }
    if counts.is_empty() {
        writeln!(out, "{topic} holds no such record")?;
    }
    for ((service, reason), [all, back]) in counts {
        let back = if back == 0 { String::new() } else { format!(", {back} of them went back") };
        writeln!(out, "{all} rejected by {service}: {reason}{back}")?;
    }
    Ok(())
}

fn keep(newest: &mut VecDeque<(Record, bool)>, limit: usize) {
    newest.make_contiguous().sort_by_key(|(record, _)| (record.time, record.place));
    newest.drain(..newest.len().saturating_sub(limit));
}

/// The record's first characters, without what a terminal would obey.
fn beginning(record: &Record) -> String {
    let Some(body) = &record.body else { return "no value".to_owned() };
    let text = String::from_utf8_lossy(&body[..body.len().min(4 * SHOWN)]);
    let plain = plain(&text.chars().take(SHOWN).collect::<String>());
    if plain.len() < body.len() { plain + "…" } else { plain }
}

fn as_json(record: &Record, back: bool) -> Value {
    let (value, base64) = match record.body.as_deref().map(str::from_utf8) {
        None => (Value::Null, None),
        Some(Ok(text)) => (text.into(), None),
        Some(Err(_)) => (Value::Null, record.body.as_ref().map(|body| BASE64_STANDARD.encode(body))),
    };
    let mut row = json!({
        "partition": record.place.0, "offset": record.place.1, "timestamp": record.time, "service": record.service,
        "reason": record.reason, "detail": record.detail, "source": record.source, "replayed": back, "value": value,
    });
    if let Some(base64) = base64 {
        row["value_base64"] = base64.into();
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_not_shown() {
        for (body, want) in [
            (None, "no value"),
            (Some(&b"{\"a\":1}\x1b[2J\n"[..]), "{\"a\":1} [2J "),
            (Some(b""), ""),
            (Some(b"\xff"), "\u{fffd}"),
        ] {
            let record = Record { body: body.map(<[u8]>::to_vec), ..Record::default() };
            assert_eq!(beginning(&record), want);
        }
        let long = Record { body: Some("é".repeat(500).into_bytes()), ..Record::default() };
        assert_eq!(beginning(&long), "é".repeat(SHOWN) + "…");
    }

    #[test]
    fn the_newest_are_kept() {
        let record = |time: i64| (Record { time: Some(time), ..Record::default() }, false);
        let mut newest: VecDeque<_> = [3, 1, 4, 1, 5, 9, 2, 6].map(record).into();
        keep(&mut newest, 3);
        assert_eq!(newest.iter().filter_map(|(record, _)| record.time).collect::<Vec<_>>(), [5, 6, 9]);
    }

    #[test]
    fn bytes_that_are_no_text_are_told_in_base64() {
        let row = as_json(&Record { body: Some(vec![255]), ..Record::default() }, true);
        assert_eq!(
            (&row["value"], &row["value_base64"], &row["replayed"]),
            (&Value::Null, &json!("/w=="), &json!(true))
        );
    }
}
