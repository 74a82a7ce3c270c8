//! Charts as inline SVG: the course of a series, and alerts by day. Colours come from the page's style.
//!
//! Invariant: numbers and escaped text only; nothing of a log can become markup.

use super::html::escape;
use crate::backtest::charts::Bucket;
use crate::backtest::tally::Day;
use crate::backtest::words::{DAY, count, instant, number, of};
use outlier_core::pipeline::Millis;
use std::fmt::Write;

const WIDTH: f64 = 960.0;
const LEFT: f64 = 58.0;
const RIGHT: f64 = 950.0;
const TOP: f64 = 12.0;
/// Room below the drawing for the axis.
const AXIS: f64 = 24.0;
/// Steps of a time axis; milliseconds.
const STEPS: [Millis; 20] = [
    1_000,
    5_000,
    10_000,
    30_000,
    60_000,
    300_000,
    600_000,
    1_800_000,
    3_600_000,
    2 * 3_600_000,
    3 * 3_600_000,
    6 * 3_600_000,
    12 * 3_600_000,
    DAY,
    2 * DAY,
    7 * DAY,
    14 * DAY,
    30 * DAY,
    90 * DAY,
    365 * DAY,
];
/// The most bars of the days.
const BARS: usize = 180;
/// Up to so many bars have their number written above them.
const NUMBERED: usize = 31;

/// A drawing's scales.
struct Scale {
    from: Millis,
    to: Millis,
    low: f64,
    high: f64,
    bottom: f64,
}

impl Scale {
    fn x(&self, at: Millis) -> f64 {
        let share = (at - self.from) as f64 / (self.to - self.from).max(1) as f64;
        LEFT + share.clamp(0.0, 1.0) * (RIGHT - LEFT)
    }

    fn y(&self, value: f64) -> f64 {
        let share = (value - self.low) / (self.high - self.low);
        self.bottom - share.clamp(0.0, 1.0) * (self.bottom - TOP)
    }
}

/// Values, expected band and anomalies of a series; `spans` are known incidents, shaded.
pub fn course(buckets: &[Bucket], spans: &[(Millis, Millis)], height: f64, title: &str) -> String {
    let (Some(first), Some(last)) = (buckets.first(), buckets.last()) else { return String::new() };
    let (low, high) = range(buckets);
    let scale = Scale { from: first.start, to: last.end, low, high, bottom: height - AXIS };
    let mut out = open(height, title);
    for (start, end) in spans.iter().filter(|(start, end)| *start < scale.to && *end > scale.from) {
        let (x, width) = (scale.x(*start), (scale.x(*end) - scale.x(*start)).max(2.0));
        let _ = write!(
            out,
            r#"<rect class="known" x="{x:.1}" y="{TOP}" width="{width:.1}" height="{:.1}"/>"#,
            scale.bottom - TOP
        );
    }
    value_axis(&mut out, &scale);
    time_axis(&mut out, &scale);
    for run in runs(buckets) {
        band(&mut out, &scale, run);
        line(&mut out, &scale, run);
    }
    for bucket in buckets.iter().filter(|bucket| bucket.anomaly) {
        hit(&mut out, &scale, bucket);
    }
    out.push_str("</svg>");
    out
}

