//! Turns documents into the lines of a bulk request.
//!
//! Invariant: what is written is one action line and one source line a document; the bytes of a JSON object are
//! spliced, and a raw record that is none, or nests too deep, becomes one that holds it as it came:
//!
//! | raw record | document |
//! |---|---|
//! | JSON object | its members |
//! | JSON string that holds an object | the inner object's members |
//! | any other text, or deeper than [`MAX_DEPTH`] | `raw`: the text |
//! | not UTF-8 | `raw_base64`: the bytes |
//! | tombstone | `raw`: null |
//!
//! A record is validated as `process` validates it. Of an enriched one, which `process` has validated, a glance is enough
//! where it tells that the record harms neither the request nor the node (ADR 34).

use crate::index::{Document, Stage, Written};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use outlier_core::record::{Object, Objects, Reject};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use std::borrow::Cow;
use std::cell::RefCell;

/// Deeper nesting overflows the stack of OpenSearch 3.4 and ends the node (seen at 500 levels), so it never sees it.
pub const MAX_DEPTH: usize = 128;

/// What a log's own `@timestamp` is called in the index, where that name is the sink's.
pub const OWN_TIMESTAMP: &str = "original_timestamp";

thread_local! {
    /// Its buffers are as large as the largest record that this thread has seen.
    static OBJECTS: RefCell<Objects> = RefCell::new(Objects::new(MAX_DEPTH, "@timestamp"));
}

/// Appends the lines of a document, or says why it cannot be one. On the path of every record.
///
/// # Errors
/// The record is seen not to be a JSON object, or too deep; of a raw record never.
pub fn lines(out: &mut Vec<u8>, index: &str, document: &Document<'_>) -> Result<Written, String> {
    begin(out, index, document);
    let head = out.len();
    let body = document.body.as_deref();
    let written = match body {
        Some(body) => OBJECTS.with_borrow_mut(|objects| {
            let glanced = (document.stage == Stage::Enriched).then(|| objects.glance(body)).flatten();
            let object = match glanced {
                Some(object) => object,
                None => objects.find(body).map_err(refusal)?,
            };
            members(out, body, object)
        }),
        None => Err("the record has no value".to_owned()),
    };
    let written = match written {
        Err(_) if document.stage == Stage::Raw => {
            out.truncate(head);
            text(out, body);
            Written::Otherwise
        }
        written => written?,
    };
    out.push(b'\n');
    Ok(written)
}

/// Validates a record that perhaps was only glanced at.
///
/// # Errors
/// It is not a JSON object, or too deep.
pub fn validate(body: &[u8]) -> Result<(), String> {
    OBJECTS.with_borrow_mut(|objects| objects.find(body).map(|_| ()).map_err(refusal))
}

/// The action, and of the document what the record does not say.
fn begin(out: &mut Vec<u8>, index: &str, document: &Document<'_>) {
    out.extend_from_slice(b"{\"create\":{\"_index\":\"");
    out.extend_from_slice(index.as_bytes());
    out.extend_from_slice(b"\",\"_id\":");
    json_string(out, &document.id);
    out.extend_from_slice(b"}}\n{\"@timestamp\":");
    out.extend_from_slice(itoa::Buffer::new().format(document.timestamp_ms).as_bytes());
}

/// In the words of `process`, apart from the limit, which is not the configured one.
fn refusal(reject: Reject) -> String {
    match reject {
        Reject::TooDeep { limit } => {
            format!("the record nests deeper than {limit} levels, the most that is sent to OpenSearch")
        }
        other => other.to_string(),
    }
}

/// The rest of a document whose record is no object.
fn text(out: &mut Vec<u8>, body: Option<&[u8]>) {
    match body.map(|body| str::from_utf8(body).map_err(|_| body)) {
        None => out.extend_from_slice(b",\"raw\":null"),
        Some(Ok(text)) => {
            out.extend_from_slice(b",\"raw\":");
            json_string(out, text);
        }
        Some(Err(body)) => {
            out.extend_from_slice(b",\"raw_base64\":\"");
            out.extend_from_slice(BASE64_STANDARD.encode(body).as_bytes());
            out.push(b'"');
        }
    }
    out.push(b'}');
}

/// The rest of a document after its time: the members of its record.
fn members(out: &mut Vec<u8>, body: &[u8], object: Object<'_>) -> Result<Written, String> {
    let start = out.len();
    if object.named {
        renamed(out, object.text)?;
    } else {
        if !object.empty {
            out.push(b',');
        }
        out.extend_from_slice(object.text.get(1..).unwrap_or_default());
    }
    // A line feed ends a document; in JSON it can only stand between tokens.
    let one_line = memchr::memchr(b'\n', object.text).is_none();
    if !one_line {
        out[start..].iter_mut().filter(|byte| **byte == b'\n').for_each(|byte| *byte = b' ');
    }
    let whole = one_line && !object.named && std::ptr::eq(object.text, body);
    Ok(if whole { Written::Spliced } else { Written::Otherwise })
}

/// Writes all members, a top-level `@timestamp` under another name.
fn renamed(out: &mut Vec<u8>, object: &[u8]) -> Result<(), String> {
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
                self.0.extend_from_slice(value.get().as_bytes());
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
    let mut json = serde_json::Deserializer::from_slice(object);
    let read = Members(out).deserialize(&mut json).and_then(|()| json.end());
    out.push(b'}');
    read.map_err(|error| format!("the record is not JSON: {error}"))
}

