//! What the setup makes in OpenSearch, and the requests that find, write and take away each kind of it.
//!
//! Invariants: a thing is found by its name; a running detector is stopped before it is changed or deleted; nothing
//! that holds data is ever deleted.

use super::lifecycle;
use crate::index::opensearch::{Answer, Client, words};
use crate::setup::diff::{differences, merged};
use crate::setup::{dashboards, monitors, script};
use anyhow::bail;
use bytes::Bytes;
use opensearch::http::Method;
use opensearch::http::headers::{CONTENT_TYPE, HeaderMap, HeaderValue};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const POLICIES: &str = "/_plugins/_ism/policies";
pub(super) const MONITORS: &str = "/_plugins/_alerting/monitors";
pub(in crate::setup) const CHANNELS: &str = "/_plugins/_notifications/configs";
pub(in crate::setup) const DETECTORS: &str = "/_plugins/_anomaly_detection/detectors";

const SAVED: &str = "/api/saved_objects";

/// What the server adds to a monitor by itself, each time that it is written.
const MONITOR_STATE: &[&str] = &[
    "schema_version",
    "enabled_time",
    "last_update_time",
    "last_run_context",
    "user",
    "owner",
    "data_sources",
    "delete_query_index_in_every_run",
    "should_create_single_alert_for_findings",
];

/// Between the parts of an import's body.
const BOUNDARY: &str = "outlier-saved-objects";

/// What a secret is replaced by, before its hash.
const HASH: &str = "sha256:";

/// The sorts of things, in the order in which they are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A policy of Index State Management.
    Policy,
    /// An index template.
    Template,
    /// An index, or what has its name: an alias of dated ones, a data stream. It holds data.
    Index,
    /// A notification channel, or an account that it needs.
    Channel,
    /// An anomaly detector.
    Detector,
    /// A monitor.
    Monitor,
    /// A saved object of OpenSearch Dashboards.
    Saved,
}

const KINDS: [(Kind, &str, &str); 7] = [
    (Kind::Policy, "policy", "index policy"),
    (Kind::Template, "template", "index template"),
    (Kind::Index, "index", "index"),
    (Kind::Channel, "channel", "notification channel"),
    (Kind::Detector, "detector", "anomaly detector"),
    (Kind::Monitor, "monitor", "monitor"),
    (Kind::Saved, "saved", "dashboard object"),
];

impl Kind {
    /// In ids of the ledger.
    pub fn word(self) -> &'static str {
        KINDS[self as usize].1
    }

    /// For people.
    pub fn title(self) -> &'static str {
        KINDS[self as usize].2
    }

    /// The kind of a [`Kind::word`].
    pub fn of(word: &str) -> Option<Self> {
        KINDS.iter().find(|(_, known, _)| *known == word).map(|(kind, ..)| *kind)
    }

    /// The sink cannot work without it.
    pub fn vital(self) -> bool {
        matches!(self, Self::Template | Self::Index)
    }
}

/// A thing as it is wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct Thing {
    /// What it is.
    pub kind: Kind,
    /// Unique among its kind.
    pub name: String,
    /// Its body; secrets in it are plain.
    pub body: Value,
}

/// A thing as it is there.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// What the server calls it.
    pub id: String,
    /// Its body, secrets masked.
    pub body: Value,
    /// Others of the same name were seen.
    pub twins: bool,
    /// Its sequence number and primary term, where the server has told them: a policy or a monitor must still have them when
    /// it is written.
    pub version: Option<(i64, i64)>,
}

impl Thing {
    /// For people: `monitor "x"`.
    pub fn title(&self) -> String {
        title(self.kind, &self.name)
    }

    /// What to store over what was `found`: a header for a receiver, a mapping of one's own, a rule of a detector, which
    /// somebody added, stay. A detector with other features or another interval is written anew: rules name features, and
    /// a frequency must be a multiple of the interval.
    pub fn over(&self, written: &Value, found: &Value) -> Value {
        let same = |name: &str| differences(&self.body[name], &found[name]).is_empty();
        match self.kind {
            Kind::Detector if !(same("feature_attributes") && same("detection_interval")) => self.body.clone(),
            Kind::Channel | Kind::Template | Kind::Detector => merged(&self.body, written, found),
            Kind::Monitor => {
                let mut found = found.clone();
                if let Some(members) = found.as_object_mut() {
                    members.retain(|name, _| !MONITOR_STATE.contains(&name.as_str()));
                }
                merged(&self.body, written, &found)
            }
            Kind::Policy | Kind::Index | Kind::Saved => self.body.clone(),
        }
    }

