//! The monitors of a pipeline, as OpenSearch's alerting wants them. No I/O.
//!
//! | monitor | looks at | alerts | tells channels |
//! |---|---|---|---|
//! | `outlier waf: <detector>` | scores, by query | one a detector and severity | yes |
//! | `outlier waf (series)` | scores, by buckets | one a series, over when the series is normal | no |
//! | `outlier waf (flags)` | enriched, by query | most records are bad; with `alerting.quiet`, none came | if none came |
//! | `outlier waf (flags by <field>)` | enriched, by buckets | one a value most of whose records are bad | no |
//! | `outlier waf (detectors)` | results of OpenSearch's detectors | one for all | only where scores are not indexed |
//!
//! Invariants:
//! - One thing rings once: an anomaly is told by one monitor, by one trigger of it at a time, and again only when it goes on
//!   for longer than `alerting.repeat_interval`, or becomes critical.
//! - Bodies are written as the server writes them back (ranges with `from` and `to`, and so on), so that comparing
//!   field by field finds no difference in what the server stored.
//! - The server stores any script and any template, and tells of a mistake when it is too late: [`super::script`] checks
//!   them here, and the tests run those of query-level triggers on a real OpenSearch.

use crate::config::{Channel, Config, Owner, Severity, Stage};
use crate::index::names;
use crate::setup::index::plugins::Installed;
use crate::setup::{channels, detectors, diff::named};
use outlier_core::field::FieldPath;
use outlier_core::pipeline::{Detector, FlagGroup, Millis, Pipeline};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// What a monitor looks back beyond window and lateness: until scores are in the index and the monitor runs; minutes.
const SLACK: i64 = 3;

/// The longest throttle that the server takes; minutes.
const MOST_THROTTLE: i64 = 1_440;

/// The most triggers that the server takes.
const MAX_TRIGGERS: usize = 10;

/// A flag group is an alert when more than half of at least this many records are bad.
const SHARE_OF: u32 = 100;

/// Of so many minutes, beyond the time for which records may be late.
const SHARE_MINUTES: i64 = 5;

/// How sure OpenSearch's detectors must be; their own page's values.
const GRADE: f64 = 0.7;
const CONFIDENCE: f64 = 0.3;

/// The most anomalies in a message.
const MOST: u32 = 10;

/// Series or values that the plugin reads at a time; it reads on until it has all.
const PAGE: u32 = 1_000;

/// The most fields whose values are looked at: each costs a search a minute for each page.
const FIELDS: usize = 10;

/// The aggregation that makes the buckets of any bucket monitor; not of series only, but so it is called in clusters.
const BY: &str = "by_series";

/// A search that failed has no results at all, and a script that fails counts for an alert.
const SEARCHED: &str = "ctx.results.length > 0";
const HITS: &str = "ctx.results.length > 0 && ctx.results[0].hits.total.value > 0";

/// Before a flag's name where the query counts the flag: a flag may be called as another count.
const FLAG: &str = "flag ";

/// The trigger that is about no anomaly.
const SILENCE: &str = "silence";

/// The name of a detector stands in for its id until that is known.
const DETECTOR_ID: &str = "id of ";

/// What the cluster has beside alerting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts {
    /// The configured channels.
    pub channels: bool,
    /// OpenSearch's own detectors.
    pub detectors: bool,
}

/// The monitors' names and bodies. The server does not keep names unique, so they are searched before they are made.
pub fn wanted(config: &Config, pipeline: &Pipeline, parts: Parts) -> Vec<(String, Value)> {
    let mut all = Vec::new();
    let own = Own { config, pipeline, parts };
    let scores = config.sink.what.contains(&Stage::Scores);
    if scores {
        all.extend(pipeline.detectors.iter().map(|detector| own.anomalies(detector)));
        all.push(own.series());
    }
    if config.sink.what.contains(&Stage::Enriched) {
        all.extend(own.flags());
        all.extend(own.values());
        if parts.detectors && !pipeline.flags.is_empty() {
            all.push(own.detectors(!scores));
        }
    }
    all
}

/// Whether a pipeline's monitors tell the channels of its anomalies, if there are any and channels to be told.
pub fn tell(config: &Config, pipeline: &Pipeline, there: Installed) -> bool {
    let parts = Parts { channels: there.notifications, detectors: there.detection && config.opensearch.detectors };
    let tells = |(_, mut body): (String, Value)| {
        let told = |trigger: &Value| trigger["name"] != SILENCE && trigger["actions"] != json!([]);
        let triggers = body["triggers"].as_array_mut().into_iter().flatten();
        triggers.filter_map(inner).any(|trigger| told(trigger))
    };
    config.alerting.channels.is_empty()
        || pipeline.detectors.is_empty()
        || wanted(config, pipeline, parts).into_iter().any(tells)
}