/// Writes a text as a JSON string.
fn json_string(out: &mut Vec<u8>, text: &str) {
    // Writing a str to a Vec cannot fail.
    let _ = serde_json::to_writer(out, text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::Request;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    /// The document that is sent, and whether its body is spliced into it.
    fn sent(stage: Stage, body: Option<&[u8]>) -> Result<(String, bool), String> {
        let document = Document { stage, id: "a\"b".into(), timestamp_ms: 5, period_ms: 5, body: body.map(Into::into) };
        let mut request = Request::new("p".into());
        let mut written = Written::Otherwise;
        request.add(&document, |out| {
            written = lines(out, "p-raw", &document)?;
            Ok::<_, String>(written)
        })?;
        assert_eq!(request.document(0), document, "as it came");
        let text = String::from_utf8(request.lines(0..1).into()).unwrap();
        let lines: Vec<&str> = text.split_terminator('\n').collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert_eq!(
            serde_json::from_str::<Value>(lines[0]).unwrap(),
            json!({"create": {"_index": "p-raw", "_id": "a\"b"}})
        );
        Ok((lines[1].to_owned(), written == Written::Spliced))
    }

    fn spliced(stage: Stage, body: Option<&[u8]>) -> Result<(Value, bool), String> {
        sent(stage, body).map(|(document, spliced)| (serde_json::from_str(&document).unwrap(), spliced))
    }

    fn line(stage: Stage, body: Option<&[u8]>) -> Result<Value, String> {
        spliced(stage, body).map(|(document, _)| document)
    }

    #[test]
    fn members_are_spliced() {
        for (body, want, as_it_is) in [
            (r#"{"a":1}"#, json!({"@timestamp": 5, "a": 1}), true),
            ("{}", json!({"@timestamp": 5}), true),
            (" {\n} ", json!({"@timestamp": 5}), false),
            (r#"{"a":1} "#, json!({"@timestamp": 5, "a": 1}), false),
            ("{\"a\":\r\n[1]\n}\n", json!({"@timestamp": 5, "a": [1]}), false),
            (
                r#"{"@timestamp":7,"a":{"@timestamp":8}}"#,
                json!({"@timestamp": 5, "original_timestamp": 7, "a": {"@timestamp": 8}}),
                false,
            ),
            (r#""{\"a\":1}""#, json!({"@timestamp": 5, "a": 1}), false),
            (r#"{"a":"say \"@timestamp\""}"#, json!({"@timestamp": 5, "a": "say \"@timestamp\""}), true),
        ] {
            let want = Ok((want, as_it_is));
            assert_eq!(spliced(Stage::Enriched, Some(body.as_bytes())), want, "{body}");
            assert_eq!(spliced(Stage::Raw, Some(body.as_bytes())), want, "{body}");
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
            assert_eq!(line(Stage::Enriched, Some(body.as_bytes())).is_err(), refused, "{body}");
            let raw = line(Stage::Raw, Some(body.as_bytes())).unwrap();
            assert_eq!(raw.get("raw").is_some(), refused, "{body}");
        }
        let deep = format!("{{\"a\":{}}}", nested(MAX_DEPTH));
        let refused = line(Stage::Enriched, Some(deep.as_bytes())).unwrap_err();
        assert!(refused.contains("128 levels") && !refused.contains("max_depth"), "{refused}");
        assert!(line(Stage::Scores, None).is_err());
        assert_eq!(line(Stage::Raw, None), Ok(json!({"@timestamp": 5, "raw": null})));
    }

    proptest! {
        #[test]
        fn any_raw_record_becomes_two_lines_that_hold_it(
            bytes in prop::collection::vec(any::<u8>(), 0..60),
            text in "[\\PC\n{}\":,a]{0,40}",
            members in "[{}\\[\\]\":,a/ ]{0,20}",
        ) {
            let object = format!("{{\"{members}}}");
            for body in [bytes.as_slice(), text.as_bytes(), object.as_bytes()] {
                let document = line(Stage::Raw, Some(body)).unwrap();
                if let Some(raw) = document.get("raw").and_then(Value::as_str) {
                    prop_assert_eq!(raw.as_bytes(), body);
                } else if let Some(raw) = document.get("raw_base64").and_then(Value::as_str) {
                    prop_assert_eq!(BASE64_STANDARD.decode(raw).unwrap(), body);
                } else {
                    prop_assert!(serde_json::from_slice::<Value>(body).is_ok());
                }
            }
        }

        #[test]
        fn what_was_only_glanced_at_is_sent_as_it_came(members in "[{}\\[\\]\":,a/ ]{0,20}") {
            let body = format!("{{\"{members}}}");
            match sent(Stage::Enriched, Some(body.as_bytes())) {
                Ok((sent, spliced)) => {
                    prop_assert!(spliced);
                    prop_assert_eq!(sent, format!("{{\"@timestamp\":5,{}", &body[1..]));
                }
                Err(_) => prop_assert!(serde_json::from_str::<Value>(&body).is_err()),
            }
        }
    }
}
