//! Reads the answer to a bulk request.
//!
//! Invariants: each document has the outcome of its own item: that in its place, if it has its id, else that of the id
//! among the others. OpenSearch 3.4 answers for documents that an ingest pipeline refused in each other's places; ids are
//! not unique, as a raw and an enriched document share one: what was taken then is only believed in its place. A status says whose fault it is: 429 and 5xx
//! pass, though 500 may also be how a document is refused; 401, 403 and 404 are about rights and indices and need the
//! operator, so the document waits, and so do errors about the index itself (400); every other 4xx is the document's own
//! and rejects it. What an error looks like beside its status makes no answer unreadable.

use super::words::{index_remedy, remedy};
use crate::index::Outcome;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

#[derive(Deserialize)]
struct Bulk<'a> {
    error: Option<IgnoredAny>,
    #[serde(borrow, default)]
    items: Vec<Item<'a>>,
}

#[derive(Deserialize)]
struct Item<'a> {
    // The sink creates; the setup's question is to replace.
    #[serde(borrow, alias = "index")]
    create: Created<'a>,
}

#[derive(Deserialize)]
struct Created<'a> {
    #[serde(borrow, rename = "_id")]
    id: Option<Cow<'a, str>>,
    status: u16,
    /// Read only where it is told.
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

/// With what a processor of an ingest pipeline refuses a document, though its status is 500.
const REFUSALS: [&str; 2] = ["fail_processor_exception", "find_match"];

/// How a refusal begins that says nothing of its own document: where an ingest pipeline cannot read one document of a
/// request, all that go through one are refused (seen on OpenSearch 3.4).
const SHARED: &str = "parse_exception: Failed to parse content to map";

/// True if a document may have been refused for another one of its request.
pub fn may_be_for_another(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Reject(reason) if reason.starts_with(SHARED))
}

/// The outcomes of the documents with these ids; `None` when the body is not the answer to such a request.
pub fn outcomes(body: &[u8], ids: &[&str]) -> Option<Vec<Outcome>> {
    if all_created(body, ids).is_some() {
        return Some(ids.iter().map(|_| Outcome::Created).collect());
    }
    let bulk: Bulk<'_> = serde_json::from_slice(body).ok()?;
    if bulk.error.is_some() || bulk.items.len() != ids.len() {
        return None;
    }
    let in_place = |(item, id): &(&Item<'_>, &&str)| item.create.id.as_ref().is_none_or(|found| found == **id);
    if bulk.items.iter().zip(ids).all(|pair| in_place(&pair)) {
        return Some(bulk.items.iter().map(|item| outcome(&item.create)).collect());
    }
    let taken = |item: &Created<'_>| matches!(item.status, 200..=299 | 409);
    let not_taken = bulk.items.iter().filter(|item| !taken(&item.create));
    let not_taken: HashSet<&str> = not_taken.filter_map(|item| item.create.id.as_deref()).collect();
    let mut astray: HashMap<&str, Vec<Outcome>> = HashMap::new();
    for (Item { create }, _) in bulk.items.iter().zip(ids).filter(|pair| !in_place(pair)) {
        let own = create.id.as_deref()?;
        // Of two documents with this id one was taken, and nobody can tell which.
        if taken(create) && not_taken.contains(own) {
            return None;
        }
        astray.entry(own).or_default().push(outcome(create));
    }
    let of = |pair: (&Item<'_>, &&str)| match in_place(&pair) {
        true => Some(outcome(&pair.0.create)),
        false => astray.get_mut(*pair.1).and_then(Vec::pop),
    };
    bulk.items.iter().zip(ids).map(of).collect()
}

/// The usual answer, byte by byte: that all were created. On the path of every document.
fn all_created(body: &[u8], ids: &[&str]) -> Option<()> {
    let mut rest = body.strip_prefix(b"{\"items\":[")?;
    for (place, id) in ids.iter().enumerate() {
        rest = if place == 0 { rest } else { rest.strip_prefix(b",")? };
        rest = rest.strip_prefix(b"{\"create\":{\"_id\":\"")?.strip_prefix(id.as_bytes())?;
        rest = rest.strip_prefix(b"\",\"status\":201}}")?;
    }
    (rest == b"]}").then_some(())
}

fn outcome(item: &Created<'_>) -> Outcome {
    match item.status {
        200..=299 => Outcome::Created,
        409 => Outcome::AlreadyThere,
        status @ (401 | 403 | 404 | 429 | 500..) => {
            let error = error(item);
            let reason = reason(status, &error);
            if status == 500 && REFUSALS.contains(&part(&error, "type")) {
                return Outcome::Reject(reason);
            }
            let remedy = remedy(status, &reason);
            let why = format!("{}: {reason}; {remedy}", trouble(status));
            if status == 500 { Outcome::Fault(why) } else { Outcome::Retry(why) }
        }
        status => {
            let error = error(item);
            let reason = reason(status, &error);
            match index_remedy(part(&error, "type"), part(&error, "reason")).filter(|_| status == 400) {
                Some(remedy) => Outcome::Retry(format!("the index cannot be written to or made: {reason}; {remedy}")),
                None => Outcome::Reject(reason),
            }
        }
    }
}

fn error(item: &Created<'_>) -> Value {
    let text = item.error.map_or("null", RawValue::get);
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}

/// Of an error one of its texts; empty if it has none, as exceptions without a message have.
fn part<'e>(error: &'e Value, name: &str) -> &'e str {
    error.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn trouble(status: u16) -> &'static str {
    match status {
        401 | 403 => "OpenSearch does not allow the write",
        404 => "the index is not there",
        _ => "OpenSearch does not take it now",
    }
}

