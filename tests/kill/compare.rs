//! Topics and indices, record by record.

use crate::support::kafka::Record;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A topic's records under the ids that their documents have.
pub fn by_id(records: &[Record], topic: &str, stage: &str) -> BTreeMap<String, Value> {
    let id = |record: &Record, value: &Value| match stage {
        "raw" => format!("{topic}-{}-{}", record.partition, record.offset),
        "enriched" => {
            let source: Vec<_> = record.header("outlier-source").unwrap().rsplitn(3, '/').collect();
            format!("{}-{}-{}", source[2], source[1], source[0])
        }
        "alerts" => format!("{}-{}", value["id"], value["sequence"]).replace('"', ""),
        _ => format!("{}/{}/{}", value["detector"], value["series"], value["window_start"]).replace('"', ""),
    };
    let mut found = BTreeMap::new();
    for record in records {
        let value = serde_json::from_str(&record.text()).unwrap_or(Value::Null);
        let id = id(record, &value);
        // Between two changes of its state an alert is written again: the first is the document.
        if stage == "alerts" {
            found.entry(id).or_insert(value);
        } else {
            assert!(found.insert(id.clone(), value).is_none(), "{id} is there twice in {topic}");
        }
    }
    found
}

pub fn rows(path: &Path, table: &str) -> usize {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.query_row(&format!("SELECT count(*) FROM \"{table}\""), [], |row| row.get::<_, i64>(0)).unwrap() as usize
}

pub fn sqlite(path: &Path, table: &str) -> BTreeMap<String, Value> {
    let connection = rusqlite::Connection::open(path).unwrap();
    let mut statement = connection.prepare(&format!("SELECT id, body FROM \"{table}\"")).unwrap();
    let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, Option<Vec<u8>>>(1)?));
    let rows = statement.query_map([], row).unwrap().map(Result::unwrap);
    rows.map(|(id, body)| (id, serde_json::from_slice(&body.unwrap_or_default()).unwrap_or(Value::Null))).collect()
}

/// Documents carry `@timestamp` besides the record's members; records that are no objects are kept as text.
pub fn same(stage: &str, index: &str, documents: BTreeMap<String, Value>, records: &BTreeMap<String, Value>) {
    let ids = |map: &BTreeMap<String, Value>| map.keys().cloned().collect::<BTreeSet<_>>();
    let (there, wanted) = (ids(&documents), ids(records));
    let missing: Vec<_> = wanted.difference(&there).take(3).collect();
    let extra: Vec<_> = there.difference(&wanted).take(3).collect();
    assert!(missing.is_empty() && extra.is_empty(), "{stage} in {index}: missing {missing:?}, extra {extra:?}");
    for (id, mut document) in documents {
        if let (Value::Object(members), Value::Object(_)) = (&mut document, &records[&id]) {
            members.remove("@timestamp");
            assert_eq!(document, records[&id], "{stage} {id} in {index}");
        }
    }
}
