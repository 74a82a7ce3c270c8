//! Why OpenSearch cannot read a document, where that shows in what was sent.
//!
//! Only asked when documents were refused together, to know the cause without sending each of them alone.

use crate::index::opensearch::body;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::collections::HashSet;
use std::fmt;

/// The reason, in our words; `source` is what was sent for the document. `None` if it is read in good company, or if the
/// reason is not known here.
pub fn reason(source: &[u8], record: impl FnOnce() -> Vec<u8>) -> Option<String> {
    let mut repeated = None;
    let mut json = serde_json::Deserializer::from_slice(source);
    let read = Distinct(&mut repeated).deserialize(&mut json).and_then(|()| json.end());
    match (read, repeated) {
        (Ok(()), _) => None,
        (Err(_), Some(name)) => Some(format!("{name:?} stands twice in one object, which OpenSearch refuses")),
        // Limits of this reader, of depth and of numbers, are not OpenSearch's.
        (Err(_), None) => body::validate(&record()).err(),
    }
}

/// Reads any value in which no object has a name twice; keeps the first name that stands twice.
struct Distinct<'n>(&'n mut Option<String>);

impl<'de> DeserializeSeed<'de> for Distinct<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Distinct<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("names that differ")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut names = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            if names.contains(&name) {
                *self.0 = Some(name);
                return Err(A::Error::custom("a name stands twice"));
            }
            names.insert(name);
            map.next_value_seed(Distinct(self.0))?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(Distinct(self.0))?.is_some() {}
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_seen_has_a_reason() {
        let levels = |levels: usize| format!(r#"{{"a":{}1{}}}"#, "[".repeat(levels), "]".repeat(levels));
        let twice = |name: &str| format!("{name:?} stands twice");
        for (body, want) in [
            (r#"{"a":1,"b":[{"a":"x"},{"a":null}],"c":{"a":true,"d":-1.5}}"#.to_owned(), None),
            (r#"{"a":1,"a":2}"#.to_owned(), Some(twice("a"))),
            (r#"{"a":[1,{"b":{"c":0,"d":0,"\u0063":0}}]}"#.to_owned(), Some(twice("c"))),
            (r#"{"a":01}"#.to_owned(), Some("not JSON at byte 6".to_owned())),
            (r#"{"a":1e999}"#.to_owned(), None),
            (levels(body::MAX_DEPTH - 1), None),
        ] {
            let source = format!(r#"{{"@timestamp":5,{}"#, &body[1..]);
            let found = reason(source.as_bytes(), || body.into_bytes());
            let as_wanted = match (&found, &want) {
                (Some(found), Some(want)) => found.contains(want),
                (found, want) => found.is_none() && want.is_none(),
            };
            assert!(as_wanted, "{found:?}, not {want:?}");
        }
    }
}