struct Own<'a> {
    config: &'a Config,
    pipeline: &'a Pipeline,
    parts: Parts,
}

impl Own<'_> {
    fn name(&self, of: &str) -> String {
        format!("outlier {}{}{of}", self.config.opensearch.index_prefix, self.pipeline.name)
    }

    fn index(&self, stage: Stage) -> String {
        names::index(&self.config.opensearch.index_prefix, &self.pipeline.name, stage)
    }

    /// Anomalies of one detector, by severity.
    fn anomalies(&self, detector: &Detector) -> (String, Value) {
        let name = self.name(&format!(": {}", detector.name));
        let critical = self.config.alerting.critical;
        // A score comes when its window's lateness is over; the next one a hop later.
        let pause = (minutes(detector.hop) + 1 + SLACK).max(self.throttle() / 2);
        let lasts = minutes(detector.lateness) + pause;
        let (highest, time) = (json!({"max": {"field": "score"}}), json!({"field": "@timestamp"}));
        let query = json!({
            "size": MOST,
            "query": {"bool": {"filter": [
                {"term": {"anomaly": {"value": true}}},
                {"term": {"detector": {"value": detector.name}}},
                lately(lasts + pause),
            ]}},
            "post_filter": lately(lasts),
            "sort": [{"score": {"order": "desc"}}],
            "docvalue_fields": [{"field": "window_end", "format": "strict_date_time_no_millis"}],
            "aggregations": {
                "near": {"filter": lately(lasts), "aggregations": {"highest": highest, "first": {"min": time}}},
                "before": {"filter": between(lasts + pause, lasts), "aggregations": {"highest": highest, "last": {"max": time}}},
            },
        });
        let subject = format!("outlier: {{{{ctx.trigger.name}}}} of {} in {}", detector.name, self.pipeline.name);
        // What was critical before, and goes on, is so for a pause longer: no second incident begins in so short a time.
        let (near, before) = ("ctx.results[0].aggregations.near", "ctx.results[0].aggregations.before");
        let reached = |part: &str| format!("{part}.doc_count > 0 && {part}.highest.value >= {critical:?}");
        let goes_on = format!("{near}.first.value - {before}.last.value <= {}", pause * 60_000);
        let is_critical = format!("({} || {} && {goes_on})", reached(near), reached(before));
        // With a hit one of the two is true, and never both.
        let triggers = [
            ("critical anomaly", "1", Severity::Critical, format!("{HITS} && {is_critical}")),
            ("anomaly", "2", Severity::All, format!("{HITS} && !{is_critical}")),
        ];
        let triggers = triggers.map(|(name, severity, of, script)| {
            trigger(name, severity, &script, self.actions(of, &subject, ANOMALIES))
        });
        let inputs = search(&[&self.index(Stage::Scores)], query);
        let body = monitor(&name, "query_level_monitor", inputs, triggers.to_vec());
        (name, body)
    }

    /// One alert a series, to be seen in OpenSearch; it begins and ends with the series' anomaly.
    fn series(&self) -> (String, Value) {
        let name = self.name(" (series)");
        let longest = self.pipeline.detectors.iter().map(look_back).max().unwrap_or(SLACK);
        let query = json!({
            "size": 0,
            "query": {"bool": {"filter": [{"term": {"anomaly": {"value": true}}}, lately(longest)]}},
            "aggregations": {BY: {
                "composite": {"size": PAGE, "sources": [by("detector", "detector"), by("series", "series")]},
                "aggregations": {"highest": {"max": {"field": "score"}}},
            }},
        });
        let trigger = of_buckets("anomalous series", "2", json!({"highest": "highest"}), "params.highest > 0");
        let inputs = search(&[&self.index(Stage::Scores)], query);
        let body = monitor(&name, "bucket_level_monitor", inputs, vec![trigger]);
        (name, body)
    }

    /// What needs no model: that not most records are bad and, where `alerting.quiet` is set, that any come at all. Several
    /// monitors where there are more flag groups than a monitor may have triggers.
    fn flags(&self) -> Vec<(String, Value)> {
        let quiet = self.config.alerting.quiet.as_secs().div_ceil(60) as i64;
        let minutes = self.recent().max(quiet);
        let mut triggers = Vec::new();
        if quiet > 0 {
            let subject = format!("outlier: {{{{ctx.trigger.name}}}} in {}", self.pipeline.name);
            let message = format!(
                "{{{{ctx.monitor.name}}}}: no record of the last {quiet} minutes is indexed. Check the producers, and /health of `process` and `sink`."
            );
            let actions = self.actions(Severity::Critical, &subject, &message);
            let script = format!("{SEARCHED} && ctx.results[0].aggregations.recent.doc_count == 0");
            triggers.push((None, trigger(SILENCE, "1", &script, actions)));
        }
        for group in &self.pipeline.flags {
            let flag = &group.bad.name;
            let total = "ctx.results[0].aggregations.records.value";
            let bad = format!("ctx.results[0].aggregations['{FLAG}{flag}'].value");
            let script = format!("{SEARCHED} && {total} >= {SHARE_OF} && {bad} * 2 > {total}");
            triggers.push((Some(flag), trigger(&format!("most are {flag}"), "3", &script, Vec::new())));
        }
        let parts = triggers.chunks(MAX_TRIGGERS).enumerate().map(|(i, part)| {
            let name = self.name(&format!(" (flags{})", nth(i)));
            let mut aggregations = json!({"records": {"value_count": {"field": "@timestamp"}}});
            for (flag, _) in part {
                match flag {
                    Some(flag) => aggregations[format!("{FLAG}{flag}")] = json!({"sum": {"field": flag}}),
                    None => aggregations["recent"] = json!({"filter": lately(quiet)}),
                }
            }
            let query =
                json!({"size": 0, "query": {"bool": {"filter": [lately(minutes)]}}, "aggregations": aggregations});
            let triggers = part.iter().map(|(_, trigger)| trigger.clone()).collect();
            let body = monitor(&name, "query_level_monitor", search(&[&self.index(Stage::Enriched)], query), triggers);
            (name, body)
        });
        parts.collect()
    }

    /// One alert a value, to be seen in OpenSearch: for each field of a flag group, the values that are not bad by it and
    /// most of whose records are bad by another group. Nothing where all groups are of one field.
    fn values(&self) -> Vec<(String, Value)> {
        // A name with a dot has no mapping, and other signs mean something in searches or here.
        let word = |name: &String| name.chars().all(|c| c.is_alphanumeric() || "_-@".contains(c));
        let mut fields: Vec<&FieldPath> = Vec::new();
        for group in &self.pipeline.flags {
            if group.field.segments().iter().all(word) && !fields.contains(&&group.field) {
                fields.push(&group.field);
            }
        }
        fields.into_iter().take(FIELDS).flat_map(|field| self.values_of(field)).collect()
    }

    fn values_of(&self, field: &FieldPath) -> Vec<(String, Value)> {
        let (own, others): (Vec<_>, Vec<_>) = self.pipeline.flags.iter().partition(|group| group.field == *field);
        let own: Vec<Value> = own.iter().map(|group| json!({"term": {&group.bad.name: {"value": 1}}})).collect();
        let part = |(i, part): (usize, &[&FlagGroup])| {
            let name = self.name(&format!(" (flags{} by {field})", nth(i)));
            let (mut counts, mut triggers) = (Map::new(), Vec::new());
            for (i, group) in part.iter().enumerate() {
                // A path to a count has no place for any name of a flag.
                let (flag, count) = (&group.bad.name, format!("bad_{i}"));
                counts.insert(count.clone(), json!({"sum": {"field": flag}}));
                let of = json!({"records": "_count", "bad": count});
                let script = format!("params.records >= {SHARE_OF} && params.bad * 2 > params.records");
                triggers.push(of_buckets(&format!("most are {flag}"), "3", of, &script));
            }
            let query = json!({
                "size": 0,
                "query": {"bool": {"filter": [lately(self.recent())], "must_not": own}},
                "aggregations": {BY: {
                    "composite": {"size": PAGE, "sources": [by("value", &field.to_string())]},
                    "aggregations": counts,
                }},
            });
            let inputs = search(&[&self.index(Stage::Enriched)], query);
            let body = monitor(&name, "bucket_level_monitor", inputs, triggers);
            (name, body)
        };
        others.chunks(MAX_TRIGGERS).enumerate().map(part).collect()
    }

    /// Over how many minutes the share of what is bad is looked at.
    fn recent(&self) -> i64 {
        SHARE_MINUTES + self.pipeline.detectors.iter().map(|detector| detector.lateness / 60_000).max().unwrap_or(0)
    }

    /// Results of OpenSearch's own detectors.
    fn detectors(&self, tell: bool) -> (String, Value) {
        let name = self.name(" (detectors)");
        let all = detectors::wanted(self.config, self.pipeline);
        let minutes = all.iter().map(|detector| detector.interval).max().unwrap_or(1) + 1;
        // What tells goes on over a pause: not each spike is an alert.
        let minutes = (minutes as i64).max(if tell { self.throttle() / 2 } else { 0 });
        let ids: Vec<String> = all.iter().map(|detector| format!("{DETECTOR_ID}{}", detector.name)).collect();
        let query = json!({
            "size": MOST,
            // Results of a historical analysis have a task; they tell of the past.
            "query": {"bool": {"must_not": [{"exists": {"field": "task_id"}}], "filter": [
                {"range": {"execution_end_time": {
                    "from": format!("{{{{period_end}}}}||-{minutes}m"), "to": "{{period_end}}",
                    "include_lower": true, "include_upper": true, "format": "epoch_millis",
                }}},
                {"terms": {"detector_id": ids}},
                {"range": {"anomaly_grade": {"from": GRADE, "to": null, "include_lower": false, "include_upper": true}}},
                {"range": {"confidence": {"from": CONFIDENCE, "to": null, "include_lower": false, "include_upper": true}}},
            ]}},
            "sort": [{"anomaly_grade": {"order": "desc"}}],
        });
        let subject = format!("outlier: OpenSearch's detectors found an anomaly in {}", self.pipeline.name);
        let actions = if tell { self.actions(Severity::All, &subject, GRADES) } else { Vec::new() };
        let triggers = vec![trigger("anomaly", "2", HITS, actions)];
        let inputs = search(&[".opendistro-anomaly-results*"], query);
        let mut body = monitor(&name, "query_level_monitor", inputs, triggers);
        // With this, OpenSearch Dashboards shows it as a monitor of detectors.
        body["ui_metadata"] = json!({"search": {"searchType": "ad"}});
        (name, body)
    }

    /// A message about an alert that goes on comes no sooner; minutes. An alert ends when its last anomaly leaves the query,
    /// a pause of half of this later, so only what lasted for the other half is told again, and what comes back within a
    /// pause is no new alert.
    fn throttle(&self) -> i64 {
        let repeat = (self.config.alerting.repeat_interval.as_secs() / 60) as i64;
        (2 * repeat).clamp(2 * (SLACK + 1), MOST_THROTTLE)
    }

    /// What tells the channels: those for every alert, and for a critical one the others too.
    fn actions(&self, of: Severity, subject: &str, message: &str) -> Vec<Value> {
        let throttle = self.throttle();
        let action = |channel: &Channel| {
            json!({
                "name": format!("tell {}", channel.name),
                "destination_id": channels::id(self.config, &channel.name),
                "subject_template": {"source": subject, "lang": "mustache"},
                "message_template": {"source": message, "lang": "mustache"},
                "throttle_enabled": true,
                "throttle": {"value": throttle, "unit": "MINUTES"},
            })
        };
        let alerting = &self.config.alerting;
        let tells = self.parts.channels && alerting.owner == Owner::OpenSearch;
        let concerned = |channel: &&Channel| of == Severity::Critical || channel.severity == Severity::All;
        alerting.channels.iter().filter(|_| tells).filter(concerned).map(action).collect()
    }
}

