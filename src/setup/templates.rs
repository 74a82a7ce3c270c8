//! The index templates: how OpenSearch stores each stage's documents. No I/O.
//!
//! Invariant: what a log holds in fields that the pipeline does not name hardly keeps it out. Strings are keywords cut at
//! [`IGNORE_ABOVE`]; malformed numbers, dates and addresses are stored and not searched; booleans are keywords, since
//! a boolean field refuses everything else; an object that the pipeline does not name is one `flat_object` field,
//! searchable by its paths (`httpRequest.headers.name`), so that what varies within one adds no fields.

use crate::config::{Config, Indices, Stage};
use crate::index::names;
use crate::index::opensearch::body::OWN_TIMESTAMP;
use outlier_core::field::FieldPath;
use outlier_core::measure::{Measure, Operand};
use outlier_core::pipeline::Pipeline;
use serde_json::{Map, Value, json};

/// Longer strings are stored and not searched; characters.
pub const IGNORE_ABOVE: u32 = 1_024;

/// The most fields of an index.
const FIELDS: u32 = 2_000;

/// Above other people's templates for `*`.
const PRIORITY: u32 = 500;

/// A template and the index, alias or data stream it is for; both have this name.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    /// Of the template and of the index.
    pub name: String,
    /// The body of `PUT /_index_template/<name>`.
    pub body: Value,
}

/// The templates of a pipeline, for the stages that the sink indexes.
pub fn wanted(config: &Config, pipeline: &Pipeline) -> Vec<Template> {
    let one = |stage: &Stage| {
        let name = names::index(&config.opensearch.index_prefix, &pipeline.name, *stage);
        let (mappings, limit) = match stage {
            Stage::Raw => (logs(pipeline, false), FIELDS),
            Stage::Enriched => (logs(pipeline, true), FIELDS),
            Stage::Scores => (scores(), 200),
            Stage::Alerts => (alerts(), 200),
        };
        let settings = json!({
            "number_of_shards": config.opensearch.shards.to_string(),
            "number_of_replicas": config.opensearch.replicas.to_string(),
            "mapping": {"ignore_malformed": "true", "total_fields": {"limit": limit.to_string()}},
        });
        let mut body = json!({
            "index_patterns": [name],
            "priority": PRIORITY,
            "template": {"settings": {"index": settings}, "mappings": mappings},
            "_meta": {"managed_by": "outlier"},
        });
        match config.opensearch.indices {
            Indices::Single => {}
            Indices::Daily | Indices::Monthly => {
                body["index_patterns"] = json!([names::dated_pattern(&name)]);
                // Searches, detectors and monitors know one name.
                body["template"]["aliases"] = json!({name.as_str(): {}});
            }
            Indices::DataStream => body["data_stream"] = json!({}),
        }
        Template { name, body }
    };
    config.sink.what.iter().map(one).collect()
}

fn keyword() -> Value {
    json!({"type": "keyword", "ignore_above": IGNORE_ABOVE})
}

fn time() -> Value {
    json!({"type": "date", "format": "epoch_millis"})
}

