//! Where a record's object is: the record itself, or what is written inside its JSON string.
//!
//! Every reader of records begins here, so that all agree on what a record is. Invariant: what is found is wholly
//! valid, in UTF-8, and no deeper than allowed; what is only glanced at is no deeper than allowed.

use super::glance;
use super::reject::Reject;
use super::scan::{Fault, Found, Scanned, scan};
use super::string;
use super::trie::{NodeId, Trie};
use std::ops::Range;

/// An object found in a record.
pub(super) struct Place<'a> {
    /// What it is a part of: the record, or the text inside its string.
    pub source: &'a [u8],
    /// Where the text inside the string is written, without the quotes; `None` when the record is the object.
    pub inside: Option<Range<usize>>,
    /// Position in `source` of its closing brace.
    pub close: usize,
    /// It has no member.
    pub empty: bool,
    /// The first member with a reserved name.
    pub conflict: Option<NodeId>,
}

/// Validates a record and finds its object; a text inside its string is put into `inner`. `found` then has the values
/// of the trie's fields, as positions in [`Place::source`].
#[inline]
pub(super) fn place<'a>(
    record: &'a [u8],
    trie: &Trie,
    max_depth: usize,
    inner: &'a mut Vec<u8>,
    found: &mut Found,
) -> Result<Place<'a>, Reject> {
    let mut scan = |bytes: &[u8], in_string: bool| {
        scan(bytes, trie, max_depth, found).map_err(|fault| match fault {
            Fault::Syntax(at) => Reject::Syntax { at, in_string },
            Fault::Depth => Reject::TooDeep { limit: max_depth },
            Fault::Utf8(at) => Reject::InvalidUtf8 { at },
        })
    };
    let (source, inside, scanned) = match scan(record, false)? {
        Scanned::Text(start, end) => {
            string::unescape(&record[start..end], inner);
            if inner.trim_ascii_start().first() != Some(&b'{') {
                return Err(Reject::NotAnObject);
            }
            let scanned = scan(inner, true)?;
            (inner.as_slice(), Some(start..end), scanned)
        }
        scanned => (record, None, scanned),
    };
    match scanned {
        Scanned::Object { close, empty, conflict } => Ok(Place { source, inside, close, empty, conflict }),
        Scanned::Text(..) | Scanned::Other => Err(Reject::NotAnObject),
    }
}

/// Finds the object of one record after the other, for whoever passes it on; keeps its buffers.
#[derive(Debug)]
pub struct Objects {
    trie: Trie,
    max_depth: usize,
    /// The first byte of the name that is asked for; of the empty one the quote behind it.
    initial: u8,
    found: Found,
    inner: Vec<u8>,
}

/// An object: valid if it was found, unread if it was glanced at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Object<'o> {
    /// From its opening to its closing brace.
    pub text: &'o [u8],
    /// It has no member.
    pub empty: bool,
    /// One of its own members has a name that is asked for.
    pub named: bool,
}

impl Objects {
    /// Finds objects that nest at most `max_depth` deep, and notes who has a member called `name`.
    pub fn new(max_depth: usize, name: &str) -> Self {
        let initial = name.bytes().next().unwrap_or(b'"');
        Self { trie: Trie::new([], [name]), max_depth, initial, found: Found::default(), inner: Vec::new() }
    }

    /// What [`Objects::find`] would find if the record were valid, where a glance tells; for records that were valid when
    /// they were written. None passes with comments, bytes that are not ASCII, or anything behind its object.
    pub fn glance<'o>(&self, record: &'o [u8]) -> Option<Object<'o>> {
        glance::one_object(record, self.max_depth, self.initial).then_some(Object {
            text: record,
            empty: false,
            named: false,
        })
    }

    /// The object of a record.
    ///
    /// # Errors
    /// It has none, is not valid, or too deep.
    pub fn find<'o>(&'o mut self, record: &'o [u8]) -> Result<Object<'o>, Reject> {
        let place = place(record, &self.trie, self.max_depth, &mut self.inner, &mut self.found)?;
        let text = place.source.get(..=place.close).unwrap_or_default().trim_ascii_start();
        Ok(Object { text, empty: place.empty, named: place.conflict.is_some() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_found() {
        let found = |text, empty, named| Ok((text, empty, named));
        let deep = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
        let (allowed, deeper) = (deep(7), deep(8));
        for (record, want) in [
            (r#"{"a":1}"#, found(r#"{"a":1}"#, false, false)),
            (" {\n} \r\n", found("{\n}", true, false)),
            (r#"{"a":{"t":1},"t":2}"#, found(r#"{"a":{"t":1},"t":2}"#, false, true)),
            (r#"{"a":{"t":1}}"#, found(r#"{"a":{"t":1}}"#, false, false)),
            (r#"{"\u0074":1}"#, found(r#"{"\u0074":1}"#, false, true)),
            (r#""{\"t\":\"\\n\"}""#, found(r#"{"t":"\n"}"#, false, true)),
            (&allowed, found(&allowed, false, false)),
            (&deeper, Err(Reject::TooDeep { limit: 8 })),
            (r#"{"a":1"#, Err(Reject::Syntax { at: 6, in_string: false })),
            (r#""{\"a\"""#, Err(Reject::Syntax { at: 4, in_string: true })),
            ("[1]", Err(Reject::NotAnObject)),
            (r#""text""#, Err(Reject::NotAnObject)),
            ("", Err(Reject::Syntax { at: 0, in_string: false })),
        ] {
            let mut objects = Objects::new(8, "t");
            let got = objects.find(record.as_bytes()).map(|o| (str::from_utf8(o.text).unwrap(), o.empty, o.named));
            assert_eq!(got, want, "{record}");
        }
        assert_eq!(Objects::new(8, "t").find(b"{\"\xff\":1}"), Err(Reject::InvalidUtf8 { at: 2 }));
    }
}
