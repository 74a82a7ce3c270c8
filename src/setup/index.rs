//! Applies templates, indices, channel and monitor to OpenSearch.
//!
//! Invariants: what is stored and fits is not written again; templates come before indices, indices before the
//! monitor; a cluster without the alerting plugin, or a user without rights to it, gets everything else.

use super::diff::differences;
use super::{monitor, templates};
use crate::config::{Config, Stage};
use crate::index::opensearch::{Answer, Client};
use anyhow::bail;
use bytes::Bytes;
use opensearch::http::Method;
use serde_json::{Value, json};

const MONITORS: &str = "/_plugins/_alerting/monitors";
const CHANNELS: &str = "/_plugins/_notifications/configs";

/// Applies everything, or finds out what would be done; answers one line a thing.
///
/// # Errors
/// OpenSearch does not answer, or refuses a template or an index.
pub async fn apply(config: &Config, client: &Client, dry_run: bool) -> anyhow::Result<Vec<String>> {
    let mut setup = Setup { config, client, dry_run, report: Vec::new() };
    for pipeline in &config.pipelines {
        for template in templates::wanted(config, pipeline) {
            setup.template(&template).await?;
            setup.index(&template.name).await?;
        }
    }
    if config.sink.what.contains(&Stage::Scores)
        && let Err(error) = setup.alerting().await
    {
        let line = format!("note   alerting was not set up: {error:#}");
        tracing::warn!("{line}");
        setup.report.push(line);
    }
    Ok(setup.report)
}

struct Setup<'a> {
    config: &'a Config,
    client: &'a Client,
    dry_run: bool,
    report: Vec<String>,
}

