//! Moves event times, so that a replay's first record happens now.
//!
//! Invariants: every record is moved by the same whole seconds, so the spacing is kept; only the bytes of the
//! timestamp change; a record whose time cannot be read is left as it is.

use crate::produce::stamp;
use outlier_core::pipeline::{Millis, TimeFormat, Timestamp};
use outlier_core::record::{Probe, event_time};

/// Moves the event times of one replay.
pub(in crate::produce) struct Shift {
    probe: Probe,
    format: TimeFormat,
    seconds: Option<i64>,
    text: Vec<u8>,
    record: Vec<u8>,
}

impl Shift {
    /// For records whose event time is as the pipeline says.
    pub fn new(timestamp: &Timestamp, max_depth: usize) -> Self {
        Self {
            probe: Probe::new(&timestamp.field, max_depth),
            format: timestamp.format,
            seconds: None,
            text: Vec::new(),
            record: Vec::new(),
        }
    }

    /// The record with its time moved, and that time; the first one's is `now`, to the second below.
    /// `None` when it has no time that can be read.
    pub fn apply(&mut self, record: &[u8], now: Millis) -> Option<(Millis, &[u8])> {
        let found = self.probe.find(record)?;
        let at = event_time(found.text, self.format)?;
        let seconds = *self.seconds.get_or_insert_with(|| (now - at).div_euclid(1000));
        self.text.clear();
        if !stamp::shifted(&mut self.text, found.text, at, seconds) {
            return None;
        }
        self.record.clear();
        self.record.extend_from_slice(&record[..found.span.start]);
        self.record.extend_from_slice(&self.text);
        self.record.extend_from_slice(&record[found.span.end..]);
        Some((at + seconds * 1000, &self.record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = 1_795_399_664_758;

    #[test]
    fn the_first_is_now_and_spacing_is_kept() {
        let timestamp = Timestamp { field: "a.t".parse().unwrap(), format: TimeFormat::Auto, max_skew: 0 };
        let mut shift = Shift::new(&timestamp, 8);
        for (record, expected) in [
            (r#"{"a":{"t":null}}"#, None),
            (r#"{"a": {"t": 1682374606245}, "b":1}"#, Some((NOW - 513, r#"{"a": {"t": 1795399664245}, "b":1}"#))),
            (r#"{"a":{"t":"1682374605.5"}}"#, Some((NOW - 1258, r#"{"a":{"t":"1795399663.5"}}"#))),
            (r#"{"a":{"t":"2023-04-24T22:16:47Z"}}"#, Some((NOW + 242, r#"{"a":{"t":"2026-11-23T02:07:45Z"}}"#))),
            (r#""{\"a\":{\"t\":\"1682374606245\"}}""#, Some((NOW - 513, r#""{\"a\":{\"t\":\"1795399664245\"}}""#))),
            (r#"{"a":{"t":17}}"#, None),
            ("no json", None),
        ] {
            let got = shift.apply(record.as_bytes(), NOW);
            let got = got.map(|(at, bytes)| (at, String::from_utf8_lossy(bytes).into_owned()));
            assert_eq!(got, expected.map(|(at, text)| (at, text.to_owned())), "{record}");
        }
    }
}
