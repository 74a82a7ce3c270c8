//! A historical analysis: OpenSearch's detector of one flag group over the data that is already indexed.

use super::reconcile::checked;
use super::{Detector, wanted};
use crate::config::{Config, IndexKind, Stage};
use crate::index::opensearch::Client;
use crate::produce::stamp;
use crate::setup::index::plugins::{Plugins, Presence};
use crate::setup::index::thing::{self, DETECTORS, Kind, bytes};
use crate::time::now;
use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressStyle};
use opensearch::http::Method;
use serde_json::{Value, json};
use std::fmt::Write;
use std::time::Duration;
use tokio::time::Instant;

/// How often the task is asked.
const LOOK: Duration = Duration::from_secs(1);

/// How long a slot is waited for.
const SLOT: Duration = Duration::from_secs(600);

/// How often another task may be the latest one, which right after the start is the one before.
const OTHER: u32 = 30;

/// The worst anomalies that are shown.
const SHOWN: usize = 10;

/// What to analyse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Analysis {
    /// A flag group, or one of its two flags.
    pub flag: String,
    /// How far back.
    pub last: Duration,
}

/// Analyses until it is done, with progress; answers the summary for people.
///
/// # Errors
/// No such flag group or several, no detector, or the analysis fails.
pub async fn run(config: &Config, client: &Client, analysis: &Analysis) -> anyhow::Result<String> {
    let without = [
        (config.sink.index == IndexKind::Sqlite, "sink.index is \"sqlite\", and the analysis is OpenSearch's"),
        (!config.opensearch.detectors, "opensearch.detectors is false: set it to true and run `outlier setup`"),
        (!config.sink.what.contains(&Stage::Enriched), "sink.what has no \"enriched\": flags are not indexed"),
    ];
    if let Some((_, why)) = without.iter().find(|(is, _)| *is) {
        bail!("there is no detector to analyse with: {why}");
    }
    let detector = choose(config, &analysis.flag)?;
    if Plugins::find(client).await?.detection == Presence::Absent {
        bail!(
            "OpenSearch has no anomaly detection plugin; `outlier backtest` analyses log files and the raw topic with outlier's own models"
        );
    }
    let found = thing::find(client, Kind::Detector, &detector.name).await?;
    let found = found.with_context(|| format!("there is no detector {}: run `outlier setup` first", detector.name))?;
    let now = now();
    let from = now - analysis.last.as_millis() as i64;
    let task = start(client, &found.id, from, now).await?;
    wait(client, &found.id, &task).await?;
    let path = format!("{DETECTORS}/results/_search");
    let query = json!({
        "size": SHOWN,
        "track_total_hits": true,
        "query": {"bool": {"filter": [
            {"term": {"task_id": task}},
            {"range": {"anomaly_grade": {"gt": 0}}},
        ]}},
        "sort": [{"anomaly_grade": "desc"}, {"anomaly_score": "desc"}, {"data_start_time": "asc"}],
    });
    let results = checked(client.send(Method::Post, &path, Some(bytes(&query)?)).await?)?;
    Ok(summary(&detector, from, now, &results))
}

/// The detector of a flag group, by the group's name or one of its flags'.
fn choose(config: &Config, flag: &str) -> anyhow::Result<Detector> {
    let mut matching = Vec::new();
    let mut groups = Vec::new();
    for pipeline in &config.pipelines {
        for (detector, group) in wanted(config, pipeline).into_iter().zip(&pipeline.flags) {
            groups.push(group.name.clone());
            if [&group.name, &group.good.name, &group.bad.name].iter().any(|name| name.eq_ignore_ascii_case(flag)) {
                matching.push(detector);
            }
        }
    }
    match matching.len() {
        0 if groups.is_empty() => {
            bail!("no pipeline has flag groups: `outlier backtest --detector` looks at one detector")
        }
        0 => bail!("there is no flag group {flag:?}; there are {}", groups.join(", ")),
        1 => Ok(matching.remove(0)),
        _ => bail!("several pipelines have a flag group {flag:?}: name a configuration with one of them by --config"),
    }
}

/// Starts the analysis; waits while another one takes all slots.
async fn start(client: &Client, id: &str, from: i64, to: i64) -> anyhow::Result<String> {
    let body = json!({"start_time": from, "end_time": to});
    let mut said = false;
    let deadline = Instant::now() + SLOT;
    loop {
        let answer = client.send(Method::Post, &format!("{DETECTORS}/{id}/_start"), Some(bytes(&body)?)).await?;
        if answer.reason().contains("No available task slot") {
            if !std::mem::replace(&mut said, true) {
                eprintln!("another historical analysis takes all slots of the cluster: waiting for it");
            }
            if Instant::now() > deadline {
                bail!(
                    "another historical analysis has taken all slots for {} minutes: stop it, or try later",
                    SLOT.as_secs() / 60
                );
            }
            tokio::time::sleep(LOOK).await;
            continue;
        }
        let started = checked(answer).context("the historical analysis cannot be started")?;
        return Ok(started["_id"].as_str().unwrap_or_default().to_owned());
    }
}

