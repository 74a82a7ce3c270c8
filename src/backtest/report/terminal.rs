//! The report as text tables.
//!
//! Invariant: at most [`MOST`] incidents of a list are shown, those of the highest scores, in the order of their times;
//! what is left out is said.

use super::{Comparison, Report, Side};
use crate::backtest::incidents::{self, Incident};
use crate::backtest::judge::Judgement;
use crate::backtest::words::{count, instant, number, of, percent, plain, rate, second, span};
use std::fmt::Write;

/// The most incidents of a list.
const MOST: usize = 40;
/// The longest text of a cell; characters.
const CELL: usize = 60;

/// All of it.
pub fn tables(report: &Report) -> String {
    let mut out = String::new();
    let side = &report.first;
    head(&mut out, report);
    if side.incidents.is_empty() {
        out.push_str("\nNothing would have alerted.\n");
    } else {
        let _ = writeln!(out, "\nWhat would have alerted (times are UTC)\n");
        incidents(&mut out, &side.incidents);
    }
    out.push('\n');
    totals(&mut out, side);
    if let Some(labels) = &side.labels {
        judgement(&mut out, "labels", labels);
    }
    if let Some(compare) = &report.compare {
        comparison(&mut out, side, compare);
    }
    let speed = number(report.run.records_per_second.round());
    line(&mut out, "speed", &format!("{speed} records/s ({} s)", number(report.run.seconds)));
    if !report.notes.is_empty() {
        out.push('\n');
        report.notes.iter().for_each(|note| {
            let _ = writeln!(out, "Note: {note}");
        });
    }
    out
}

fn head(out: &mut String, report: &Report) {
    let (side, input) = (&report.first, &report.input);
    let records = of(side.records.read, "record", "records");
    let _ = write!(out, "Pipeline {}: {records} of {}", side.pipeline, input.names);
    if input.kind == "topic" {
        let _ = write!(out, " ({})", of(input.sources, "partition", "partitions"));
    }
    if let (Some(first), Some(last)) = (side.records.first, side.records.last) {
        let _ = write!(out, "\n{} to {} UTC, {}", second(first), second(last), span(last - first));
    }
    out.push('\n');
}

fn line(out: &mut String, name: &str, text: &str) {
    let _ = writeln!(out, "  {name:<10} {text}");
}

fn totals(out: &mut String, side: &Side) {
    let (records, windows, alerts) = (&side.records, &side.windows, &side.alerts);
    let series = of(windows.series, "series", "series");
    line(
        out,
        "windows",
        &format!(
            "{} scored in {series}: {} anomalous, {} while learning; {} incomplete at the end, left out",
            count(windows.scored),
            count(windows.anomalous),
            count(windows.learning),
            count(windows.incomplete)
        ),
    );
    let often = alerts.per_day.map_or(String::new(), |per_day| format!(", {} a day", rate(per_day)));
    let days = alerts.days.iter().filter(|day| day.alerts > 0).count() as u64;
    let on = if days > 0 { format!(", on {}", of(days, "day", "days")) } else { String::new() };
    line(out, "alerts", &format!("{}{often}{on}", count(alerts.total)));
    let reasons: Vec<String> = records.rejected.iter().map(|(reason, n)| format!("{} {reason}", count(*n))).collect();
    let reasons = if reasons.is_empty() { String::new() } else { format!(": {}", reasons.join(", ")) };
    line(out, "rejected", &format!("{}{reasons}", of(records.rejections(), "record", "records")));
    let times = if records.late > 0 { " (records times detectors whose window had closed)" } else { "" };
    line(out, "late", &format!("{}{times}", count(records.late)));
}

fn judgement(out: &mut String, name: &str, judged: &Judgement) {
    let share = |share: Option<f64>| share.map_or("-".to_owned(), percent);
    let text = format!(
        "{} of {} found, {} of {} right: precision {}, recall {}, F1 {}",
        count(judged.found),
        of(judged.labels, "label", "labels"),
        count(judged.right),
        of(judged.incidents, "alert", "alerts"),
        share(judged.precision),
        share(judged.recall),
        judged.f1.map_or("-".to_owned(), |f1| format!("{f1:.3}"))
    );
    line(out, name, &text);
    if let (Some(median), Some(worst)) = (judged.median_delay, judged.worst_delay) {
        line(out, "", &format!("time to detect: median {}, worst {}", span(median), span(worst)));
    }
    let missed: Vec<_> = judged.each.iter().filter(|j| j.alerted_at.is_none() && !j.outside).collect();
    for judged in missed.iter().take(MOST) {
        let label = &judged.label;
        let whom = [label.detector.as_deref(), label.series.as_deref()];
        let whom: Vec<&str> = whom.into_iter().flatten().collect();
        let text = format!("missed: {} to {} {}", instant(label.start), instant(label.end), whom.join(" "));
        line(out, "", text.trim_end());
    }
    if missed.len() > MOST {
        line(out, "", &format!("… and {} more missed", count((missed.len() - MOST) as u64)));
    }
}

