//! The one monitor on anomalies and the channel it tells, as OpenSearch's alerting and notifications want them. No I/O.
//!
//! Invariant: bodies are written as the server writes them back (ranges with `from` and `to`, and so on), so that
//! comparing field by field finds no difference in what the server stored.

use crate::config::{Channel, Config, Stage};
use crate::index::names;
use outlier_core::pipeline::Pipeline;
use serde_json::{Value, json};

/// A further message about the same alert comes no sooner; minutes.
const THROTTLE: u32 = 10;

/// What a monitor looks back beyond window and lateness: until scores are in the index and the monitor runs; minutes.
const SLACK: i64 = 3;

/// The monitor's name; the server does not keep names unique, so it is searched before it is created.
pub fn name(config: &Config, pipeline: &Pipeline) -> String {
    format!("outlier {}{} anomalies", config.opensearch.index_prefix, pipeline.name)
}

/// The monitor's body.
pub fn wanted(config: &Config, pipeline: &Pipeline) -> Value {
    let index = names::index(&config.opensearch.index_prefix, &pipeline.name, Stage::Scores);
    let longest = pipeline.detectors.iter().map(|detector| detector.window + detector.lateness).max().unwrap_or(0);
    let minutes = longest / 60_000 + 1 + SLACK;
    let query = json!({
        "size": 10,
        "query": {"bool": {"filter": [
            {"term": {"anomaly": {"value": true}}},
            {"range": {"@timestamp": {
                "from": format!("{{{{period_end}}}}||-{minutes}m"), "to": "{{period_end}}",
                "include_lower": true, "include_upper": true, "format": "epoch_millis",
            }}},
        ]}},
        "sort": [{"score": {"order": "desc"}}],
    });
    let actions = match &config.alerting.channel {
        Channel::None => json!([]),
        Channel::Webhook { name, .. } => json!([{
            "name": "tell",
            "destination_id": name,
            "subject_template": {"source": format!("outlier: anomalies in {}", pipeline.name), "lang": "mustache"},
            "message_template": {"source": MESSAGE, "lang": "mustache"},
            "throttle_enabled": true,
            "throttle": {"value": THROTTLE, "unit": "MINUTES"},
        }]),
    };
    json!({
        "type": "monitor",
        "monitor_type": "query_level_monitor",
        "name": name(config, pipeline),
        "enabled": true,
        "schedule": {"period": {"interval": 1, "unit": "MINUTES"}},
        "inputs": [{"search": {"indices": [index], "query": query}}],
        "triggers": [{"query_level_trigger": {
            "name": "anomaly",
            "severity": "2",
            "condition": {"script": {"source": "ctx.results[0].hits.total.value > 0", "lang": "painless"}},
            "actions": actions,
        }}],
    })
}

/// One line an anomaly: the series, its value, what was to be expected, and the score.
const MESSAGE: &str = "{{ctx.monitor.name}}:\n{{#ctx.results.0.hits.hits}}\
- {{_source.detector}} {{_source.series}} was {{_source.value}}, expected {{_source.expected}} ({{_source.lower}} to {{_source.upper}}), score {{_source.score}}, window end {{_source.window_end}}\n\
{{/ctx.results.0.hits.hits}}";

/// Keeps the ids of triggers and actions that are there, so that an update does not forget their alerts.
pub fn keep_ids(wanted: &mut Value, found: &Value) {
    for trigger in wanted["triggers"].as_array_mut().into_iter().flatten() {
        let trigger = &mut trigger["query_level_trigger"];
        let triggers = found["triggers"].as_array().into_iter().flatten().map(|there| &there["query_level_trigger"]);
        let Some(there) = by_name(triggers, &trigger["name"]) else {
            continue;
        };
        trigger["id"] = there["id"].clone();
        for action in trigger["actions"].as_array_mut().into_iter().flatten() {
            if let Some(there) = by_name(there["actions"].as_array().into_iter().flatten(), &action["name"]) {
                action["id"] = there["id"].clone();
            }
        }
    }
}

fn by_name<'v>(mut all: impl Iterator<Item = &'v Value>, name: &Value) -> Option<&'v Value> {
    all.find(|there| there["name"] == *name && there["id"].is_string())
}

/// The channel's id and body, if one is configured.
pub fn channel(config: &Config) -> Option<(String, Value)> {
    let Channel::Webhook { name, url } = &config.alerting.channel else {
        return None;
    };
    let body = json!({
        "name": name,
        "description": "Told by outlier's monitors",
        "config_type": "webhook",
        "is_enabled": true,
        "webhook": {"url": url.expose(), "header_params": {"Content-Type": "text/plain"}, "method": "POST"},
    });
    Some((name.clone(), body))
}
