//! What is known of one pipeline: the series' histories, the incidents, the live tail.
//!
//! Pure: times are arguments. Rows of the scores topic come in by [`Board::apply`], in any order and any number of
//! times; what the page asks for goes out.
//!
//! Invariant: only series of the configuration are kept, so hostile rows cannot make memory grow.

use super::downsample::downsample;
use super::history::{History, Point};
use super::incidents::{Incident, Incidents};
use super::panel::{Panel, PanelSeries, Role, Unit, panels};
use super::tail::Tail;
use outlier_core::pipeline::{Detector, Millis, Pipeline};
use outlier_core::score::{Score, SeriesName};
use serde::Serialize;
use std::collections::HashMap;

/// The most points of a series in memory.
pub const MAX_POINTS: usize = 20_000;
/// The most points of all series of a pipeline in memory, about 40 bytes each.
const MAX_ALL_POINTS: usize = 2_000_000;
/// The most points of a series that one answer holds.
pub const MAX_ANSWER: usize = 1_000;
/// How many points a tile's small chart shows.
const SPARK: usize = 60;

/// The state of one pipeline.
pub struct Board {
    /// The configuration.
    pub pipeline: Pipeline,
    /// The tiles.
    pub panels: Vec<Panel>,
    /// Latest anomalies.
    pub incidents: Incidents,
    /// Latest enriched records.
    pub tail: Tail,
    series: HashMap<SeriesName, Series>,
    received: Option<Millis>,
}

struct Series {
    history: History,
    last: Option<Score>,
}

/// How a panel is, worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// A series' newest window is anomalous.
    Anomalous,
    /// Nothing came for a while.
    Stale,
    /// All is as expected.
    Normal,
    /// Too little was learned to say.
    Learning,
    /// No window closed yet, or no series is configured.
    Empty,
}

/// A pipeline as the page's header and tiles show it.
#[derive(Debug, Serialize)]
pub struct Overview<'a> {
    /// The pipeline's name.
    pub name: &'a str,
    /// Records a second in the newest windows.
    pub rate: Option<f64>,
    /// The worst of the panels.
    pub state: State,
    /// End of the newest window; epoch milliseconds.
    pub until: Option<Millis>,
    /// The names of the flag groups: the columns of the live tail.
    pub columns: Vec<&'a str>,
    /// The tiles.
    pub panels: Vec<Tile<'a>>,
    /// The detectors whose series are too many for tiles and charts.
    pub splits: Vec<Split<'a>>,
}

/// A detector with a series for each group.
#[derive(Debug, Serialize)]
pub struct Split<'a> {
    /// Its name.
    pub detector: &'a str,
    /// The fields that split it.
    pub by: Vec<String>,
}

/// A panel as its tile shows it.
#[derive(Debug, Serialize)]
pub struct Tile<'a> {
    /// What it is.
    #[serde(flatten)]
    pub panel: &'a Panel,
    /// How it is.
    pub state: State,
    /// Highest score of its series' newest windows.
    pub score: Option<f64>,
    /// Records a second in the newest window.
    pub rate: Option<f64>,
    /// Share of bad records in the newest window; 0 to 1.
    pub bad_share: Option<f64>,
    /// The share that was to be expected.
    pub expected_share: Option<f64>,
    /// The newest window of each series, in the panel's order.
    pub last: Vec<Option<&'a Score>>,
    /// The newest values of the first series.
    pub spark: Vec<f64>,
}

/// The points of a series as columns.
#[derive(Debug, PartialEq, Serialize)]
pub struct Columns {
    /// What the series is.
    #[serde(flatten)]
    pub series: PanelSeries,
    /// How many points there are in the range; more than in the answer when it was thinned.
    pub total: usize,
    /// Ends of the windows; epoch milliseconds.
    pub end: Vec<Millis>,
    /// The values.
    pub value: Vec<f64>,
    /// The expected values.
    pub expected: Vec<f32>,
    /// Lower ends of the expected bands.
    pub lower: Vec<f32>,
    /// Upper ends.
    pub upper: Vec<f32>,
    /// Scores, 0 to 100.
    pub score: Vec<f32>,
    /// Positions of the anomalies in these columns.
    pub anomalies: Vec<usize>,
}

impl<'a> From<&'a Detector> for Split<'a> {
    fn from(detector: &'a Detector) -> Self {
        Self { detector: &detector.name, by: detector.by.iter().map(ToString::to_string).collect() }
    }
}

impl Board {
    /// An empty board for the pipeline's series.
    pub fn new(pipeline: Pipeline) -> Self {
        let panels = panels(&pipeline);
        let names: Vec<&SeriesName> = panels.iter().flat_map(|panel| &panel.series).map(|s| &s.name).collect();
        let capacity = (MAX_ALL_POINTS / names.len().max(1)).min(MAX_POINTS);
        let empty = || Series { history: History::new(capacity), last: None };
        let series = names.into_iter().map(|name| (name.clone(), empty())).collect();
        Self { pipeline, panels, incidents: Incidents::default(), tail: Tail::default(), series, received: None }
    }

