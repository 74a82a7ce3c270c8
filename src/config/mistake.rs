//! What is wrong with a configuration: every mistake with its place and its remedy.
//!
//! Stands between the readers of this folder, which find mistakes, and `outlier check`, which prints them.
//! Invariant: [`Mistakes`] is never empty, is in the order of the file, and names no secret.

use std::fmt;
use std::sync::Arc;

/// Where a value came from, before line and column are worked out; orders by file, then position.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum At {
    /// A byte offset in one of the [`Sources`].
    File { source: usize, offset: usize },
    /// An environment variable.
    Variable(Arc<str>),
}

impl At {
    /// Whether the other place is further on in the same file.
    fn precedes(&self, other: &At) -> bool {
        match (self, other) {
            (At::File { source, offset }, At::File { source: other_source, offset: other_offset }) => {
                source == other_source && offset < other_offset
            }
            _ => false,
        }
    }
}

/// The texts that were read, to turn offsets into lines.
#[derive(Debug, Default)]
pub(super) struct Sources(Vec<(String, String)>);

impl Sources {
    /// Adds a file; the answer is its index for [`At::File`].
    pub(super) fn add(&mut self, name: &str, text: &str) -> usize {
        self.0.push((name.to_owned(), text.to_owned()));
        self.0.len() - 1
    }

    /// The place as people count: lines and columns (in characters) from 1.
    pub(super) fn place(&self, at: &At) -> Place {
        match at {
            At::Variable(name) => Place::Variable(name.to_string()),
            At::File { source, offset } => {
                let (file, text) = match self.0.get(*source) {
                    Some((file, text)) => (file.clone(), text.as_str()),
                    None => (String::new(), ""),
                };
                let before = &text[..text.floor_char_boundary(*offset)];
                let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
                Place::File {
                    file,
                    line: before.matches('\n').count() + 1,
                    column: before[line_start..].chars().count() + 1,
                }
            }
        }
    }
}

/// Where a mistake is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A position in a file: line and column (in characters) from 1.
    File {
        /// The file as it was named.
        file: String,
        /// Line from 1.
        line: usize,
        /// Column from 1, in characters.
        column: usize,
    },
    /// An environment variable.
    Variable(String),
    /// A file as a whole, which could not be read.
    Whole(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File { file, line, column } => write!(f, "{file}:{line}:{column}"),
            Place::Variable(name) => write!(f, "environment variable {name}"),
            Place::Whole(file) => f.write_str(file),
        }
    }
}

/// One mistake: where it is, what is wrong and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Where it is.
    pub place: Place,
    /// What is wrong and what to do, in one line.
    pub text: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}

/// Every mistake of a configuration in the order of the file; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistakes(Vec<Mistake>);

impl Mistakes {
    /// The mistakes in the order of the file, those of environment variables last.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Mistake> {
        self.0.iter()
    }

    /// One mistake about a whole file.
    pub(super) fn whole(file: impl Into<String>, text: impl Into<String>) -> Self {
        Self(vec![Mistake { place: Place::Whole(file.into()), text: text.into() }])
    }

    /// One mistake at a position that is already known.
    pub(super) fn one(place: Place, text: impl Into<String>) -> Self {
        let text = text.into();
        Self(vec![Mistake { place, text }])
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(Mistake::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for Mistakes {}

/// What a mistake is about; decides whether it is worth printing beside broken syntax.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The text is no TOML here, and what follows may have been misunderstood.
    Broken,
    /// The text is no TOML here, but only one value is lost.
    Syntax,
    /// Something is not there; it may be on a line that could not be read.
    Missing,
    /// A value, a key or a name is wrong.
    Wrong,
}

/// Mistakes as they are found, in any order.
#[derive(Debug, Default)]
pub(super) struct Found(Vec<(At, Kind, String)>);

impl Found {
    /// Notes a mistake.
    pub(super) fn push(&mut self, at: At, kind: Kind, text: String) {
        self.0.push((at, kind, text));
    }

    /// The mistakes in order, or none. Broken syntax makes the reader misunderstand what follows, so only
    /// mistakes before it are kept, one for each broken line, and none about things that seem missing.
    pub(super) fn into_mistakes(mut self, sources: &Sources) -> Option<Mistakes> {
        self.0.sort_by(|a, b| (&a.0, &a.2).cmp(&(&b.0, &b.2)));
        self.0.dedup_by(|a, b| a.0 == b.0 && a.2 == b.2);
        let is_syntax = |kind: Kind| matches!(kind, Kind::Broken | Kind::Syntax);
        let broken = self.0.iter().find(|found| found.1 == Kind::Broken).cloned();
        let mut broken_lines = Vec::new();
        for (at, kind, _) in &self.0 {
            if is_syntax(*kind) {
                broken_lines.push(line(sources, at));
            }
        }
        let mut last = None;
        self.0.retain(|(at, kind, _)| {
            let here = line(sources, at);
            if is_syntax(*kind) {
                return last.replace(here.clone()) != Some(here);
            }
            let seems = broken_lines.contains(&here)
                || broken.as_ref().is_some_and(|(from, ..)| from.precedes(at))
                || (*kind == Kind::Missing && !broken_lines.is_empty());
            !seems
        });
        let list: Vec<Mistake> =
            self.0.into_iter().map(|(at, _, text)| Mistake { place: sources.place(&at), text }).collect();
        (!list.is_empty()).then_some(Mistakes(list))
    }
}

/// A key for "on the same line".
fn line(sources: &Sources, at: &At) -> (String, usize) {
    match sources.place(at) {
        Place::File { file, line, .. } => (file, line),
        Place::Variable(name) | Place::Whole(name) => (name, 0),
    }
}

/// The candidate that a misspelt word probably means.
pub(super) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let most = (word.chars().count() / 3).clamp(1, 4);
    candidates
        .into_iter()
        .map(|candidate| {
            let distance = strsim::damerau_levenshtein(&word, &candidate.to_lowercase());
            (distance, candidate)
        })
        .filter(|(distance, _)| *distance <= most)
        .min()
        .map(|(_, candidate)| candidate)
}

/// `; did you mean ...?` when there is something near, else the choice.
pub(crate) fn suggestion(word: &str, candidates: &[&str]) -> String {
    // A long word costs quadratic time and is no typing mistake.
    let near = (word.len() <= 64).then(|| nearest(word, candidates.iter().copied()));
    match near.flatten() {
        Some(near) => format!("; did you mean `{near}`?"),
        None if candidates.is_empty() => "; remove it".to_owned(),
        None => format!("; it is one of {}", candidates.join(", ")),
    }
}

/// A text from the file for a message: quoted, and cut when it is long.
pub(super) fn shown(text: &str) -> String {
    match text.char_indices().nth(60) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}…", &text[..end]),
    }
}
