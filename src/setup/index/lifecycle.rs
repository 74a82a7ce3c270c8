//! Gives a policy of Index State Management to the indices that are there, and takes it from them. New ones get it by the
//! policy's own patterns.
//!
//! Invariant: an index that has another policy, or that somebody took out of the management, stays as it is: a policy
//! may delete what it manages.

use super::thing::{bytes, refused};
use crate::index::opensearch::{Answer, Client};
use anyhow::bail;
use opensearch::http::Method;
use serde_json::{Value, json};

const ISM: &str = "/_plugins/_ism";
const AUTO_MANAGE: &str = "index.plugins.index_state_management.auto_manage";

/// The most indices that one request names.
const MOST: usize = 50;

/// What manages an index.
#[derive(Debug, PartialEq)]
struct Managed {
    index: String,
    policy: Option<String>,
    /// Set by the plugin when somebody takes a policy from an index.
    left_alone: bool,
}

/// Gives the policy as it is now to the indices of its patterns that have it, or none.
///
/// # Errors
/// No answer, or OpenSearch refuses.
pub async fn give(client: &Client, policy: &str, body: &Value) -> anyhow::Result<()> {
    let all = managed(client, body).await?;
    let without = all.iter().filter(|one| one.policy.is_none() && !one.left_alone);
    for names in names(without) {
        act(client, "add", &names, Some(policy)).await?;
    }
    // An index keeps the policy as it was when it got it.
    for names in names(all.iter().filter(|one| one.policy.as_deref() == Some(policy))) {
        act(client, "change_policy", &names, Some(policy)).await?;
    }
    Ok(())
}

/// Takes the policy from the indices that have it. The plugin notes in each that it is to be left alone; as nobody but
/// the setup took it from them, that is undone.
///
/// # Errors
/// As those of [`give`].
pub async fn take(client: &Client, policy: &str, body: &Value) -> anyhow::Result<()> {
    let all = managed(client, body).await?;
    let left_alone = bytes(&json!({AUTO_MANAGE: null}))?;
    // Both for some at a time: a crash in between leaves few to be told from those that somebody took out.
    for names in names(all.iter().filter(|one| one.policy.as_deref() == Some(policy))) {
        act(client, "remove", &names, None).await?;
        let path = format!("/{names}/_settings?expand_wildcards=all&ignore_unavailable=true");
        let answer = client.send(Method::Put, &path, Some(left_alone.clone())).await?;
        // Its policy is gone all the same: an index may be read-only.
        if let Err(error) = unless_gone(&answer, &names) {
            tracing::warn!("they will not get a policy again by themselves: {error}");
        }
    }
    Ok(())
}

/// The indices of a policy's patterns.
async fn managed(client: &Client, body: &Value) -> anyhow::Result<Vec<Managed>> {
    let mut all = Vec::new();
    let patterns = body["ism_template"][0]["index_patterns"].as_array().into_iter().flatten();
    for pattern in patterns.filter_map(Value::as_str) {
        // Of a data stream, the indices behind it. An index that has none of the settings is left out of the answer, so
        // one is asked for that each has.
        let path = format!("/{pattern}/_settings/index.uuid,{AUTO_MANAGE}?flat_settings=true&expand_wildcards=all");
        let answer = client.send(Method::Get, &path, None).await?;
        if answer.status == 404 {
            continue;
        }
        let settings = checked(&answer, pattern)?;
        let names: Vec<&String> = settings.as_object().into_iter().flat_map(|all| all.keys()).collect();
        for names in names.chunks(MOST) {
            let names_text = names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(",");
            let answer = client.send(Method::Get, &format!("{ISM}/explain/{names_text}"), None).await?;
            let explained = checked(&answer, pattern)?;
            all.extend(names.iter().map(|&index| Managed {
                index: index.clone(),
                policy: policy_of(&explained[index]),
                left_alone: settings[index]["settings"][AUTO_MANAGE] == "false",
            }));
        }
    }
    Ok(all)
}

/// The policy of an index as it is explained; `null` without one.
fn policy_of(explained: &Value) -> Option<String> {
    let own = &explained["policy_id"];
    let setting = &explained["index.plugins.index_state_management.policy_id"];
    own.as_str().or(setting.as_str()).map(str::to_owned)
}

async fn act(client: &Client, verb: &str, names: &str, policy: Option<&str>) -> anyhow::Result<()> {
    let body = policy.map(|policy| bytes(&json!({"policy_id": policy}))).transpose()?;
    let answer = unless_gone(&client.send(Method::Post, &format!("{ISM}/{verb}/{names}"), body).await?, names)?;
    // With the status of a success, some may have been refused, as closed indices are.
    for failed in answer.iter().flat_map(|answer| answer["failed_indices"].as_array()).flatten() {
        let (index, reason) = (failed["index_name"].as_str(), failed["reason"].as_str());
        tracing::warn!(index, reason, "the index policy cannot be given to it or taken from it");
    }
    Ok(())
}

/// The names of indices, as many as a request takes at a time.
fn names<'a>(indices: impl Iterator<Item = &'a Managed>) -> Vec<String> {
    let names: Vec<&str> = indices.map(|one| one.index.as_str()).collect();
    names.chunks(MOST).map(|names| names.join(",")).collect()
}

/// The answer; none for indices that were deleted meanwhile, which need nothing.
fn unless_gone(answer: &Answer, indices: &str) -> anyhow::Result<Option<Value>> {
    if answer.status == 404 { Ok(None) } else { checked(answer, indices).map(Some) }
}

fn checked(answer: &Answer, indices: &str) -> anyhow::Result<Value> {
    if refused(answer)? {
        bail!("the index policy cannot be given to or taken from {indices}: {}", answer.reason());
    }
    Ok(answer.json()?)
}