/// `mapper_parsing_exception: failed to parse: Duplicate field 'a'`, line breaks removed.
fn reason(status: u16, error: &Value) -> String {
    let mut parts = vec![part(error, "type")];
    let mut cause = Some(error);
    while let Some(error) = cause {
        parts.push(error.as_str().unwrap_or_else(|| part(error, "reason")));
        cause = error.get("caused_by");
    }
    parts.retain(|part| !part.is_empty());
    if parts.is_empty() {
        parts.push("no reason is given");
    }
    let text = parts.join(": ");
    let first_line = text.split("\n at ").next().unwrap_or_default();
    format!("{} (status {status})", first_line.replace(['\n', '\r'], " "))
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
            {"create":{"status":500,"error":{"type":"null_pointer_exception","reason":null}}},
            {"create":{"status":500,"error":{"type":"fail_processor_exception","reason":"no"}}},
            {"create":{"status":403,"error":{"type":"cluster_block_exception","reason":"read only"}}},
            {"create":{"status":400,"error":{"type":"validation_exception","reason":"this action would add [2] shards"}}},
            {"create":{"status":404,"error":{"type":"index_not_found_exception","reason":"no such index"}}},
            {"create":{"status":400,"error":{"type":"mapper_parsing_exception","reason":"failed to parse",
                "caused_by":{"type":"json_parse_exception","reason":"Duplicate field 'a'\n at [Source]"}}}}]}"#;
        let found = outcomes(body, &["1"; 10]).unwrap();
        let kinds: Vec<String> = found
            .iter()
            .map(|outcome| match outcome {
                Outcome::Created => "created".to_owned(),
                Outcome::AlreadyThere => "there".to_owned(),
                Outcome::Retry(_) => "retry".to_owned(),
                Outcome::Fault(_) => "fault".to_owned(),
                Outcome::Reject(why) => why.clone(),
            })
            .collect();
        let rejected = "mapper_parsing_exception: failed to parse: Duplicate field 'a' (status 400)";
        let failed = "fail_processor_exception: no (status 500)";
        let want = ["created", "there", "retry", "retry", "fault", failed, "retry", "retry", "retry", rejected];
        assert_eq!(kinds, want);
    }

    #[test]
    fn an_item_is_of_the_document_with_its_id() {
        let answer = |items: &[(&str, u16)]| {
            let items: Vec<Value> = items
                .iter()
                .map(|(id, status)| serde_json::json!({"create": {"_id": id, "status": status, "error": {"reason": id}}}))
                .collect();
            serde_json::json!({ "items": items }).to_string()
        };
        let rejected = |id: &str| Outcome::Reject(format!("{id} (status 400)"));
        let there = || Outcome::AlreadyThere;
        let all = ["a", "b\"/\n", "c"];
        for (asked, items, want) in [
            (
                &all[..],
                &[("a", 400), ("b\"/\n", 409), ("c", 400)][..],
                Some(vec![rejected("a"), there(), rejected("c")]),
            ),
            (&all, &[("c", 400), ("b\"/\n", 409), ("a", 400)], Some(vec![rejected("a"), there(), rejected("c")])),
            // A processor dropped `c`, which is in the place of `a`.
            (&all, &[("c", 200), ("a", 400), ("b\"/\n", 409)], Some(vec![rejected("a"), there(), Outcome::Created])),
            (&all, &[("a", 400), ("b\"/\n", 409), ("d", 400)], None),
            (&all, &[("a", 400), ("a", 400), ("c", 400)], None),
            // Raw and enriched documents of the same records.
            (
                &["a", "b", "a", "b"],
                &[("a", 409), ("b", 409), ("b", 400), ("a", 400)],
                Some(vec![there(), there(), rejected("a"), rejected("b")]),
            ),
            (
                &["a", "b", "a", "b"],
                &[("b", 400), ("a", 400), ("a", 409), ("b", 409)],
                Some(vec![rejected("a"), rejected("b"), there(), there()]),
            ),
            (
                &["a", "b", "a", "c"],
                &[("b", 400), ("a", 409), ("c", 400), ("a", 409)],
                Some(vec![there(), rejected("b"), there(), rejected("c")]),
            ),
            // Nobody can tell whose that is.
            (&["a", "b", "a", "b"], &[("b", 409), ("a", 400), ("a", 409), ("b", 400)], None),
        ] {
            assert_eq!(outcomes(answer(items).as_bytes(), asked), want, "{items:?}");
        }
        // A document of no id that is told has its place.
        assert_eq!(outcomes(br#"{"items":[{"create":{"status":409}}]}"#, &["a"]), Some(vec![there()]));
    }

    #[test]
    fn the_usual_answer_is_told_from_its_bytes() {
        let usual = r#"{"items":[{"create":{"_id":"a","status":201}},{"create":{"_id":"b","status":201}}]}"#;
        let created = || Some(vec![Outcome::Created, Outcome::Created]);
        for (body, ids, want) in [
            (usual.to_owned(), ["a", "b"], Some(())),
            (usual.to_owned(), ["b", "a"], None),
            (usual.replace("}}]", "},\"x\":{}}]"), ["a", "b"], None),
            (usual.replace(":[", ": ["), ["a", "b"], None),
            (usual.replacen("201", "200", 1), ["a", "b"], None),
            (usual.replacen(r#""a""#, r#""a\"""#, 1), ["a\"", "b"], None),
        ] {
            assert_eq!(all_created(body.as_bytes(), &ids), want, "{body}");
            assert_eq!(outcomes(body.as_bytes(), &ids), created(), "{body}");
        }
        assert_eq!(all_created(usual.as_bytes(), &["a"]), None);
        assert_eq!(outcomes(usual.replacen("201", "409", 1).as_bytes(), &["a", "b"]), {
            Some(vec![Outcome::AlreadyThere, Outcome::Created])
        });
    }

    fn one(status: u16, error: &str) -> Outcome {
        let body = format!(r#"{{"items":[{{"create":{{"status":{status},"error":{error}}}}}]}}"#);
        outcomes(body.as_bytes(), &["a"]).unwrap().remove(0)
    }

    #[test]
    fn an_error_of_any_shape_leaves_the_answer_readable() {
        for (error, want) in [
            (r#"{"type":"null_pointer_exception","reason":null}"#, "null_pointer_exception (status 400)"),
            (r#"{"type":null,"reason":"no"}"#, "no (status 400)"),
            (r#"{"type":"a","reason":"b","caused_by":null}"#, "a: b (status 400)"),
            (r#"{"type":"a","reason":"b","caused_by":{"type":"c","reason":null}}"#, "a: b (status 400)"),
            (r#"{"type":"a","reason":null,"caused_by":{"type":"c","reason":"d"}}"#, "a: d (status 400)"),
            (r#"{"type":"a","reason":"b","caused_by":"c"}"#, "a: b: c (status 400)"),
            (r#""no such thing""#, "no such thing (status 400)"),
            (r#"{"reason":"\ud800"}"#, r#"{"reason":"\ud800"} (status 400)"#),
            (r#"{"type":["a"],"reason":{"b":1}}"#, "no reason is given (status 400)"),
            ("[1]", "no reason is given (status 400)"),
            ("null", "no reason is given (status 400)"),
        ] {
            assert_eq!(one(400, error), Outcome::Reject(want.to_owned()), "{error}");
            assert!(matches!(one(503, error), Outcome::Retry(_)), "{error}");
            assert_eq!(one(409, error), Outcome::AlreadyThere, "{error}");
            assert_eq!(one(201, error), Outcome::Created, "{error}");
        }
    }

    #[test]
    fn what_is_the_indexs_fault_waits_for_the_operator() {
        let said =
            |kind: &str, reason: &str| one(400, &serde_json::json!({"type": kind, "reason": reason}).to_string());
        for (kind, reason, remedy) in [
            ("illegal_argument_exception", "Number of documents in the index can't exceed [2147483519]", "\"daily\""),
            ("illegal_argument_exception", "pipeline with id [x] does not exist", "restore"),
            (
                "illegal_argument_exception",
                "no write index is defined for alias [x]. The write index may be",
                "`outlier setup`",
            ),
            ("validation_exception", "this action would add [2] shards", "`outlier setup`"),
            ("index_closed_exception", "closed", "_open"),
        ] {
            let Outcome::Retry(told) = said(kind, reason) else { panic!("{reason}") };
            assert!(told.contains(reason) && told.contains(remedy), "{told}");
        }
        // What a log says makes nothing wait.
        for reason in [
            "pipeline with id [x] does not exist",
            "no write index is defined",
            "Number of documents in the index can't",
        ] {
            let field = format!("failed to parse field [a]. Preview of field's value: '{reason}'");
            for (kind, reason) in [
                ("mapper_parsing_exception", field.as_str()),
                ("mapper_parsing_exception", reason),
                ("illegal_argument_exception", &field),
            ] {
                assert!(matches!(said(kind, reason), Outcome::Reject(_)), "{kind}: {reason}");
            }
        }
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
            assert_eq!(outcomes(body.as_bytes(), &vec!["a"; count]), None, "{body}");
        }
    }
}
