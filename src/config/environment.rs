//! Environment variables: for `${VAR}`, and as overrides of single keys (`OUTLIER__KAFKA__RAW_PARTITIONS=8`).
//!
//! Overrides change the tree before it is read, so they are held to the same rules as the file. Invariant:
//! the same variables give the same tree, whatever order the system lists them in.

use super::mistake::{At, Found, Kind};
use super::tree::{Entry, Node, Table, Value, parse_given};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Variables that begin with this override a key of the file.
pub const OVERRIDE: &str = "OUTLIER__";

/// Defaults under the names that other tools use: variable, table, key.
const DEFAULTS: [(&str, &str, &str); 2] =
    [("KAFKA_BOOTSTRAP_SERVERS", "kafka", "bootstrap_servers"), ("OPENSEARCH_URL", "opensearch", "urls")];

/// The environment that a configuration is read with.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    not_unicode: Vec<String>,
}

impl Environment {
    /// The environment of this process.
    pub fn of_process() -> Self {
        let mut environment = Self::default();
        for (name, value) in std::env::vars_os() {
            let Ok(name) = name.into_string() else {
                continue;
            };
            match value.into_string() {
                Ok(value) => {
                    environment.variables.insert(name, value);
                }
                Err(_) => environment.not_unicode.push(name),
            }
        }
        environment.not_unicode.sort();
        environment
    }

    /// The value of a variable.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// Puts overrides and defaults into the tree.
    pub(super) fn apply(&self, root: &mut Table, found: &mut Found) {
        for name in self.not_unicode.iter().filter(|name| is_override(name)) {
            let text = "its value is not UTF-8: correct or unset it".to_owned();
            found.push(At::Variable(name.as_str().into()), Kind::Wrong, text);
        }
        for (name, value) in self.variables.iter().filter(|(name, _)| is_override(name)) {
            let name: Arc<str> = name.as_str().into();
            let set = match segments(&name) {
                Some(path) => set(root, &path, parse_given(&name, value)),
                None => Err(format!(
                    "this is no path to a key: write {OVERRIDE}TABLE__KEY, such as {OVERRIDE}KAFKA__TOPIC_PREFIX"
                )),
            };
            if let Err(text) = set {
                found.push(At::Variable(name), Kind::Wrong, text);
            }
        }
        for (variable, table, key) in DEFAULTS {
            let given = self.get(variable).filter(|value| !value.is_empty());
            let absent = match root.get(table).map(|entry| &entry.node.value) {
                Some(Value::Table(table)) => !table.contains_key(key),
                Some(_) => false,
                None => true,
            };
            if let Some(value) = given.filter(|_| absent) {
                let path = [table.to_owned(), key.to_owned()];
                // It cannot fail: the table is one, or is not there.
                let _ = set(root, &path, parse_given(&variable.into(), value));
            }
        }
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let pairs = pairs.into_iter();
        Self { variables: pairs.map(|(n, v)| (n.into(), v.into())).collect(), not_unicode: Vec::new() }
    }
}

fn is_override(name: &str) -> bool {
    name.get(..OVERRIDE.len()).is_some_and(|start| start.eq_ignore_ascii_case(OVERRIDE))
}

/// `OUTLIER__KAFKA__TOPIC_PREFIX` as `kafka`, `topic_prefix`; a librdkafka property's dots are underscores.
fn segments(name: &str) -> Option<Vec<String>> {
    let name = name[OVERRIDE.len()..].to_lowercase();
    if let Some(property) = name.strip_prefix("kafka__properties__") {
        let property = property.replace('_', ".");
        return Some(vec!["kafka".into(), "properties".into(), property]);
    }
    let segments: Vec<String> = name.split("__").map(str::to_owned).collect();
    let sound = segments.len() <= 16 && segments.iter().all(|segment| !segment.is_empty());
    sound.then_some(segments)
}

/// Puts a node where the path leads, making tables on the way.
fn set(root: &mut Table, path: &[String], node: Node) -> Result<(), String> {
    let Some((last, way)) = path.split_last() else {
        return Ok(());
    };
    let mut here = root;
    let mut way = way.iter();
    while let Some(segment) = way.next() {
        let entry = here.entry(segment.clone()).or_insert_with(|| Entry {
            key_at: node.at.clone(),
            node: Node { value: Value::Table(Table::new()), at: node.at.clone() },
        });
        here = match &mut entry.node.value {
            Value::Table(table) => table,
            Value::Array(items) => {
                let which = way.next().map_or("", String::as_str);
                element(items, which).ok_or_else(|| {
                    format!("`{segment}` has no element `{which}` to change: name one by its place from 0 or by its name, then a key")
                })?
            }
            _ => {
                return Err(format!("`{segment}` is a single value, not a table: give `{segment}` itself"));
            }
        };
    }
    let key_at = match here.get(last) {
        Some(entry) => entry.key_at.clone(),
        None => node.at.clone(),
    };
    here.insert(last.clone(), Entry { key_at, node });
    Ok(())
}

/// The table at a place from 0, or with a name (of which case and punctuation do not matter).
fn element<'a>(items: &'a mut [Node], which: &str) -> Option<&'a mut Table> {
    let plain = |text: &str| text.to_lowercase().replace(['-', '.'], "_");
    let place = items.iter().position(|item| match &item.value {
        Value::Table(table) => match table.get("name").map(|entry| &entry.node.value) {
            Some(Value::Text(name)) => plain(name) == which,
            _ => false,
        },
        _ => false,
    });
    match &mut items.get_mut(place.or_else(|| which.parse().ok())?)?.value {
        Value::Table(table) => Some(table),
        _ => None,
    }
}
