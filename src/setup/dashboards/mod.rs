//! Saved objects for OpenSearch Dashboards 2.x and 3.x: index patterns, searches, visualisations and two dashboards a
//! pipeline, generated from the configuration. No I/O.
//!
//! Invariants: an object stands behind all that it refers to; ids are ours and stay the same, so that an import replaces
//! and never doubles; the format is that of Dashboards 1.0 (its `migrationVersion`s), which later ones migrate.

mod boards;
mod charts;

use crate::config::{Config, Stage};
use crate::index::names;
use outlier_core::pipeline::Pipeline;
use serde_json::{Value, json};

/// A saved object.
#[derive(Debug, Clone, PartialEq)]
pub struct Saved {
    /// `index-pattern`, `search`, `visualization` or `dashboard`.
    pub kind: &'static str,
    /// Unique among its kind.
    pub id: String,
    /// What it is; whole documents of its own are texts in it, as the format wants.
    pub attributes: Value,
    /// What it refers to.
    pub references: Vec<Value>,
}

impl Saved {
    /// Its kind and id, as in the API's paths.
    pub fn path(&self) -> String {
        format!("{}/{}", self.kind, self.id)
    }

    /// What is compared and kept: the parts that are not the server's.
    pub fn body(&self) -> Value {
        json!({"attributes": self.attributes, "references": self.references})
    }
}

/// The line of an import file.
pub fn line(path: &str, body: &Value) -> String {
    let (kind, id) = path.split_once('/').unwrap_or((path, ""));
    let migrated = match kind {
        "index-pattern" => "7.6.0",
        "visualization" => "7.10.0",
        _ => "7.9.3",
    };
    json!({
        "id": id,
        "type": kind,
        "attributes": body["attributes"],
        "references": body["references"],
        "migrationVersion": {kind: migrated},
    })
    .to_string()
}

/// The file for an import by hand: one object a line.
pub fn ndjson(config: &Config) -> String {
    let all = config.pipelines.iter().flat_map(|pipeline| wanted(config, pipeline));
    all.map(|saved| line(&saved.path(), &saved.body()) + "\n").collect()
}

/// The objects of a pipeline, each behind what it refers to.
pub fn wanted(config: &Config, pipeline: &Pipeline) -> Vec<Saved> {
    let of = Of { config, pipeline };
    let mut all = Vec::new();
    all.extend(config.sink.what.iter().map(|stage| of.pattern(*stage)));
    let charts = charts::wanted(&of);
    let boards = boards::wanted(&of, &charts);
    all.extend(charts.into_iter().map(|chart| chart.saved));
    all.extend(boards);
    all
}

/// Whose objects they are.
struct Of<'a> {
    config: &'a Config,
    pipeline: &'a Pipeline,
}

