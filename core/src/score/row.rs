//! The messages that leave `score`: one row a closed window and series, one entry a series that is anomalous.

use crate::explain::Reason;
use crate::pipeline::Millis;
use crate::window::{LeftOut, is_zero};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A series: a measure of a detector, in one of its groups.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SeriesName {
    /// The detector's name.
    pub detector: String,
    /// The measure's text and, of a detector that splits, the values: `sum(B_action){country=US}`.
    pub series: String,
}

impl SeriesName {
    /// The Kafka key of the series' rows: both names with `/` between them.
    pub fn key(&self) -> String {
        format!("{}/{}", self.detector, self.series)
    }
}

/// The score of one series in one closed window; a message of the scores topic as JSON.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// The series.
    #[serde(flatten)]
    pub name: SeriesName,
    /// The group's values by the fields that the detector splits by.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub by: BTreeMap<String, String>,
    /// Start of the window, epoch milliseconds.
    pub window_start: Millis,
    /// End of the window, epoch milliseconds, exclusive.
    pub window_end: Millis,
    /// The measure's value in the window.
    pub value: f64,
    /// Records counted in the window.
    pub count: u64,
    /// The value that was to be expected.
    pub expected: f64,
    /// Lower end of the band that holds 99.9 % of normal values.
    pub lower: f64,
    /// Upper end of that band.
    pub upper: f64,
    /// 0 (usual) to 100 (as good as impossible).
    pub score: f64,
    /// The score reached the detector's threshold.
    pub anomaly: bool,
    /// 0 (nothing learned) to 1.
    pub confidence: f64,
    /// Too little was learned to score: the score is 0.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub learning: bool,
    /// While learning: the windows learned, this one included.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub learned: u64,
    /// While learning: how many windows must be learned before there is a score.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub needed: u64,
    /// The window's sum is out of the range of its number: the value is neither scored nor learned.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub overflow: bool,
    /// Of `new` and `rare`: more values came than are counted or, of `new`, remembered, so some may be missing in `value`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forgot: bool,
    /// Records of the detector that came in the course of this window and are in no window, by cause.
    #[serde(default, skip_serializing_if = "LeftOut::is_nothing")]
    pub left_out: LeftOut,
    /// Of an anomaly: the values whose share changed most, the most important first; contributions sum to 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub why: Vec<Reason>,
}

/// A series that is anomalous now; a message of the compacted anomalies topic as JSON. Its end is a tombstone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Anomaly {
    /// The series.
    #[serde(flatten)]
    pub name: SeriesName,
    /// The last window's score.
    pub score: f64,
    /// End of the window in which the anomaly began, epoch milliseconds.
    pub since: Millis,
}

/// What one step of closing gave.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Closed {
    /// Rows to write, in the order of groups and measures.
    pub scores: Vec<Score>,
    /// Series whose anomaly began, went on (a new score) or ended (`None`).
    pub anomalies: Vec<(SeriesName, Option<Anomaly>)>,
    /// What it cost: 1 for each group, and the KiB of its state the first time that the transaction changes it; at least
    /// 1 in all.
    pub cost: usize,
    /// Windows of series judged, and those anomalous.
    pub scored: u64,
    /// Those that are anomalies.
    pub anomalous: u64,
    /// Records of groups that went to the overflow.
    pub overflow: u64,
    /// Windows of series whose sum is out of the range of its number.
    pub sum_overflow: u64,
    /// Windows of series in which new or rare values may be missing.
    pub forgot: u64,
}
