//! Turns documents into the lines of a bulk request.
//!
//! Invariant: what is written is one action line and one source line a document; bytes of the record are spliced,
//! not parsed, wherever that is safe, and a raw record always becomes some JSON object, so that nothing is lost:
//!
//! | raw record | document |
//! |---|---|
//! | JSON object | its members |
//! | JSON string that holds an object | the inner object's members |
//! | any other text | `raw`: the text |
//! | not UTF-8 | `raw_base64`: the bytes |
//! | tombstone | `raw`: null |

use crate::index::{Document, Stage};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use std::borrow::Cow;
use std::io::Write;

/// Deeper nesting overflows the stack of OpenSearch 3.4 and ends the node (seen at 500 levels), so it never sees it.
pub const MAX_DEPTH: usize = 128;

/// What a log's own `@timestamp` is called in the index, where that name is the sink's.
pub const OWN_TIMESTAMP: &str = "original_timestamp";

/// Appends a document, or says why it cannot be one. `as_text`: a raw record that was refused as JSON.
///
/// # Errors
/// The record is not a JSON object, or too deep; only for enriched and scores.
pub fn push(out: &mut Vec<u8>, index: &str, document: &Document, as_text: bool) -> Result<(), String> {
    let start = out.len();
    out.extend_from_slice(b"{\"create\":{\"_index\":\"");
    out.extend_from_slice(index.as_bytes());
    out.extend_from_slice(b"\",\"_id\":");
    json_string(out, &document.id);
    out.extend_from_slice(b"}}\n");
    let body = document.body.as_deref();
    let pushed = match (document.stage, body) {
        (Stage::Raw, body) => {
            raw(out, document.timestamp_ms, body, as_text);
            Ok(())
        }
        (_, None) => Err("the record has no value".to_owned()),
        (_, Some(body)) => object(out, document.timestamp_ms, body),
    };
    match pushed {
        Ok(()) => out.push(b'\n'),
        Err(_) => out.truncate(start),
    }
    pushed
}

fn raw(out: &mut Vec<u8>, timestamp: i64, body: Option<&[u8]>, as_text: bool) {
    let source = if as_text { None } else { body.and_then(json_object) };
    let start = out.len();
    if let Some(source) = source {
        if object(out, timestamp, &source).is_ok() {
            return;
        }
        out.truncate(start);
    }
    // Writing to a Vec cannot fail.
    let _ = write!(out, "{{\"@timestamp\":{timestamp},\"raw");
    match body.map(str::from_utf8) {
        None => out.extend_from_slice(b"\":null"),
        Some(Ok(text)) => {
            out.extend_from_slice(b"\":");
            json_string(out, text);
        }
        Some(Err(_)) => {
            out.extend_from_slice(b"_base64\":\"");
            out.extend_from_slice(BASE64_STANDARD.encode(body.unwrap_or_default()).as_bytes());
            out.push(b'"');
        }
    }
    out.push(b'}');
}

/// The JSON object in a raw record, if it is one or a string that holds one.
fn json_object(body: &[u8]) -> Option<Cow<'_, [u8]>> {
    let is_object = |bytes: &[u8]| bytes.trim_ascii_start().first() == Some(&b'{') && shallow(bytes) && valid(bytes);
    match body.trim_ascii_start().first() {
        Some(b'{') => is_object(body).then_some(Cow::Borrowed(body)),
        Some(b'"') => {
            let inner: String = serde_json::from_slice(body).ok()?;
            is_object(inner.as_bytes()).then(|| Cow::Owned(inner.into_bytes()))
        }
        _ => None,
    }
}

fn valid(body: &[u8]) -> bool {
    str::from_utf8(body).is_ok() && serde_json::from_slice::<IgnoredAny>(body).is_ok()
}

/// Splices `@timestamp` in as the first member.
fn object(out: &mut Vec<u8>, timestamp: i64, body: &[u8]) -> Result<(), String> {
    let Some(members) = body.trim_ascii().strip_prefix(b"{") else {
        return Err("the record is not a JSON object".to_owned());
    };
    if !shallow(body) {
        return Err(format!("the record is nested deeper than {MAX_DEPTH} levels, which can end OpenSearch"));
    }
    let _ = write!(out, "{{\"@timestamp\":{timestamp}");
    if contains(members, b"@timestamp\"") {
        return renamed(out, body);
    }
    if members.trim_ascii_start().first() != Some(&b'}') {
        out.push(b',');
    }
    let start = out.len();
    out.extend_from_slice(members);
    // A line break ends a document; in JSON it can only stand between tokens.
    for byte in &mut out[start..] {
        if *byte == b'\n' || *byte == b'\r' {
            *byte = b' ';
        }
    }
    Ok(())
}

