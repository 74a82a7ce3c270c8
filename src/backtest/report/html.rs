//! The report as one self-contained page: no script, no other file, light and dark.
//!
//! Invariant: every text that comes from a log, a file's name or a configuration passes [`escape`].

use super::{Comparison, Report, Side, svg};
use crate::backtest::charts::Chart;
use crate::backtest::incidents::{self, Incident};
use crate::backtest::judge::Judgement;
use crate::backtest::labels::Label;
use crate::backtest::words::{count, instant, number, of, percent, rate, second, span};
use outlier_core::pipeline::Millis;
use outlier_core::score::SeriesName;
use std::collections::BTreeMap;
use std::fmt::Write;

const STYLE: &str = include_str!("page.css");
/// No script and nothing from elsewhere, whatever a log holds.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";
/// The most series that are drawn.
const DRAWN: usize = 50;
/// The most incidents of a table.
const ROWS: usize = 1_000;

/// A text between tags or in quotes.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// The page.
pub fn page(report: &Report) -> String {
    let side = &report.first;
    let name = escape(&side.pipeline);
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\">\n<meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <title>Backtest of {name}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n"
    );
    head(&mut out, report);
    notes(&mut out, &report.notes);
    tiles(&mut out, side);
    if let Some(labels) = &side.labels {
        judgement(&mut out, "Against the known incidents", labels);
    }
    if let Some(compare) = &report.compare {
        comparison(&mut out, side, compare);
    }
    if side.alerts.days.len() > 1 {
        out.push_str("<section><h2>How often</h2><figure>");
        out.push_str(&svg::days(&side.alerts.days, 150.0));
        out.push_str("</figure></section>\n");
    }
    courses(&mut out, report);
    if !side.incidents.is_empty() {
        out.push_str("<section><h2>Alerts</h2>");
        incidents(&mut out, &side.incidents);
        out.push_str("</section>\n");
    }
    let version = report.outlier;
    let left_out = match side.windows.incomplete {
        0 => String::new(),
        n => format!(" {} not over at the end of the input and left out.", of(n, "window was", "windows were")),
    };
    let _ = writeln!(
        out,
        "<p class=\"muted\">Times are UTC.{left_out} Written by outlier {version}.</p>\n</main>\n</body>\n</html>"
    );
    out
}

fn head(out: &mut String, report: &Report) {
    let side = &report.first;
    let verdict = match side.alerts.total {
        0 => "nothing would have alerted".to_owned(),
        total => format!("{} would have been sent", of(total, "alert", "alerts")),
    };
    let _ = write!(out, "<header><h1>{}: {verdict}</h1><p class=\"muted\">", escape(&side.pipeline));
    if let (Some(first), Some(last)) = (side.records.first, side.records.last) {
        let _ = write!(out, "{} to {}, {} · ", second(first), second(last), span(last - first));
    }
    let _ = writeln!(out, "{}</p></header>", escape(&report.input.names));
}

fn notes(out: &mut String, notes: &[String]) {
    if notes.is_empty() {
        return;
    }
    out.push_str("<section class=\"notes\">");
    notes.iter().for_each(|note| {
        let _ = write!(out, "<p>{}</p>", escape(note));
    });
    out.push_str("</section>\n");
}

