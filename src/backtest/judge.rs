//! How well incidents fit the known ones: precision, recall, F1, time to detect.
//!
//! A label is found if an anomalous window of a series that it concerns has a moment in common with it. An incident is
//! right if a label concerns its series and overlaps it. Labels outside of the scored time count for nothing.

use super::incidents::Incident;
use super::labels::Label;
use outlier_core::pipeline::Millis;
use outlier_core::score::Score;
use serde::Serialize;

/// A label, and when it was found.
#[derive(Debug, Clone, Serialize)]
pub struct Judged {
    /// The label.
    #[serde(flatten)]
    pub label: Label,
    /// When the first anomalous window in it closed, in event time; epoch milliseconds. `None`: missed.
    pub alerted_at: Option<Millis>,
    /// It is not in the time that was scored.
    pub outside: bool,
}

/// What the labels say of the incidents.
#[derive(Debug, Clone, Serialize)]
pub struct Judgement {
    /// Labels within the scored time.
    pub labels: u64,
    /// Those of them that were found.
    pub found: u64,
    /// Incidents.
    pub incidents: u64,
    /// Those of them that are in a label.
    pub right: u64,
    /// Right incidents among the incidents, 0 to 1; `None` without incidents.
    pub precision: Option<f64>,
    /// Labels found among the labels, 0 to 1; `None` without labels.
    pub recall: Option<f64>,
    /// Harmonic mean of the two.
    pub f1: Option<f64>,
    /// From a found label's start to its alert, in event time: the median; milliseconds.
    pub median_delay: Option<Millis>,
    /// The longest of them; milliseconds.
    pub worst_delay: Option<Millis>,
    /// Labels that are not in the scored time, and not counted.
    pub outside: u64,
    /// Each label.
    pub each: Vec<Judged>,
}

/// Watches the rows for labels.
#[derive(Debug, Default)]
pub struct Judge {
    each: Vec<Judged>,
    /// What of the time was scored.
    scored: Option<(Millis, Millis)>,
}

impl Judge {
    /// For these labels.
    pub fn new(labels: &[Label]) -> Self {
        let judged = |label: &Label| Judged { label: label.clone(), alerted_at: None, outside: false };
        Self { each: labels.iter().map(judged).collect(), scored: None }
    }

    /// Takes a row in.
    pub fn row(&mut self, row: &Score, lateness: Millis) {
        let (start, end) = self.scored.unwrap_or((row.window_start, row.window_end));
        self.scored = Some((start.min(row.window_start), end.max(row.window_end)));
        if row.anomaly {
            let at = row.window_end.saturating_add(lateness);
            for judged in self.each.iter_mut().filter(|judged| judged.label.covers(row)) {
                judged.alerted_at = Some(judged.alerted_at.map_or(at, |before| before.min(at)));
            }
        }
    }

    /// Compares with the incidents of the same rows.
    pub fn judge(mut self, incidents: &[Incident]) -> Judgement {
        for judged in &mut self.each {
            let Label { start, end, .. } = judged.label;
            judged.outside = self.scored.is_none_or(|(first, last)| end <= first || start >= last);
        }
        let inside = || self.each.iter().filter(|judged| !judged.outside);
        let is_right = |i: &&Incident| {
            inside().any(|judged| judged.label.concerns(&i.name) && i.overlaps(judged.label.start, judged.label.end))
        };
        let count = |n: usize| n as u64;
        let (labels, right) = (count(inside().count()), count(incidents.iter().filter(is_right).count()));
        let mut delays: Vec<Millis> = inside().filter_map(|j| Some(j.alerted_at? - j.label.start)).collect();
        delays.sort_unstable();
        let share = |part: u64, of: u64| (of > 0).then(|| part as f64 / of as f64);
        let (found, of) = (count(delays.len()), count(incidents.len()));
        let (precision, recall) = (share(right, of), share(found, labels));
        let f1 = match (precision, recall) {
            (Some(p), Some(r)) if p + r > 0.0 => Some(2.0 * p * r / (p + r)),
            (Some(_), Some(_)) => Some(0.0),
            // Nothing was found where there was something to find.
            (None, Some(_)) => Some(0.0),
            _ => None,
        };
        let middle = delays.len() / 2;
        let median = match delays.len() {
            0 => None,
            n if n % 2 == 1 => Some(delays[middle]),
            _ => Some((delays[middle - 1] + delays[middle]) / 2),
        };
        Judgement {
            labels,
            found,
            incidents: of,
            right,
            precision,
            recall,
            f1,
            median_delay: median,
            worst_delay: delays.last().copied(),
            outside: count(self.each.len()) - labels,
            each: self.each,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backtest::incidents::{Incidents, tests::row};

    /// Judges rows (series, start, score) by labels (start, end, series).
    fn judged(rows: &[(&str, Millis, f64)], labels: &[(Millis, Millis, &str)]) -> Judgement {
        let label = |(start, end, series): &(Millis, Millis, &str)| Label {
            start: *start,
            end: *end,
            detector: None,
            series: (!series.is_empty()).then(|| (*series).to_owned()),
        };
        let labels: Vec<Label> = labels.iter().map(label).collect();
        let (mut judge, mut incidents) = (Judge::new(&labels), Incidents::default());
        for (series, start, score) in rows {
            let row = row(series, *start, *score);
            judge.row(&row, 2_000);
            if row.anomaly {
                incidents.insert(&row, 10_000, 2_000);
            }
        }
        judge.judge(&incidents.into_sorted())
    }

    #[test]
    fn numbers_by_hand() {
        let rows = [
            ("a", 0, 0.0),
            ("a", 10_000, 95.0),
            ("b", 10_000, 95.0),
            ("a", 20_000, 95.0),
            ("a", 50_000, 95.0),
            ("a", 90_000, 0.0),
        ];
        // Found after 6 s (window end 20 s and 2 s lateness); found in b only; missed; outside.
        let labels = [(16_000, 25_000, ""), (12_000, 18_000, "b"), (70_000, 80_000, ""), (100_000, 110_000, "")];
        let j = judged(&rows, &labels);
        assert_eq!((j.labels, j.found, j.incidents, j.right, j.outside), (3, 2, 3, 2, 1));
        assert_eq!((j.precision, j.recall), (Some(2.0 / 3.0), Some(2.0 / 3.0)));
        assert!((j.f1.unwrap() - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!((j.median_delay, j.worst_delay), (Some(8_000), Some(10_000)));
    }

    #[test]
    fn nothing_to_divide_by() {
        let j = judged(&[("a", 0, 0.0)], &[]);
        assert_eq!((j.precision, j.recall, j.f1, j.median_delay), (None, None, None, None));
        let j = judged(&[("a", 0, 0.0)], &[(0, 5, "")]);
        assert_eq!((j.precision, j.recall, j.f1), (None, Some(0.0), Some(0.0)));
        let j = judged(&[], &[(0, 5, "")]);
        assert_eq!((j.labels, j.outside), (0, 1));
    }
}
