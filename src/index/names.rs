//! The names of indices and tables: `<prefix><pipeline>-<stage>`, of dated indices with the date behind it.
//!
//! Invariants: two pipelines never share a name, because the configuration refuses names that differ by case only; the
//! same record goes to the same index whenever it is written.

use crate::config::{Indices, Stage};
use crate::produce::stamp;
use outlier_core::pipeline::{Millis, TimeFormat};
use outlier_core::record::event_time;
use std::borrow::Cow;

const DAY: Millis = 86_400_000;

/// The end of the year 9999: dates have four digits for the year.
const LAST: Millis = 253_402_300_799_999;

/// All stages, in the order of the path.
pub const STAGES: [Stage; 4] = [Stage::Raw, Stage::Enriched, Stage::Scores, Stage::Alerts];

/// How a stage is called in names.
pub fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Raw => "raw",
        Stage::Enriched => "enriched",
        Stage::Scores => "scores",
        Stage::Alerts => "alerts",
    }
}

/// The index of a pipeline's stage, in lower case as OpenSearch demands; or the alias or data stream of its indices.
pub fn index(prefix: &str, pipeline: &str, of: Stage) -> String {
    format!("{prefix}{pipeline}-{}", stage(of)).to_lowercase()
}

/// The index of a period: that of a document, by its own `period_ms`; epoch milliseconds.
pub fn of_period(base: &str, indices: Indices, time: Millis) -> Cow<'_, str> {
    match date_length(indices) {
        None => Cow::Borrowed(base),
        Some(length) => {
            let time = time.clamp(0, LAST);
            let mut date = Vec::with_capacity(32);
            stamp::date_and_time(&mut date, time / 1_000, b'T', false);
            let date = String::from_utf8_lossy(&date[..length]).replace('-', ".");
            Cow::Owned(format!("{base}-{date}"))
        }
    }
}

/// When the period of a dated index is over, epoch milliseconds; `None` if the name is not one of `base`'s.
pub fn end(base: &str, indices: Indices, name: &str) -> Option<Millis> {
    let date = name.strip_prefix(base)?.strip_prefix('-')?;
    if date.len() != date_length(indices)? || !date.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return None;
    }
    let first = |date: &str| event_time(format!("{}T00:00Z", date.replace('.', "-")).as_bytes(), TimeFormat::Iso8601);
    if indices == Indices::Daily {
        return Some(first(date)? + DAY);
    }
    // Every month is over 32 days after it began, and the next one has begun.
    let start = first(&format!("{date}.01"))?;
    let next = of_period("", indices, start + 32 * DAY).replace('-', "");
    first(&format!("{next}.01"))
}

/// How much of `2026-11-27` is in the name of an index.
fn date_length(indices: Indices) -> Option<usize> {
    match indices {
        Indices::Single | Indices::DataStream => None,
        Indices::Daily => Some(10),
        Indices::Monthly => Some(7),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const AT: Millis = 1_795_399_664_758;

    #[test]
    fn documents_have_their_dates() {
        for (indices, time, want) in [
            (Indices::Single, AT, "p-raw"),
            (Indices::DataStream, AT, "p-raw"),
            (Indices::Daily, AT, "p-raw-2026.11.23"),
            (Indices::Monthly, AT, "p-raw-2026.11"),
            (Indices::Daily, AT - 2 * DAY, "p-raw-2026.11.21"),
            (Indices::Daily, i64::MAX, "p-raw-9999.12.31"),
            (Indices::Daily, i64::MIN, "p-raw-1970.01.01"),
        ] {
            assert_eq!(of_period("p-raw", indices, time), want, "{indices:?} {time}");
        }
    }

    #[test]
    fn only_own_dated_names_have_an_end() {
        for (indices, name, good) in [
            (Indices::Daily, "p-raw-2026.11.23", true),
            (Indices::Monthly, "p-raw-2026.12", true),
            (Indices::Daily, "p-raw-2026.11", false),
            (Indices::Daily, "p-raw-2026.13.01", false),
            (Indices::Daily, "p-raw-x-2026.11.23", false),
            (Indices::Daily, "p-raw-2026-11-23", false),
            (Indices::Daily, "p-raw", false),
            (Indices::Single, "p-raw-2026.11.23", false),
        ] {
            assert_eq!(end("p-raw", indices, name).is_some(), good, "{name}");
        }
    }

    proptest! {
        #[test]
        fn an_index_ends_after_all_in_it_and_soon(time in 1_000_000_000_000i64..4_000_000_000_000, monthly: bool) {
            let indices = if monthly { Indices::Monthly } else { Indices::Daily };
            let name = of_period("p-raw", indices, time);
            let end = end("p-raw", indices, &name).unwrap();
            let longest = if monthly { 31 * DAY } else { DAY };
            prop_assert!(time < end && end - time <= longest, "{} {}", name, end);
        }
    }
}
