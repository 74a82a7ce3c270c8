//! What a record of the state topic says, for people: used by `outlier state inspect`.

use super::group::Group;
use super::state::parse_group_key;
use super::{SeriesName, StateError};
use crate::model::Verdict;
use crate::pipeline::{Detector, Millis, Pipeline};
use crate::window::group::label;

const HOUR: Millis = 3_600_000;

/// One series as its state describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Inspected {
    /// The series.
    pub name: SeriesName,
    /// Length of its windows; milliseconds.
    pub window: Millis,
    /// Windows learned.
    pub windows: u64,
    /// End of the newest window, where the model remembers it; epoch milliseconds.
    pub newest: Option<Millis>,
    /// The newest window's value.
    pub last: f64,
    /// Windows in a row, up to now, that had no record.
    pub empty: u64,
    /// End of the window in which the present anomaly began.
    pub anomalous_since: Option<Millis>,
    /// What is expected of the next window.
    pub next: Verdict,
    /// The value that is expected at each hour of a day, UTC, from midnight on.
    pub by_hour: Vec<f64>,
}

/// The series of one state record; none for records of progress and of detectors that are not configured.
///
/// # Errors
/// The record cannot be read.
pub fn inspect(pipeline: &Pipeline, partition: i32, key: &str, value: &[u8]) -> Result<Vec<Inspected>, StateError> {
    let Some((id, key_of_group)) = parse_group_key(key) else { return Ok(Vec::new()) };
    let Some(detector) = pipeline.detectors.iter().find(|detector| detector.id() == id) else {
        return Ok(Vec::new());
    };
    let group = Group::decode(value, detector).map_err(|why| StateError::Unreadable { key: key.to_owned(), why })?;
    Ok(series(detector, partition, key_of_group, &group))
}

fn series(detector: &Detector, partition: i32, key: &str, group: &Group) -> Vec<Inspected> {
    let by: Vec<String> = detector.by.iter().map(ToString::to_string).collect();
    let label = label(&by, key, partition);
    let one = |(series, measure): (&super::group::Series, &crate::measure::Measure)| {
        let newest = series.model.newest();
        let start = newest.unwrap_or(0);
        let midnight = start.div_euclid(24 * HOUR) * 24 * HOUR;
        let forecast = |at: Millis| series.model.forecast(at, detector.window, 1);
        Inspected {
            name: SeriesName { detector: detector.name.clone(), series: format!("{measure}{label}") },
            window: detector.window,
            windows: series.model.learned(),
            newest: newest.map(|start| start.saturating_add(detector.window)),
            last: series.last,
            empty: group.empty,
            anomalous_since: series.anomalous_since,
            next: forecast(start.saturating_add(detector.hop)),
            by_hour: (0..24).map(|hour| forecast(midnight + hour * HOUR).expected).collect(),
        }
    };
    group.series.iter().zip(&detector.measures).map(one).collect()
}
