//! Finds one member of a record: its text, and where in the record it is written.
//!
//! For whoever must look into a record without enriching it: a replay shifts event times, a producer takes
//! keys. Invariant: it reads what the transform would read, and finds nothing in a record that would be
//! rejected for its JSON.

use super::object::{Place, place};
use super::scan::{Found, Slot};
use super::string;
use super::trie::Trie;
use crate::field::FieldPath;
use std::ops::Range;

/// Finds the member at one path; keeps its buffers from record to record.
#[derive(Debug)]
pub struct Probe {
    trie: Trie,
    max_depth: usize,
    found: Found,
    inner: Vec<u8>,
    text: Vec<u8>,
}

/// A member that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed<'p> {
    /// The scalar's text: a string's content, unescaped, or the literal of a number, true or false.
    pub text: &'p [u8],
    /// Where the text is written in the record, without a string's quotes.
    pub span: Range<usize>,
}

impl Probe {
    /// Finds `field` in records that nest at most `max_depth` deep.
    pub fn new(field: &FieldPath, max_depth: usize) -> Self {
        Self { trie: Trie::new([field], []), max_depth, found: Found::default(), inner: Vec::new(), text: Vec::new() }
    }

    /// The member's text; `None` when it is absent, null, an object or an array, or the record is no JSON object
    /// nor a JSON string that holds one.
    pub fn find<'p>(&'p mut self, record: &'p [u8]) -> Option<Probed<'p>> {
        let Self { trie, max_depth, found, inner, text } = self;
        let Place { source, inside, .. } = place(record, trie, *max_depth, inner, found).ok()?;
        // The only field of the trie.
        let slot = found.slot(0);
        let (start, end) = match slot {
            Slot::Missing => return None,
            Slot::Plain(start, end) | Slot::Escaped(start, end) => (start, end),
        };
        let span = inside.map_or(start..end, |inside| {
            let outer = |at| inside.start + string::written(&record[inside.clone()], at);
            outer(start)..outer(end)
        });
        Some(Probed { text: slot.text(source, text)?, span })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_found_where_they_are_written() {
        for (record, expected) in [
            (r#"{"a":{"t":12}}"#, Some(("12", "12"))),
            (r#"{"a":{"t":1},"a":{"t":"x"}}"#, Some(("x", "x"))),
            (r#"{"a":{"t":"x\/é"}}"#, Some(("x/é", r"x\/é"))),
            (r#"{"a":{"t":true}}"#, Some(("true", "true"))),
            (r#"{"a":{"t":null}}"#, None),
            (r#"{"a":{"t":{}}}"#, None),
            (r#"{"a":{}}"#, None),
            (r#"{"a":{"t":12}"#, None),
            ("[]", None),
            ("", None),
            (r#""{\"é\":\"😀\ud83d\ude00\\n\\u00e9\",\"a\":{\"t\":\"1\\/2\"}}""#, Some(("1/2", r"1\\/2"))),
            (r#""{\u0022a\u0022:{\u0022t\u0022:\u00312}}""#, Some(("12", r"\u00312"))),
            (r#""text""#, None),
        ] {
            let field = "a.t".parse().unwrap();
            let mut probe = Probe::new(&field, 8);
            let got = probe.find(record.as_bytes()).map(|found| {
                let written = std::str::from_utf8(&record.as_bytes()[found.span]).unwrap();
                (std::str::from_utf8(found.text).unwrap().to_owned(), written.to_owned())
            });
            assert_eq!(got, expected.map(|(a, b)| (a.to_owned(), b.to_owned())), "{record}");
        }
        let field = "a.t".parse().unwrap();
        assert_eq!(Probe::new(&field, 8).find(b"{\"a\":{\"t\":\"\xff\"}}"), None);
        assert_eq!(Probe::new(&field, 1).find(br#"{"a":{"t":1}}"#), None);
    }
}