    /// Takes a row of the scores topic in; false when the series is none of the configuration's. `now` is the wall
    /// clock in epoch milliseconds; a row that is not `live` was written before, at the earliest when its window closed.
    pub fn apply(&mut self, score: &Score, now: Millis, live: bool) -> bool {
        let Some(detector) = self.pipeline.detectors.iter().find(|d| d.name == score.name.detector) else {
            return false;
        };
        match self.series.get_mut(&score.name) {
            Some(series) => {
                series.history.insert(Point::from(score));
                if series.last.as_ref().is_none_or(|last| last.window_end <= score.window_end) {
                    series.last = Some(score.clone());
                }
            }
            // The series of a detector that splits are too many to keep; their incidents are not.
            None if detector.by.is_empty() => return false,
            None => {}
        }
        let written = if live { now } else { now.min(score.window_end.saturating_add(detector.lateness)) };
        self.received = self.received.max(Some(written));
        if score.anomaly {
            self.incidents.insert(score, detector.hop, detector.lateness);
        }
        true
    }

    /// Header and tiles; `now` is the wall clock in epoch milliseconds.
    pub fn overview(&self, now: Millis) -> Overview<'_> {
        let panels: Vec<Tile<'_>> = self.panels.iter().map(|panel| self.tile(panel, now)).collect();
        let rates = panels.iter().filter_map(|tile| tile.rate);
        Overview {
            name: &self.pipeline.name,
            rate: rates.reduce(f64::max),
            state: panels.iter().map(|tile| tile.state).min().unwrap_or(State::Empty),
            until: self.series.values().filter_map(|s| s.last.as_ref()).map(|last| last.window_end).max(),
            columns: self.pipeline.flags.iter().map(|group| group.name.as_str()).collect(),
            panels,
            splits: self.pipeline.detectors.iter().filter(|d| !d.by.is_empty()).map(Split::from).collect(),
        }
    }

    /// The series' points whose windows end from `from` to `to`; `None` when there is no such series.
    pub fn columns(&self, name: &SeriesName, from: Millis, to: Millis) -> Option<Columns> {
        let series = self.panels.iter().flat_map(|panel| &panel.series).find(|series| series.name == *name)?;
        let all: Vec<Point> = self.series.get(name)?.history.range(from, to).copied().collect();
        let points = downsample(&all, MAX_ANSWER);
        Some(Columns {
            series: series.clone(),
            total: all.len(),
            end: points.iter().map(|p| p.end).collect(),
            value: points.iter().map(|p| p.value).collect(),
            expected: points.iter().map(|p| p.expected).collect(),
            lower: points.iter().map(|p| p.lower).collect(),
            upper: points.iter().map(|p| p.upper).collect(),
            score: points.iter().map(|p| p.score).collect(),
            anomalies: (0..points.len()).filter(|&i| points[i].anomaly).collect(),
        })
    }

    /// True while the newest window of the incident's series belongs to it.
    pub fn ongoing(&self, incident: &Incident) -> bool {
        let last = self.series.get(&incident.name).and_then(|series| series.last.as_ref());
        last.is_some_and(|last| last.anomaly && last.window_end == incident.end)
    }

    fn tile<'a>(&'a self, panel: &'a Panel, now: Millis) -> Tile<'a> {
        let of = |series: &PanelSeries| self.series.get(&series.name).and_then(|s| s.last.as_ref());
        let last: Vec<Option<&Score>> = panel.series.iter().map(of).collect();
        let newest = panel.series.iter().zip(&last).filter_map(|(series, last)| last.map(|last| (series, last)));
        let rate = newest.clone().max_by_key(|(_, last)| last.window_end);
        let bad = newest.clone().find(|(series, _)| series.role == Role::Bad);
        let share = |(series, last): (&PanelSeries, &Score), value: f64| match series.unit {
            Unit::Share => Some(value),
            Unit::Records | Unit::Amount => (last.count > 0).then(|| value / last.count as f64),
        };
        let main = panel.series.first().and_then(|series| self.series.get(&series.name));
        Tile {
            panel,
            state: self.state(panel, &last, now),
            score: newest.map(|(_, last)| last.score).reduce(f64::max),
            rate: rate.map(|(series, last)| last.count as f64 * 1000.0 / series.window as f64),
            bad_share: bad.and_then(|bad| share(bad, bad.1.value)),
            expected_share: bad.and_then(|bad| share(bad, bad.1.expected)).map(|share| share.min(1.0)),
            last,
            spark: main.map(|main| main.history.newest(SPARK).map(|p| p.value).collect()).unwrap_or_default(),
        }
    }

    fn state(&self, panel: &Panel, last: &[Option<&Score>], now: Millis) -> State {
        let mut newest = last.iter().flatten().peekable();
        let Some(received) = self.received.filter(|_| newest.peek().is_some()) else {
            return State::Empty;
        };
        // Three windows, and what a restart of `process` takes.
        let patience = panel.series.iter().map(|s| 3 * s.window + s.lateness).max().unwrap_or(0) + 15_000;
        if now - received > patience {
            State::Stale
        } else if newest.clone().any(|score| score.anomaly) {
            State::Anomalous
        } else if newest.all(|score| score.learning) {
            State::Learning
        } else {
            State::Normal
        }
    }
}
