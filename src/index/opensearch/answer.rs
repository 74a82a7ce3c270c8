//! Reads the answer to a bulk request.
//!
//! Invariant: a status says whose fault it is. 429 and 5xx pass; 401, 403 and 404 are about rights and indices and
//! need the operator, so the document waits, and so do errors about making an index (400); every other 4xx is the
//! document's own and rejects it.

use super::words::remedy;
use crate::index::Outcome;
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::borrow::Cow;

#[derive(Deserialize)]
struct Bulk<'a> {
    error: Option<IgnoredAny>,
    #[serde(borrow, default)]
    items: Vec<Item<'a>>,
}

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow)]
    create: Created<'a>,
}

#[derive(Deserialize)]
struct Created<'a> {
    status: u16,
    #[serde(borrow)]
    error: Option<Cause<'a>>,
}

#[derive(Deserialize)]
struct Cause<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    reason: Cow<'a, str>,
    #[serde(borrow)]
    caused_by: Option<Box<Cause<'a>>>,
}

/// The outcomes of `count` documents; `None` when the body is not the answer to such a request.
pub fn outcomes(body: &[u8], count: usize) -> Option<Vec<Outcome>> {
    let bulk: Bulk<'_> = serde_json::from_slice(body).ok()?;
    if bulk.error.is_some() || bulk.items.len() != count {
        return None;
    }
    Some(bulk.items.iter().map(|item| outcome(&item.create)).collect())
}

fn outcome(item: &Created<'_>) -> Outcome {
    match item.status {
        200..=299 => Outcome::Created,
        409 => Outcome::AlreadyThere,
        400 if OPERATORS.contains(&kind(item)) || reason(item).contains("no write index is defined") => {
            Outcome::Retry(format!(
                "the index cannot be written to or made: {}; run `outlier setup`, which says what is in the way",
                reason(item)
            ))
        }
        status @ (401 | 403 | 404 | 429 | 500..) => {
            let reason = reason(item);
            let remedy = remedy(status, &reason);
            Outcome::Retry(format!("{}: {reason}; {remedy}", trouble(status)))
        }
        _ => Outcome::Reject(reason(item)),
    }
}

/// Errors with the status of a bad document that are about its index: too many shards in the cluster, an alias in the
/// way of an index or the reverse, a closed index.
const OPERATORS: &[&str] = &[
    "validation_exception",
    "invalid_alias_name_exception",
    "invalid_index_name_exception",
    "index_closed_exception",
    "index_create_block_exception",
];

fn kind<'a>(item: &'a Created<'_>) -> &'a str {
    item.error.as_ref().map_or("", |error| &error.kind)
}

fn trouble(status: u16) -> &'static str {
    match status {
        401 | 403 => "OpenSearch does not allow the write",
        404 => "the index is not there",
        _ => "OpenSearch does not take it now",
    }
}

/// `mapper_parsing_exception: failed to parse: Duplicate field 'a'`, line breaks removed.
fn reason(item: &Created<'_>) -> String {
    let mut text = String::new();
    let mut cause = item.error.as_ref();
    while let Some(error) = cause {
        let separator = if text.is_empty() { "" } else { ": " };
        let named =
            if text.is_empty() { format!("{}: {}", error.kind, error.reason) } else { error.reason.to_string() };
        text = format!("{text}{separator}{named}");
        cause = error.caused_by.as_deref();
    }
    let first_line = text.split("\n at ").next().unwrap_or_default();
    format!("{} (status {})", first_line.replace(['\n', '\r'], " "), item.status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_item_has_its_outcome() {
        let body = br#"{"took":1,"errors":true,"items":[
            {"create":{"_index":"a","_id":"1","_version":1,"result":"created","_shards":{"total":1},"status":201}},
            {"create":{"status":409,"error":{"type":"version_conflict_engine_exception","reason":"[1]: exists"}}},
            {"create":{"status":429,"error":{"type":"rejected","reason":"queue \"full\""}}},
            {"create":{"status":503,"error":{"type":"unavailable_shards_exception","reason":"none"}}},
            {"create":{"status":403,"error":{"type":"cluster_block_exception","reason":"read only"}}},
            {"create":{"status":400,"error":{"type":"validation_exception","reason":"this action would add [2] shards"}}},
            {"create":{"status":404,"error":{"type":"index_not_found_exception","reason":"no such index"}}},
            {"create":{"status":400,"error":{"type":"mapper_parsing_exception","reason":"failed to parse",
                "caused_by":{"type":"json_parse_exception","reason":"Duplicate field 'a'\n at [Source]"}}}}]}"#;
        let found = outcomes(body, 8).unwrap();
        let kinds: Vec<String> = found
            .iter()
            .map(|outcome| match outcome {
                Outcome::Created => "created".to_owned(),
                Outcome::AlreadyThere => "there".to_owned(),
                Outcome::Retry(_) => "retry".to_owned(),
                Outcome::Reject(why) => why.clone(),
            })
            .collect();
        let rejected = "mapper_parsing_exception: failed to parse: Duplicate field 'a' (status 400)";
        assert_eq!(kinds, ["created", "there", "retry", "retry", "retry", "retry", "retry", rejected]);
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for (body, count) in [
            (r#"{"took":1,"errors":false,"items":[]}"#, 1),
            (r#"{"took":1,"errors":false,"items":[{"create":{"status":201}}]}"#, 2),
            (r#"{"error":{"type":"x"},"status":200}"#, 0),
            (r#"{"error":"no handler found","items":[]}"#, 0),
            (r#"{"items":[{"create":{"status":201}}"#, 1),
            ("<html>welcome</html>", 0),
            ("", 0),
        ] {
            assert_eq!(outcomes(body.as_bytes(), count), None, "{body}");
        }
    }
}