/// Ends the name of what is in several parts.
fn nth(i: usize) -> String {
    if i == 0 { String::new() } else { format!(" {}", i + 1) }
}

/// Whole minutes, rounded up.
fn minutes(of: Millis) -> i64 {
    of.saturating_add(59_999) / 60_000
}

/// How long after its end a window's score may come to the index; minutes.
fn look_back(detector: &Detector) -> i64 {
    minutes(detector.lateness) + 1 + SLACK
}

/// The last so many minutes.
fn lately(minutes: i64) -> Value {
    from(minutes, "{{period_end}}", true)
}

/// The time from so many minutes ago until so many, exclusive.
fn between(minutes: i64, until: i64) -> Value {
    from(minutes, &format!("{{{{period_end}}}}||-{until}m"), false)
}

fn from(minutes: i64, to: &str, inclusive: bool) -> Value {
    json!({"range": {"@timestamp": {
        "from": format!("{{{{period_end}}}}||-{minutes}m"), "to": to,
        "include_lower": true, "include_upper": inclusive, "format": "epoch_millis",
    }}})
}

fn search(indices: &[&str], query: Value) -> Value {
    json!([{"search": {"indices": indices, "query": query}}])
}

fn trigger(name: &str, severity: &str, script: &str, actions: Vec<Value>) -> Value {
    json!({"query_level_trigger": {
        "name": name,
        "severity": severity,
        "condition": {"script": {"source": script, "lang": "painless"}},
        "actions": actions,
    }})
}

