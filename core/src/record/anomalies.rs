//! What is anomalous now, ready to be spliced into records.
//!
//! Beside the data path: the service tails the anomalies topic and makes a new value on each change, the
//! transform only copies it. Invariant: the same detectors give the same bytes in whatever order they come.

use std::collections::BTreeSet;
use std::fmt::Write;

/// The detectors that are anomalous now and the highest of their scores; best effort, see the design.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Anomalies {
    /// `,"anomalies":["action"],"score":97.5`, or nothing.
    members: Vec<u8>,
}

impl Anomalies {
    /// From each anomalous detector and its score, 0 to 100; a detector may come more than once.
    ///
    /// A score outside the range counts as the nearest inside it, one that is no number as 0.
    pub fn new<'a>(anomalous: impl IntoIterator<Item = (&'a str, f64)>) -> Self {
        let mut detectors = BTreeSet::new();
        let mut highest = 0.0f64;
        for (detector, score) in anomalous {
            detectors.insert(detector);
            highest = highest.max(score);
        }
        if detectors.is_empty() {
            return Self::default();
        }
        let names: Vec<&str> = detectors.into_iter().collect();
        let names = serde_json::Value::from(names);
        let mut members = String::new();
        // Writing to a string cannot fail.
        let _ = write!(members, r#","anomalies":{names},"score":{}"#, highest.min(100.0));
        Self { members: members.into_bytes() }
    }

    /// The members to add to the object `outlier`, each after a comma.
    pub(super) fn members(&self) -> &[u8] {
        &self.members
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members() {
        for (anomalous, expected) in [
            (&[][..], ""),
            (&[("action", 97.5)], r#","anomalies":["action"],"score":97.5"#),
            (&[("b", 1.0), ("a\"", 99.25), ("b", 2.0)], r#","anomalies":["a\"","b"],"score":99.25"#),
            (&[("a", f64::NAN)], r#","anomalies":["a"],"score":0"#),
            (&[("a", f64::INFINITY)], r#","anomalies":["a"],"score":100"#),
            (&[("a", -1.0)], r#","anomalies":["a"],"score":0"#),
        ] {
            let got = Anomalies::new(anomalous.iter().copied());
            assert_eq!(String::from_utf8_lossy(got.members()), expected, "{anomalous:?}");
        }
    }
}
