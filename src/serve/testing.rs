//! Rows, points and a pipeline for this module's tests.

use super::history::Point;
use crate::config::{Config, Environment};
use outlier_core::pipeline::{Millis, Pipeline};
use outlier_core::score::{Score, SeriesName};

/// The window of the rows; milliseconds.
pub const WINDOW: Millis = 10_000;

/// A configuration from TOML text.
pub fn config(text: &str) -> Config {
    match Config::parse(text, "test.toml", &Environment::default()) {
        Ok(config) => config,
        Err(mistakes) => panic!("{mistakes}"),
    }
}

/// The shipped pipeline in windows of ten seconds.
pub fn pipeline() -> Pipeline {
    config("[[pipeline]]\npreset = \"waf\"\nwindow = \"10s\"\nlateness = \"2s\"\n").pipelines.remove(0)
}

/// A row of the scores topic.
pub fn score(detector: &str, series: &str, start: Millis, value: f64, anomaly: bool) -> Score {
    Score {
        name: SeriesName { detector: detector.to_owned(), series: series.to_owned() },
        window_start: start,
        window_end: start + WINDOW,
        value,
        count: 50,
        expected: 1.0,
        lower: 0.0,
        upper: 4.0,
        score: if anomaly { 99.0 } else { 10.0 },
        anomaly,
        confidence: 0.9,
        ..Score::default()
    }
}

/// A point of a chart.
pub fn point(end: Millis, value: f64, anomaly: bool) -> Point {
    Point { end, value, expected: 1.0, lower: 0.0, upper: 4.0, score: 10.0, anomaly, learning: false }
}