/// Raw and enriched logs.
fn logs(pipeline: &Pipeline, enriched: bool) -> Value {
    let mut properties = Map::new();
    for group in &pipeline.flags {
        declare(&mut properties, &group.field, keyword());
    }
    for measure in pipeline.detectors.iter().flat_map(|detector| &detector.measures) {
        if let Measure::Sum(Operand::Field(path)) | Measure::Ratio(Operand::Field(path)) = measure {
            declare(&mut properties, path, json!({"type": "double", "ignore_malformed": true}));
        }
    }
    // A date mapping cannot tell seconds from milliseconds: the log's own time stays a text.
    declare(&mut properties, &pipeline.timestamp.field, keyword());
    properties.insert(OWN_TIMESTAMP.to_owned(), keyword());
    properties.insert("@timestamp".to_owned(), time());
    if enriched {
        for flag in pipeline.flag_names() {
            properties.insert(flag.to_owned(), json!({"type": "byte"}));
        }
        let outlier = json!({
            "pipeline": keyword(),
            "event_time": time(),
            "anomalies": keyword(),
            "score": {"type": "float"},
        });
        properties.insert("outlier".to_owned(), json!({"properties": outlier}));
    } else {
        properties.insert("raw".to_owned(), keyword());
        properties.insert("raw_base64".to_owned(), json!({"type": "keyword", "index": false, "doc_values": false}));
    }
    let string_ip = json!({
        "type": "keyword",
        "ignore_above": IGNORE_ABOVE,
        "fields": {"ip": {"type": "ip", "ignore_malformed": true}},
    });
    json!({
        "date_detection": false,
        "numeric_detection": false,
        "dynamic_templates": [
            {"objects": {"match_mapping_type": "object", "mapping": {"type": "flat_object"}}},
            {"addresses": {"match_mapping_type": "string", "match_pattern": "regex", "match": "^(ip|.*[_.-]ip|.*I[pP]|.*[aA]ddr(ess)?)$", "mapping": string_ip}},
            {"strings": {"match_mapping_type": "string", "mapping": keyword()}},
            {"booleans": {"match_mapping_type": "boolean", "mapping": keyword()}},
        ],
        "properties": properties,
    })
}

/// Declares a path as objects around a field. What is there already, or stands where an object would be, stays.
fn declare(properties: &mut Map<String, Value>, path: &FieldPath, mapping: Value) {
    let Some((last, parents)) = path.segments().split_last() else {
        return;
    };
    // OpenSearch takes a dot in a name for a path, and an empty part of one for an error.
    let plain = |name: &String| !name.is_empty() && !name.contains('.');
    if !path.segments().iter().all(plain) {
        return;
    }
    let mut here = properties;
    for parent in parents {
        let object = here.entry(parent.clone()).or_insert_with(|| json!({"properties": {}}));
        let Some(Value::Object(inner)) = object.get_mut("properties") else {
            return;
        };
        here = inner;
    }
    here.entry(last.clone()).or_insert(mapping);
}

fn scores() -> Value {
    json!({
        "dynamic_templates": [{"objects": {"match_mapping_type": "object", "mapping": {"type": "flat_object"}}}],
        "date_detection": false,
        "properties": {
            "@timestamp": time(),
            "detector": keyword(),
            "series": keyword(),
            "window_start": time(),
            "window_end": time(),
            "value": {"type": "double"},
            "count": {"type": "long"},
            "expected": {"type": "double"},
            "lower": {"type": "double"},
            "upper": {"type": "double"},
            "score": {"type": "double"},
            "anomaly": {"type": "boolean"},
            "confidence": {"type": "double"},
            "learning": {"type": "boolean"},
            "learned": {"type": "long"},
            "needed": {"type": "long"},
            "overflow": {"type": "boolean"},
            "forgot": {"type": "boolean"},
            "left_out": {"properties": {
                "late": {"type": "long"},
                "skewed": {"type": "long"},
                "after_close": {"type": "long"},
            }},
        },
    })
}

fn alerts() -> Value {
    json!({
        "dynamic_templates": [{"objects": {"match_mapping_type": "object", "mapping": {"type": "flat_object"}}}],
        "date_detection": false,
        "properties": {
            "@timestamp": time(),
            "id": keyword(),
            "state": keyword(),
            "sequence": {"type": "integer"},
            "severity": keyword(),
            "detector": keyword(),
            "series": keyword(),
            "start": time(),
            "end": time(),
            "updated": time(),
            "windows": {"type": "long"},
            "tell": {"type": "boolean"},
            "told": time(),
            "peak": {"properties": {
                "window_end": time(),
                "value": {"type": "double"},
                "expected": {"type": "double"},
                "lower": {"type": "double"},
                "upper": {"type": "double"},
                "score": {"type": "double"},
            }},
        },
    })
}
