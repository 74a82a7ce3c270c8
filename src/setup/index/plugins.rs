//! Which plugins the cluster has, found out by asking each for something small.
//!
//! Invariant: a plugin that is missing, or closed to this user, takes away its own part of the setup and nothing else.

use crate::index::opensearch::{Answer, Client};
use opensearch::http::Method;

/// Whether a plugin can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presence {
    /// It answers.
    There,
    /// It is not installed.
    Absent,
    /// It is there, and this user may not use it: why.
    Refused(String),
}

/// The plugins that the setup can use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plugins {
    /// Index State Management.
    pub management: Presence,
    /// Anomaly detection.
    pub detection: Presence,
    /// OpenSearch Dashboards, which is no plugin, and asked in the same way; absent where it is not configured.
    pub dashboards: Presence,
    /// Alerting.
    pub alerting: Presence,
    /// Notifications.
    pub notifications: Presence,
}

const MANAGEMENT: &str = "/_plugins/_ism/policies?size=1";
const DETECTION: &str = "/_plugins/_anomaly_detection/detectors/count";
const STATUS: &str = "/api/status";
const ALERTING: &str = "/_plugins/_alerting/monitors/alerts?size=1";
const NOTIFICATIONS: &str = "/_plugins/_notifications/features";

impl Plugins {
    /// A cluster with all of them.
    pub fn everything() -> Self {
        let there = || Presence::There;
        Self { management: there(), detection: there(), dashboards: there(), alerting: there(), notifications: there() }
    }

    /// Asks the cluster.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn find(client: &Client) -> anyhow::Result<Self> {
        Ok(Self {
            management: ask(client, MANAGEMENT).await?,
            detection: ask(client, DETECTION).await?,
            dashboards: match client.dashboards() {
                None => Presence::Absent,
                Some(dashboards) => match dashboards.send(Method::Get, STATUS, None).await {
                    Ok(answer) => presence(&answer).unwrap_or_else(|| Presence::Refused(answer.reason())),
                    // It is a thing for people, and nothing else waits for it.
                    Err(error) => Presence::Refused(error.to_string()),
                },
            },
            alerting: ask(client, ALERTING).await?,
            notifications: ask(client, NOTIFICATIONS).await?,
        })
    }
}

/// Whether the alerting plugin is installed, whatever this user may do with it.
///
/// # Errors
/// As [`Plugins::find`].
pub async fn has_alerting(client: &Client) -> anyhow::Result<bool> {
    Ok(ask(client, ALERTING).await? != Presence::Absent)
}

async fn ask(client: &Client, path: &str) -> anyhow::Result<Presence> {
    let answer = client.send(Method::Get, path, None).await?;
    Ok(presence(&answer).unwrap_or_else(|| Presence::Refused(format!("it does not work: {}", answer.reason()))))
}

/// What an answer says of the plugin; `None`: it is there and broken.
fn presence(answer: &Answer) -> Option<Presence> {
    match answer.status {
        200..=299 => Some(Presence::There),
        401 | 403 => Some(Presence::Refused(answer.reason())),
        _ if absent(answer) => Some(Presence::Absent),
        // The plugin knows the question; what it keeps is not there yet.
        404 => Some(Presence::There),
        _ => None,
    }
}

/// Nobody in the cluster knows the path. Serverless collections answer 404 without a reason of OpenSearch's own.
fn absent(answer: &Answer) -> bool {
    let known = |body: &serde_json::Value| body["error"].is_object();
    match answer.status {
        400 => answer.reason().contains("no handler found"),
        404 | 405 => !answer.json().is_ok_and(|body| known(&body)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_tell_of_plugins() {
        let refused = r#"{"error":{"type":"security_exception","reason":"no permissions for [x]"},"status":403}"#;
        for (status, body, want) in [
            (200, r#"{"count":0,"match":false}"#, Some(Presence::There)),
            (400, r#"{"error":"no handler found for uri [/x] and method [GET]"}"#, Some(Presence::Absent)),
            (404, "", Some(Presence::Absent)),
            (404, r#"{"message":"not found"}"#, Some(Presence::Absent)),
            (404, r#"{"error":{"type":"index_not_found_exception","reason":"no such index"}}"#, Some(Presence::There)),
            (
                403,
                refused,
                Some(Presence::Refused(
                    "security_exception: no permissions for [x] (HTTP 403); give the user of [opensearch] this right"
                        .to_owned(),
                )),
            ),
            (500, r#"{"error":{"type":"x","reason":"y"}}"#, None),
        ] {
            let answer = Answer { status, body: body.into() };
            assert_eq!(presence(&answer), want, "{status} {body}");
        }
    }
}
