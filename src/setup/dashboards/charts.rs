//! The searches and visualisations of a pipeline.

use super::{Of, Saved};
use crate::config::Stage;
use outlier_core::pipeline::FlagGroup;
use serde_json::{Value, json};

/// Rows of a table, and lines of a chart that is split.
const MOST: u32 = 10;

/// A chart, and where it belongs.
pub(super) struct Chart {
    pub saved: Saved,
    pub place: Place,
    /// Its own time range (`now-7d`); `None`: the dashboard's.
    pub since: Option<&'static str>,
}

/// How a chart is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// A number at the top of both dashboards.
    Number,
    /// Half the width, on both dashboards.
    Overview,
    /// A third of the width, on the executive's dashboard.
    Story,
    /// Half the width, on the analyst's dashboard.
    Detail,
    /// A third of the width, on both dashboards.
    Offenders,
    /// The whole width, on the analyst's dashboard.
    Table,
    /// On no dashboard: a search to open in Discover.
    Discover,
}

pub(super) fn wanted(of: &Of<'_>) -> Vec<Chart> {
    let mut all = Vec::new();
    if of.has(Stage::Enriched) {
        all.push(of.chart("requests", "Requests", Place::Number, Stage::Enriched, "*", number("Requests")));
        all.push(of.chart(
            "over-time",
            "Requests over time",
            Place::Overview,
            Stage::Enriched,
            "*",
            over_time("area", vec![count()], None),
        ));
        if !of.pipeline.flags.is_empty() {
            let shares = of
                .pipeline
                .flags
                .iter()
                .map(|group| metric("avg", &group.bad.name, &format!("{}: bad share", group.name)));
            let lines = over_time("line", shares.collect(), None);
            all.push(of.chart(
                "bad-share",
                "Bad share of each flag group",
                Place::Overview,
                Stage::Enriched,
                "*",
                lines,
            ));
        }
    }
    if of.has(Stage::Scores) {
        let query = "anomaly:true";
        all.push(of.chart("anomalies", "Anomalies", Place::Number, Stage::Scores, query, number("Anomalies")));
        let bars = over_time("histogram", vec![count()], Some("detector"));
        all.push(of.chart("anomalies-over-time", "Anomalies over time", Place::Overview, Stage::Scores, query, bars));
        let lines = over_time("line", vec![metric("max", "score", "highest score")], Some("detector"));
        all.push(of.chart(
            "scores-over-time",
            "Highest score of each detector",
            Place::Overview,
            Stage::Scores,
            "*",
            lines,
        ));
        let columns = ["detector", "series", "value", "expected", "lower", "upper", "score"];
        all.push(of.search("latest-anomalies", "Latest anomalies", Place::Table, Stage::Scores, query, &columns));
    }
    if of.has(Stage::Alerts) {
        let query = "state:firing";
        let bars = over_time("histogram", vec![count()], Some("severity"));
        all.push(of.chart("alerts-over-time", "Alerts over time", Place::Overview, Stage::Alerts, query, bars));
    }
    if of.has(Stage::Enriched) {
        for group in &of.pipeline.flags {
            all.extend(of.group(group));
        }
    }
    all
}

impl Of<'_> {
    /// What there is of each flag group: its trend, who is bad, and the bad records.
    fn group(&self, group: &FlagGroup) -> Vec<Chart> {
        let (good, bad) = (&group.good.name, &group.bad.name);
        let both = || over_time("line", vec![metric("sum", good, good), metric("sum", bad, bad)], None);
        let query = format!("{bad}:1");
        let (title, since) = story(group);
        let field = group.field.to_string();
        let mut all = Vec::new();
        let mut trend =
            self.chart(&format!("{}-trend", group.name), &title, Place::Detail, Stage::Enriched, "*", both());
        if let Some(since) = since {
            (trend.place, trend.since) = (Place::Story, Some(since));
        }
        all.push(trend);
        let title = format!("Top offenders: {field}, {bad}");
        let id = format!("{}-offenders", group.name);
        all.push(self.chart(&id, &title, Place::Offenders, Stage::Enriched, &query, table(&field)));
        let title = format!("Records with {bad}");
        let fields: Vec<String> = self.pipeline.flags.iter().map(|group| group.field.to_string()).collect();
        let columns: Vec<&str> = fields.iter().map(String::as_str).collect();
        let id = format!("{}-records", group.name);
        all.push(self.search(&id, &title, Place::Discover, Stage::Enriched, &query, &columns));
        all
    }

    fn chart(&self, id: &str, title: &str, place: Place, stage: Stage, query: &str, mut state: Value) -> Chart {
        let title = format!("{}: {title}", self.pipeline.name);
        state["title"] = json!(title);
        let (source, references) = self.source(stage, query);
        let attributes = json!({
            "title": title,
            "description": "",
            "visState": state.to_string(),
            "uiStateJSON": "{}",
            "version": 1,
            "kibanaSavedObjectMeta": source,
        });
        Chart { saved: Saved { kind: "visualization", id: self.id(id), attributes, references }, place, since: None }
    }

    fn search(&self, id: &str, title: &str, place: Place, stage: Stage, query: &str, columns: &[&str]) -> Chart {
        let (source, references) = self.source(stage, query);
        let attributes = json!({
            "title": format!("{}: {title}", self.pipeline.name),
            "description": "",
            "columns": columns,
            "sort": [["@timestamp", "desc"]],
            "version": 1,
            "kibanaSavedObjectMeta": source,
        });
        let saved = Saved { kind: "search", id: self.id(id), attributes, references };
        Chart { saved, place, since: None }
    }
}

