//! The transform: a raw record in, the enriched record, its flags and its numbers out.
//!
//! The whole of the first stage's work on one record; what it returns is written to the enriched topic and
//! counted in windows. Invariants: the original members stay byte for byte; the same record gives the same
//! flags, numbers and event time whenever and wherever it is read; nothing is allocated once the scratch
//! has grown to the largest record.

use super::anomalies::Anomalies;
use super::flags::{Group, Outcome};
use super::object::place;
use super::reject::Reject;
use super::scan::Found;
use super::texts::Texts;
use super::trie::Trie;
use super::{number, time};
use crate::field::FieldPath;
use crate::measure::to_units;
use crate::pipeline::{Millis, Pipeline, Timestamp};

/// The member that holds what is not a flag.
const METADATA: &str = "outlier";

/// A pipeline's transform, compiled once and shared by all workers.
#[derive(Debug)]
pub struct Transform {
    trie: Trie,
    groups: Vec<Group>,
    timestamp: Timestamp,
    /// The number of the timestamp's field in the trie.
    timestamp_field: usize,
    /// Numbers in the trie of the fields that are added up, and of those whose values are told apart.
    numbers: Vec<usize>,
    texts: Vec<usize>,
    /// `,"outlier":{"pipeline":"waf","event_time":`
    metadata: Vec<u8>,
    max_record_bytes: usize,
    max_depth: usize,
}

/// A worker's buffers, kept from record to record.
#[derive(Debug, Default)]
pub struct Scratch {
    found: Found,
    /// The text inside a record that is a JSON string.
    inner: Vec<u8>,
    /// An unescaped value.
    text: Vec<u8>,
    out: Vec<u8>,
    flags: Vec<bool>,
    numbers: Vec<Option<i128>>,
    texts: Texts,
}

/// What became of a good record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enriched<'s> {
    /// The record's own time.
    pub event_time: Millis,
    /// The enriched record: the original up to its closing brace, the flags, the object `outlier`, a brace.
    pub bytes: &'s [u8],
    /// The flags in the order of [`Pipeline::flag_names`].
    pub flags: &'s [bool],
    /// The fields in the order of [`Pipeline::number_fields`], in [`crate::measure::UNIT`]s; `None` where there is no
    /// finite number. A string that holds a number is one.
    pub numbers: &'s [Option<i128>],
    /// How many of these fields hold something else than a number in range: a word, or a number beyond 10^27.
    pub no_numbers: usize,
    /// The fields in the order of [`Pipeline::text_fields`].
    pub texts: &'s Texts,
}

impl Transform {
    /// Compiles a pipeline.
    pub fn new(pipeline: &Pipeline) -> Self {
        let (numbers, texts) = (pipeline.number_fields(), pipeline.text_fields());
        let flagged = pipeline.flags.iter().map(|group| &group.field);
        let looked_at = numbers.iter().chain(&texts).copied();
        let fields = flagged.chain(looked_at).chain([&pipeline.timestamp.field]);
        let trie = Trie::new(fields, pipeline.flag_names().chain([METADATA]));
        // Every field asked for is in the trie; one that were not would be missing from every record.
        let number = |path: &FieldPath| trie.number(path).unwrap_or(usize::MAX);
        let name = serde_json::Value::from(pipeline.name.as_str());
        Self {
            groups: (pipeline.flags.iter()).map(|group| Group::new(group, number(&group.field))).collect(),
            timestamp: pipeline.timestamp.clone(),
            timestamp_field: number(&pipeline.timestamp.field),
            numbers: numbers.into_iter().map(number).collect(),
            texts: texts.into_iter().map(number).collect(),
            metadata: format!(r#","{METADATA}":{{"pipeline":{name},"event_time":"#).into_bytes(),
            max_record_bytes: pipeline.max_record_bytes,
            max_depth: pipeline.max_depth,
            trie,
        }
    }

    /// Enriches one record, or says why not.
    ///
    /// `kafka_ms` is the record's own Kafka timestamp; below zero (none), the skew is not checked.
    pub fn apply<'s>(
        &self,
        record: Option<&[u8]>,
        kafka_ms: Millis,
        anomalies: &Anomalies,
        scratch: &'s mut Scratch,
    ) -> Result<Enriched<'s>, Reject> {
        let record = record.ok_or(Reject::Tombstone)?;
        let Scratch { found, inner, text, out, flags, numbers, texts } = scratch;
        if record.len() > self.max_record_bytes {
            return Err(Reject::TooLarge { bytes: record.len(), limit: self.max_record_bytes });
        }
        let object = place(record, &self.trie, self.max_depth, inner, found)?;
        let source = object.source;
        if let Some(node) = object.conflict {
            return Err(Reject::NameConflict(self.trie.name(node)));
        }
        let event_time = self.event_time(source, kafka_ms, found, text)?;

        numbers.clear();
        let mut no_numbers = 0;
        numbers.extend(self.numbers.iter().map(|field| {
            let literal = found.slot(*field).text(source, text)?;
            let units = number::float(literal).and_then(to_units);
            no_numbers += usize::from(units.is_none());
            units
        }));
        texts.clear();
        self.texts.iter().for_each(|field| texts.push(found.slot(*field).text(source, text)));

        out.clear();
        out.extend_from_slice(&source[..object.close]);
        let added = out.len();
        flags.clear();
        for group in &self.groups {
            let outcome = group.outcome(found.slot(group.field).name(source, text));
            flags.extend([outcome == Outcome::Good, outcome == Outcome::Bad]);
            out.extend_from_slice(group.members(outcome));
        }
        out.extend_from_slice(&self.metadata);
        out.extend_from_slice(itoa::Buffer::new().format(event_time).as_bytes());
        out.extend_from_slice(anomalies.members());
        out.extend_from_slice(b"}}");
        if object.empty {
            out.remove(added);
        }
        Ok(Enriched { event_time, bytes: out, flags, numbers, no_numbers, texts })
    }

    /// The record's own time, if it has one that can be believed.
    fn event_time(&self, source: &[u8], kafka_ms: Millis, found: &Found, text: &mut Vec<u8>) -> Result<Millis, Reject> {
        let literal = found.slot(self.timestamp_field).text(source, text).ok_or(Reject::NoTimestamp)?;
        let event_time =
            time::event_time(literal, self.timestamp.format).ok_or_else(|| Reject::BadTimestamp(excerpt(literal)))?;
        let limit = self.timestamp.max_skew;
        let ahead = event_time.saturating_sub(kafka_ms);
        if kafka_ms >= 0 && ahead > limit {
            return Err(Reject::Skewed { ahead, limit });
        }
        Ok(event_time)
    }
}

/// Enough of a text to recognise it by.
fn excerpt(text: &[u8]) -> String {
    String::from_utf8_lossy(text).chars().take(40).collect()
}
