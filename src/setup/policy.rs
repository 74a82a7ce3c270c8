//! The policy of a pipeline's indices for Index State Management: when they begin anew and when they go. No I/O.

use crate::config::{Config, Indices, Stage};
use crate::index::names;
use outlier_core::pipeline::Pipeline;
use serde_json::{Value, json};
use std::time::Duration;

/// Above other people's policies for `*`.
const PRIORITY: u32 = 500;

/// The policy's id.
pub fn name(config: &Config, pipeline: &Pipeline) -> String {
    format!("outlier-{}{}", config.opensearch.index_prefix, pipeline.name).to_lowercase()
}

/// The policy's body, if the configuration needs one: a data stream, or a retention.
pub fn wanted(config: &Config, pipeline: &Pipeline) -> Option<Value> {
    let opensearch = &config.opensearch;
    let stream = opensearch.indices == Indices::DataStream;
    if opensearch.indices == Indices::Single || (!stream && opensearch.retention.is_zero()) {
        return None;
    }
    let pattern = |stage: &Stage| {
        let base = names::index(&opensearch.index_prefix, &pipeline.name, *stage);
        if stream { base } else { format!("{base}-*") }
    };
    let rollover = json!([{"rollover": {
        "min_index_age": minutes(opensearch.rollover_age),
        "min_primary_shard_size": format!("{}b", opensearch.rollover_size),
    }}]);
    // An index counts its age from its beginning, and a document that came last is younger by all of its period.
    let transition = if stream {
        json!({"state_name": "delete", "conditions": {"min_rollover_age": minutes(opensearch.retention)}})
    } else {
        let period = if opensearch.indices == Indices::Daily { 1 } else { 31 };
        let age = opensearch.retention + Duration::from_secs(86_400 * period);
        json!({"state_name": "delete", "conditions": {"min_index_age": minutes(age)}})
    };
    let keeps = opensearch.retention.is_zero();
    let mut states = vec![json!({
        "name": "written",
        "actions": if stream { rollover } else { json!([]) },
        "transitions": if keeps { json!([]) } else { json!([transition]) },
    })];
    if !keeps {
        states.push(json!({"name": "delete", "actions": [{"delete": {}}], "transitions": []}));
    }
    let patterns: Vec<String> = config.sink.what.iter().map(pattern).collect();
    Some(json!({
        "description": format!("outlier: the indices of {}", pipeline.name),
        "default_state": "written",
        "states": states,
        "ism_template": [{"index_patterns": patterns, "priority": PRIORITY}],
    }))
}

fn minutes(time: Duration) -> String {
    format!("{}m", time.as_secs() / 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;

    #[test]
    fn policies_fit_the_layout() {
        for (head, states, condition) in [
            ("", 0, Value::Null),
            ("indices = \"daily\"", 0, Value::Null),
            ("indices = \"daily\"\nretention = \"30d\"", 2, json!({"min_index_age": "44640m"})),
            ("indices = \"monthly\"\nretention = \"30d\"", 2, json!({"min_index_age": "87840m"})),
            ("indices = \"data_stream\"", 1, Value::Null),
            ("indices = \"data_stream\"\nretention = \"30d\"", 2, json!({"min_rollover_age": "43200m"})),
        ] {
            let text = format!("[opensearch]\n{head}\n[[pipeline]]\npreset = \"waf\"");
            let config = Config::parse(&text, "test", &Environment::default()).unwrap();
            let policy = wanted(&config, &config.pipelines[0]).unwrap_or_default();
            assert_eq!(policy["states"].as_array().map_or(0, Vec::len), states, "{policy}");
            assert_eq!(policy["states"][0]["transitions"][0]["conditions"], condition, "{policy}");
            let rolls = policy["states"][0]["actions"][0]["rollover"]["min_primary_shard_size"] == "32212254720b";
            assert_eq!(rolls, head.contains("stream"), "{policy}");
        }
    }
}
