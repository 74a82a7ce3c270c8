//! Which plugins the cluster has, found out by asking each for something small.
//!
//! Invariant: a plugin that is missing, or closed to this user, takes away its own part of the setup and nothing else.

use crate::index::opensearch::{Answer, Client};
use anyhow::Context;
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
                    Ok(answer) => of_dashboards(&answer),
                    // It is a thing for people, and nothing else waits for it.
                    Err(error) => Presence::Refused(error.to_string()),
                },
            },
            alerting: ask(client, ALERTING).await?,
            notifications: ask(client, NOTIFICATIONS).await?,
        })
    }
}

/// What OpenSearch's own monitors need, whatever this user may do with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Installed {
    /// Alerting.
    pub alerting: bool,
    /// Notifications.
    pub notifications: bool,
    /// Anomaly detection.
    pub detection: bool,
}

impl Installed {
    /// Asks the cluster.
    ///
    /// # Errors
    /// It does not answer, or a plugin does not work.
    pub async fn find(client: &Client) -> anyhow::Result<Self> {
        let there = async |path| {
            let answer = client.send(Method::Get, path, None).await?;
            let presence = presence(&answer).with_context(|| format!("{path} does not work: {}", answer.reason()))?;
            if let Presence::Refused(why) = &presence {
                tracing::warn!(
                    path,
                    why,
                    "the plugin is there and refuses this user: nobody can see here whether it works"
                );
            }
            anyhow::Ok(presence != Presence::Absent)
        };
        Ok(Self {
            alerting: there(ALERTING).await?,
            notifications: there(NOTIFICATIONS).await?,
            detection: there(DETECTION).await?,
        })
    }
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

/// What an answer says of OpenSearch Dashboards, whose address was configured: whatever else answers there is a mistake.
fn of_dashboards(answer: &Answer) -> Presence {
    let known = answer.json().is_ok_and(|body| body["version"]["number"].is_string());
    Presence::Refused(match answer.status {
        200..=299 if known => return Presence::There,
        401 | 403 => answer.reason(),
        503 => "OpenSearch Dashboards is not ready (HTTP 503): try again in a minute, or see its log".to_owned(),
        status => format!(
            "what answers at opensearch.dashboards_url is not OpenSearch Dashboards (HTTP {status}): it is another port than OpenSearch's, mostly 5601, and has server.basePath behind it if that is set"
        ),
    })
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
    fn answers_tell_of_dashboards() {
        for (status, body, want) in [
            (200, r#"{"name":"x","version":{"number":"3.4.0"},"status":{}}"#, None),
            (200, "<html>welcome</html>", Some("is not OpenSearch Dashboards")),
            (200, r#"{"status":"ok"}"#, Some("is not OpenSearch Dashboards")),
            (400, r#"{"error":"no handler found for uri [/api/status] and method [GET]"}"#, Some("mostly 5601")),
            (404, "", Some("is not OpenSearch Dashboards")),
            (403, r#"{"error":{"type":"security_exception","reason":"no permissions"}}"#, Some("no permissions")),
            (503, "OpenSearch Dashboards server is not ready yet", Some("try again")),
        ] {
            let answer = Answer { status, body: body.into() };
            match (of_dashboards(&answer), want) {
                (Presence::There, None) => {}
                (Presence::Refused(why), Some(part)) => assert!(why.contains(part), "{status} {body}: {why}"),
                (got, _) => panic!("{status} {body}: {got:?}"),
            }
        }
    }

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