fn comparison(out: &mut String, first: &Side, compare: &Comparison) {
    let (difference, second) = (&compare.difference, &compare.second);
    let _ = writeln!(out, "\nCompared with {}\n", compare.config);
    let lists =
        [("Only in this configuration", &difference.only_first), ("Only in the other", &difference.only_second)];
    for (title, list) in lists {
        if !list.is_empty() {
            let _ = writeln!(out, "{title}\n");
            incidents(out, list);
            out.push('\n');
        }
    }
    if !difference.both.is_empty() {
        let _ = writeln!(out, "In both\n");
        let mut pairs: Vec<_> = difference.both.iter().collect();
        pairs.sort_by(|a, b| b.score_difference.abs().total_cmp(&a.score_difference.abs()));
        pairs.truncate(MOST);
        pairs.sort_by(|a, b| (a.first.start, &a.first.name).cmp(&(b.first.start, &b.first.name)));
        let rows = pairs.iter().map(|pair| {
            let (a, b) = (&pair.first, &pair.second);
            vec![
                a.name.detector.clone(),
                a.name.series.clone(),
                instant(a.start),
                instant(a.end),
                instant(b.start),
                instant(b.end),
                score(a.peak.score),
                score(b.peak.score),
                format!("{:+.1}", pair.score_difference),
            ]
        });
        let titles = ["detector", "series", "begin", "end", "other begin", "other end", "score", "other", "difference"];
        table(out, &titles, 6, rows.collect());
        rest(out, difference.both.len());
        out.push('\n');
    }
    totals(out, second);
    if let Some(labels) = &second.labels {
        judgement(out, "labels", labels);
    }
    let (only, other, both) = (difference.only_first.len(), difference.only_second.len(), difference.both.len());
    line(out, "difference", &format!("{only} only here, {other} only there, {both} in both"));
    let more = second.alerts.total as i64 - first.alerts.total as i64;
    line(out, "", &format!("the other configuration alerts {more:+} times"));
}

fn score(score: f64) -> String {
    format!("{score:.1}")
}

fn incidents(out: &mut String, list: &[Incident]) {
    let mut shown: Vec<&Incident> = list.iter().collect();
    shown.sort_by(|a, b| {
        b.peak.score.total_cmp(&a.peak.score).then_with(|| (a.start, &a.name).cmp(&(b.start, &b.name)))
    });
    shown.truncate(MOST);
    shown.sort_by(|a, b| (a.start, &a.name).cmp(&(b.start, &b.name)));
    let has_why = shown.iter().any(|incident| !incidents::why(&incident.peak).is_empty());
    let rows = shown.iter().map(|incident| {
        let peak = &incident.peak;
        let mut row = vec![
            incident.name.detector.clone(),
            incident.name.series.clone(),
            instant(incident.start),
            instant(incident.end),
            count(incident.windows),
            score(peak.score),
            number(peak.value),
            number(peak.expected),
            format!("{} – {}", number(peak.lower), number(peak.upper)),
        ];
        if has_why {
            row.push(incidents::why(&incident.peak));
        }
        row
    });
    let titles = ["detector", "series", "begin", "end", "windows", "score", "value", "expected", "band", "why"];
    table(out, &titles[..if has_why { 10 } else { 9 }], 4, rows.collect());
    rest(out, list.len());
}

fn rest(out: &mut String, all: usize) {
    if all > MOST {
        let left = count((all - MOST) as u64);
        let _ = writeln!(out, "  … and {left} of lower scores: --json or --html has them all");
    }
}

/// Columns from `numbers` on, up to a text `why`, are set to the right.
fn table(out: &mut String, titles: &[&str], numbers: usize, rows: Vec<Vec<String>>) {
    let cut = |cell: String| match cell.char_indices().nth(CELL) {
        Some((end, _)) => format!("{}…", &cell[..end]),
        None => cell,
    };
    let rows: Vec<Vec<String>> =
        rows.into_iter().map(|row| row.into_iter().map(|cell| cut(plain(&cell))).collect()).collect();
    let width = |i: usize| {
        let cells = rows.iter().filter_map(|row| row.get(i)).map(|cell| cell.chars().count());
        cells.chain([titles[i].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..titles.len()).map(width).collect();
    let mut put = |cells: &[&str]| {
        let mut text = String::new();
        for (i, (cell, width)) in cells.iter().zip(&widths).enumerate() {
            let is_number = i >= numbers && titles[i] != "why";
            let _ = if is_number { write!(text, "  {cell:>width$}") } else { write!(text, "  {cell:<width$}") };
        }
        let _ = writeln!(out, "{}", text.trim_end());
    };
    put(titles);
    rows.iter().for_each(|row| put(&row.iter().map(String::as_str).collect::<Vec<_>>()));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names and values come from logs.
    #[test]
    fn a_log_commands_no_terminal() {
        let mut out = String::new();
        table(&mut out, &["series", "value"], 1, vec![vec!["{user=\u{1b}[2J\u{7}\n x}".to_owned(), "1".to_owned()]]);
        assert_eq!(out, "  series           value\n  {user= [2J   x}      1\n");
    }
}