fn tiles(out: &mut String, side: &Side) {
    let (records, windows, alerts) = (&side.records, &side.windows, &side.alerts);
    out.push_str("<div class=\"tiles\">");
    let mut tile = |class: &str, value: u64, text: &str| {
        let _ = write!(out, "<div class=\"tile {class}\"><b>{}</b><span>{}</span></div>", count(value), escape(text));
    };
    let bad = |n: u64| if n > 0 { "bad" } else { "" };
    tile("", records.read, "records");
    let often = alerts.per_day.map_or(String::new(), |per_day| format!(", {} a day", rate(per_day)));
    tile(bad(alerts.total), alerts.total, &format!("{}{often}", if alerts.total == 1 { "alert" } else { "alerts" }));
    let of_series = format!("of {} series", count(windows.series));
    tile(bad(windows.anomalous), windows.anomalous, "anomalous windows");
    tile("", windows.scored, &format!("windows {of_series}, {} while learning", count(windows.learning)));
    let reasons: Vec<String> = records.rejected.iter().map(|(reason, n)| format!("{} {reason}", count(*n))).collect();
    let reasons = if reasons.is_empty() { "rejected".to_owned() } else { format!("rejected: {}", reasons.join(", ")) };
    tile("", records.rejections(), &reasons);
    tile("", records.late, "late");
    out.push_str("</div>\n");
}

fn judgement(out: &mut String, title: &str, judged: &Judgement) {
    let share = |share: Option<f64>| share.map_or("–".to_owned(), percent);
    let f1 = judged.f1.map_or("–".to_owned(), |f1| format!("{f1:.3}"));
    let delay = |delay: Option<Millis>| delay.map_or("–".to_owned(), span);
    let _ = write!(out, "<section><h2>{}</h2><div class=\"wide\"><table><tr>", escape(title));
    for name in ["precision", "recall", "F1", "median time to detect", "worst", "labels found", "alerts right"] {
        let _ = write!(out, "<th>{name}</th>");
    }
    let found = format!("{} of {}", count(judged.found), count(judged.labels));
    let right = format!("{} of {}", count(judged.right), count(judged.incidents));
    let (median, worst) = (delay(judged.median_delay), delay(judged.worst_delay));
    out.push_str("</tr><tr>");
    for value in [share(judged.precision), share(judged.recall), f1, median, worst, found, right] {
        let _ = write!(out, "<td>{value}</td>");
    }
    out.push_str("</tr></table></div>");
    let rows = judged.each.iter().map(|judged| {
        let label = &judged.label;
        let text = |text: &Option<String>| escape(text.as_deref().unwrap_or("any"));
        let outcome = match judged.alerted_at {
            _ if judged.outside => "outside of the scored time".to_owned(),
            Some(at) => format!("found after {}", span(at - label.start)),
            None => "<span class=\"up\">missed</span>".to_owned(),
        };
        vec![instant(label.start), instant(label.end), text(&label.detector), text(&label.series), outcome]
    });
    table(out, &["t:begin", "t:end", "detector", "series", "outcome"], rows, judged.each.len());
    out.push_str("</section>\n");
}

fn comparison(out: &mut String, first: &Side, compare: &Comparison) {
    let (second, difference) = (&compare.second, &compare.difference);
    let _ = write!(out, "<section><h2>Compared with {}</h2><div class=\"wide\"><table><tr>", escape(&compare.config));
    let titles =
        ["", "alerts", "a day", "anomalous windows", "windows", "rejected", "late", "precision", "recall", "F1"];
    let judged = first.labels.is_some();
    let titles = &titles[..if judged { 10 } else { 7 }];
    for (i, name) in titles.iter().enumerate() {
        let _ = write!(out, "<th{}>{name}</th>", if i > 0 { " class=\"n\"" } else { "" });
    }
    out.push_str("</tr>");
    for (name, side) in [("this configuration", first), (compare.config.as_str(), second)] {
        let share = |share: Option<f64>| share.map_or("–".to_owned(), percent);
        let labels = side.labels.as_ref();
        let cells = [
            escape(name),
            count(side.alerts.total),
            side.alerts.per_day.map_or("–".to_owned(), rate),
            count(side.windows.anomalous),
            count(side.windows.scored),
            count(side.records.rejections()),
            count(side.records.late),
            share(labels.and_then(|l| l.precision)),
            share(labels.and_then(|l| l.recall)),
            labels.and_then(|l| l.f1).map_or("–".to_owned(), |f1| format!("{f1:.3}")),
        ];
        out.push_str("<tr>");
        for (i, cell) in cells.iter().take(titles.len()).enumerate() {
            let _ = write!(out, "<td{}>{cell}</td>", if i > 0 { " class=\"n\"" } else { "" });
        }
        out.push_str("</tr>");
    }
    out.push_str("</table></div>");
    for (title, list) in
        [("Only in this configuration", &difference.only_first), ("Only in the other", &difference.only_second)]
    {
        if !list.is_empty() {
            let _ = write!(out, "<h3>{title} ({})</h3>", count(list.len() as u64));
            incidents(out, list);
        }
    }
    if !difference.both.is_empty() {
        let _ = write!(out, "<h3>In both ({})</h3>", count(difference.both.len() as u64));
        let rows = difference.both.iter().map(|pair| {
            let (a, b) = (&pair.first, &pair.second);
            let mut row = series(&a.name);
            row.extend([instant(a.start), instant(a.end), instant(b.start), instant(b.end)]);
            row.extend([format!("{:.1}", a.peak.score), format!("{:.1}", b.peak.score)]);
            row.push(format!("{:+.1}", pair.score_difference));
            row
        });
        let titles = [
            "detector",
            "series",
            "t:begin",
            "t:end",
            "t:other begin",
            "t:other end",
            "n:score",
            "n:other",
            "n:difference",
        ];
        table(out, &titles, rows, difference.both.len());
    }
    out.push_str("</section>\n");
}

