//! What an index must know of a message of the scores topic.
//!
//! Invariant: members that are not named here are left alone, so `score` may add some.

use super::MAX_ID_BYTES;
use outlier_core::sketch::hash;
use serde::Deserialize;
use std::borrow::Cow;

/// A score, borrowed from its message. Units as in `outlier_core::score::Score`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ScoreRow<'a> {
    /// The detector's name.
    #[serde(borrow)]
    pub detector: Cow<'a, str>,
    /// The measure's text.
    #[serde(borrow)]
    pub series: Cow<'a, str>,
    /// Start of the window, epoch milliseconds.
    pub window_start: i64,
    /// End of the window, epoch milliseconds, exclusive.
    pub window_end: i64,
    /// The measure's value.
    pub value: f64,
    /// The value that was to be expected.
    pub expected: f64,
    /// Lower end of the band of normal values.
    pub lower: f64,
    /// Upper end of that band.
    pub upper: f64,
    /// 0 (usual) to 100.
    pub score: f64,
    /// The score reached the detector's threshold.
    pub anomaly: bool,
}

impl<'a> ScoreRow<'a> {
    /// Reads a message.
    ///
    /// # Errors
    /// It is not a score, and why.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, String> {
        serde_json::from_slice(bytes).map_err(|error| format!("not a score: {error}"))
    }

    /// The document's id: detector, series and window; where the group's values make it too long for an index, their
    /// hash and the window.
    pub fn id(&self) -> String {
        let id = format!("{}/{}/{}", self.detector, self.series, self.window_start);
        if id.len() <= MAX_ID_BYTES {
            return id;
        }
        let (one, two) = (hash(id.as_bytes()), hash(&[id.as_bytes(), b"/"].concat()));
        format!("{one:016x}{two:016x}/{}", self.window_start)
    }
}
