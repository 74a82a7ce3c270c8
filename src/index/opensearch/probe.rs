//! Is it OpenSearch, of a version that outlier knows, and would it take documents?
//!
//! Invariants: asking writes no document; a server that does not tell its version passes: Amazon OpenSearch Serverless has
//! no `GET /`, and a user need not have the right to it.

use super::{Answer, Client, answer};
use crate::index::{Outcome, Unavailable};
use opensearch::http::Method;
use serde_json::{Value, json};

/// What `GET /` says under `tagline`, also where OpenSearch 2 gives its version as Elasticsearch's 7.10.2.
const TAGLINE: &str = "The OpenSearch Project";

/// Asks the server what it is.
///
/// # Errors
/// It does not answer, refuses the credentials, or is not OpenSearch 2.7 or later: says what to do.
pub async fn probe(client: &Client) -> Result<(), Unavailable> {
    let answer = client.send(Method::Get, "/", None).await?;
    judge(&answer)
}

/// Asks for documents that are never written, as each is to replace a version that no document has. An ingest pipeline of
/// the index runs on it all the same. Answers which indices would not take documents now, and why.
///
/// # Errors
/// OpenSearch does not answer, or something else does.
pub async fn refusals(client: &Client, indices: &[String]) -> Result<Vec<(String, String)>, Unavailable> {
    if indices.is_empty() {
        return Ok(Vec::new());
    }
    // Each its own id, by which answers in each other's places are told apart.
    let replace = |index: &String| {
        let action = json!({"index": {"_index": index, "_id": index, "if_seq_no": i64::MAX, "if_primary_term": 1}});
        format!("{action}\n{{}}\n")
    };
    let lines: String = indices.iter().map(replace).collect();
    // It waits for a shard for less long than a client usually waits for an answer.
    let answer = client.bulk(&format!("{}&timeout=5s", super::BULK), lines.into()).await?;
    if !answer.good() {
        // A question that is refused for what it is says nothing of documents.
        let why = super::refused(&answer);
        return if why.refused { Ok(Vec::new()) } else { Err(why) };
    }
    let ids: Vec<&str> = indices.iter().map(String::as_str).collect();
    let outcomes = answer::outcomes(&answer.body, &ids).ok_or_else(|| super::odd(&answer))?;
    // Whatever else is wrong with such a document is wrong with it alone.
    let refusal = |(index, outcome): (&String, Outcome)| match outcome {
        Outcome::Retry(why) => Some((index.clone(), why)),
        Outcome::Created | Outcome::AlreadyThere | Outcome::Fault(_) | Outcome::Reject(_) => None,
    };
    Ok(indices.iter().zip(outcomes).filter_map(refusal).collect())
}

/// The first version with the type `flat_object`, which free-form objects have here.
const OLDEST: (u32, u32) = (2, 7);

fn judge(answer: &Answer) -> Result<(), Unavailable> {
    match answer.status {
        200..=299 => {}
        403 | 404 => return Ok(()),
        429 | 500.. => return Err(super::refused(answer)),
        _ => return Err(answer.not_opensearch()),
    }
    let json = answer.json()?;
    let version = &json["version"];
    let Value::String(number) = &version["number"] else {
        return Err(answer.not_opensearch());
    };
    let own = version["distribution"] == "opensearch";
    let tagline = json["tagline"].as_str().is_some_and(|text| text.starts_with(TAGLINE));
    let mut parts = number.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    match (own, tagline) {
        (true, _) if version < OLDEST => Err(Unavailable::new(format!(
            "this is OpenSearch {number}, and outlier needs 2.7 or later: upgrade it, or name another cluster in opensearch.urls"
        ))),
        (true, _) => {
            if version.0 > 3 {
                tracing::warn!("this is OpenSearch {number}; outlier was tested with 2.19 and 3.4");
            }
            Ok(())
        }
        (false, true) => Ok(()),
        (false, false) => Err(Unavailable::new(format!(
            "this is Elasticsearch {number} or something like it, and outlier needs OpenSearch 2.7 or later: name an OpenSearch in opensearch.urls"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_told_apart() {
        let elastic = r#"{"version":{"number":"8.15.0","build_flavor":"default"},"tagline":"You Know, for Search"}"#;
        let compatible =
            r#"{"version":{"number":"7.10.2"},"tagline":"The OpenSearch Project: https://opensearch.org/"}"#;
        let of = |number: &str| format!(r#"{{"version":{{"distribution":"opensearch","number":"{number}"}}}}"#);
        for (status, body, want) in [
            (200, of("3.4.0"), Ok(())),
            (200, of("2.19.1"), Ok(())),
            (200, of("4.0.0-SNAPSHOT"), Ok(())),
            (200, of("1.3.20"), Err("this is OpenSearch 1.3.20")),
            (200, of("2.6.0"), Err("this is OpenSearch 2.6.0")),
            (200, of("2.7.0"), Ok(())),
            (200, of("x"), Err("this is OpenSearch x")),
            (200, compatible.to_owned(), Ok(())),
            (200, elastic.to_owned(), Err("this is Elasticsearch 8.15.0")),
            (404, String::new(), Ok(())),
            (403, r#"{"error":{"type":"security_exception","reason":"no permissions"}}"#.to_owned(), Ok(())),
            (
                503,
                r#"{"error":{"type":"x","reason":"not yet"},"status":503}"#.to_owned(),
                Err("overloaded or starting"),
            ),
            (200, "<html>welcome</html>".to_owned(), Err("not OpenSearch's")),
            (200, r#"{"hello":"world"}"#.to_owned(), Err("not OpenSearch's")),
            (302, String::new(), Err("not OpenSearch's")),
        ] {
            let judged = judge(&Answer { status, body: body.clone().into() });
            match want {
                Ok(()) => assert_eq!(judged, Ok(()), "{status} {body}"),
                Err(part) => {
                    assert!(judged.clone().is_err_and(|told| told.reason.contains(part)), "{body}: {judged:?}")
                }
            }
        }
    }
}
