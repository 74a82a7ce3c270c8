//! What a detector counts in a window: measures, and the cells they accumulate in (`cell`).
//!
//! Invariant: a measure's text is its identity: it names the series, and reads back as the same measure.

mod cell;

pub use cell::{Cell, Sketch, UNIT, to_units};

use crate::field::FieldPath;
use std::fmt;

/// What a detector measures in each window; each measure of a detector is a series of its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Measure {
    /// Number of records: `count`.
    Count,
    /// Sum of a flag or of a numeric field: `sum(B_action)`.
    Sum(Operand),
    /// Share of the records whose flag is 1: `ratio(B_action)`, 0 to 1.
    Ratio(Operand),
    /// Mean of a numeric field over the records that have one: `mean(bytes)`.
    Mean(FieldPath),
    /// Quantile of a numeric field, within 1 %: `p95(duration)`. In thousandths, 1 to 999.
    Quantile(u16, FieldPath),
    /// Number of distinct values of a field: `distinct(httpRequest.clientIp)`.
    Distinct(FieldPath),
    /// Number of values of a field that were never seen in the series' history: `new(user)`.
    New(FieldPath),
    /// Number of records whose value of a field is rare in the series: `rare(process.name)`.
    Rare(FieldPath),
    /// Number of records, anomalous only when there are too few: `silence`.
    Silence,
}

/// What a sum or a ratio adds up.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Operand {
    /// A flag of the pipeline: its index among [`crate::pipeline::Pipeline::flag_names`], and its name.
    Flag(usize, String),
    /// A numeric field of the record; a record without a finite number there is not counted.
    Field(FieldPath),
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Operand::Flag(_, name) => f.write_str(name),
            Operand::Field(path) => write!(f, "{path}"),
        }
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Measure::Count => f.write_str("count"),
            Measure::Sum(operand) => write!(f, "sum({operand})"),
            Measure::Ratio(operand) => write!(f, "ratio({operand})"),
            Measure::Mean(path) => write!(f, "mean({path})"),
            Measure::Quantile(thousandths, path) => write!(f, "p{}({path})", f64::from(*thousandths) / 10.0),
            Measure::Distinct(path) => write!(f, "distinct({path})"),
            Measure::New(path) => write!(f, "new({path})"),
            Measure::Rare(path) => write!(f, "rare({path})"),
            Measure::Silence => f.write_str("silence"),
        }
    }
}

/// How a model must judge a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A count of events: whole, zero or more, with a count's own spread.
    Count,
    /// A sum of arbitrary numbers.
    Amount,
    /// A share between 0 and 1 of a known number of records.
    Share,
}

impl Measure {
    /// How a model must judge this measure's values.
    pub fn kind(&self) -> Kind {
        match self {
            Measure::Count | Measure::Sum(Operand::Flag(..)) | Measure::Silence => Kind::Count,
            Measure::Distinct(_) | Measure::New(_) | Measure::Rare(_) => Kind::Count,
            Measure::Sum(Operand::Field(_)) | Measure::Mean(_) | Measure::Quantile(..) => Kind::Amount,
            Measure::Ratio(_) => Kind::Share,
        }
    }

    /// The field whose number a record must have.
    pub fn number(&self) -> Option<&FieldPath> {
        match self {
            Measure::Sum(Operand::Field(path)) | Measure::Ratio(Operand::Field(path)) => Some(path),
            Measure::Mean(path) | Measure::Quantile(_, path) => Some(path),
            _ => None,
        }
    }

    /// The field whose values are counted.
    pub fn text(&self) -> Option<&FieldPath> {
        match self {
            Measure::Distinct(path) | Measure::New(path) | Measure::Rare(path) => Some(path),
            _ => None,
        }
    }

    /// Which records the measure is about: those whose flag is set, or all.
    pub fn flag(&self) -> Option<usize> {
        match self {
            Measure::Sum(Operand::Flag(index, _)) | Measure::Ratio(Operand::Flag(index, _)) => Some(*index),
            _ => None,
        }
    }
}
