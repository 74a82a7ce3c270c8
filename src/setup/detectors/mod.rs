//! OpenSearch's own anomaly detectors: one for each flag group, beside the scores of `process`. No I/O here.
//!
//! Invariant: what is wanted passes the server's rules (names, units, at most five features), which it checks late and
//! answers with misleading statuses.

pub mod historical;
pub mod reconcile;

use crate::config::{Config, Stage};
use crate::index::names;
use outlier_core::pipeline::{FlagGroup, Pipeline};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::time::Duration;

/// Intervals that a detector looks at together; the server's default.
pub const SHINGLE: u64 = 8;

/// Intervals with data that a detector needs before it can learn: 32 samples and a shingle.
pub const NEEDED_INTERVALS: u64 = 32 + SHINGLE;

/// The longest name that the server takes.
const MAX_NAME: usize = 64;

/// The shortest interval; minutes.
const SHORTEST: u64 = 1;

/// How long documents need to reach the index after an interval: the sink's own flush, and the index's refresh.
const DELAY: Duration = Duration::from_secs(30);

/// A detector as it is wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct Detector {
    /// Unique in the cluster; its id is the server's choice.
    pub name: String,
    /// The flag group.
    pub group: String,
    /// The index it reads.
    pub index: String,
    /// Minutes.
    pub interval: u64,
    /// The body of the request that creates it.
    pub body: Value,
}

/// The detectors of a pipeline, one a flag group, if its enriched records are indexed.
pub fn wanted(config: &Config, pipeline: &Pipeline) -> Vec<Detector> {
    if !config.sink.what.contains(&Stage::Enriched) {
        return Vec::new();
    }
    pipeline.flags.iter().map(|group| one(config, pipeline, group)).collect()
}

fn one(config: &Config, pipeline: &Pipeline, group: &FlagGroup) -> Detector {
    let index = names::index(&config.opensearch.index_prefix, &pipeline.name, Stage::Enriched);
    let name = short(format!("{}{}-{}", config.opensearch.index_prefix, pipeline.name, group.name));
    let interval = interval(pipeline);
    let lateness = pipeline.detectors.iter().map(|detector| detector.lateness).max().unwrap_or(0).max(0) as u64;
    let delay = lateness.div_ceil(1_000) + DELAY.as_secs();
    let feature = |flag: &str| {
        json!({
            "feature_name": flag,
            "feature_enabled": true,
            "aggregation_query": {flag: {"sum": {"field": flag}}},
        })
    };
    let body = json!({
        "name": name,
        "description": format!("outlier: the flags of {}", group.field),
        "time_field": "@timestamp",
        "indices": [index],
        "filter_query": {"match_all": {}},
        "feature_attributes": [feature(&group.good.name), feature(&group.bad.name)],
        "detection_interval": {"period": {"interval": interval, "unit": "Minutes"}},
        "window_delay": {"period": {"interval": delay, "unit": "Seconds"}},
        "shingle_size": SHINGLE,
    });
    Detector { name, group: group.name.clone(), index, interval, body }
}

/// A name of at most [`MAX_NAME`] characters: of a longer one the beginning, and a hash of all.
fn short(name: String) -> String {
    if name.len() <= MAX_NAME {
        return name;
    }
    let hash: String = Sha256::digest(&name).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{hash}", &name[..MAX_NAME - 9])
}

/// The shortest window of the pipeline's own detectors, in whole minutes.
fn interval(pipeline: &Pipeline) -> u64 {
    let shortest = pipeline.detectors.iter().map(|detector| detector.window).min().unwrap_or(0).max(0) as u64;
    shortest.div_ceil(60_000).max(SHORTEST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;

    #[test]
    fn one_a_flag_group_within_the_servers_rules() {
        let text = "[opensearch]\nindex_prefix = \"x-\"\n[[pipeline]]\npreset = \"waf\"";
        let config = Config::parse(text, "test", &Environment::default()).unwrap();
        let all = wanted(&config, &config.pipelines[0]);
        let groups: Vec<&str> = all.iter().map(|detector| detector.group.as_str()).collect();
        assert_eq!(groups, ["action", "source", "httpstatus", "country", "method"]);
        let first = &all[0];
        assert_eq!((first.name.as_str(), first.index.as_str(), first.interval), ("x-waf-action", "x-waf-enriched", 1));
        let features = first.body["feature_attributes"].as_array().unwrap();
        let sums: Vec<&str> = features.iter().filter_map(|feature| feature["feature_name"].as_str()).collect();
        assert_eq!(sums, ["K_action", "B_action"]);
        assert_eq!(features[1]["aggregation_query"], json!({"B_action": {"sum": {"field": "B_action"}}}));
        assert_eq!(first.body["window_delay"], json!({"period": {"interval": 40, "unit": "Seconds"}}));
        let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        assert!(all.iter().all(|detector| detector.name.chars().all(valid)));
    }

    #[test]
    fn long_names_are_cut_and_stay_apart() {
        let names = ["x".repeat(64), "x".repeat(65), "x".repeat(66)].map(short);
        assert!(names.iter().all(|name| name.len() == 64) && names[1] != names[2] && names[0] != names[1], "{names:?}");
    }

    #[test]
    fn windows_become_whole_minutes() {
        for (window, want) in [("10s", 1), ("1m", 1), ("5m", 5), ("1h", 60)] {
            let text = format!("[[pipeline]]\npreset = \"waf\"\nwindow = {window:?}");
            let config = Config::parse(&text, "test", &Environment::default()).unwrap();
            assert_eq!(wanted(&config, &config.pipelines[0])[0].interval, want, "{window}");
        }
        let text = "[sink]\nwhat = [\"scores\"]\n[[pipeline]]\npreset = \"waf\"";
        let config = Config::parse(text, "test", &Environment::default()).unwrap();
        assert_eq!(wanted(&config, &config.pipelines[0]), []);
    }
}