    /// The body with secrets as their hash, which is what is compared and kept.
    pub fn masked(&self) -> Value {
        masked(self.kind, self.body.clone())
    }
}

/// For people: `index template waf-raw`.
pub fn title(kind: Kind, name: &str) -> String {
    format!("{} {name}", kind.title())
}

/// A channel's addresses are secrets. Of an index, only where it is made is known, which is nothing to compare.
fn masked(kind: Kind, mut body: Value) -> Value {
    if kind == Kind::Index {
        return json!({});
    }
    if kind == Kind::Channel {
        for own in body.as_object_mut().into_iter().flat_map(|body| body.values_mut()) {
            if let Some(Value::String(url)) = own.get_mut("url") {
                let hash: String = Sha256::digest(&url).iter().map(|byte| format!("{byte:02x}")).collect();
                *url = format!("{HASH}{hash}");
            }
        }
    }
    body
}

/// A line of a difference without hashes, which say nothing to people.
pub fn readable(line: &str) -> String {
    match line.split_once(": ") {
        Some((path, rest)) if rest.contains(HASH) => format!("{path}: differs (not shown)"),
        _ => line.to_owned(),
    }
}

/// Looks for a thing.
///
/// # Errors
/// No answer, or no right to look.
pub async fn find(client: &Client, kind: Kind, name: &str) -> anyhow::Result<Option<Found>> {
    match kind {
        Kind::Policy => {
            let found = get(client, kind, name, &format!("{POLICIES}/{name}")).await?;
            Ok(found.map(|mut json| {
                let version = version(&json);
                Found { version, ..one(name, json["policy"].take()) }
            }))
        }
        Kind::Template => {
            let found = get(client, kind, name, &format!("/_index_template/{name}")).await?;
            Ok(found.map(|mut json| one(name, json["index_templates"][0]["index_template"].take())))
        }
        Kind::Index => {
            let answer = client.send(Method::Head, &format!("/{name}"), None).await?;
            match answer.status {
                200..=299 => Ok(Some(one(name, json!({})))),
                404 => Ok(None),
                status => bail!("the index {name} cannot be looked at (HTTP {status}): {}", words::remedy(status, "")),
            }
        }
        Kind::Channel => {
            let found = get(client, kind, name, &format!("{CHANNELS}/{name}")).await?;
            Ok(found.map(|mut json| one(name, masked(kind, json["config_list"][0]["config"].take()))))
        }
        Kind::Saved => {
            let Some(dashboards) = client.dashboards() else {
                return Ok(None);
            };
            let found = get(dashboards, kind, name, &format!("{SAVED}/{name}")).await?;
            Ok(found.map(|json| one(name, json!({"attributes": json["attributes"], "references": json["references"]}))))
        }
        Kind::Detector => search(client, kind, name, DETECTORS, json!({"term": {"name.keyword": name}})).await,
        Kind::Monitor => search(client, kind, name, MONITORS, json!({"match_phrase": {"monitor.name": name}})).await,
    }
}

fn version(found: &Value) -> Option<(i64, i64)> {
    found["_seq_no"].as_i64().zip(found["_primary_term"].as_i64())
}

/// For the path of a request that is refused if somebody else has written since.
fn unchanged(found: Option<&Found>) -> String {
    let version = found.and_then(|found| found.version);
    version.map(|(seq, term)| format!("?if_seq_no={seq}&if_primary_term={term}")).unwrap_or_default()
}

fn one(id: &str, body: Value) -> Found {
    Found { id: id.to_owned(), body, twins: false, version: None }
}

async fn get(client: &Client, kind: Kind, name: &str, path: &str) -> anyhow::Result<Option<Value>> {
    let answer = client.send(Method::Get, path, None).await?;
    match answer.status {
        200..=299 => Ok(Some(answer.json()?)),
        404 => Ok(None),
        _ => bail!("the {} cannot be read: {}", title(kind, name), answer.reason()),
    }
}

