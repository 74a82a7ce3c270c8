//! A configuration as it was written: values, each with the place it came from.
//!
//! Stands between the TOML text and the readers. Invariant: every node knows its place, whether that is a
//! file or an environment variable, and a text that is no TOML still gives the part that could be read.

use super::mistake::{At, Found, Kind};
use std::collections::BTreeMap;
use std::sync::Arc;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A value and where it came from.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) at: At,
}

/// A key's place, and its value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key_at: At,
    pub(super) node: Node,
}

/// Keys and values.
pub(super) type Table = BTreeMap<String, Entry>;

/// A value; numbers keep their text, so that none is too large to be reported.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Text(String),
    /// The text of an environment variable: whatever type is wanted.
    Given(String),
    Integer(String),
    Float(String),
    Bool(bool),
    Time,
    Array(Vec<Node>),
    Table(Table),
}

impl Value {
    /// What a person calls this type.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Value::Text(_) | Value::Given(_) => "a text",
            Value::Integer(_) => "a whole number",
            Value::Float(_) => "a number with a fraction",
            Value::Bool(_) => "true or false",
            Value::Time => "a date or time",
            Value::Array(_) => "a list",
            Value::Table(_) => "a table",
        }
    }
}

/// Reads a whole text; what is no TOML is noted in `found`.
pub(super) fn parse(source: usize, text: &str, found: &mut Found) -> Table {
    let at = |offset| At::File { source, offset };
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let offset = error.span().map_or(0, |span| span.start);
        let (kind, text) = explain(error.message());
        found.push(at(offset), kind, text);
    }
    convert_table(table.into_inner(), &at)
}

/// Reads the value of an environment variable: a list or an inline table in TOML, else its plain text.
pub(super) fn parse_given(name: &Arc<str>, text: &str) -> Node {
    let at = At::Variable(name.clone());
    let trimmed = text.trim();
    let value = match DeValue::parse(trimmed) {
        Ok(value) if trimmed.starts_with(['[', '{']) => convert(value.into_inner(), &|_| at.clone()),
        _ => Value::Given(text.to_owned()),
    };
    Node { value, at }
}

/// The parser's words as a remedy.
fn explain(message: &str) -> (Kind, String) {
    let told = match message {
        m if m.starts_with("duplicate key") => "this key or table is there twice: keep one of them".to_owned(),
        m if m.starts_with("string values must be quoted") || m.starts_with("invalid boolean") => {
            "a value is missing or not quoted: write a text in double quotes".to_owned()
        }
        "recursion limit" => {
            let text = "nested too deep: nothing here needs more than five levels";
            return (Kind::Broken, text.to_owned());
        }
        m if m.starts_with("unexpected key or value") => {
            "a line must be one `key = value`: remove what is too much".to_owned()
        }
        m if m.starts_with("invalid ") => format!("{m}: correct this value"),
        m => return (Kind::Broken, format!("this is no TOML: {m}")),
    };
    (Kind::Syntax, told)
}

fn convert_table(table: DeTable<'_>, at: &dyn Fn(usize) -> At) -> Table {
    table
        .into_iter()
        .map(|(key, value)| {
            let entry = Entry { key_at: at(key.span().start), node: convert_node(value, at) };
            (key.into_inner().into_owned(), entry)
        })
        .collect()
}

fn convert_node(node: Spanned<DeValue<'_>>, at: &dyn Fn(usize) -> At) -> Node {
    Node { at: at(node.span().start), value: convert(node.into_inner(), at) }
}

fn convert(value: DeValue<'_>, at: &dyn Fn(usize) -> At) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Integer(number) => {
            let text = number.as_str();
            let value = i128::from_str_radix(text, number.radix());
            Value::Integer(value.map_or_else(|_| text.to_owned(), |value| value.to_string()))
        }
        DeValue::Float(number) => Value::Float(number.as_str().to_owned()),
        DeValue::Boolean(value) => Value::Bool(value),
        DeValue::Datetime(_) => Value::Time,
        DeValue::Array(items) => {
            let items = items.into_iter().map(|item| convert_node(item, at));
            Value::Array(items.collect())
        }
        DeValue::Table(table) => Value::Table(convert_table(table, at)),
    }
}
