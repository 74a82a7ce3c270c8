//! The live tail: enriched records as the page shows them, a cell for each flag group.
//!
//! Records come from anywhere and may be hostile: they leave as JSON strings of bounded length, and the page only ever
//! makes text nodes of them.
//!
//! Invariant: at most [`MAX`] rows are kept, each of at most [`MAX_TEXT`] bytes and one short cell a flag group.

use outlier_core::field::FieldPath;
use outlier_core::pipeline::{Millis, Pipeline};
use serde::Serialize;
use serde_json::Value;
use std::collections::VecDeque;

/// The most rows that are kept of a pipeline.
pub const MAX: usize = 100;
/// The most bytes of a record that are shown.
pub const MAX_TEXT: usize = 4 * 1024;
/// The most bytes of a value that are shown in its cell.
const MAX_CELL: usize = 80;

/// An enriched record of the live tail.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Event time; epoch milliseconds.
    pub time: Millis,
    /// One for each flag group, in their order.
    pub cells: Vec<Cell>,
    /// The highest score of the anomalies that the record belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// The record's text, cut at [`MAX_TEXT`].
    pub text: String,
    /// The text was cut.
    pub cut: bool,
}

/// The value of a flag group's field.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cell {
    /// The scalar text; `None` when the field is absent, null, an object or an array.
    pub value: Option<String>,
    /// Which flag is set.
    pub flag: Set,
}

/// Which flag of a group is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Set {
    /// The good one.
    Good,
    /// The bad one.
    Bad,
    /// None of the two.
    Neither,
}

/// Reads an enriched record; `time` is its Kafka timestamp, for a record that says none. What is no JSON object has no
/// cells, but is shown.
pub fn row(pipeline: &Pipeline, payload: &[u8], time: Millis) -> Row {
    let value: Value = serde_json::from_slice(payload).unwrap_or(Value::Null);
    let set = |flag: &str| value.get(flag).and_then(Value::as_i64) == Some(1);
    let cells = pipeline.flags.iter().map(|group| Cell {
        value: text_at(&value, &group.field),
        flag: match (set(&group.bad.name), set(&group.good.name)) {
            (true, _) => Set::Bad,
            (_, true) => Set::Good,
            _ => Set::Neither,
        },
    });
    let outlier = value.get("outlier");
    let (text, cut) = cut(&String::from_utf8_lossy(&payload[..payload.len().min(MAX_TEXT + 4)]), MAX_TEXT);
    Row {
        time: outlier.and_then(|o| o.get("event_time")).and_then(Value::as_i64).unwrap_or(time),
        cells: cells.collect(),
        score: outlier.and_then(|o| o.get("score")).and_then(Value::as_f64),
        text,
        cut,
    }
}

fn text_at(value: &Value, path: &FieldPath) -> Option<String> {
    let found = path.segments().iter().try_fold(value, |value, name| value.get(name.as_str()))?;
    match found {
        Value::String(text) => Some(cut(text, MAX_CELL).0),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// At most `max` bytes of a text, and whether there was more.
fn cut(text: &str, max: usize) -> (String, bool) {
    let end = text.floor_char_boundary(max);
    (text[..end].to_owned(), end < text.len())
}

/// The latest rows.
#[derive(Debug, Default)]
pub struct Tail(VecDeque<Row>);

impl Tail {
    /// Adds a row; the oldest goes when there are too many.
    pub fn push(&mut self, row: Row) {
        if self.0.len() == MAX {
            self.0.pop_front();
        }
        self.0.push_back(row);
    }

    /// The rows, newest first.
    pub fn latest(&self) -> Vec<&Row> {
        self.0.iter().rev().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::testing::pipeline;

    /// Each cell as `value:flag`, in the groups' order: action, source, httpstatus, country, method.
    #[track_caller]
    fn check(record: &str, time: Millis, score: Option<f64>, cells: [&str; 5]) {
        let row = row(&pipeline(), record.as_bytes(), 7);
        let shown: Vec<String> =
            row.cells.iter().map(|cell| format!("{}:{:?}", cell.value.as_deref().unwrap_or("∅"), cell.flag)).collect();
        assert_eq!((row.time, row.score, shown), (time, score, cells.map(str::to_owned).to_vec()), "{record}");
    }

    #[test]
    fn records_become_cells() {
        let none = ["∅:Neither"; 5];
        check("", 7, None, none);
        check("[1]", 7, None, none);
        check(
            r#"{"action":"BLOCK","httpStatus":403,"httpRequest":{"country":"US","httpMethod":null},"K_action":0,"B_action":1,
               "B_httpstatus":1,"K_country":1,"outlier":{"pipeline":"waf","event_time":1700000000000,"score":99.5}}"#,
            1_700_000_000_000,
            Some(99.5),
            ["BLOCK:Bad", "∅:Neither", "403:Bad", "US:Good", "∅:Neither"],
        );
        check(
            r#"{"action":"<img src=x onerror=alert(1)>","httpRequest":"not an object","outlier":"hostile","B_action":"1"}"#,
            7,
            None,
            ["<img src=x onerror=alert(1)>:Neither", "∅:Neither", "∅:Neither", "∅:Neither", "∅:Neither"],
        );
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let long = format!(r#"{{"action":"{}"}}"#, "é".repeat(1 << 20));
        let row = row(&pipeline(), long.as_bytes(), 7);
        assert!(row.text.len() <= MAX_TEXT && row.cut);
        assert!(row.cells[0].value.as_ref().is_some_and(|value| value.len() <= MAX_CELL));
        let mut tail = Tail::default();
        for time in 0..500 {
            tail.push(Row { time, ..row.clone() });
        }
        let times: Vec<Millis> = tail.latest().iter().map(|row| row.time).collect();
        assert_eq!(times, (400..500).rev().collect::<Vec<_>>());
    }
}
