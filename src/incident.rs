//! Consecutive anomalous windows of one series are one incident, and one alert: what `serve` and `backtest` share.
//!
//! Invariant: an incident grows at its end only; a window that is in it already changes nothing.

use outlier_core::pipeline::Millis;
use outlier_core::score::{Score, SeriesName};
use serde::Serialize;

/// Consecutive anomalous windows of one series. `P` is what is kept of the worst of them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Incident<P> {
    /// The series.
    #[serde(flatten)]
    pub name: SeriesName,
    /// Start of the first window; epoch milliseconds.
    pub start: Millis,
    /// End of the last window so far; epoch milliseconds, exclusive.
    pub end: Millis,
    /// When the first window closed, in event time: its end and the lateness. The alert comes then; epoch milliseconds.
    pub alerted_at: Millis,
    /// How many windows.
    pub windows: u64,
    /// The window of the highest score, the first of them if there are several.
    pub peak: P,
}

/// What is kept of an incident's worst window.
pub trait Peak {
    /// What is kept of this row.
    fn of(row: &Score) -> Self;
    /// Its score, 0 to 100.
    fn score(&self) -> f64;
}

impl Peak for Score {
    fn of(row: &Score) -> Self {
        row.clone()
    }

    fn score(&self) -> f64 {
        self.score
    }
}

impl<P: Peak> Incident<P> {
    /// The incident that begins with an anomalous window, which stayed open for `lateness` milliseconds.
    pub fn begin(row: &Score, lateness: Millis) -> Self {
        let Score { window_start: start, window_end: end, .. } = *row;
        let alerted_at = end.saturating_add(lateness);
        Self { name: row.name.clone(), start, end, alerted_at, windows: 1, peak: P::of(row) }
    }

    /// Takes in an anomalous window of the same series; false if it does not follow, so that another incident begins.
    /// `hop` is the time between the ends of two windows; milliseconds.
    pub fn grow(&mut self, row: &Score, hop: Millis) -> bool {
        if row.window_end <= self.end {
            return row.window_start >= self.start;
        }
        let follows = row.window_end <= self.end.saturating_add(hop);
        if follows {
            self.end = row.window_end;
            self.windows += 1;
            if row.score > self.peak.score() {
                self.peak = P::of(row);
            }
        }
        follows
    }

    /// It and a span have a moment in common.
    pub fn overlaps(&self, start: Millis, end: Millis) -> bool {
        self.start < end && start < self.end
    }
}