/// A source of composite buckets: the values of a field. Alerts of all monitors are stored in one index, whose mapping grows
/// by their buckets' keys: an object of every monitor, with texts by names in which no dot makes objects of their own.
fn by(name: &str, field: &str) -> Value {
    json!({name: {"terms": {"field": field, "missing_bucket": false, "order": "asc"}}})
}

/// Alerts for each bucket of which the script is true; `of` names what it looks at by paths within the bucket.
fn of_buckets(name: &str, severity: &str, of: Value, script: &str) -> Value {
    json!({"bucket_level_trigger": {
        "name": name,
        "severity": severity,
        "condition": {
            "buckets_path": of,
            "parent_bucket_path": BY,
            "script": {"source": script, "lang": "painless"},
            "gap_policy": "skip",
        },
        "actions": [],
    }})
}

fn monitor(name: &str, kind: &str, inputs: Value, triggers: Vec<Value>) -> Value {
    json!({
        "type": "monitor",
        "monitor_type": kind,
        "name": name,
        "enabled": true,
        "schedule": {"period": {"interval": 1, "unit": "MINUTES"}},
        "inputs": inputs,
        "triggers": triggers,
    })
}

/// One line an anomaly: the series, its value, what was to be expected, the score, and why.
pub const ANOMALIES: &str = "{{ctx.monitor.name}}, {{ctx.trigger.name}}:\n{{#ctx.results.0.hits.hits}}\
- {{_source.series}} was {{_source.value}}, expected {{_source.expected}} ({{_source.lower}} to {{_source.upper}}), score {{_source.score}}, window end {{fields.window_end.0}}\
{{#_source.why}}; {{field}} = {{value}}: {{contribution}} % of it{{/_source.why}}\n\
{{/ctx.results.0.hits.hits}}";

