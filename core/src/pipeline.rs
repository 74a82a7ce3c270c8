//! A valid pipeline: what to read from a record, which flags to set, what to count and score.
//!
//! `src/config` builds these from TOML and reports mistakes; everything below may rely on the invariants:
//! names are unique, operands point at existing flags, windows are whole milliseconds above zero.

use crate::field::FieldPath;
use crate::measure::Measure;

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
    /// Each is a series of its own; not empty.
    pub measures: Vec<Measure>,
    /// Length of the tumbling window; windows are aligned to the epoch.
    pub window: Millis,
    /// How long after its end a window stays open, in event time.
    pub lateness: Millis,
    /// Scores from here on are anomalies; 0 to 100.
    pub threshold: f64,
}
