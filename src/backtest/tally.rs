//! Everything the report needs of the rows of one configuration, collected as they come.

use super::charts::Charts;
use super::incidents::{Incident, Incidents};
use super::judge::{Judge, Judgement};
use super::labels::Label;
use super::words::DAY;
use outlier_core::pipeline::{Millis, Pipeline};
use outlier_core::score::Score;
use serde::Serialize;
use std::collections::BTreeMap;

/// What was scored; a window counts once for each series.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Windows {
    /// Windows judged, those of learning models included.
    pub scored: u64,
    /// Rows; fewer where `emit` is not `all`.
    pub rows: u64,
    /// Rows whose score is 0 because too little was learned.
    pub learning: u64,
    /// Anomalous rows.
    pub anomalous: u64,
    /// Series.
    pub series: u64,
    /// Windows (of a detector, whatever its series) that records were counted in and that were not over at the end of the
    /// input: left out.
    pub incomplete: u64,
    /// Start of the first window and end of the last; epoch milliseconds.
    pub from: Option<Millis>,
    /// See `from`.
    pub to: Option<Millis>,
}

/// How often.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Alerts {
    /// Incidents.
    pub total: u64,
    /// On average; `None` for less than a day.
    pub per_day: Option<f64>,
    /// Each day (UTC) from the first to the last.
    pub days: Vec<Day>,
}

/// One day.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Day {
    /// `2026-11-23`.
    pub day: String,
    /// Incidents that began.
    pub alerts: u64,
    /// Anomalous rows whose window began.
    pub anomalous: u64,
    /// Rows whose window began.
    pub scored: u64,
}

/// Collects.
pub struct Tally {
    /// Hop and lateness of each detector.
    times: BTreeMap<String, (Millis, Millis)>,
    windows: Windows,
    days: BTreeMap<i64, Day>,
    series: std::collections::BTreeSet<outlier_core::score::SeriesName>,
    incidents: Incidents,
    judge: Option<Judge>,
    charts: Option<Charts>,
}

/// What was collected.
pub struct Tallied {
    /// What was scored.
    pub windows: Windows,
    /// How often.
    pub alerts: Alerts,
    /// What would have alerted.
    pub incidents: Vec<Incident>,
    /// How well that fits the labels.
    pub labels: Option<Judgement>,
    /// For the page.
    pub charts: Option<Charts>,
}

/// The longest time that days are listed for; days.
const MOST_DAYS: i64 = 40_000;

impl Tally {
    /// For rows of a pipeline.
    pub fn new(pipeline: &Pipeline, labels: Option<&[Label]>, charts: bool) -> Self {
        Self {
            times: pipeline.detectors.iter().map(|d| (d.name.clone(), (d.hop, d.lateness))).collect(),
            windows: Windows::default(),
            days: BTreeMap::new(),
            series: Default::default(),
            incidents: Incidents::default(),
            judge: labels.map(Judge::new),
            charts: charts.then(Charts::default),
        }
    }

    /// Takes a row in.
    pub fn row(&mut self, row: &Score) {
        let windows = &mut self.windows;
        windows.rows += 1;
        windows.learning += u64::from(row.learning);
        windows.anomalous += u64::from(row.anomaly);
        windows.from = Some(windows.from.map_or(row.window_start, |from| from.min(row.window_start)));
        windows.to = windows.to.max(Some(row.window_end));
        if !self.series.contains(&row.name) {
            self.series.insert(row.name.clone());
        }
        let (hop, lateness) = self.times.get(&row.name.detector).copied().unwrap_or_default();
        let day = self.days.entry(row.window_start.div_euclid(DAY)).or_default();
        day.scored += 1;
        if row.anomaly {
            day.anomalous += 1;
            day.alerts += u64::from(self.incidents.insert(row, hop, lateness));
        }
        if let Some(judge) = &mut self.judge {
            judge.row(row, lateness);
        }
        if let Some(charts) = &mut self.charts {
            charts.insert(row);
        }
    }

    /// Ends the collection; so many windows were `scored`, and so many left out as `incomplete`.
    pub fn finish(mut self, scored: u64, incomplete: u64) -> Tallied {
        let incidents = self.incidents.into_sorted();
        (self.windows.scored, self.windows.incomplete) = (scored, incomplete);
        self.windows.series = self.series.len() as u64;
        let span = self.windows.to.unwrap_or(0) - self.windows.from.unwrap_or(0);
        let per_day = (span >= DAY).then(|| incidents.len() as f64 * DAY as f64 / span as f64);
        let (first, last) = (self.days.keys().next().copied(), self.days.keys().next_back().copied());
        let all = match first.zip(last) {
            Some((first, last)) if last - first < MOST_DAYS => (first..=last).collect(),
            _ => self.days.keys().copied().collect::<Vec<_>>(),
        };
        let day = |day| Day { day: super::words::date(day), ..self.days.get(&day).cloned().unwrap_or_default() };
        let days = all.into_iter().map(day).collect();
        let labels = self.judge.map(|judge| judge.judge(&incidents));
        if let Some(charts) = &mut self.charts {
            charts.finish();
        }
        Tallied {
            alerts: Alerts { total: incidents.len() as u64, per_day, days },
            windows: self.windows,
            incidents,
            labels,
            charts: self.charts,
        }
    }
}