async fn search(client: &Client, kind: Kind, name: &str, base: &str, query: Value) -> anyhow::Result<Option<Found>> {
    let query = json!({"size": 50, "query": query});
    let answer = client.send(Method::Post, &format!("{base}/_search"), Some(bytes(&query)?)).await?;
    // Before the first of its kind there is no index of them.
    if answer.status == 404 {
        return Ok(None);
    }
    if !answer.good() {
        bail!("the {} cannot be searched: {}", title(kind, name), answer.reason());
    }
    let json = answer.json()?;
    let hits = json["hits"]["hits"].as_array().into_iter().flatten();
    let same = hits.filter_map(|hit| {
        // The source is the monitor itself or holds it, depending on the version.
        let inner = if hit["_source"]["monitor"].is_object() { &hit["_source"]["monitor"] } else { &hit["_source"] };
        (inner["name"] == name).then(|| (hit["_id"].as_str().unwrap_or_default(), inner, version(hit)))
    });
    let mut same: Vec<_> = same.collect();
    // The same one on every run.
    same.sort_by_key(|(id, ..)| *id);
    let twins = same.len() > 1;
    let first = same.first();
    Ok(first.map(|(id, body, version)| Found { twins, version: *version, ..one(id, (*body).clone()) }))
}

/// OpenSearch refused to write a thing: it is as it was before.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(String);

/// Creates a thing that is not there, or changes one that is; answers its id. A policy is to be given to its indices then
/// ([`lifecycle::give`]).
///
/// # Errors
/// No answer, or OpenSearch refuses it, with a [`Refusal`] if it is certain that nothing was written.
pub async fn write(client: &Client, thing: &Thing, found: Option<&Found>) -> anyhow::Result<String> {
    let name = &thing.name;
    script::check(&thing.body).map_err(|wrong| anyhow::anyhow!("the {} is not sound: {wrong}", thing.title()))?;
    let body = &thing.body;
    let answer = match (thing.kind, found) {
        (Kind::Policy, found) => {
            let path = format!("{POLICIES}/{name}{}", unchanged(found));
            client.send(Method::Put, &path, Some(bytes(&json!({"policy": body}))?)).await?
        }
        (Kind::Template, _) => {
            client.send(Method::Put, &format!("/_index_template/{name}"), Some(bytes(body)?)).await?
        }
        (Kind::Index, _) => {
            let path = body["path"].as_str().unwrap_or_default();
            let answer = client.send(Method::Put, path, None).await?;
            // Another instance was faster.
            if !answer.good() && answer.reason().contains("resource_already_exists_exception") {
                return Ok(name.clone());
            }
            answer
        }
        (Kind::Channel, None) => {
            let body = json!({"config_id": name, "config": body});
            client.send(Method::Post, CHANNELS, Some(bytes(&body)?)).await?
        }
        (Kind::Channel, Some(_)) => {
            let body = json!({"config": body});
            client.send(Method::Put, &format!("{CHANNELS}/{name}"), Some(bytes(&body)?)).await?
        }
        (Kind::Saved, _) => return import(client, thing).await,
        (Kind::Detector, None) => client.send(Method::Post, DETECTORS, Some(bytes(body)?)).await?,
        (Kind::Detector, Some(found)) => {
            stop(client, &found.id).await?;
            client.send(Method::Put, &format!("{DETECTORS}/{}", found.id), Some(bytes(body)?)).await?
        }
        (Kind::Monitor, None) => client.send(Method::Post, MONITORS, Some(bytes(body)?)).await?,
        (Kind::Monitor, Some(found)) => {
            let mut body = body.clone();
            monitors::keep_ids(&mut body, &found.body);
            let path = format!("{MONITORS}/{}{}", found.id, unchanged(Some(found)));
            client.send(Method::Put, &path, Some(bytes(&body)?)).await?
        }
    };
    if refused(&answer)? {
        let told = format!("the {} cannot be written: {}", thing.title(), answer.reason());
        // After another status it may have been written all the same.
        return Err(if answer.status < 500 { Refusal(told).into() } else { anyhow::Error::msg(told) });
    }
    let made = answer.json()?["_id"].as_str().map(str::to_owned);
    Ok(made.or_else(|| found.map(|found| found.id.clone())).unwrap_or_else(|| name.clone()))
}

