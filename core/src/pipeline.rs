//! A valid pipeline: what to read from a record, which flags to set, what to count and score.
//!
//! `src/config` builds these from TOML and reports mistakes; everything below may rely on the invariants:
//! names are unique, operands point at existing flags, windows are whole milliseconds above zero.

use crate::field::FieldPath;
use crate::measure::{Measure, Operand};
use crate::model::Tier;
use crate::sketch::hash;

/// Milliseconds since the Unix epoch, or a span of milliseconds.
pub type Millis = i64;

/// One stream of logs and what is done with it.
#[derive(Debug, Clone, PartialEq)]
pub struct Pipeline {
    /// Name, also the default prefix of its topics: `waf`.
    pub name: String,
    /// Where the records are.
    pub topics: Topics,
    /// Where the event time is.
    pub timestamp: Timestamp,
    /// Larger records are rejected; bytes.
    pub max_record_bytes: usize,
    /// Deeper nested records are rejected; levels.
    pub max_depth: usize,
    /// The flag groups, in the order their flags are written.
    pub flags: Vec<FlagGroup>,
    /// What is counted and scored.
    pub detectors: Vec<Detector>,
    /// Partitions of the windows and state topics; fixed when the topics are created.
    pub windows_partitions: i32,
}

impl Pipeline {
    /// Every flag's name in the order they are written: each group's good flag, then its bad flag.
    /// Positions in this list are the indices of [`crate::measure::Operand::Flag`].
    pub fn flag_names(&self) -> impl Iterator<Item = &str> {
        self.flags.iter().flat_map(|group| [group.good.name.as_str(), group.bad.name.as_str()])
    }

    /// The fields whose numbers detectors add up, each once, in the order in which they are first named.
    pub fn number_fields(&self) -> Vec<&FieldPath> {
        once(self.detectors.iter().flat_map(|d| d.measures.iter().filter_map(Measure::number)))
    }

    /// The fields whose values detectors tell apart, each once, in the order in which they are first named.
    pub fn text_fields(&self) -> Vec<&FieldPath> {
        once(self.detectors.iter().flat_map(|d| {
            let counted = d.measures.iter().filter_map(Measure::text);
            d.by.iter().chain(counted).chain(&d.explain)
        }))
    }
}

/// Each field once, in the order of their first mention.
fn once<'a>(fields: impl Iterator<Item = &'a FieldPath>) -> Vec<&'a FieldPath> {
    let mut seen: Vec<&FieldPath> = Vec::new();
    for field in fields {
        if !seen.contains(&field) {
            seen.push(field);
        }
    }
    seen
}

/// Full topic names, prefix included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    /// Logs as they came.
    pub raw: String,
    /// Logs with flags.
    pub enriched: String,
    /// Differences and progress marks between the two stages of `process`.
    pub windows: String,
    /// One score per closed window and series.
    pub scores: String,
    /// Compacted: models and progress of the score stage.
    pub state: String,
    /// Compacted: series that are anomalous now.
    pub anomalies: String,
    /// Compacted: alerts, and what is still to be told of them.
    pub alerts: String,
    /// Bad records with their reason.
    pub rejected: String,
}

/// Where a record's event time is, and how to read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timestamp {
    /// The member that holds it.
    pub field: FieldPath,
    /// How it is written.
    pub format: TimeFormat,
    /// A record whose event time is later than its Kafka timestamp by more than this is rejected.
    pub max_skew: Millis,
}

/// How an event time is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeFormat {
    /// Seconds since the epoch, with or without a fraction, as a number or in a string.
    EpochSeconds,
    /// Milliseconds since the epoch, as a number or in a string.
    EpochMillis,
    /// ISO 8601 / RFC 3339 date and time; without an offset it is UTC.
    Iso8601,
    /// Whichever of the three gives a plausible time (2000-01-01 to 2100-01-01).
    Auto,
}

/// A good and a bad flag over one field.
#[derive(Debug, Clone, PartialEq)]
pub struct FlagGroup {
    /// Name of the group: `action`.
    pub name: String,
    /// The field whose scalar text is matched.
    pub field: FieldPath,
    /// The good flag.
    pub good: Flag,
    /// The bad flag.
    pub bad: Flag,
    /// What a value that matches neither list gets.
    pub other: Fallback,
    /// What an absent, null, object or array value gets.
    pub missing: Fallback,
    /// Compare without regard to ASCII case.
    pub ignore_case: bool,
}

/// A flag's name and what sets it to 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Flag {
    /// The member that is added to the record: `B_action`.
    pub name: String,
    /// Any of them matches.
    pub matchers: Vec<Matcher>,
}

