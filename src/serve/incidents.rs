//! The latest anomalies: consecutive anomalous windows of one series are one incident.
//!
//! Invariants: at most [`MAX`] incidents, those that ended last; a window that comes again changes nothing.

use outlier_core::explain::Reason;
use outlier_core::pipeline::Millis;
use outlier_core::score::Score;
use serde::Serialize;

/// The most incidents of a pipeline.
pub const MAX: usize = 200;

/// An incident with what the page shows of its worst window.
pub type Incident = crate::incident::Incident<Peak>;

/// The worst window of an incident.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Peak {
    /// End of the window; epoch milliseconds.
    pub end: Millis,
    /// The measure's value.
    pub value: f64,
    /// The value that was to be expected.
    pub expected: f64,
    /// Lower end of the expected band.
    pub lower: f64,
    /// Upper end of the expected band.
    pub upper: f64,
    /// 0 to 100.
    pub score: f64,
    /// The values whose share changed most.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub why: Vec<Reason>,
}

impl crate::incident::Peak for Peak {
    fn of(row: &Score) -> Self {
        let Score { window_end: end, value, expected, lower, upper, score, .. } = *row;
        Self { end, value, expected, lower, upper, score, why: row.why.clone() }
    }

    fn score(&self) -> f64 {
        self.score
    }
}

/// The latest incidents of a pipeline.
#[derive(Debug, Default)]
pub struct Incidents(Vec<Incident>);

impl Incidents {
    /// Takes an anomalous window of a detector with this hop and lateness in.
    pub fn insert(&mut self, row: &Score, hop: Millis, lateness: Millis) {
        if !self.0.iter_mut().any(|incident| incident.name == row.name && incident.grow(row, hop)) {
            self.0.push(Incident::begin(row, lateness));
            self.drop_oldest();
        }
    }

    /// The incidents, those that ended last first.
    pub fn latest(&self) -> Vec<&Incident> {
        let mut latest: Vec<&Incident> = self.0.iter().collect();
        latest.sort_by(|a, b| (b.end, b.start, &a.name).cmp(&(a.end, a.start, &b.name)));
        latest
    }

    fn drop_oldest(&mut self) {
        if self.0.len() > MAX
            && let Some(oldest) = (0..self.0.len()).min_by_key(|&i| self.0[i].end)
        {
            self.0.swap_remove(oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::testing::score;

    fn inserted(windows: &[(&str, i64, f64)]) -> Vec<(String, i64, i64, u64, f64)> {
        let mut incidents = Incidents::default();
        for (series, start, value) in windows {
            incidents.insert(&Score { score: *value, ..score("action", series, *start, *value, true) }, 10_000, 2_000);
        }
        let row = |i: &Incident| (i.name.series.clone(), i.start, i.end, i.windows, i.peak.score);
        incidents.latest().into_iter().map(row).collect()
    }

    #[test]
    fn consecutive_windows_are_one_incident_and_repeats_change_nothing() {
        let windows = [("a", 0, 91.0), ("b", 0, 95.0), ("a", 10_000, 99.0), ("a", 0, 91.0), ("a", 30_000, 90.0)];
        let expected = vec![
            ("a".to_owned(), 30_000, 40_000, 1, 90.0),
            ("a".to_owned(), 0, 20_000, 2, 99.0),
            ("b".to_owned(), 0, 10_000, 1, 95.0),
        ];
        assert_eq!(inserted(&windows), expected);
        assert_eq!(inserted(&[windows, windows].concat()), expected);
    }

    #[test]
    fn overlapping_windows_are_one_incident() {
        let mut incidents = Incidents::default();
        for start in [0, 2_000, 4_000] {
            incidents.insert(&score("action", "a", start, 95.0, true), 2_000, 0);
        }
        let latest = incidents.latest();
        assert_eq!((latest.len(), latest[0].end, latest[0].windows), (1, 14_000, 3));
    }

    #[test]
    fn only_the_latest_stay() {
        let windows: Vec<(&str, i64, f64)> = (0..500).map(|i| ("a", i * 20_000, 95.0)).collect();
        let kept = inserted(&windows);
        assert_eq!(kept.len(), MAX);
        assert_eq!((kept[0].1, kept[MAX - 1].1), (499 * 20_000, 300 * 20_000));
    }
}
