//! Which names are allowed, and that no two things share one.

use super::mistake::{At, shown};
use super::reader::Reader;
use std::collections::BTreeSet;

/// The longest name of a pipeline, flag, group or detector.
pub(super) const MAX_NAME: usize = 100;

/// The longest name of a topic, by Kafka's own rule.
pub(super) const MAX_TOPIC: usize = 249;

/// Letters, digits, `.`, `_` and `-`, at least one and at most `MAX_NAME`.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    check(name, MAX_NAME, |c| matches!(c, '.' | '_' | '-'))
}

/// Like a name that an index may begin with.
pub(super) fn check_pipeline(name: &str) -> Result<(), String> {
    check_name(name)?;
    if name.starts_with(['.', '_', '-']) {
        return Err(format!("must begin with a letter or a digit, as an index does, not {}", shown(name)));
    }
    Ok(())
}

/// Like a name, but empty is allowed.
pub(super) fn check_prefix(name: &str) -> Result<(), String> {
    if name.is_empty() { Ok(()) } else { check_name(name) }
}

/// Like a name without dots, which OpenSearch's ids have not; the ends of names that the setup gives itself are taken.
pub(super) fn check_channel(name: &str) -> Result<(), String> {
    if name.ends_with("-account") {
        return Err(
            "cannot end with \"-account\", which is how the setup names mail accounts: choose another name".into()
        );
    }
    check(name, MAX_NAME, |c| matches!(c, '_' | '-'))
}

/// Like a name without dots, which an index would take for a path.
pub(super) fn check_flag(name: &str) -> Result<(), String> {
    if name == "outlier" {
        return Err("cannot be \"outlier\", which is added to each record: choose another name".into());
    }
    check(name, MAX_NAME, |c| matches!(c, '_' | '-'))
}

/// Kafka's rules for topics.
pub(super) fn check_topic(name: &str) -> Result<(), String> {
    if matches!(name, "." | "..") {
        return Err(format!("cannot be \"{name}\", which Kafka refuses"));
    }
    check(name, MAX_TOPIC, |c| matches!(c, '.' | '_' | '-'))
}

fn check(name: &str, most: usize, allowed: fn(char) -> bool) -> Result<(), String> {
    let sound = |c: char| c.is_ascii_alphanumeric() || allowed(c);
    if !name.is_empty() && name.len() <= most && name.chars().all(sound) {
        return Ok(());
    }
    let marks: String = ['.', '_', '-'].into_iter().filter(|c| allowed(*c)).collect();
    let not = shown(name);
    Err(format!("must be 1 to {most} of A-Z, a-z, 0-9 and {marks}, not {not}"))
}

/// Names of one sort that must differ.
pub(super) struct Unique {
    what: &'static str,
    seen: BTreeSet<String>,
}

impl Unique {
    /// `what` is the sort of thing, as in "two detectors".
    pub(super) fn new(what: &'static str) -> Self {
        Self { what, seen: BTreeSet::new() }
    }

    /// Whether the name is new; notes a mistake when it was there before. Case and the difference of `.` and `_` do not
    /// count: indices are lower case, and Kafka takes `a.b` and `a_b` for a collision.
    pub(super) fn add(&mut self, reader: &Reader<'_>, at: At, name: &str) -> bool {
        let plain = name.to_lowercase().replace('.', "_");
        let fresh = name.is_empty() || self.seen.insert(plain);
        if !fresh {
            let text = format!(
                "two {} have the name {} (case, and . for _, make no difference): rename one",
                self.what,
                shown(name)
            );
            reader.mistake(at, text);
        }
        fresh
    }
}
