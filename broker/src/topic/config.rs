//! A topic's configuration: what was set, and the few settings that have an effect here.
//!
//! Effective: `cleanup.policy`, `max.message.bytes`, `message.timestamp.{before,after}.max.ms`, `retention.bytes`. The
//! rest is kept and shown, so that tools written for Kafka find what they set.
//!
//! Invariant: a configuration that exists has only known names and legal values.

use std::collections::BTreeMap;

use super::known::{self, Kind, Known};
use crate::log::batch::Bounds;

/// One change of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change<'a> {
    Set(&'a str),
    /// Back to the default.
    Reset,
    /// Add words to a list.
    Append(&'a str),
    /// Take words out of a list.
    Subtract(&'a str),
}

/// A topic's configuration.
#[derive(Debug, Clone)]
pub(crate) struct TopicConfig {
    overrides: BTreeMap<String, String>,
    /// Bounds on what may be appended.
    pub(crate) bounds: Bounds,
    /// `retention.bytes`, for each partition; `None` without a bound.
    pub(crate) retention_bytes: Option<u64>,
    /// True when old batches may be deleted; false for a topic that is only compacted.
    pub(crate) deletes: bool,
}

impl Default for TopicConfig {
    fn default() -> Self {
        Self::from_legal(BTreeMap::new())
    }
}

impl TopicConfig {
    /// A configuration with these settings.
    ///
    /// # Errors
    /// A text that names the setting that is unknown or has an illegal value.
    pub(crate) fn new(overrides: BTreeMap<String, String>) -> Result<Self, String> {
        overrides.iter().try_for_each(|(name, value)| check(name, value))?;
        Ok(Self::from_legal(overrides))
    }

    fn from_legal(overrides: BTreeMap<String, String>) -> Self {
        let mut config = Self {
            overrides,
            bounds: Bounds { max_bytes: 0, before_max_ms: 0, after_max_ms: 0 },
            retention_bytes: None,
            deletes: false,
        };
        let number = |name: &str| config.value(name).parse::<i64>().unwrap_or(-1);
        let bounds = Bounds {
            max_bytes: usize::try_from(number("max.message.bytes")).unwrap_or(0),
            before_max_ms: number("message.timestamp.before.max.ms"),
            after_max_ms: number("message.timestamp.after.max.ms"),
        };
        let retention_bytes = u64::try_from(number("retention.bytes")).ok();
        let deletes = config.value("cleanup.policy").split(',').any(|policy| policy.trim() == "delete");
        (config.bounds, config.retention_bytes, config.deletes) = (bounds, retention_bytes, deletes);
        config
    }

    /// This configuration with some settings changed.
    ///
    /// # Errors
    /// As [`TopicConfig::new`].
    pub(crate) fn changed<'a>(&self, changes: impl Iterator<Item = (&'a str, Change<'a>)>) -> Result<Self, String> {
        let mut overrides = self.overrides.clone();
        for (name, change) in changes {
            let known = find(name)?;
            let is_list = matches!(known.kind, Kind::List(_));
            let current = || overrides.get(name).map_or(known.default, String::as_str);
            let new = match change {
                Change::Set(value) => Some(value.to_owned()),
                Change::Reset => None,
                Change::Append(words) if is_list => Some(appended(current(), words)),
                Change::Subtract(words) if is_list => Some(subtracted(current(), words)),
                _ => {
                    return Err(format!("Can't append to or subtract from {name}: it is not a list"));
                }
            };
            match new {
                Some(value) => overrides.insert(name.to_owned(), value),
                None => overrides.remove(name),
            };
        }
        Self::new(overrides)
    }

    /// The value in effect; empty for an unknown name.
    pub(crate) fn value(&self, name: &str) -> &str {
        let default = || known::find(name).map_or("", |known| known.default);
        self.overrides.get(name).map_or_else(default, String::as_str)
    }

    /// All settings with their values, and whether each was set.
    pub(crate) fn settings(&self) -> impl Iterator<Item = (&'static Known, &str, bool)> {
        known::SETTINGS.iter().map(|k| (k, self.value(k.name), self.overrides.contains_key(k.name)))
    }
}

fn find(name: &str) -> Result<&'static Known, String> {
    known::find(name).ok_or_else(|| format!("Unknown topic config name: {name}"))
}

fn check(name: &str, value: &str) -> Result<(), String> {
    if find(name)?.kind.allows(value) { Ok(()) } else { Err(format!("Invalid value {value} for configuration {name}")) }
}

fn appended(list: &str, words: &str) -> String {
    let mut all: Vec<&str> = list.split(',').filter(|w| !w.is_empty()).collect();
    for word in words.split(',') {
        if !all.contains(&word) {
            all.push(word);
        }
    }
    all.join(",")
}

fn subtracted(list: &str, words: &str) -> String {
    let gone: Vec<&str> = words.split(',').collect();
    list.split(',').filter(|word| !gone.contains(word)).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_change(changes: &[(&str, Change)], expected: Result<(&str, &str), &str>) {
        let result = TopicConfig::default().changed(changes.iter().copied());
        match expected {
            Ok((name, value)) => assert_eq!(result.unwrap().value(name), value, "{changes:?}"),
            Err(text) => assert!(result.unwrap_err().contains(text), "{changes:?}"),
        }
    }

    #[test]
    fn changes() {
        use Change::{Append, Reset, Set, Subtract};
        check_change(&[("retention.bytes", Set("5"))], Ok(("retention.bytes", "5")));
        check_change(&[("retention.bytes", Set("5")), ("retention.bytes", Reset)], Ok(("retention.bytes", "-1")));
        check_change(&[("cleanup.policy", Append("compact"))], Ok(("cleanup.policy", "delete,compact")));
        check_change(
            &[("cleanup.policy", Append("compact")), ("cleanup.policy", Subtract("delete"))],
            Ok(("cleanup.policy", "compact")),
        );
        check_change(&[("retention.bytes", Append("5"))], Err("not a list"));
        check_change(&[("retention.bites", Set("5"))], Err("Unknown topic config name: retention.bites"));
        check_change(&[("cleanup.policy", Set("shred"))], Err("Invalid value shred"));
        check_change(&[("max.message.bytes", Set("-1"))], Err("Invalid value -1"));
    }

    #[test]
    fn effects() {
        let set = |name: &str, value: &str| TopicConfig::new([(name.to_owned(), value.to_owned())].into()).unwrap();
        assert!(TopicConfig::default().deletes);
        assert_eq!(TopicConfig::default().bounds.max_bytes, 1_048_588);
        assert!(!set("cleanup.policy", "compact").deletes);
        assert!(set("cleanup.policy", "compact,delete").deletes);
        assert_eq!(set("retention.bytes", "9").retention_bytes, Some(9));
    }
}
