//! What would have alerted: consecutive anomalous windows of a series are one incident, and one alert.
//!
//! Invariant: rows of a series come in the order of their windows.

use outlier_core::pipeline::Millis;
use outlier_core::score::{Score, SeriesName};
use std::collections::BTreeMap;

/// The most reasons that are told.
const REASONS: usize = 3;

/// An incident with the row of the highest score, as the scores topic has it.
pub type Incident = crate::incident::Incident<Score>;

/// The first reasons of a row, if it has any: `field value: 12 % now, 3 % usually`.
pub fn why(row: &Score) -> String {
    // Read as the consumers of the scores topic do.
    let said = serde_json::to_value(row).ok().and_then(|mut row| row.get_mut("why").map(serde_json::Value::take));
    let reasons = said.as_ref().and_then(serde_json::Value::as_array).map_or(&[][..], Vec::as_slice);
    reasons.iter().take(REASONS).map(reason).collect::<Vec<_>>().join("; ")
}

fn reason(reason: &serde_json::Value) -> String {
    let text = |name| reason[name].as_str().unwrap_or_default();
    let share = |name| reason[name].as_f64().map(super::words::percent);
    match (share("now"), share("usual")) {
        (Some(now), Some(usual)) => format!("{} {}: {now} now, {usual} usually", text("field"), text("value")),
        _ => format!("{} {}", text("field"), text("value")),
    }
}

/// Collects incidents.
#[derive(Debug, Default)]
pub struct Incidents {
    all: Vec<Incident>,
    /// The latest incident of each series that ever had one.
    latest: BTreeMap<SeriesName, usize>,
}

impl Incidents {
    /// Takes an anomalous row of a detector with this hop and lateness in; true if an incident begins with it.
    pub fn insert(&mut self, row: &Score, hop: Millis, lateness: Millis) -> bool {
        let latest = self.latest.get(&row.name).and_then(|index| self.all.get_mut(*index));
        if latest.is_some_and(|incident| incident.grow(row, hop)) {
            return false;
        }
        self.latest.insert(row.name.clone(), self.all.len());
        self.all.push(Incident::begin(row, lateness));
        true
    }

    /// All of them, by start, detector and series.
    pub fn into_sorted(mut self) -> Vec<Incident> {
        self.all.sort_by(|a, b| (a.start, &a.name).cmp(&(b.start, &b.name)));
        self.all
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A row of ten seconds.
    pub fn row(series: &str, start: Millis, score: f64) -> Score {
        let row = serde_json::json!({
            "detector": "action", "series": series, "window_start": start, "window_end": start + 10_000,
            "value": score, "count": 5, "expected": 1.0, "lower": 0.0, "upper": 3.0, "score": score,
            "anomaly": score >= 90.0, "confidence": 0.9,
        });
        serde_json::from_value(row).unwrap()
    }

    #[test]
    fn consecutive_windows_are_one_incident() {
        let mut incidents = Incidents::default();
        let rows = [("a", 0, 91.0), ("b", 0, 95.0), ("a", 10_000, 99.0), ("a", 20_000, 92.0), ("a", 40_000, 90.0)];
        let begun: Vec<bool> =
            rows.iter().map(|(s, start, score)| incidents.insert(&row(s, *start, *score), 10_000, 2)).collect();
        assert_eq!(begun, [true, true, false, false, true]);
        let found: Vec<_> = incidents.into_sorted();
        let short = |i: &Incident| (i.name.series.clone(), i.start, i.end, i.windows, i.peak.score, i.alerted_at);
        let expected = [
            ("a".to_owned(), 0, 30_000, 3, 99.0, 10_002),
            ("b".to_owned(), 0, 10_000, 1, 95.0, 10_002),
            ("a".to_owned(), 40_000, 50_000, 1, 90.0, 50_002),
        ];
        assert_eq!(found.iter().map(short).collect::<Vec<_>>(), expected);
        assert!(found[0].overlaps(29_999, 30_000) && !found[0].overlaps(30_000, 40_000));
    }

    #[test]
    fn reasons_in_words() {
        let said = serde_json::json!({"field": "ip", "value": "10.0.0.1", "now": 0.5, "usual": 0.01});
        assert_eq!(reason(&said), "ip 10.0.0.1: 50 % now, 1 % usually");
        assert_eq!(why(&row("a", 0, 91.0)), "");
    }
}
