//! Reads the keys of one table into valid values and notes every mistake on the way.
//!
//! Each method names a key, its default and its bounds; on a mistake it notes it and answers the default, so
//! that reading goes on and all mistakes come out together. Invariant: `finish` refuses each key that no
//! method asked for, so there is no key that is silently ignored.

use super::environment::Environment;
use super::mistake::{At, Found, Kind, shown, suggestion};
use super::secret::Secret;
use super::text;
use super::tree::{Node, Table, Value};
use std::cell::RefCell;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

/// The largest file that may hold a secret; bytes.
const MAX_SECRET_BYTES: u64 = 64 * 1024;

/// What all readers of one configuration share.
pub(super) struct Context<'a> {
    pub(super) environment: &'a Environment,
    pub(super) found: RefCell<Found>,
}

/// A choice among names: how it is written, and what it means.
pub(super) type Names<T> = [(&'static str, T)];

/// Reads one table.
pub(super) struct Reader<'a> {
    pub(super) context: &'a Context<'a>,
    /// As in the file: `[kafka]`.
    title: String,
    table: Option<&'a Table>,
    at: At,
    asked: Vec<&'static str>,
}

impl<'a> Reader<'a> {
    /// Reads the table at the top.
    pub(super) fn top(context: &'a Context<'a>, table: &'a Table, source: usize) -> Self {
        let at = At::File { source, offset: 0 };
        Self::new(context, "the top level".to_owned(), Some(table), at)
    }

    fn new(context: &'a Context<'a>, title: String, table: Option<&'a Table>, at: At) -> Self {
        Self { context, title, table, at, asked: Vec::new() }
    }

    /// Notes a mistake at a place.
    pub(super) fn mistake(&self, at: At, text: String) {
        self.context.found.borrow_mut().push(at, Kind::Wrong, text);
    }

    /// Notes that something is not there.
    pub(super) fn missing(&self, text: String) {
        let mut found = self.context.found.borrow_mut();
        found.push(self.at.clone(), Kind::Missing, text);
    }

    /// Where the value of a key is, or the table when there is none.
    pub(super) fn at(&self, key: &str) -> At {
        match self.table.and_then(|table| table.get(key)) {
            Some(entry) => entry.node.at.clone(),
            None => self.at.clone(),
        }
    }

    /// Where the value of a key of a table in this table is.
    pub(super) fn at_path(&self, table: &str, key: &str) -> At {
        match self.table.and_then(|here| here.get(table)).map(|entry| &entry.node) {
            Some(Node { value: Value::Table(inner), at }) => {
                inner.get(key).map_or_else(|| at.clone(), |entry| entry.node.at.clone())
            }
            _ => self.at.clone(),
        }
    }

    /// The node of a key, which from now on counts as read.
    pub(super) fn node(&mut self, key: &'static str) -> Option<&'a Node> {
        if !self.asked.contains(&key) {
            self.asked.push(key);
        }
        self.table?.get(key).map(|entry| &entry.node)
    }

    /// Notes a value of the wrong type.
    fn wrong_type(&self, what: &str, wanted: &str, node: &Node) {
        let quotes = match (&node.value, wanted) {
            (Value::Table(_) | Value::Array(_), _) => "",
            (_, wanted) if wanted.starts_with("a text") => ": write it in double quotes",
            (Value::Text(_), _) => ": write it without quotes",
            _ => "",
        };
        let found = node.value.type_name();
        self.mistake(node.at.clone(), format!("{what} must be {wanted}, not {found}{quotes}"));
    }

    /// The text of a node, variables replaced.
    pub(super) fn text_of(&self, what: &str, node: &Node) -> Option<String> {
        match &node.value {
            // A variable's own value is taken as it is: a password may hold any character.
            Value::Given(text) => Some(text.clone()),
            Value::Text(text) => text::expand(text, |name| self.context.environment.get(name))
                .map_err(|wrong| self.mistake(node.at.clone(), format!("{what}: {wrong}")))
                .ok(),
            _ => {
                self.wrong_type(what, "a text", node);
                None
            }
        }
    }

    /// A text that must be there.
    pub(super) fn required(&mut self, key: &'static str, such_as: &str) -> Option<String> {
        if self.node(key).is_none() {
            let title = &self.title;
            self.missing(format!("{title} lacks `{key}`: add it, such as `{key} = {such_as}`"));
        }
        self.optional(key)
    }

    /// A text that may be absent.
    pub(super) fn optional(&mut self, key: &'static str) -> Option<String> {
        let node = self.node(key)?;
        self.text_of(&format!("`{key}`"), node)
    }

    /// A text that passes a check; the check's error says what is wrong and what to do.
    pub(super) fn checked(
        &mut self,
        key: &'static str,
        default: &str,
        check: impl Fn(&str) -> Result<(), String>,
    ) -> String {
        let Some(text) = self.optional(key) else {
            return default.to_owned();
        };
        match check(&text) {
            Ok(()) => text,
            Err(wrong) => {
                self.mistake(self.at(key), format!("`{key}` {wrong}"));
                default.to_owned()
            }
        }
    }

    /// The key `name`, which must be there; empty after a mistake.
    pub(super) fn name(&mut self, such_as: &str, check: fn(&str) -> Result<(), String>) -> String {
        let Some(name) = self.required("name", such_as) else {
            return String::new();
        };
        match check(&name) {
            Ok(()) => name,
            Err(wrong) => {
                self.mistake(self.at("name"), format!("`name` {wrong}"));
                String::new()
            }
        }
    }

    /// A text that is never printed: as it is, from `${VAR}`, or from a file as `file:/path`.
    pub(super) fn secret(&mut self, key: &'static str) -> Option<Secret> {
        let node = self.node(key)?;
        self.secret_of(&format!("`{key}`"), node)
    }

    /// The secret of a node.
    pub(super) fn secret_of(&self, what: &str, node: &Node) -> Option<Secret> {
        let text = self.text_of(what, node)?;
        let text = match text.strip_prefix("file:") {
            None => text,
            Some(path) => match read_secret(path) {
                Ok(text) => text,
                Err(error) => {
                    let text = format!(
                        "{what}: the file {path} cannot be used: {error}; correct the path, or the file and its rights"
                    );
                    self.mistake(node.at.clone(), text);
                    return None;
                }
            },
        };
        if text.is_empty() {
            let text = format!("{what} is empty: give it a value or remove the key");
            self.mistake(node.at.clone(), text);
            return None;
        }
        Some(Secret::new(text))
    }

    /// `true` or `false`.
    pub(super) fn bool(&mut self, key: &'static str, default: bool) -> bool {
        match self.node(key) {
            None => default,
            Some(Node { value: Value::Bool(value), .. }) => *value,
            Some(node) => match &node.value {
                Value::Given(text) if text.parse::<bool>().is_ok() => text == "true",
                _ => {
                    self.wrong_type(&format!("`{key}`"), "true or false", node);
                    default
                }
            },
        }
    }

    /// A whole number within bounds.
    pub(super) fn int<T>(&mut self, key: &'static str, default: T, bounds: RangeInclusive<T>) -> T
    where
        T: TryFrom<i128> + PartialOrd + Display + Copy,
    {
        let Some(node) = self.node(key) else {
            return default;
        };
        let (Value::Integer(text) | Value::Given(text)) = &node.value else {
            self.wrong_type(&format!("`{key}`"), "a whole number", node);
            return default;
        };
        let value = text.trim().parse::<i128>().ok();
        match value.and_then(|value| T::try_from(value).ok()) {
            Some(value) if bounds.contains(&value) => value,
            _ => {
                let (from, to) = bounds.into_inner();
                let not = shown(text).replace('"', "");
                let text = format!("`{key}` must be a whole number from {from} to {to}, not {not}");
                self.mistake(node.at.clone(), text);
                default
            }
        }
    }

    /// A finite number within bounds.
    pub(super) fn number(&mut self, key: &'static str, default: f64, bounds: RangeInclusive<f64>) -> f64 {
        let Some(node) = self.node(key) else {
            return default;
        };
        let (Value::Integer(text) | Value::Float(text) | Value::Given(text)) = &node.value else {
            self.wrong_type(&format!("`{key}`"), "a number", node);
            return default;
        };
        match text.trim().parse::<f64>() {
            Ok(value) if bounds.contains(&value) => value,
            _ => {
                let (from, to) = bounds.into_inner();
                let not = shown(text).replace('"', "");
                let text = format!("`{key}` must be a number from {from} to {to}, not {not}");
                self.mistake(node.at.clone(), text);
                default
            }
        }
    }

    /// A time span within bounds.
    pub(super) fn duration(
        &mut self,
        key: &'static str,
        default: Duration,
        bounds: RangeInclusive<Duration>,
    ) -> Duration {
        let Some(node) = self.node(key) else {
            return default;
        };
        if let Value::Integer(number) = &node.value {
            let text = format!("`{key}` needs a unit: write `\"{number}s\"`, or ms, m, h, d");
            self.mistake(node.at.clone(), text);
            return default;
        }
        let Some(text) = self.text_of(&format!("`{key}`"), node) else {
            return default;
        };
        let wrong = match text::duration(&text) {
            Some(value) if bounds.contains(&value) => return value,
            Some(_) => {
                let (from, to) = bounds.into_inner();
                let (from, to) = (text::show_duration(from), text::show_duration(to));
                format!("must be from {from} to {to}, not {}", shown(&text))
            }
            None => {
                format!("is no duration: {}; write whole numbers with ms, s, m, h or d, such as \"90s\"", shown(&text))
            }
        };
        self.mistake(node.at.clone(), format!("`{key}` {wrong}"));
        default
    }

    /// A number of bytes within bounds.
    pub(super) fn size(&mut self, key: &'static str, default: usize, bounds: RangeInclusive<usize>) -> usize {
        let Some(node) = self.node(key) else {
            return default;
        };
        let text = match &node.value {
            Value::Integer(text) => Some(text.clone()),
            _ => self.text_of(&format!("`{key}`"), node),
        };
        let Some(text) = text else {
            return default;
        };
        let size = text::size(&text);
        match size.and_then(|size| usize::try_from(size).ok()) {
            Some(size) if bounds.contains(&size) => size,
            _ => {
                let (from, to) = bounds.into_inner();
                let (from, to) = (text::show_size(from as u64), text::show_size(to as u64));
                let not = shown(&text);
                let text = format!("`{key}` must be a size from {from} to {to}, such as \"5MiB\", not {not}");
                self.mistake(node.at.clone(), text);
                default
            }
        }
    }

    /// One of a few names.
    pub(super) fn choice<T: Copy>(&mut self, key: &'static str, default: T, names: &Names<T>) -> T {
        let node = self.node(key);
        let value = node.and_then(|node| self.choice_of(&format!("`{key}`"), node, names));
        value.unwrap_or(default)
    }

    /// A node's meaning among a few names.
    pub(super) fn choice_of<T: Copy>(&self, what: &str, node: &Node, names: &Names<T>) -> Option<T> {
        let text = self.text_of(what, node)?;
        let value = names.iter().find(|(name, _)| *name == text);
        if value.is_none() {
            let words: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
            let text = format!("{what} cannot be {}{}", shown(&text), suggestion(&text, &words));
            self.mistake(node.at.clone(), text);
        }
        value.map(|(_, value)| *value)
    }

    /// A list; a variable may give it with commas.
    pub(super) fn list(&mut self, key: &'static str) -> Option<Vec<Node>> {
        let node = self.node(key)?;
        match &node.value {
            Value::Array(items) => Some(items.clone()),
            Value::Given(text) => Some(
                text.split(',')
                    .map(|item| Node { value: Value::Given(item.trim().to_owned()), at: node.at.clone() })
                    .collect(),
            ),
            _ => {
                self.wrong_type(&format!("`{key}`"), "a list in square brackets", node);
                None
            }
        }
    }

    /// A table, empty when it is absent.
    pub(super) fn table(&mut self, key: &'static str, title: &str) -> Reader<'a> {
        let node = self.node(key);
        let at = node.map_or_else(|| self.at.clone(), |node| node.at.clone());
        let table = match node.map(|node| (node, &node.value)) {
            Some((_, Value::Table(table))) => Some(table),
            Some((node, _)) => {
                self.wrong_type(&format!("`{key}`"), "a table", node);
                None
            }
            None => None,
        };
        Reader::new(self.context, title.to_owned(), table, at)
    }

    /// Each table of a list of tables.
    pub(super) fn tables(&mut self, key: &'static str, title: &str) -> Vec<Reader<'a>> {
        let node = self.node(key);
        let items = match node.map(|node| (node, &node.value)) {
            None => return Vec::new(),
            Some((_, Value::Array(items))) => items,
            Some((node, _)) => {
                let text = format!("`{key}` must be a list of tables: write {title} in double brackets");
                self.mistake(node.at.clone(), text);
                return Vec::new();
            }
        };
        let mut readers = Vec::with_capacity(items.len());
        for item in items {
            match &item.value {
                Value::Table(table) => {
                    readers.push(Reader::new(self.context, title.to_owned(), Some(table), item.at.clone()))
                }
                _ => self.wrong_type(&format!("each of `{key}`"), "a table", item),
            }
        }
        readers
    }

    /// Whether the key is there.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    /// Every key and node, for a table whose keys are free.
    pub(super) fn all(&self) -> impl Iterator<Item = (&'a String, &'a Node)> + use<'a> {
        let entries = self.table.into_iter().flatten();
        entries.map(|(key, entry)| (key, &entry.node))
    }

    /// Refuses the keys that nobody asked for.
    pub(super) fn finish(self) {
        for (key, entry) in self.table.into_iter().flatten() {
            if !self.asked.contains(&key.as_str()) {
                let (title, name) = (&self.title, shown(key).replace('"', "`"));
                let near = suggestion(key, &self.asked);
                let text = format!("unknown key {name} in {title}{near}");
                self.mistake(entry.key_at.clone(), text);
            }
        }
    }
}

/// A secret's file without the line end; a directory or a device is refused by its size or by reading.
fn read_secret(path: &str) -> Result<String, String> {
    let size = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if !size.is_file() || size.len() > MAX_SECRET_BYTES {
        return Err(format!("it must be a file of at most {MAX_SECRET_BYTES} bytes"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