/// A group's trend, and since when it is looked at if it is one of the stories of the shipped pipeline.
fn story(group: &FlagGroup) -> (String, Option<&'static str>) {
    match group.bad.name.as_str() {
        "B_action" => ("Historical analysis of the Block action".to_owned(), Some("now-7d")),
        "B_httpstatus" => ("Live HttpStatus trend".to_owned(), Some("now-15m")),
        "UNK_country" => ("Live unknown-country trend".to_owned(), Some("now-15m")),
        _ => (format!("{}: good and bad", group.name), None),
    }
}

fn count() -> Value {
    json!({"enabled": true, "type": "count", "schema": "metric", "params": {}})
}

fn metric(kind: &str, field: &str, label: &str) -> Value {
    json!({"enabled": true, "type": kind, "schema": "metric", "params": {"field": field, "customLabel": label}})
}

/// Gives each aggregation its number.
fn numbered(aggs: impl IntoIterator<Item = Value>) -> Vec<Value> {
    let with_id = |(i, mut agg): (usize, Value)| {
        agg["id"] = json!((i + 1).to_string());
        agg
    };
    aggs.into_iter().enumerate().map(with_id).collect()
}

/// One number.
fn number(label: &str) -> Value {
    let mut all = count();
    all["params"] = json!({"customLabel": label});
    json!({
        "type": "metric",
        "aggs": numbered([all]),
        "params": {"addTooltip": true, "addLegend": false, "type": "metric", "metric": {
            "percentageMode": false, "useRanges": false, "colorSchema": "Green to Red", "metricColorMode": "None",
            "colorsRange": [{"from": 0, "to": 10_000}], "labels": {"show": true}, "invertColors": false,
            "style": {"bgFill": "#000", "bgColor": false, "labelColor": false, "subText": "", "fontSize": 48},
        }},
    })
}

/// Metrics by time, each a line or bar, split by the values of a field if there is one.
fn over_time(kind: &str, metrics: Vec<Value>, split: Option<&str>) -> Value {
    let axis = |id: &str, position: &str, of: &str| {
        json!({"id": id, "type": of, "position": position, "show": true, "style": {}, "scale": {"type": "linear"},
            "labels": {"show": true, "truncate": 100}, "title": {}})
    };
    let mut value_axis = axis("ValueAxis-1", "left", "value");
    value_axis["name"] = json!("LeftAxis-1");
    value_axis["scale"]["mode"] = json!("normal");
    let series: Vec<Value> = metrics
        .iter()
        .enumerate()
        .map(|(i, metric)| {
            let label = metric["params"]["customLabel"].as_str().unwrap_or("Count");
            json!({"show": true, "type": kind, "mode": if kind == "line" { "normal" } else { "stacked" }, "valueAxis": "ValueAxis-1",
                "data": {"id": (i + 1).to_string(), "label": label}, "drawLinesBetweenPoints": true, "lineWidth": 2, "showCircles": false,
                "interpolate": "linear"})
        })
        .collect();
    let time = json!({"enabled": true, "type": "date_histogram", "schema": "segment", "params": {
        "field": "@timestamp", "useNormalizedEsInterval": true, "scaleMetricValues": false, "interval": "auto",
        "drop_partials": false, "min_doc_count": 1, "extended_bounds": {},
    }});
    let split = split.map(|field| {
        json!({"enabled": true, "type": "terms", "schema": "group", "params": {
            "field": field, "orderBy": "1", "order": "desc", "size": MOST, "otherBucket": false, "missingBucket": false,
        }})
    });
    json!({
        "type": kind,
        "aggs": numbered(metrics.into_iter().chain([time]).chain(split)),
        "params": {
            "type": kind,
            "grid": {"categoryLines": false},
            "categoryAxes": [axis("CategoryAxis-1", "bottom", "category")],
            "valueAxes": [value_axis],
            "seriesParams": series,
            "addTooltip": true, "addLegend": true, "legendPosition": "right", "times": [], "addTimeMarker": false,
            "labels": {}, "thresholdLine": {"show": false, "value": 10, "width": 1, "style": "full", "color": "#E7664C"},
        },
    })
}

/// The values of a field by how many records have them.
fn table(field: &str) -> Value {
    let rows = json!({"enabled": true, "type": "terms", "schema": "bucket", "params": {
        "field": field, "orderBy": "1", "order": "desc", "size": MOST, "otherBucket": false, "missingBucket": false,
    }});
    json!({
        "type": "table",
        "aggs": numbered([count(), rows]),
        "params": {"perPage": MOST, "showPartialRows": false, "showMetricsAtAllLevels": false, "showTotal": false,
            "totalFunc": "sum", "percentageCol": ""},
    })
}