impl Of<'_> {
    fn id(&self, of: &str) -> String {
        format!("outlier-{}{}-{of}", self.config.opensearch.index_prefix, self.pipeline.name)
    }

    fn has(&self, stage: Stage) -> bool {
        self.config.sink.what.contains(&stage)
    }

    fn pattern_id(&self, stage: Stage) -> String {
        self.id(names::stage(stage))
    }

    fn pattern(&self, stage: Stage) -> Saved {
        let title = names::index(&self.config.opensearch.index_prefix, &self.pipeline.name, stage);
        let attributes = json!({"title": title, "timeFieldName": "@timestamp"});
        Saved { kind: "index-pattern", id: self.pattern_id(stage), attributes, references: Vec::new() }
    }

    /// Where an object searches, as the format wants it: a text, and a reference that it names.
    fn source(&self, stage: Stage, query: &str) -> (Value, Vec<Value>) {
        let name = "kibanaSavedObjectMeta.searchSourceJSON.index";
        let source = json!({"query": {"query": query, "language": "lucene"}, "filter": [], "indexRefName": name});
        let reference = json!({"name": name, "type": "index-pattern", "id": self.pattern_id(stage)});
        (json!({"searchSourceJSON": source.to_string()}), vec![reference])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;
    use std::collections::BTreeSet;

    fn config(head: &str) -> Config {
        let text = format!(
            "{head}\n[[pipeline]]\npreset = \"waf\"\n[[pipeline]]\nname = \"bare\"\n[[pipeline.detectors]]\nname = \"all\"\nmeasures = [\"count\"]"
        );
        Config::parse(&text, "test", &Environment::default()).unwrap()
    }

    /// The contract of the import: a line an object, references that exist and come first, texts that are JSON.
    #[test]
    fn every_object_can_be_imported() {
        for head in
            ["", "[sink]\nwhat = [\"scores\"]", "[sink]\nwhat = [\"enriched\"]", "[opensearch]\nindex_prefix = \"x-\""]
        {
            let mut seen = BTreeSet::new();
            for line in ndjson(&config(head)).lines() {
                let object: Value = serde_json::from_str(line).unwrap();
                let (kind, id) = (object["type"].as_str().unwrap(), object["id"].as_str().unwrap());
                assert!(
                    object["migrationVersion"][kind].is_string() && object["attributes"]["title"].is_string(),
                    "{line}"
                );
                let mut named = BTreeSet::new();
                for reference in object["references"].as_array().unwrap() {
                    let there =
                        format!("{}/{}", reference["type"].as_str().unwrap(), reference["id"].as_str().unwrap());
                    assert!(seen.contains(&there), "{kind}/{id} refers to {there}");
                    named.insert(reference["name"].as_str().unwrap().to_owned());
                }
                for text in ["visState", "panelsJSON", "optionsJSON"] {
                    if let Some(text) = object["attributes"][text].as_str() {
                        let inner: Value = serde_json::from_str(text).unwrap();
                        for panel in inner.as_array().into_iter().flatten() {
                            assert!(named.contains(panel["panelRefName"].as_str().unwrap()), "{panel}");
                        }
                    }
                }
                if let Some(text) = object["attributes"]["kibanaSavedObjectMeta"]["searchSourceJSON"].as_str() {
                    let source: Value = serde_json::from_str(text).unwrap();
                    let name = source["indexRefName"].as_str();
                    assert!(name.is_none_or(|name| named.contains(name)), "{line}");
                }
                assert!(seen.insert(format!("{kind}/{id}")), "{kind}/{id} is there twice");
            }
        }
    }

    #[test]
    fn the_stories_are_told() {
        let config = config("");
        let all = wanted(&config, &config.pipelines[0]);
        let titled = |kind: &str| -> Vec<&str> {
            let of_kind = all.iter().filter(|saved| saved.kind == kind);
            of_kind.filter_map(|saved| saved.attributes["title"].as_str()).collect()
        };
        assert_eq!(titled("index-pattern"), ["waf-raw", "waf-enriched", "waf-scores", "waf-alerts"]);
        assert_eq!(titled("dashboard"), ["waf: executive", "waf: analyst"]);
        let records = ["B_action", "UNK_source", "B_httpstatus", "UNK_country", "uncommon_method"];
        let records = records.map(|bad| format!("waf: Records with {bad}"));
        assert_eq!(titled("search")[1..], records.each_ref().map(String::as_str));
        let board = all.iter().find(|saved| saved.attributes["title"] == "waf: executive").unwrap();
        let shown = |saved: &Saved| board.references.iter().any(|reference| reference["id"] == saved.id.as_str());
        let charts = all.iter().filter(|saved| shown(saved)).filter_map(|saved| saved.attributes["title"].as_str());
        let charts: Vec<&str> = charts.map(|title| title.strip_prefix("waf: ").unwrap()).collect();
        for chart in [
            "Requests",
            "Bad share of each flag group",
            "Anomalies over time",
            "Alerts over time",
            "Top offenders: httpRequest.country, UNK_country",
            "Historical analysis of the Block action",
            "Live HttpStatus trend",
            "Live unknown-country trend",
        ] {
            assert!(charts.contains(&chart), "{chart}: {charts:#?}");
        }
    }

    /// Panels lie side by side in a grid of 48 columns and never on each other.
    #[test]
    fn panels_do_not_overlap() {
        for pipeline in 0..2 {
            let config = config("");
            for board in wanted(&config, &config.pipelines[pipeline]).iter().filter(|saved| saved.kind == "dashboard") {
                let panels: Vec<Value> =
                    serde_json::from_str(board.attributes["panelsJSON"].as_str().unwrap()).unwrap();
                let mut taken = BTreeSet::new();
                for panel in &panels {
                    let at = |name: &str| panel["gridData"][name].as_u64().unwrap();
                    assert!(at("x") + at("w") <= 48, "{panel}");
                    for x in at("x")..at("x") + at("w") {
                        for y in at("y")..at("y") + at("h") {
                            assert!(taken.insert((x, y)), "{panel}");
                        }
                    }
                }
            }
        }
    }
}
