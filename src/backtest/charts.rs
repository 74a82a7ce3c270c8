//! The course of each series for the page, in bounded memory: neighbouring windows share a bucket once there are many.
//!
//! Invariants: at most [`MOST`] buckets a series and [`SERIES`] series, the first that were seen; a bucket keeps the
//! smallest and the largest value, the whole of the expected band and the highest score of its windows.

use outlier_core::pipeline::Millis;
use outlier_core::score::{Score, SeriesName};
use std::collections::{BTreeMap, VecDeque};

/// The most buckets of a series; even.
const MOST: usize = 720;
/// The most series whose course is kept.
const SERIES: usize = 1_000;
/// Windows before and after an incident in its close-up.
const AROUND: usize = 30;
/// The most windows of a close-up.
const CLOSE_UP: usize = 180;

/// One or more windows of a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    /// Start of the first window.
    pub start: Millis,
    /// End of the last window.
    pub end: Millis,
    /// Smallest value.
    pub low: f64,
    /// Largest value.
    pub high: f64,
    /// Lower and upper end of the expected band; `None` while the model learns.
    pub band: Option<(f64, f64)>,
    /// Highest score.
    pub score: f64,
    /// It holds an anomalous window.
    pub anomaly: bool,
}

impl Bucket {
    fn of(row: &Score) -> Self {
        Self {
            start: row.window_start,
            end: row.window_end,
            low: row.value,
            high: row.value,
            band: (!row.learning).then_some((row.lower, row.upper)),
            score: row.score,
            anomaly: row.anomaly,
        }
    }

    fn merge(&mut self, other: &Self) {
        self.end = other.end;
        self.low = self.low.min(other.low);
        self.high = self.high.max(other.high);
        self.band = match (self.band, other.band) {
            (Some((a, b)), Some((c, d))) => Some((a.min(c), b.max(d))),
            (one, other) => one.or(other),
        };
        self.score = self.score.max(other.score);
        self.anomaly |= other.anomaly;
    }
}

/// The course of one series.
#[derive(Debug, Clone)]
pub struct Chart {
    /// All of it.
    pub buckets: Vec<Bucket>,
    /// Windows of a bucket.
    pub each: usize,
    /// Windows in the last bucket.
    filled: usize,
    /// The last windows, for the next close-up.
    recent: VecDeque<Bucket>,
    /// The windows around its worst incident so far, each a bucket of its own, and the incident's highest score.
    pub close_up: Option<(f64, Vec<Bucket>)>,
    /// The close-up under way, and how many more windows after the incident it takes.
    growing: Option<(f64, Vec<Bucket>, usize)>,
}

impl Chart {
    fn new() -> Self {
        Self { buckets: Vec::new(), each: 1, filled: 1, recent: VecDeque::new(), close_up: None, growing: None }
    }

    fn push(&mut self, bucket: Bucket) {
        self.look_closer(bucket);
        match self.buckets.last_mut() {
            Some(last) if self.filled < self.each => {
                last.merge(&bucket);
                self.filled += 1;
            }
            _ => {
                self.buckets.push(bucket);
                self.filled = 1;
            }
        }
        if self.buckets.len() > MOST && self.filled == self.each {
            // The last one stays alone.
            let pairs = self.buckets.chunks(2).map(|pair| {
                let mut first = pair[0];
                pair[1..].iter().for_each(|second| first.merge(second));
                first
            });
            self.buckets = pairs.collect();
            self.each *= 2;
        }
    }

    fn look_closer(&mut self, bucket: Bucket) {
        if bucket.anomaly && self.growing.is_none() {
            self.growing = Some((0.0, self.recent.iter().copied().collect(), AROUND));
        }
        if let Some((score, windows, left)) = self.growing.as_mut() {
            windows.push(bucket);
            *score = score.max(bucket.score);
            *left = if bucket.anomaly { AROUND } else { *left - 1 };
            if *left == 0 || windows.len() >= CLOSE_UP {
                self.finish();
            }
        }
        if self.recent.len() == AROUND {
            self.recent.pop_front();
        }
        self.recent.push_back(bucket);
    }

    /// Keeps the close-up under way if it is the worst so far.
    fn finish(&mut self) {
        if let Some((score, windows, _)) = self.growing.take()
            && self.close_up.as_ref().is_none_or(|(worst, _)| score > *worst)
        {
            self.close_up = Some((score, windows));
        }
    }
}

/// The courses of all series.
#[derive(Debug, Default)]
pub struct Charts(BTreeMap<SeriesName, Chart>);

impl Charts {
    /// Takes a row in.
    pub fn insert(&mut self, row: &Score) {
        let is_full = self.0.len() >= SERIES;
        match self.0.get_mut(&row.name) {
            Some(chart) => chart.push(Bucket::of(row)),
            None if is_full => {}
            None => {
                let mut chart = Chart::new();
                chart.push(Bucket::of(row));
                self.0.insert(row.name.clone(), chart);
            }
        }
    }

    /// Ends every close-up that is under way.
    pub fn finish(&mut self) {
        self.0.values_mut().for_each(Chart::finish);
    }

    /// The course of a series, if it was kept.
    pub fn get(&self, name: &SeriesName) -> Option<&Chart> {
        self.0.get(name)
    }
}