/// Writes all members, a top-level `@timestamp` under another name.
fn renamed(out: &mut Vec<u8>, body: &[u8]) -> Result<(), String> {
    struct Members<'o>(&'o mut Vec<u8>);
    impl<'de> Visitor<'de> for Members<'_> {
        type Value = ();
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
            while let Some(key) = map.next_key::<Cow<'de, str>>()? {
                self.0.push(b',');
                json_string(self.0, if key == "@timestamp" { OWN_TIMESTAMP } else { &key });
                self.0.push(b':');
                let value: &'de serde_json::value::RawValue = map.next_value()?;
                self.0.extend(value.get().bytes().map(|b| if matches!(b, b'\n' | b'\r') { b' ' } else { b }));
            }
            Ok(())
        }
    }
    impl<'de> DeserializeSeed<'de> for Members<'_> {
        type Value = ();
        fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
            deserializer.deserialize_map(self)
        }
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    let read = Members(out).deserialize(&mut json).and_then(|()| json.end());
    out.push(b'}');
    read.map_err(|error| format!("the record is not JSON: {error}"))
}

/// True when no more than [`MAX_DEPTH`] objects and arrays are open at once. Brackets in strings do not count.
fn shallow(body: &[u8]) -> bool {
    if body.iter().filter(|byte| matches!(byte, b'{' | b'[')).count() <= MAX_DEPTH {
        return true;
    }
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in body {
        match (in_string, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => in_string = !in_string,
            (false, b'{' | b'[') if depth == MAX_DEPTH => return false,
            (false, b'{' | b'[') => depth += 1,
            (false, b'}' | b']') => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    true
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    memchr::memmem::find(haystack, needle).is_some()
}

/// Writes a text as a JSON string.
fn json_string(out: &mut Vec<u8>, text: &str) {
    // Writing a str to a Vec cannot fail.
    let _ = serde_json::to_writer(out, text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn line(stage: Stage, body: Option<&[u8]>, as_text: bool) -> Result<Value, String> {
        let body = body.map(Bytes::copy_from_slice);
        let document =
            Document { pipeline: "p".into(), stage, id: "a\"b".to_owned(), timestamp_ms: 5, period_ms: 5, body };
        let mut out = Vec::new();
        push(&mut out, "p-raw", &document, as_text)?;
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = text.split_terminator('\n').collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert_eq!(
            serde_json::from_str::<Value>(lines[0]).unwrap(),
            json!({"create": {"_index": "p-raw", "_id": "a\"b"}})
        );
        Ok(serde_json::from_str(lines[1]).unwrap())
    }

    #[test]
    fn members_are_spliced() {
        for (body, want) in [
            (r#"{"a":1}"#, json!({"@timestamp": 5, "a": 1})),
            (" {\n} ", json!({"@timestamp": 5})),
            ("{\"a\":\r\n[1]\n}\n", json!({"@timestamp": 5, "a": [1]})),
            (
                r#"{"@timestamp":7,"a":{"@timestamp":8}}"#,
                json!({"@timestamp": 5, "original_timestamp": 7, "a": {"@timestamp": 8}}),
            ),
            (r#"{"a":"say \"@timestamp\""}"#, json!({"@timestamp": 5, "a": "say \"@timestamp\""})),
        ] {
            assert_eq!(line(Stage::Enriched, Some(body.as_bytes()), false), Ok(want.clone()), "{body}");
            assert_eq!(line(Stage::Raw, Some(body.as_bytes()), false), Ok(want), "{body}");
            assert_eq!(
                line(Stage::Raw, Some(body.as_bytes()), true),
                Ok(json!({"@timestamp": 5, "raw": body})),
                "{body}"
            );
        }
    }

    #[test]
    fn what_is_no_object_is_refused_or_kept_as_text() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        for (body, refused) in [
            ("[1]".to_owned(), true),
            (String::new(), true),
            ("x".to_owned(), true),
            (format!("{{\"a\":{}}}", nested(MAX_DEPTH)), true),
            (format!("{{\"a\":\"{}\"}}", "[".repeat(2 * MAX_DEPTH)), false),
        ] {
            assert_eq!(line(Stage::Enriched, Some(body.as_bytes()), false).is_err(), refused, "{body}");
            let raw = line(Stage::Raw, Some(body.as_bytes()), false).unwrap();
            assert_eq!(raw.get("raw").is_some(), refused, "{body}");
        }
        // serde_json's own limit is in the way of reading this one back.
        assert!(shallow(nested(MAX_DEPTH).as_bytes()) && !shallow(nested(MAX_DEPTH + 1).as_bytes()));
        assert!(line(Stage::Scores, None, false).is_err());
        assert_eq!(line(Stage::Raw, None, false), Ok(json!({"@timestamp": 5, "raw": null})));
    }

    proptest! {
        #[test]
        fn any_raw_record_becomes_two_lines_that_hold_it(body in prop::collection::vec(any::<u8>(), 0..60), text in "[\\PC\n{}\":,a]{0,40}", as_text: bool) {
            for body in [body.as_slice(), text.as_bytes()] {
                let document = line(Stage::Raw, Some(body), as_text).unwrap();
                if let Some(raw) = document.get("raw").and_then(Value::as_str) {
                    prop_assert_eq!(raw.as_bytes(), body);
                } else if let Some(raw) = document.get("raw_base64").and_then(Value::as_str) {
                    prop_assert_eq!(BASE64_STANDARD.decode(raw).unwrap(), body);
                } else {
                    prop_assert!(serde_json::from_slice::<Value>(body).is_ok());
                }
            }
        }
    }
}