/// The series that alerted, worst first.
fn courses(out: &mut String, report: &Report) {
    let sides = [Some(&report.first), report.compare.as_ref().map(|compare| &compare.second)];
    let labels: Vec<&Label> =
        report.first.labels.iter().flat_map(|l| l.each.iter().map(|judged| &judged.label)).collect();
    let mut left_out = 0;
    let mut drawn: Vec<&SeriesName> = Vec::new();
    for side in sides.into_iter().flatten() {
        let mut of_series: BTreeMap<&SeriesName, Vec<&Incident>> = BTreeMap::new();
        for incident in side.incidents.iter().filter(|incident| !drawn.contains(&&incident.name)) {
            of_series.entry(&incident.name).or_default().push(incident);
        }
        let worst = |list: &[&Incident]| list.iter().map(|i| i.peak.score).fold(0.0, f64::max);
        let mut order: Vec<_> = of_series.into_iter().collect();
        order.sort_by(|(_, a), (_, b)| worst(b).total_cmp(&worst(a)).then(b.len().cmp(&a.len())));
        for (name, list) in order {
            match side.charts.as_ref().and_then(|charts| charts.get(name)) {
                Some(chart) if drawn.len() < DRAWN => {
                    if drawn.is_empty() {
                        key(out, !labels.is_empty());
                    }
                    let beside = if std::ptr::eq(side, &report.first) { "" } else { side.config.as_str() };
                    let spans =
                        labels.iter().filter(|label| label.concerns(name)).map(|label| (label.start, label.end));
                    course(out, name, &list, chart, &spans.collect::<Vec<_>>(), beside);
                    drawn.push(name);
                }
                _ => left_out += 1,
            }
        }
    }
    if left_out > 0 {
        let _ =
            writeln!(out, "<p class=\"muted\">{} not drawn.</p>", of(left_out, "more series is", "more series are"));
    }
}

fn key(out: &mut String, has_known: bool) {
    out.push_str(
        "<p class=\"key\"><span><i class=\"k-line\"></i>value</span><span><i class=\"k-band\"></i>expected: 99.9 % of normal \
         values</span><span><i class=\"k-hit\"></i>anomalous</span>",
    );
    if has_known {
        out.push_str("<span><i class=\"k-known\"></i>known incident</span>");
    }
    out.push_str("</p>\n");
}