impl Setup<'_> {
    async fn template(&mut self, template: &templates::Template) -> anyhow::Result<()> {
        let path = format!("/_index_template/{}", template.name);
        let answer = self.client.send(Method::Get, &path, None).await?;
        let what = format!("index template {}", template.name);
        let found = match answer.status {
            200..=299 => Some(answer.json()?["index_templates"][0]["index_template"].clone()),
            404 => None,
            _ => bail!("the {what} cannot be read: {}", answer.reason()),
        };
        if self.note(&what, found.as_ref().map(|found| differences(&template.body, found))) {
            self.write(Method::Put, &path, &template.body, &what).await?;
        }
        Ok(())
    }

    async fn index(&mut self, name: &str) -> anyhow::Result<()> {
        let path = format!("/{name}");
        let answer = self.client.send(Method::Head, &path, None).await?;
        let what = format!("index {name}");
        let found = match answer.status {
            200..=299 => Some(Vec::new()),
            404 => None,
            status => bail!("the {what} cannot be looked at (HTTP {status}): give the user the right to"),
        };
        if self.note(&what, found) {
            let answer = self.client.send(Method::Put, &path, Some(Bytes::from_static(b"{}"))).await?;
            // Another instance was faster.
            if !answer.good() && !answer.reason().contains("resource_already_exists_exception") {
                bail!("the {what} cannot be created: {}", answer.reason());
            }
        }
        Ok(())
    }

    async fn alerting(&mut self) -> anyhow::Result<()> {
        for pipeline in &self.config.pipelines {
            let name = monitor::name(self.config, pipeline);
            let query = json!({"size": 50, "query": {"match_phrase": {"monitor.name": name}}});
            let answer = self.client.send(Method::Post, &format!("{MONITORS}/_search"), Some(bytes(&query)?)).await?;
            if absent(&answer) {
                self.report
                    .push("note   OpenSearch has no alerting plugin: anomalies are indexed, nobody is told".to_owned());
                return Ok(());
            }
            // Before the first monitor there is no index of monitors.
            if !answer.good() && answer.status != 404 {
                bail!("monitors cannot be searched: {}", answer.reason());
            }
            let found = answer.json()?;
            self.channel().await?;
            self.monitor(monitor::wanted(self.config, pipeline), &name, &found).await?;
        }
        Ok(())
    }

    async fn channel(&mut self) -> anyhow::Result<()> {
        let Some((id, body)) = monitor::channel(self.config) else {
            return Ok(());
        };
        let what = format!("notification channel {id}");
        if self.report.iter().any(|line| line.ends_with(&what)) {
            return Ok(());
        }
        let path = format!("{CHANNELS}/{id}");
        let answer = self.client.send(Method::Get, &path, None).await?;
        let found = match answer.status {
            200..=299 => Some(answer.json()?["config_list"][0]["config"].clone()),
            404 => None,
            _ => bail!("the {what} cannot be read: {}", answer.reason()),
        };
        // The address is a secret: that it differs is said, not how.
        let masked = |lines: Vec<String>| lines.into_iter().map(|line| mask(&line)).collect();
        let there = found.is_some();
        if self.note(&what, found.map(|found| masked(differences(&body, &found)))) {
            if there {
                self.write(Method::Put, &path, &json!({"config": body}), &what).await?;
            } else {
                self.write(Method::Post, CHANNELS, &json!({"config_id": id, "config": body}), &what).await?;
            }
        }
        Ok(())
    }

    async fn monitor(&mut self, mut wanted: Value, name: &str, found: &Value) -> anyhow::Result<()> {
        let what = format!("monitor {name:?}");
        let hits = found["hits"]["hits"].as_array().into_iter().flatten();
        // The source is the monitor itself or holds it, depending on the version.
        let inner = |hit: &Value| {
            if hit["_source"]["monitor"].is_object() {
                hit["_source"]["monitor"].clone()
            } else {
                hit["_source"].clone()
            }
        };
        let mut same = hits.map(|hit| (hit, inner(hit))).filter(|(_, monitor)| monitor["name"] == name);
        let first = same.next();
        if same.next().is_some() {
            self.report.push(format!("note   there are several monitors of the name {name:?}: delete all but one"));
        }
        let lines = first.as_ref().map(|(_, monitor)| differences(&wanted, monitor));
        if !self.note(&what, lines) {
            return Ok(());
        }
        match first {
            None => self.write(Method::Post, MONITORS, &wanted, &what).await,
            Some((hit, monitor)) => {
                let id = hit["_id"].as_str().unwrap_or_default();
                monitor::keep_ids(&mut wanted, &monitor);
                self.write(Method::Put, &format!("{MONITORS}/{id}"), &wanted, &what).await
            }
        }
    }

    /// Reports a thing: `None` is missing, else how it differs. True: it must be written now.
    fn note(&mut self, what: &str, differences: Option<Vec<String>>) -> bool {
        match differences {
            None => self.report.push(format!("create {what}")),
            Some(lines) if lines.is_empty() => {
                self.report.push(format!("ok     {what}"));
                return false;
            }
            Some(lines) => {
                self.report.push(format!("change {what}"));
                self.report.extend(lines.into_iter().map(|line| format!("         {line}")));
            }
        }
        !self.dry_run
    }

    async fn write(&self, method: Method, path: &str, body: &Value, what: &str) -> anyhow::Result<()> {
        let answer = self.client.send(method, path, Some(bytes(body)?)).await?;
        // Some plugins answer an error with a good status.
        if !answer.good() || !answer.json()?["error"].is_null() {
            bail!("the {what} cannot be written: {}", answer.reason());
        }
        Ok(())
    }
}

/// The plugin is not installed.
fn absent(answer: &Answer) -> bool {
    answer.status == 400 && answer.reason().contains("no handler found")
}

fn mask(line: &str) -> String {
    if line.starts_with("webhook.url") { "webhook.url: differs (not shown)".to_owned() } else { line.to_owned() }
}

fn bytes(body: &Value) -> anyhow::Result<Bytes> {
    Ok(Bytes::from(serde_json::to_vec(body)?))
}