/// Deletes a thing.
///
/// # Errors
/// No answer, or OpenSearch refuses.
pub async fn remove(client: &Client, kind: Kind, name: &str, found: &Found) -> anyhow::Result<()> {
    let path = match kind {
        Kind::Policy => {
            lifecycle::take(client, name, &found.body).await?;
            format!("{POLICIES}/{name}")
        }
        Kind::Template => format!("/_index_template/{name}"),
        Kind::Index => return Ok(()),
        Kind::Channel => format!("{CHANNELS}/{name}"),
        Kind::Saved => {
            let Some(dashboards) = client.dashboards() else {
                return Ok(());
            };
            let answer = dashboards.send_with(Method::Delete, &format!("{SAVED}/{name}"), headers(None)?, None).await?;
            if !answer.good() && answer.status != 404 {
                bail!("the {} cannot be deleted: {}", title(kind, name), answer.reason());
            }
            return Ok(());
        }
        Kind::Detector => {
            stop(client, &found.id).await?;
            format!("{DETECTORS}/{}", found.id)
        }
        Kind::Monitor => format!("{MONITORS}/{}", found.id),
    };
    let answer = client.send(Method::Delete, &path, None).await?;
    if answer.status != 404 && refused(&answer)? {
        bail!("the {} cannot be deleted: {}", title(kind, name), answer.reason());
    }
    Ok(())
}

/// Imports one object, over one of the same id if there is one.
async fn import(client: &Client, thing: &Thing) -> anyhow::Result<String> {
    let Some(dashboards) = client.dashboards() else {
        bail!("opensearch.dashboards_url is not set");
    };
    let line = dashboards::line(&thing.name, &thing.body);
    // The API takes a file as browsers send it; no line of JSON can hold the boundary, as it begins with a line break.
    let body = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"outlier.ndjson\"\r\nContent-Type: application/ndjson\r\n\r\n{line}\n\r\n--{BOUNDARY}--\r\n"
    );
    let form = format!("multipart/form-data; boundary={BOUNDARY}");
    let path = format!("{SAVED}/_import?overwrite=true");
    let answer = dashboards.send_with(Method::Post, &path, headers(Some(&form))?, Some(body.into())).await?;
    if !answer.good() {
        bail!("the {} cannot be imported: {}", thing.title(), answer.reason());
    }
    let json = answer.json()?;
    if json["success"] != true {
        bail!("the {} cannot be imported: {}", thing.title(), json["errors"][0]["error"]);
    }
    Ok(thing.name.clone())
}

/// What OpenSearch Dashboards wants of a request that changes something.
fn headers(form: Option<&str>) -> anyhow::Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    headers.insert("osd-xsrf", HeaderValue::from_static("true"));
    if let Some(form) = form {
        headers.insert(CONTENT_TYPE, HeaderValue::from_str(form)?);
    }
    Ok(headers)
}

/// Whether a data stream has this name; while it is there, the server keeps its template.
///
/// # Errors
/// No answer.
pub async fn has_stream(client: &Client, name: &str) -> anyhow::Result<bool> {
    let answer = client.send(Method::Get, &format!("/_data_stream/{name}"), None).await?;
    Ok(answer.good() && answer.json()?["data_streams"].as_array().is_some_and(|streams| !streams.is_empty()))
}

/// Stops a detector; one that does not run is fine.
async fn stop(client: &Client, id: &str) -> anyhow::Result<()> {
    client.send(Method::Post, &format!("{DETECTORS}/{id}/_stop"), None).await?;
    Ok(())
}

/// Whether an answer is an error: some plugins answer one with a good status.
///
/// # Errors
/// The answer is not JSON.
pub fn refused(answer: &Answer) -> anyhow::Result<bool> {
    // A profile has an `error` of its own, which is a text.
    Ok(!answer.good() || answer.json()?["error"].is_object())
}

pub(in crate::setup) fn bytes(body: &Value) -> anyhow::Result<Bytes> {
    Ok(Bytes::from(serde_json::to_vec(body)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_their_places() {
        for (i, (kind, word, _)) in KINDS.iter().enumerate() {
            assert_eq!((*kind as usize, Kind::of(word)), (i, Some(*kind)));
        }
    }

    #[test]
    fn secrets_are_hashed_and_not_shown() {
        let of = |url: &str| {
            let body = json!({"name": "x", "slack": {"url": url}});
            Thing { kind: Kind::Channel, name: "x".to_owned(), body }.masked()
        };
        let (a, b) = (of("https://a"), of("https://b"));
        assert_ne!(a, b);
        let lines = crate::setup::diff::differences(&a, &b);
        assert_eq!(lines.iter().map(|line| readable(line)).collect::<Vec<_>>(), ["slack.url: differs (not shown)"]);
        assert!(!a.to_string().contains("https"), "{a}");
        assert_eq!(readable("a.b: 1 → 2"), "a.b: 1 → 2");
    }
}
