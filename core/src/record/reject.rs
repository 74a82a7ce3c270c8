//! Why a record cannot be enriched.
//!
//! Bad data is a value: the service writes the original bytes to the rejected topic with the code and the
//! sentence. Invariant: codes are stable, as headers and metric labels carry them.

use crate::pipeline::Millis;

/// Why a record is rejected; its `Display` is a sentence for whoever reads the rejected topic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reject {
    /// A Kafka record without a value.
    #[error("the record has no value (a tombstone)")]
    Tombstone,
    /// More bytes than the pipeline allows.
    #[error("the record has {bytes} bytes; max_record_bytes is {limit}")]
    TooLarge {
        /// The record's size.
        bytes: usize,
        /// The pipeline's limit.
        limit: usize,
    },
    /// With its key and headers it is more than Kafka takes.
    #[error("the record's key and headers are too large to go on with it")]
    TooLargeAround,
    /// The bytes are not UTF-8.
    #[error("the record is not UTF-8 at byte {at}")]
    InvalidUtf8 {
        /// How many bytes before it are valid.
        at: usize,
    },
    /// The text is not JSON.
    #[error("the record is not JSON at byte {at}{}", inside(.in_string))]
    Syntax {
        /// The byte, counted from 0.
        at: usize,
        /// The record is a JSON string, and the byte is one of the text inside it.
        in_string: bool,
    },
    /// Objects and arrays nest deeper than the pipeline allows.
    #[error("the record nests deeper than max_depth, {limit} levels")]
    TooDeep {
        /// The pipeline's limit.
        limit: usize,
    },
    /// Valid JSON, but neither an object nor a string that holds one.
    #[error("the record is neither a JSON object nor a JSON string that holds one")]
    NotAnObject,
    /// The record already has a member that would be added; its name.
    #[error("the record already has a member {0:?}, which is to be added; rename the flag")]
    NameConflict(String),
    /// Nothing, null, an object or an array where the event time should be.
    #[error("the record has no event time in its timestamp field")]
    NoTimestamp,
    /// What should be the event time cannot be read as configured, or is absurd; its first characters.
    #[error("the record's event time {0:?} is not as the pipeline's timestamp format says, or absurd")]
    BadTimestamp(String),
    /// The event time is later than the record's own Kafka timestamp by more than allowed.
    #[error("the record's event time is {ahead} ms after its Kafka timestamp; max_skew is {limit} ms")]
    Skewed {
        /// How much later.
        ahead: Millis,
        /// The pipeline's limit.
        limit: Millis,
    },
}

fn inside(in_string: &bool) -> &'static str {
    match in_string {
        true => " of the text inside its JSON string",
        false => "",
    }
}

impl Reject {
    /// Every code that [`Reject::code`] can return.
    pub const CODES: [&str; 10] = [
        "tombstone",
        "too-large",
        "invalid-utf8",
        "syntax",
        "too-deep",
        "not-an-object",
        "name-conflict",
        "no-timestamp",
        "bad-timestamp",
        "skewed",
    ];

    /// The stable code for headers and metric labels.
    pub fn code(&self) -> &'static str {
        let index = match self {
            Reject::Tombstone => 0,
            Reject::TooLarge { .. } | Reject::TooLargeAround => 1,
            Reject::InvalidUtf8 { .. } => 2,
            Reject::Syntax { .. } => 3,
            Reject::TooDeep { .. } => 4,
            Reject::NotAnObject => 5,
            Reject::NameConflict(_) => 6,
            Reject::NoTimestamp => 7,
            Reject::BadTimestamp(_) => 8,
            Reject::Skewed { .. } => 9,
        };
        Self::CODES[index]
    }
}