/// One line a result of a detector: its features are named in it; what was expected, and the part that each has in the
/// anomaly, follow in the same order, as the plugin writes them.
pub const GRADES: &str = "{{ctx.monitor.name}}:\n{{#ctx.results.0.hits.hits}}\
- grade {{_source.anomaly_grade}}, confidence {{_source.confidence}}\
{{#_source.feature_data}}; {{feature_name}} was {{data}}{{/_source.feature_data}}\
{{#_source.expected_values.0}}; expected{{#value_list}} {{data}}{{/value_list}}{{/_source.expected_values.0}}\
{{#_source.relevant_attribution.0}}; of the anomaly{{#_source.relevant_attribution}} {{data}}{{/_source.relevant_attribution}} is theirs{{/_source.relevant_attribution.0}}\n\
{{/ctx.results.0.hits.hits}}";

/// Puts the ids of detectors in place of their names, and leaves out those that have none and never will.
pub fn fill_in(body: &mut Value, ids: &BTreeMap<String, Option<String>>) {
    let id = |value: &Value| Some(ids.get(value.as_str()?.strip_prefix(DETECTOR_ID)?)?.clone());
    match body {
        Value::Array(items) => {
            items.retain(|item| id(item) != Some(None));
            for item in items {
                match id(item) {
                    Some(found) => *item = found.into(),
                    None => fill_in(item, ids),
                }
            }
        }
        Value::Object(members) => members.values_mut().for_each(|item| fill_in(item, ids)),
        _ => {}
    }
}

/// Whether an id is still missing.
pub fn unfilled(body: &Value) -> bool {
    match body {
        Value::String(text) => text.starts_with(DETECTOR_ID),
        Value::Array(items) => items.iter().any(unfilled),
        Value::Object(members) => members.values().any(unfilled),
        _ => false,
    }
}

/// Keeps the ids of triggers and actions that are there, so that an update does not forget their alerts, whatever else of
/// them is overwritten.
pub fn keep_ids(wanted: &mut Value, found: &Value) {
    let keep = |item: &mut Value, there: &Value| {
        if there["id"].is_string() {
            item["id"] = there["id"].clone();
        }
    };
    for wrapped in wanted["triggers"].as_array_mut().into_iter().flatten() {
        let there = named(wrapped, &found["triggers"]).and_then(|there| there.as_object()?.values().next());
        let (Some(there), Some(trigger)) = (there, inner(wrapped)) else { continue };
        keep(trigger, there);
        for action in trigger["actions"].as_array_mut().into_iter().flatten() {
            if let Some(there) = named(action, &there["actions"]) {
                keep(action, there);
            }
        }
    }
}

/// The trigger in its wrapping, which says its kind.
fn inner(wrapped: &mut Value) -> Option<&mut Value> {
    wrapped.as_object_mut()?.values_mut().next()
}

#[cfg(test)]
mod tests;
