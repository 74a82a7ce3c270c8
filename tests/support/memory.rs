//! An index of a few lines: takes bulk requests like OpenSearch, into memory.

use serde_json::{Value, json};
use std::collections::BTreeMap;

/// An object in the mapping of every index, so that anything else of this name is refused.
pub const CONFLICT: &str = "httpRequest";

#[derive(Default)]
pub struct Memory {
    /// By index and id.
    pub documents: BTreeMap<(String, String), Value>,
    pub requests: usize,
}

impl Memory {
    /// Takes the lines of a bulk request that is not compressed, and answers it.
    pub fn bulk(&mut self, body: &[u8]) -> String {
        let text = str::from_utf8(body).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let items: Vec<Value> = lines.chunks(2).map(|pair| self.create(&pair[0]["create"], &pair[1])).collect();
        json!({"errors": false, "items": items}).to_string()
    }

    fn create(&mut self, action: &Value, document: &Value) -> Value {
        if document.get(CONFLICT).is_some_and(|value| !value.is_object()) {
            let error = json!({"type": "mapper_parsing_exception", "reason": "object mapping for [httpRequest]"});
            return json!({"create": {"status": 400, "error": error}});
        }
        let key = ["_index", "_id"].map(|name| action[name].as_str().unwrap().to_owned());
        match self.documents.entry(key.into()) {
            std::collections::btree_map::Entry::Occupied(_) => json!({"create": {"status": 409}}),
            std::collections::btree_map::Entry::Vacant(place) => {
                place.insert(document.clone());
                json!({"create": {"status": 201}})
            }
        }
    }

    /// The documents of an index by their ids.
    pub fn all(&self, index: &str) -> BTreeMap<String, Value> {
        let of = self.documents.iter().filter(|((name, _), _)| name == index);
        of.map(|((_, id), document)| (id.clone(), document.clone())).collect()
    }
}
