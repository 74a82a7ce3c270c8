//! Writes values as TOML that the readers read back.
//!
//! Invariant: secrets come out as a mask, whichever method writes them.

use super::reader::Names;
use super::secret::Secret;
use super::text;
use std::fmt::{Display, Write};
use std::time::Duration;

/// TOML text that is being written.
#[derive(Default)]
pub(super) struct Writer(String);

impl Writer {
    /// The text so far.
    pub(super) fn into_text(self) -> String {
        self.0
    }

    /// Begins a table: `[kafka]`, `[[pipeline]]`.
    pub(super) fn table(&mut self, header: &str) {
        let gap = if self.0.is_empty() { "" } else { "\n" };
        self.line(format_args!("{gap}{header}"));
    }

    /// A value that is written as it displays: a number, a truth value.
    pub(super) fn plain(&mut self, key: &str, value: impl Display) {
        self.line(format_args!("{key} = {value}"));
    }

    /// A text.
    pub(super) fn text(&mut self, key: &str, value: &str) {
        self.plain(key, text::quote(value));
    }

    /// A time span.
    pub(super) fn duration(&mut self, key: &str, value: Duration) {
        self.text(key, &text::show_duration(value));
    }

    /// A number of bytes.
    pub(super) fn size(&mut self, key: &str, value: usize) {
        self.text(key, &text::show_size(value as u64));
    }

    /// One of a few names.
    pub(super) fn choice<T: Copy + PartialEq>(&mut self, key: &str, value: T, names: &Names<T>) {
        let name = names.iter().find(|(_, meaning)| *meaning == value);
        self.text(key, name.map_or("", |(name, _)| name));
    }

    /// A list of texts.
    pub(super) fn list<T: AsRef<str>>(&mut self, key: &str, values: impl IntoIterator<Item = T>) {
        self.plain(key, list(values));
    }

    /// A text that may be absent.
    pub(super) fn optional(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(key, value);
        }
    }

    /// A secret that may be absent; its mask.
    pub(super) fn secret(&mut self, key: &str, value: Option<&Secret>) {
        if let Some(secret) = value {
            self.text(key, &secret.to_string());
        }
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "{line}");
    }
}

/// A list of texts, as in `match = ["2xx"]`.
pub(super) fn list<T: AsRef<str>>(values: impl IntoIterator<Item = T>) -> String {
    let values = values.into_iter().map(|value| text::quote(value.as_ref()));
    format!("[{}]", values.collect::<Vec<_>>().join(", "))
}
