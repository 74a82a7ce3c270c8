//! Exchanges with a real OpenSearch 3.4 and its plugins, as they went over the wire.

use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

/// A request and its answer.
pub struct Exchange {
    pub method: String,
    pub path: String,
    pub body: String,
    pub status: u16,
    pub answer: String,
}

/// Recordings of a server with the plugins, in their order.
pub const WITH_PLUGINS: [&str; 8] = [
    "ad-create.txt",
    "ad-start.txt",
    "ad-restart10s.txt",
    "ad-err.txt",
    "mon.txt",
    "noti.txt",
    "rest2.txt",
    "rest3.txt",
];

/// Of one without.
pub const PLAIN: &str = "plain-rest.txt";

/// Reads a recording: `--- METHOD PATH`, the request's body if it has one, the answer, `[HTTP status …]`.
pub fn read(file: &Path) -> Vec<Exchange> {
    let text = std::fs::read_to_string(file).unwrap();
    let mut exchanges = Vec::new();
    for block in text.split("--- ").skip(1) {
        let mut lines = block.lines();
        let Some((method, path)) = lines.next().and_then(|line| line.split_once(' ')) else { continue };
        let rest: Vec<&str> = lines.collect();
        let Some(end) = rest.iter().position(|line| line.starts_with("[HTTP ")) else { continue };
        let Some(status) = rest[end].split([' ', ']']).nth(1).and_then(|status| status.parse().ok()) else { continue };
        let (body, answer) = match rest[..end] {
            [] => ("", ""),
            [answer] => ("", answer),
            [body, .., answer] => (body, answer),
        };
        let owned = str::to_owned;
        exchanges.push(Exchange {
            method: owned(method),
            path: owned(path),
            body: owned(body),
            status,
            answer: owned(answer),
        });
    }
    exchanges
}

/// What kind of request this is: its path without what names a thing. A search may be sent in two ways.
fn form(method: &str, path: &str) -> (String, String) {
    let path = path.split('?').next().unwrap_or_default().trim_end_matches('/');
    let known = "detectors count results monitors alerts configs features feature test policies";
    let part = |part: &str| {
        if part.starts_with('_') || known.split(' ').any(|word| word == part) {
            part.to_owned()
        } else {
            "*".to_owned()
        }
    };
    let form = path.split('/').skip(1).map(part).collect::<Vec<_>>().join("/");
    (if form.ends_with("_search") { "SEARCH".to_owned() } else { method.to_owned() }, form)
}

/// Answers as real servers gave them, to be played to requests of the same kind.
pub struct Recordings {
    exchanges: Vec<Exchange>,
    /// Kinds of requests that were answered so, with the status.
    pub played: BTreeSet<(String, String, u16)>,
}

impl Recordings {
    pub fn new(exchanges: Vec<Exchange>) -> Self {
        Self { exchanges, played: BTreeSet::new() }
    }

    /// The recorded answer to such a request, of the same status, with the names, ids and bodies of `ours` in it; `ours`
    /// where none was recorded. Of documents the items differ, so that none is an example of another.
    pub fn play(&mut self, method: &str, path: &str, status: u16, ours: &Value) -> Value {
        let kind = form(method, path);
        if kind.1 == "_bulk" || kind.1.ends_with("/_bulk") {
            return ours.clone();
        }
        let recorded = self.exchanges.iter().filter(|exchange| exchange.status == status);
        let recorded = recorded.filter(|exchange| form(&exchange.method, &exchange.path) == kind);
        let Some(theirs) = recorded.filter_map(|exchange| serde_json::from_str(&exchange.answer).ok()).next() else {
            return ours.clone();
        };
        self.played.insert((kind.0, kind.1, status));
        within(theirs, ours)
    }
}

/// What was recorded, with what is ours in its place. A thing's own body is ours, beside what the server adds to it at its
/// top; a list is ours, each item in the form of the first that was recorded.
fn within(theirs: Value, ours: &Value) -> Value {
    match (theirs, ours) {
        (Value::Object(mut all), Value::Object(ours)) => {
            for (name, value) in ours {
                let value = match all.remove(name) {
                    Some(theirs) if BODIES.contains(&name.as_str()) => beside(theirs, value),
                    Some(theirs) => within(theirs, value),
                    None => value.clone(),
                };
                all.insert(name.clone(), value);
            }
            Value::Object(all)
        }
        (Value::Array(theirs), Value::Array(ours)) => match theirs.first() {
            Some(first) => ours.iter().map(|item| within(first.clone(), item)).collect(),
            None => Value::Array(ours.clone()),
        },
        _ => ours.clone(),
    }
}

/// Members that hold a thing as it is stored.
const BODIES: &[&str] = &["_source", "monitor", "anomaly_detector", "config"];

fn beside(theirs: Value, ours: &Value) -> Value {
    match (theirs, ours) {
        (Value::Object(mut all), Value::Object(ours)) => {
            all.extend(ours.clone());
            Value::Object(all)
        }
        _ => ours.clone(),
    }
}
