//! The records of the compacted state topic: progress of a windows partition, and one record a series.
//!
//! Keys: `progress`, and `series/<window ms>/<detector>/<series>`; a detector whose window length changes starts
//! new series. Progress is JSON for people to read, a series is a version byte and binary.

use super::SeriesName;
use crate::model::{DecodeError, Model};
use crate::pipeline::Millis;
use crate::window::Watermark;
use crate::window::varint::{Damaged, Reader, put_signed, put_unsigned};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const VERSION: u8 = 1;
/// A series without a record for this long is silent.
const SILENT: Millis = 24 * 3_600_000;
pub(super) const PROGRESS_KEY: &str = "progress";

/// How far one windows partition has been scored.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Format of this record.
    pub version: u8,
    /// Offset of the first frame that was not applied yet. What comes before is read again only for the
    /// windows that are still open.
    pub read_through: i64,
    /// The marks applied so far.
    pub watermark: Watermark,
    /// For each detector and window length (`action/60000`), the end of the last closed window.
    pub closed: BTreeMap<String, Millis>,
}

/// Why the state topic cannot be used; nothing is ever reset because of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// A record no version of this outlier wrote.
    #[error("state record {key:?} cannot be read: {why}")]
    Unreadable {
        /// The record's key.
        key: String,
        /// What is wrong with it.
        why: String,
    },
    /// Models exist, but the group has no committed offset to go on from.
    #[error(
        "the state topic holds models but the consumer group has no committed offset (it was deleted, or expired): \
         to start afresh, delete the state topic; to go on, restore the group's offsets"
    )]
    StateWithoutOffset,
    /// The group has an offset, but the models are gone.
    #[error(
        "the consumer group has committed offset {0} but the state topic holds no progress (it was deleted or emptied): \
         to start afresh, delete the consumer group; to go on, restore the topic"
    )]
    OffsetWithoutState(i64),
}

/// What is known of one series.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SeriesState {
    pub model: Model,
    /// Windows in a row that closed without a record.
    pub empty: u64,
    /// End of the window in which the present anomaly began.
    pub anomalous_since: Option<Millis>,
}

impl SeriesState {
    /// No record came for so long that the series is not given zeros any more until it comes back.
    pub fn silent(&self, window: Millis) -> bool {
        i64::try_from(self.empty).unwrap_or(i64::MAX).saturating_mul(window) >= SILENT
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        put_unsigned(&mut out, u128::from(self.empty));
        out.push(u8::from(self.anomalous_since.is_some()));
        if let Some(since) = self.anomalous_since {
            put_signed(&mut out, i128::from(since));
        }
        self.model.encode(&mut out);
        out
    }

    /// # Errors
    /// A text that says what is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        fn head(reader: &mut Reader<'_>) -> Result<(u8, u64, Option<Millis>), Damaged> {
            let version = reader.byte()?;
            let empty = reader.number()?;
            let since = reader.flag()?.then(|| reader.millis()).transpose()?;
            Ok((version, empty, since))
        }
        let mut reader = Reader(bytes);
        let (version, empty, anomalous_since) = head(&mut reader).map_err(|e| e.to_string())?;
        if version != VERSION {
            return Err(format!("format version {version}, this outlier reads {VERSION}"));
        }
        let model = Model::decode(reader.0).map_err(|e: DecodeError| e.to_string())?;
        Ok(Self { model, empty, anomalous_since })
    }
}

pub(super) fn series_key(window: Millis, name: &SeriesName) -> String {
    format!("series/{window}/{}", name.key())
}

/// The window length and series of a `series/…` key.
pub(super) fn parse_series_key(key: &str) -> Option<(Millis, SeriesName)> {
    let (window, rest) = key.strip_prefix("series/")?.split_once('/')?;
    let (detector, series) = rest.split_once('/')?;
    let name = SeriesName { detector: detector.to_owned(), series: series.to_owned() };
    Some((window.parse().ok()?, name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Kind;

    #[test]
    fn series_records_round_trip() {
        for anomalous_since in [None, Some(-5), Some(1_795_399_664_758)] {
            let state = SeriesState { model: Model::new(Kind::Count), empty: 300, anomalous_since };
            assert_eq!(SeriesState::decode(&state.encode()), Ok(state));
        }
        assert!(SeriesState::decode(&[]).is_err());
        assert!(SeriesState::decode(&[9, 0, 0]).is_err_and(|e| e.contains("version 9")));
    }

    #[test]
    fn series_keys_round_trip() {
        let name = SeriesName { detector: "action".into(), series: "sum(a/b)".into() };
        assert_eq!(parse_series_key(&series_key(10_000, &name)), Some((10_000, name)));
        assert_eq!(parse_series_key("series/x/a/b"), None);
    }
}