/// Waits for the end of a task.
async fn wait(client: &Client, id: &str, task: &str) -> anyhow::Result<()> {
    let bar = ProgressBar::new(100);
    if let Ok(style) = ProgressStyle::with_template("{spinner} historical analysis {wide_bar} {percent} % {elapsed}") {
        bar.set_style(style);
    }
    let (mut other, mut told) = (0, None);
    loop {
        let answer = client.send(Method::Get, &format!("{DETECTORS}/{id}?task=true"), None).await?;
        let found = checked(answer)?;
        let seen = &found["historical_analysis_task"];
        let state = seen["state"].as_str().unwrap_or_default();
        // Right after the start the latest task may still be the one before.
        if seen["task_id"] == task {
            let percent = (seen["task_progress"].as_f64().unwrap_or(0.0) * 100.0) as u64;
            bar.set_position(percent);
            // Without a terminal there is no bar.
            if bar.is_hidden() && told.replace(percent) != Some(percent) {
                eprintln!("historical analysis: {percent} %");
            }
            match state {
                "FINISHED" => {
                    bar.finish_and_clear();
                    return Ok(());
                }
                "FAILED" | "STOPPED" => {
                    bar.abandon();
                    bail!(
                        "the historical analysis {}: {}",
                        state.to_lowercase(),
                        seen["error"].as_str().unwrap_or("by hand")
                    );
                }
                _ => {}
            }
        }
        other += u32::from(seen["task_id"] != task);
        if other > OTHER {
            bail!("another historical analysis of this detector took the place of this one: run it again");
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn summary(detector: &Detector, from: i64, to: i64, results: &Value) -> String {
    let total = results["hits"]["total"]["value"].as_u64().unwrap_or(0);
    let intervals = (to - from) / (60_000 * detector.interval as i64).max(1);
    let mut text = format!(
        "{}: {total} of {intervals} intervals from {} to {} are anomalous\n",
        detector.group,
        stamp::text(from),
        stamp::text(to)
    );
    for hit in results["hits"]["hits"].as_array().into_iter().flatten() {
        let result = &hit["_source"];
        let number = |name: &str| result[name].as_f64().unwrap_or(0.0);
        let start = stamp::text(result["data_start_time"].as_i64().unwrap_or(0));
        // Writing to a string cannot fail.
        let _ = write!(text, "  {start}  grade {:.2}  confidence {:.2}", number("anomaly_grade"), number("confidence"));
        let expected = &result["expected_values"][0]["value_list"];
        for feature in result["feature_data"].as_array().into_iter().flatten() {
            let usual =
                expected.as_array().into_iter().flatten().find(|usual| usual["feature_id"] == feature["feature_id"]);
            let _ = write!(text, "  {} {}", feature["feature_name"].as_str().unwrap_or_default(), feature["data"]);
            if let Some(usual) = usual.and_then(|usual| usual["data"].as_f64()) {
                let _ = write!(text, " (expected {usual:.1})");
            }
        }
        text.push('\n');
    }
    if total > SHOWN as u64 {
        let _ = writeln!(
            text,
            "  … and {} more: see the detector {} in OpenSearch Dashboards",
            total - SHOWN as u64,
            detector.name
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;

    #[test]
    fn a_group_is_named_by_itself_or_by_its_flags() {
        let config = Config::parse("[[pipeline]]\npreset = \"waf\"", "test", &Environment::default()).unwrap();
        for (flag, want) in
            [("action", Some("action")), ("b_action", Some("action")), ("UNK_country", Some("country")), ("x", None)]
        {
            assert_eq!(choose(&config, flag).ok().map(|detector| detector.group), want.map(str::to_owned), "{flag}");
        }
        let error = choose(&config, "x").unwrap_err().to_string();
        assert!(error.ends_with("there are action, source, httpstatus, country, method"), "{error}");
    }

    /// A result as OpenSearch 3.4 stored it.
    #[test]
    fn a_summary_says_what_was_and_what_was_expected() {
        let config = Config::parse("[[pipeline]]\npreset = \"waf\"", "test", &Environment::default()).unwrap();
        let detector = choose(&config, "action").unwrap();
        let results = json!({"hits": {"total": {"value": 12}, "hits": [{"_source": {
            "anomaly_grade": 1.0, "confidence": 0.5450921516356231, "data_start_time": 1_795_399_664_758_i64,
            "feature_data": [{"feature_id": "p0", "feature_name": "B_action", "data": 464.0}],
            "expected_values": [{"likelihood": 1.0, "value_list": [{"feature_id": "p0", "data": 1.908}]}],
        }}]}});
        let text = summary(&detector, 1_795_362_584_000, 1_795_398_584_000, &results);
        assert_eq!(
            text,
            "action: 12 of 600 intervals from 2026-11-22 15:49:44 UTC to 2026-11-23 01:49:44 UTC are anomalous\n  \
             2026-11-23 02:07:44 UTC  grade 1.00  confidence 0.55  B_action 464.0 (expected 1.9)\n  \
             … and 2 more: see the detector waf-action in OpenSearch Dashboards\n"
        );
    }
}