/// One way for a value's scalar text to match.
#[derive(Debug, Clone, PartialEq)]
pub enum Matcher {
    /// The same text: `BLOCK`.
    Literal(String),
    /// An HTTP status class, `4xx`: three digits of which the first is this one (1 to 9).
    Class(u8),
    /// A number from the first to the second, both included: `400..499`.
    Range(f64, f64),
    /// A text that starts with this: `Rate*`.
    Prefix(String),
}

/// What a value outside both lists, or no value, is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fallback {
    /// The bad flag is set.
    Bad,
    /// Neither flag is set.
    Neither,
}

/// Counts measures in event-time windows and scores them.
#[derive(Debug, Clone, PartialEq)]
pub struct Detector {
    /// Unique name: `action`.
    pub name: String,
    /// Each is a series of its own, in each group; not empty.
    pub measures: Vec<Measure>,
    /// The fields whose values split the detector into groups; at most five, none for one group of all records.
    pub by: Vec<FieldPath>,
    /// Length of the window; windows are aligned to the epoch.
    pub window: Millis,
    /// A window ends each `hop`: `window` itself (tumbling), or less (hopping); it divides the window.
    pub hop: Millis,
    /// How long after its end a window stays open, in event time.
    pub lateness: Millis,
    /// Scores from here on are anomalies; 0 to 100.
    pub threshold: f64,
    /// The models of its series.
    pub model: Tier,
    /// The fields whose values give the reasons of an anomaly.
    pub explain: Vec<FieldPath>,
    /// Distinct values of a field and window that are counted exactly.
    pub why_values: usize,
    /// Which rows are written.
    pub emit: Emit,
    /// The most groups that one windows partition keeps; the rest is one group, the overflow.
    pub max_series: usize,
    /// A value not seen for this long is new again.
    pub forget: Millis,
}

/// Which rows of a detector are written to the scores topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Emit {
    /// All up to 10,000 groups in all, beyond that those that changed.
    Auto,
    /// Every window of every series.
    All,
    /// Those whose value or state differs from the window before, and anomalies.
    Changed,
    /// Anomalies, and the window that ends one.
    Anomalous,
}

impl Detector {
    /// A detector of tumbling windows over all records, with defaults for the rest.
    pub fn new(name: &str, measures: Vec<Measure>, window: Millis, lateness: Millis) -> Self {
        Self {
            name: name.to_owned(),
            measures,
            by: Vec::new(),
            window,
            hop: window,
            lateness,
            threshold: 90.0,
            model: Tier::Compact,
            explain: Vec::new(),
            why_values: 1_000,
            emit: Emit::Auto,
            max_series: 250_000,
            forget: 30 * 86_400_000,
        }
    }

    /// What the first stage counts in and the second closes: the hop, at most a minute.
    ///
    /// Longer windows are merged from closed panes, so that a restart reads no more than minutes again.
    pub fn pane(&self) -> Millis {
        if self.hop > MINUTE { MINUTE } else { self.hop }
    }

    /// Tells series of one configuration from those of another: name and a hash of what their keys and windows mean.
    pub fn id(&self) -> String {
        let mut text = format!("{};{}", self.window, self.hop);
        for field in &self.by {
            text.push(';');
            text.push_str(&field.to_string());
        }
        format!("{}-{:08x}", self.name, hash(text.as_bytes()) as u32)
    }

    /// Tells whether cells mean the same: a hash of the panes, measures and explained fields in their order.
    pub fn layout(&self) -> u64 {
        let mut text = format!("{};{}", self.id(), self.pane());
        for measure in &self.measures {
            // Of a flag and of a field of one name the sums are not the same.
            let of_field = matches!(measure, Measure::Sum(Operand::Field(_)) | Measure::Ratio(Operand::Field(_)));
            text.push_str(&format!(";{measure}{}", if of_field { "." } else { "" }));
        }
        self.explain.iter().for_each(|field| text.push_str(&format!(";{field}")));
        hash(text.as_bytes())
    }

    /// Which records' values explain the measures: all, and those whose flag is set, for each flag that is measured.
    pub fn weights(&self) -> Vec<Option<usize>> {
        if self.explain.is_empty() {
            return Vec::new();
        }
        let mut weights = vec![None];
        for weight in self.measures.iter().map(Measure::flag) {
            if !weights.contains(&weight) {
                weights.push(weight);
            }
        }
        weights
    }
}

const MINUTE: Millis = 60_000;
