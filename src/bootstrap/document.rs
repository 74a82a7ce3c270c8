//! From a document of an index back to the log that it was.
//!
//! Invariant: values stay as they are, byte for byte; what `process` and the sink added is gone, so that the record is
//! flagged and counted as the configuration says now. A document of another program is taken as it is.

use crate::index::opensearch::body::OWN_TIMESTAMP;
use outlier_core::pipeline::Pipeline;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::HashSet;

/// Undoes what was added to logs of one pipeline.
pub struct Stripper {
    added: HashSet<String>,
}

impl Stripper {
    /// For the logs of a pipeline.
    pub fn new(pipeline: &Pipeline) -> Self {
        let added = pipeline.flag_names().map(str::to_owned).chain(["outlier".to_owned()]).collect();
        Self { added }
    }

    /// The log in `document`, a JSON object; what is none is handed on as it is, to be rejected with its reason.
    pub fn log<'d>(&self, document: &'d str, buffer: &'d mut Vec<u8>) -> &'d [u8] {
        let Ok(members) = members(document) else { return document.as_bytes() };
        // The sink's own time took the place of the log's.
        let renamed = members.iter().any(|(name, _)| name == OWN_TIMESTAMP);
        let touched =
            |name: &str| self.added.contains(name) || (renamed && (name == OWN_TIMESTAMP || name == "@timestamp"));
        if !members.iter().any(|(name, _)| touched(name)) {
            return document.as_bytes();
        }
        buffer.clear();
        buffer.push(b'{');
        for (name, value) in members {
            let name = match &*name {
                OWN_TIMESTAMP => "@timestamp",
                name if touched(name) => continue,
                name => name,
            };
            if buffer.len() > 1 {
                buffer.push(b',');
            }
            // Writing a str to a Vec cannot fail.
            let _ = serde_json::to_writer(&mut *buffer, name);
            buffer.push(b':');
            buffer.extend_from_slice(value.get().as_bytes());
        }
        buffer.push(b'}');
        buffer
    }
}

type Member<'d> = (Cow<'d, str>, &'d RawValue);

/// The members of an object in their order, duplicates included.
fn members(document: &str) -> Result<Vec<Member<'_>>, serde_json::Error> {
    struct Members;
    impl<'de> Visitor<'de> for Members {
        type Value = Vec<Member<'de>>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some(member) = map.next_entry()? {
                members.push(member);
            }
            Ok(members)
        }
    }
    impl<'de> DeserializeSeed<'de> for Members {
        type Value = Vec<Member<'de>>;
        fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
            deserializer.deserialize_map(self)
        }
    }
    Members.deserialize(&mut serde_json::Deserializer::from_str(document))
}

#[cfg(test)]
mod tests {
    use super::*;
    use outlier_core::testing;

    #[test]
    fn what_was_added_is_gone_and_the_rest_untouched() {
        let stripper = Stripper::new(&testing::waf());
        for (document, log) in [
            (r#"{"@timestamp":5,"a":1.10,"a":"\u0041"}"#, r#"{"@timestamp":5,"a":1.10,"a":"\u0041"}"#),
            (
                r#"{"@timestamp":5, "B_action":1, "x": [1, 2],"outlier":{"event_time":5}}"#,
                r#"{"@timestamp":5,"x":[1, 2]}"#,
            ),
            (r#"{"@timestamp":5,"original_timestamp":"x","a":1}"#, r#"{"@timestamp":"x","a":1}"#),
            (r#"{"K_action":1}"#, "{}"),
            ("[1]", "[1]"),
            ("no json", "no json"),
        ] {
            assert_eq!(String::from_utf8_lossy(stripper.log(document, &mut Vec::new())), log, "{document}");
        }
    }
}