fn course(
    out: &mut String,
    name: &SeriesName,
    list: &[&Incident],
    chart: &Chart,
    spans: &[(Millis, Millis)],
    beside: &str,
) {
    let [detector, series] = [escape(&name.detector), escape(&name.series)];
    let beside = if beside.is_empty() { String::new() } else { format!(", by {}", escape(beside)) };
    let alerts = of(list.len() as u64, "alert", "alerts");
    let _ = write!(out, "<section><h2>{detector} · {series}</h2><p class=\"muted\">{alerts}{beside}");
    if let Some(worst) = list.iter().max_by(|a, b| a.peak.score.total_cmp(&b.peak.score)) {
        let (which, peak) = (if list.len() > 1 { "; the worst" } else { "" }, &worst.peak);
        let _ = write!(out, "{which}: {} to {}, score {:.1}, ", instant(worst.start), instant(worst.end), peak.score);
        let _ =
            write!(out, "{} where {} to {} were expected", number(peak.value), number(peak.lower), number(peak.upper));
        let why = incidents::why(&worst.peak);
        if !why.is_empty() {
            let _ = write!(out, "; {}", escape(&why));
        }
    }
    out.push_str("</p>");
    let title = format!("{} {} over the whole time", name.detector, name.series);
    let each = match chart.each {
        1 => "each window".to_owned(),
        each => format!("smallest and largest of each {each} windows"),
    };
    let _ = write!(out, "<figure><figcaption>The whole time, {each}</figcaption>");
    out.push_str(&svg::course(&chart.buckets, spans, 230.0, &title));
    out.push_str("</figure>");
    if let Some((_, windows)) = chart.close_up.as_ref().filter(|_| chart.each > 1) {
        let title = format!("{} {} around its worst alert", name.detector, name.series);
        out.push_str("<figure><figcaption>The worst alert, window by window</figcaption>");
        out.push_str(&svg::course(windows, spans, 190.0, &title));
        out.push_str("</figure>");
    }
    out.push_str("</section>\n");
}

fn series(name: &SeriesName) -> Vec<String> {
    vec![escape(&name.detector), escape(&name.series)]
}

fn incidents(out: &mut String, list: &[Incident]) {
    let has_why = list.iter().any(|incident| !incidents::why(&incident.peak).is_empty());
    let rows = list.iter().map(|incident| {
        let peak = &incident.peak;
        let mut row = series(&incident.name);
        row.extend([
            instant(incident.start),
            instant(incident.end),
            count(incident.windows),
            format!("{:.1}", peak.score),
        ]);
        row.extend([number(peak.value), number(peak.expected)]);
        row.push(format!("{} – {}", number(peak.lower), number(peak.upper)));
        row.push(escape(&incidents::why(&incident.peak)));
        row
    });
    let titles = [
        "detector",
        "series",
        "t:begin",
        "t:end",
        "n:windows",
        "n:peak score",
        "n:value",
        "n:expected",
        "n:band",
        "w:why",
    ];
    table(out, &titles[..if has_why { 10 } else { 9 }], rows, list.len());
}

/// A title's class stands before its colon. Cells are markup already; those beyond the titles are left out.
fn table(out: &mut String, titles: &[&str], rows: impl Iterator<Item = Vec<String>>, all: usize) {
    let titles: Vec<(&str, &str)> = titles.iter().map(|title| title.split_once(':').unwrap_or(("", title))).collect();
    out.push_str("<div class=\"wide\"><table>");
    out.push_str("<thead><tr>");
    for (class, title) in &titles {
        let _ = write!(out, "<th class=\"{class}\">{title}</th>");
    }
    out.push_str("</tr></thead><tbody>\n");
    for row in rows.take(ROWS) {
        out.push_str("<tr>");
        for ((class, _), cell) in titles.iter().zip(row) {
            let _ = write!(out, "<td class=\"{class}\">{cell}</td>");
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div>");
    if all > ROWS {
        let _ = write!(
            out,
            "<p class=\"muted\">The first {}; {} more are in --json.</p>",
            count(ROWS as u64),
            count((all - ROWS) as u64)
        );
    }
}