fn open(height: f64, title: &str) -> String {
    format!(r#"<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{}">"#, escape(title))
}

/// The values that are drawn: all of the series, and the band where it is not far beyond.
fn range(buckets: &[Bucket]) -> (f64, f64) {
    let finite = |value: &f64| value.is_finite();
    let least = buckets.iter().map(|b| b.low).filter(finite).fold(f64::INFINITY, f64::min);
    let most = buckets.iter().map(|b| b.high).filter(finite).fold(f64::NEG_INFINITY, f64::max);
    if least > most {
        return (0.0, 1.0);
    }
    // A young model's band may be very wide: one in twenty may leave the drawing.
    let common = |mut ends: Vec<f64>, share: f64, other: f64| {
        ends.retain(finite);
        ends.sort_by(f64::total_cmp);
        ends.get((ends.len().saturating_sub(1) as f64 * share) as usize).copied().unwrap_or(other)
    };
    let upper = common(buckets.iter().filter_map(|b| b.band).map(|(_, upper)| upper).collect(), 0.95, most);
    let lower = common(buckets.iter().filter_map(|b| b.band).map(|(lower, _)| lower).collect(), 0.05, least);
    let (low, high) = (least.min(lower), most.max(upper));
    // Zero belongs to it unless the values are far from it.
    let low = if low > 0.0 && low < high * 0.7 { 0.0 } else { low };
    let room = if high > low { (high - low) * 0.06 } else { high.abs().max(1.0) * 0.1 };
    (if low == 0.0 { 0.0 } else { low - room }, high + room)
}

/// Stretches without a gap.
fn runs(buckets: &[Bucket]) -> impl Iterator<Item = &[Bucket]> {
    buckets.chunk_by(|one, next| next.start - one.end <= one.end - one.start)
}

fn middle(bucket: &Bucket) -> Millis {
    bucket.start + (bucket.end - bucket.start) / 2
}

fn band(out: &mut String, scale: &Scale, run: &[Bucket]) {
    for learned in run.chunk_by(|one, next| one.band.is_some() == next.band.is_some()) {
        let ends: Vec<(f64, f64, f64)> =
            learned.iter().filter_map(|b| b.band.map(|(lower, upper)| (scale.x(middle(b)), lower, upper))).collect();
        if ends.is_empty() {
            continue;
        }
        out.push_str(r#"<path class="band" d=""#);
        let upper = ends.iter().map(|(x, _, upper)| (*x, *upper));
        let lower = ends.iter().rev().map(|(x, lower, _)| (*x, *lower));
        points(out, upper.chain(lower).map(|(x, value)| (x, scale.y(value))));
        out.push_str("Z\"/>");
    }
}

fn line(out: &mut String, scale: &Scale, run: &[Bucket]) {
    let mut before = f64::NAN;
    let mut all = Vec::with_capacity(run.len() * 2);
    for bucket in run {
        let (x, low, high) = (scale.x(middle(bucket)), scale.y(bucket.low), scale.y(bucket.high));
        // What is nearer comes first, so that the line does not cross itself.
        let rising = (before - low).abs() <= (before - high).abs();
        let (one, other) = if rising { (low, high) } else { (high, low) };
        all.push((x, one));
        if one != other {
            all.push((x, other));
        }
        before = other;
    }
    out.push_str(r#"<path class="line" d=""#);
    points(out, all.into_iter());
    out.push_str("\"/>");
}

fn points(out: &mut String, points: impl Iterator<Item = (f64, f64)>) {
    for (i, (x, y)) in points.enumerate() {
        let _ = write!(out, "{}{x:.1} {y:.1}", if i == 0 { 'M' } else { 'L' });
    }
}

fn hit(out: &mut String, scale: &Scale, bucket: &Bucket) {
    let above = bucket.band.is_none_or(|(_, upper)| bucket.high >= upper);
    let value = if above { bucket.high } else { bucket.low };
    let band = bucket
        .band
        .map_or(String::new(), |(lower, upper)| format!(", expected {} to {}", number(lower), number(upper)));
    let text = format!("{}: {}{band}, score {:.1}", instant(bucket.start), number(value), bucket.score);
    let (x, y) = (scale.x(middle(bucket)), scale.y(value));
    let _ =
        write!(out, r#"<circle class="hit" cx="{x:.1}" cy="{y:.1}" r="3.4"><title>{}</title></circle>"#, escape(&text));
}

fn value_axis(out: &mut String, scale: &Scale) {
    let rough = (scale.high - scale.low) / 4.0;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|n| n * power).find(|step| *step >= rough).unwrap_or(rough);
    if !step.is_finite() || step <= 0.0 {
        return;
    }
    let mut tick = (scale.low / step).ceil() as i64;
    while tick as f64 * step <= scale.high {
        let (value, y) = (tick as f64 * step, scale.y(tick as f64 * step));
        let _ = write!(out, r#"<path class="grid" d="M{LEFT} {y:.1}H{RIGHT}"/>"#);
        let _ = write!(out, r#"<text class="end" x="{}" y="{:.1}">{}</text>"#, LEFT - 7.0, y + 4.0, number(value));
        tick += 1;
    }
}

fn time_axis(out: &mut String, scale: &Scale) {
    let span = scale.to - scale.from;
    let step = STEPS.into_iter().find(|step| span / step <= 8).unwrap_or(3650 * DAY);
    let mut at = scale.from.div_euclid(step) * step;
    while at <= scale.to {
        if at >= scale.from {
            let text = instant(at);
            let is_midnight = at.rem_euclid(DAY) == 0;
            // Month and day at midnight, else hour and minute, with seconds where they differ.
            let text = match step {
                _ if step >= 365 * DAY => text.get(..10),
                _ if is_midnight || step >= DAY => text.get(5..10),
                _ if step < 60_000 => text.get(11..19),
                _ => text.get(11..16),
            };
            let x = scale.x(at);
            let _ = write!(out, r#"<path class="grid" d="M{x:.1} {TOP}V{:.1}"/>"#, scale.bottom);
            let class = if is_midnight && step < DAY { "mid day" } else { "mid" };
            let y = scale.bottom + 17.0;
            // Texts at the edges would be cut.
            let x = x.clamp(LEFT, RIGHT - 16.0);
            let _ = write!(out, r#"<text class="{class}" x="{x:.1}" y="{y:.1}">{}</text>"#, text.unwrap_or_default());
        }
        at += step;
    }
    let _ = write!(out, r#"<path class="axis" d="M{LEFT} {0:.1}H{RIGHT}"/>"#, scale.bottom);
}

/// Alerts by day, neighbouring days together when there are very many.
pub fn days(days: &[Day], height: f64) -> String {
    let each = days.len().div_ceil(BARS).max(1);
    let bars: Vec<(&str, u64)> =
        days.chunks(each).map(|chunk| (chunk[0].day.as_str(), chunk.iter().map(|day| day.alerts).sum())).collect();
    let most = bars.iter().map(|(_, alerts)| *alerts).max().unwrap_or(0).max(1);
    let (bottom, top) = (height - AXIS, TOP + 12.0);
    let slot = (RIGHT - LEFT) / bars.len().max(1) as f64;
    let every = bars.len().div_ceil(10);
    let mut out = open(height, "Alerts by day");
    for (i, (day, alerts)) in bars.iter().enumerate() {
        let width = (slot * 0.72).clamp(1.0, 64.0);
        let tall = *alerts as f64 / most as f64 * (bottom - top);
        let centre = LEFT + (i as f64 + 0.5) * slot;
        let (x, y) = (centre - width / 2.0, bottom - tall);
        let title = format!("{day}: {}", of(*alerts, "alert", "alerts"));
        let _ = write!(
            out,
            r#"<rect class="bar" x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{tall:.1}"><title>{title}</title></rect>"#
        );
        if bars.len() <= NUMBERED {
            let _ = write!(out, r#"<text class="mid" x="{centre:.1}" y="{:.1}">{}</text>"#, y - 5.0, count(*alerts));
        }
        if i % every == 0 {
            let text = day.get(5..).unwrap_or(day);
            let _ = write!(out, r#"<text class="mid" x="{centre:.1}" y="{:.1}">{text}</text>"#, bottom + 17.0);
        }
    }
    let _ = write!(out, r#"<path class="axis" d="M{LEFT} {bottom:.1}H{RIGHT}"/></svg>"#);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(i: i64, value: f64, anomaly: bool) -> Bucket {
        let (start, end) = (i * 10_000, (i + 1) * 10_000);
        Bucket { start, end, low: value, high: value, band: (i > 3).then_some((0.0, 3.0)), score: value, anomaly }
    }

    #[test]
    fn every_anomaly_is_marked_and_numbers_are_finite() {
        for values in
            [vec![0.0; 10], vec![5.0; 1], (0..500).map(|i| f64::from(i % 7) * 1e9).collect(), vec![f64::NAN, 1.0]]
        {
            let buckets: Vec<Bucket> = (0..).zip(&values).map(|(i, v)| bucket(i, *v, i % 5 == 0)).collect();
            let drawn = course(&buckets, &[(0, 15_000)], 200.0, "a<b");
            assert_eq!(drawn.matches("<circle").count(), values.len().div_ceil(5));
            assert!(!drawn.contains("inf") && drawn.contains("aria-label=\"a&lt;b\"") && drawn.ends_with("</svg>"));
            assert_eq!(drawn.matches("class=\"known\"").count(), 1);
        }
        assert_eq!(course(&[], &[], 200.0, ""), "");
    }

    #[test]
    fn many_days_share_bars() {
        let day = |i: i64| Day { day: crate::backtest::words::date(i), alerts: 1, ..Day::default() };
        for (number, bars) in [(0, 0), (1, 1), (31, 31), (180, 180), (181, 91)] {
            let days: Vec<Day> = (0..number).map(day).collect();
            assert_eq!(super::days(&days, 150.0).matches("<rect").count(), bars, "{number}");
        }
    }
}
