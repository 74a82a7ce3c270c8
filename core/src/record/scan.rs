//! One pass over a record: validates the whole of it and notes where the configured values are.
//!
//! First step of the transform. Invariants: iterative, so no nesting can exhaust the stack; accepts exactly
//! RFC 8259 in UTF-8 (without lone surrogates) up to the depth limit; of duplicate members the last counts, wholly.

use super::marks::Marks;
use super::names::Name;
use super::number::end_of_number;
use super::string::{self, body};
use super::trie::{NodeId, ROOT, Trie, UNKNOWN};

/// A configured field's value, as positions in the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Slot {
    /// Absent, null, an object or an array.
    #[default]
    Missing,
    /// The text is there as it is: a string without escapes, a number's literal, true or false.
    Plain(usize, usize),
    /// The body of a string with escapes.
    Escaped(usize, usize),
}

impl Slot {
    /// The value's scalar text; `buffer` holds it when it has to be unescaped.
    #[inline]
    pub fn text<'a>(self, record: &'a [u8], buffer: &'a mut Vec<u8>) -> Option<&'a [u8]> {
        self.name(record, buffer).map(|name| name.text)
    }

    /// The same, to be looked up among [`super::names::Names`].
    #[inline]
    pub fn name<'a>(self, record: &'a [u8], buffer: &'a mut Vec<u8>) -> Option<Name<'a>> {
        match self {
            Slot::Missing => None,
            Slot::Plain(start, end) => Name::within(record, start, end),
            Slot::Escaped(start, end) => {
                string::unescape(record.get(start..end)?, buffer);
                Some(buffer.as_slice().into())
            }
        }
    }
}

/// What a record is that is valid JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scanned {
    /// An object.
    Object {
        /// Position of its closing brace.
        close: usize,
        /// It has no member.
        empty: bool,
        /// The first member with a reserved name.
        conflict: Option<NodeId>,
    },
    /// A string: where its body starts and ends.
    Text(usize, usize),
    /// Anything else.
    Other,
}

/// Why a record is not valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Not JSON, as seen at this byte.
    Syntax(usize),
    /// Nested deeper than allowed.
    Depth,
    /// Not UTF-8 from this byte on.
    Utf8(usize),
}

impl From<usize> for Fault {
    fn from(at: usize) -> Self {
        Fault::Syntax(at)
    }
}

/// What a value stands in: an object (its node in the trie), an [`ARRAY`], or nothing ([`TOP`]).
type Frame = NodeId;
const ARRAY: Frame = UNKNOWN - 1;
const TOP: Frame = UNKNOWN - 2;

/// What a [`scan`] finds, and its working memory; kept from record to record.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Where strings can end.
    marks: Marks,
    /// The value of each of the trie's fields.
    slots: Vec<Slot>,
    /// The frames around the current one.
    frames: Vec<Frame>,
    /// An unescaped member name.
    name: Vec<u8>,
}

impl Found {
    /// The value of the field with this number.
    #[inline]
    pub fn slot(&self, field: usize) -> Slot {
        self.slots.get(field).copied().unwrap_or_default()
    }
}

/// Validates `bytes` and fills `found.slots`; objects and arrays may nest `max_depth` deep.
pub(super) fn scan(bytes: &[u8], trie: &Trie, max_depth: usize, found: &mut Found) -> Result<Scanned, Fault> {
    let Found { marks, slots, frames, name } = found;
    if !marks.fill(bytes) {
        std::str::from_utf8(bytes).map_err(|error| Fault::Utf8(error.valid_up_to()))?;
    }
    slots.clear();
    slots.resize(trie.len(), Slot::Missing);
    frames.clear();

    let mut conflict = None;
    let mut frame = TOP;
    let start = skip_space(bytes, 0);
    let mut at = start;
    loop {
        // The node of the value that comes next, after its name where it is a member.
        let node = match frame {
            TOP => ROOT,
            ARRAY => UNKNOWN,
            object => {
                let node;
                (node, at) = member(bytes, marks, at, object, trie, name)?;
                enter(node, trie, slots, &mut conflict);
                node
            }
        };
        // A value. What is opened and not closed at once continues with the first value inside.
        match bytes.get(at) {
            Some(b'"') => {
                let text = body(bytes, marks, at + 1)?;
                if let Some(field) = trie.field(node) {
                    slots[field] = match text.escaped {
                        true => Slot::Escaped(at + 1, text.end),
                        false => Slot::Plain(at + 1, text.end),
                    };
                }
                at = text.end + 1;
            }
            Some(open @ (b'{' | b'[')) => {
                if frames.len() >= max_depth {
                    return Err(Fault::Depth);
                }
                frames.push(frame);
                at = skip_space(bytes, at + 1);
                let close;
                (frame, close) = if *open == b'{' { (node, b'}') } else { (ARRAY, b']') };
                if bytes.get(at) != Some(&close) {
                    continue;
                }
                at += 1;
                frame = frames.pop().unwrap_or(TOP);
            }
            Some(b'n') => at = word(bytes, at, b"null")?,
            Some(first) => {
                let end = match first {
                    b't' => word(bytes, at, b"true")?,
                    b'f' => word(bytes, at, b"false")?,
                    _ => end_of_number(bytes, at)?,
                };
                if let Some(field) = trie.field(node) {
                    slots[field] = Slot::Plain(at, end);
                }
                at = end;
            }
            None => return Err(Fault::Syntax(at)),
        }
        // What follows a value, up to the next one.
        loop {
            let end = at;
            at = skip_space(bytes, at);
            match (frame, bytes.get(at)) {
                (TOP, None) => return Ok(scanned(bytes, start, end, conflict)),
                (TOP, Some(_)) => return Err(Fault::Syntax(at)),
                (_, Some(b',')) => {
                    at = skip_space(bytes, at + 1);
                    break;
                }
                (ARRAY, Some(b']')) => {}
                (ARRAY, _) => return Err(Fault::Syntax(at)),
                (_, Some(b'}')) => {}
                _ => return Err(Fault::Syntax(at)),
            }
            at += 1;
            frame = frames.pop().unwrap_or(TOP);
        }
    }
}

/// What the valid value from `start` to before `end` is.
fn scanned(bytes: &[u8], start: usize, end: usize, conflict: Option<NodeId>) -> Scanned {
    match bytes.get(start) {
        Some(b'{') => Scanned::Object { close: end - 1, empty: skip_space(bytes, start + 1) == end - 1, conflict },
        Some(b'"') => Scanned::Text(start + 1, end - 1),
        _ => Scanned::Other,
    }
}

/// Reads the member's name that must start at `at`, and the colon: its node, and where its value starts.
#[inline]
fn member(
    bytes: &[u8],
    marks: &Marks,
    at: usize,
    object: NodeId,
    trie: &Trie,
    unescaped: &mut Vec<u8>,
) -> Result<(NodeId, usize), usize> {
    if bytes.get(at) != Some(&b'"') {
        return Err(at);
    }
    let text = body(bytes, marks, at + 1)?;
    let node = if object == UNKNOWN {
        UNKNOWN
    } else if text.escaped {
        string::unescape(&bytes[at + 1..text.end], unescaped);
        trie.child(object, unescaped.as_slice().into())
    } else {
        Name::within(bytes, at + 1, text.end).map_or(UNKNOWN, |name| trie.child(object, name))
    };
    let colon = skip_space(bytes, text.end + 1);
    if bytes.get(colon) != Some(&b':') {
        return Err(colon);
    }
    Ok((node, skip_space(bytes, colon + 1)))
}

/// Notes a reserved name, and forgets what an earlier member of the same name held.
#[inline]
fn enter(node: NodeId, trie: &Trie, slots: &mut [Slot], conflict: &mut Option<NodeId>) {
    if node != UNKNOWN {
        slots[trie.fields(node)].fill(Slot::Missing);
        if trie.reserved(node) && conflict.is_none() {
            *conflict = Some(node);
        }
    }
}

/// Position after the literal name that must start at `at`.
#[inline]
fn word(bytes: &[u8], at: usize, word: &[u8]) -> Result<usize, usize> {
    match bytes.get(at..at + word.len()) {
        Some(found) if found == word => Ok(at + word.len()),
        _ => Err(at),
    }
}

/// Position of the first byte from `at` on that is not white space.
#[inline]
fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while let Some(&byte) = bytes.get(at) {
        // Nearly always: one comparison settles it.
        if byte > b' ' || !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
            break;
        }
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(text: &str, max_depth: usize) -> (Result<Scanned, Fault>, Vec<Option<String>>) {
        let paths = ["a", "a.b", "c"].map(|p| p.parse().unwrap());
        let trie = Trie::new(&paths, ["new"]);
        let mut found = Found::default();
        let result = scan(text.as_bytes(), &trie, max_depth, &mut found);
        let values = found.slots.iter().map(|slot| {
            let mut buffer = Vec::new();
            let text = slot.text(text.as_bytes(), &mut buffer)?;
            Some(String::from_utf8(text.to_vec()).unwrap())
        });
        (result, values.collect())
    }

    /// `values` are those of a, a.b and c.
    fn check(text: &str, values: [Option<&str>; 3]) {
        let (result, got) = run(text, 128);
        assert!(matches!(result, Ok(Scanned::Object { .. })), "{text}");
        assert_eq!(got, values.map(|v| v.map(str::to_owned)), "{text}");
    }

    #[test]
    fn values_are_found() {
        check("{}", [None; 3]);
        check(r#"{"a":"x","c":1.50}"#, [Some("x"), None, Some("1.50")]);
        check(r#"{"a":{"b":true},"c":null}"#, [None, Some("true"), None]);
        check(r#" { "c" : [ 1 , { "a" : 2 } ] , "a" : "" } "#, [Some(""), None, None]);
        check(r#"{"\u0061":"\u0078\n"}"#, [Some("x\n"), None, None]);
        check(r#"{"x":{"a":1,"c":2},"b":3,"y":[{"a":1}]}"#, [None; 3]);
    }

    #[test]
    fn the_last_duplicate_counts_wholly() {
        check(r#"{"a":1,"a":2}"#, [Some("2"), None, None]);
        check(r#"{"a":1,"a":null}"#, [None; 3]);
        check(r#"{"a":1,"a":{}}"#, [None; 3]);
        check(r#"{"a":{"b":1},"a":{"x":2}}"#, [None; 3]);
        check(r#"{"a":{"b":1},"a":5}"#, [Some("5"), None, None]);
        check(r#"{"a":5,"a":{"b":1}}"#, [None, Some("1"), None]);
        check(r#"{"a":{"b":1,"b":[2]},"c":[]}"#, [None; 3]);
        check(r#"{"a":{"b":{"b":1},"b":2}}"#, [None, Some("2"), None]);
    }

    #[test]
    fn what_a_record_is() {
        let object = |close, empty| Ok(Scanned::Object { close, empty, conflict: None });
        for (text, expected) in [
            ("{}", object(1, true)),
            (" { \n} ", object(4, true)),
            (r#"{"x":{}}"#, object(7, false)),
            ("[]", Ok(Scanned::Other)),
            ("[[{}],{\"a\":[]}]", Ok(Scanned::Other)),
            ("-1 ", Ok(Scanned::Other)),
            ("null", Ok(Scanned::Other)),
            (r#" "{}" "#, Ok(Scanned::Text(2, 4))),
            ("", Err(Fault::Syntax(0))),
            ("  ", Err(Fault::Syntax(2))),
            ("{", Err(Fault::Syntax(1))),
            ("{]", Err(Fault::Syntax(1))),
            ("[}", Err(Fault::Syntax(1))),
            ("{\"a\"}", Err(Fault::Syntax(4))),
            ("{\"a\":}", Err(Fault::Syntax(5))),
            ("{\"a\":1,}", Err(Fault::Syntax(7))),
            ("{,}", Err(Fault::Syntax(1))),
            ("{a:1}", Err(Fault::Syntax(1))),
            ("{1:1}", Err(Fault::Syntax(1))),
            ("[1,]", Err(Fault::Syntax(3))),
            ("[1 2]", Err(Fault::Syntax(3))),
            ("[01]", Err(Fault::Syntax(2))),
            ("{\"a\":1]", Err(Fault::Syntax(6))),
            ("[1}", Err(Fault::Syntax(2))),
            ("{}{}", Err(Fault::Syntax(2))),
            ("{}x", Err(Fault::Syntax(2))),
            ("nul", Err(Fault::Syntax(0))),
            ("[nulL]", Err(Fault::Syntax(1))),
            ("[True]", Err(Fault::Syntax(1))),
            ("\u{feff}{}", Err(Fault::Syntax(0))),
            ("[1,\u{a0}2]", Err(Fault::Syntax(3))),
            ("{\"a\":\"\u{1}\"}", Err(Fault::Syntax(6))),
        ] {
            assert_eq!(run(text, 128).0, expected, "{text:?}");
        }
    }

    #[test]
    fn depth_is_limited() {
        for (text, max_depth, ok) in [
            ("{}", 1, true),
            ("1", 0, true),
            ("{}", 0, false),
            (r#"{"a":[]}"#, 2, true),
            (r#"{"a":[{}]}"#, 2, false),
            (r#"{"a":[],"b":{},"c":[]}"#, 2, true),
        ] {
            let expected = if ok { Ok(()) } else { Err(Fault::Depth) };
            assert_eq!(run(text, max_depth).0.map(|_| ()), expected, "{text}");
        }
        let deep = "[".repeat(10_000) + &"]".repeat(10_000);
        assert_eq!(run(&deep, 128).0, Err(Fault::Depth));
        assert_eq!(run(&deep, 10_000).0, Ok(Scanned::Other));
    }

    #[test]
    fn reserved_names_conflict_at_the_top_only() {
        for (text, conflicts) in [
            (r#"{"new":1}"#, true),
            (r#"{"x":0,"n\u0065w":null}"#, true),
            (r#"{"x":{"new":1},"y":[{"new":1}],"New":1}"#, false),
            (r#"{"a":{"new":1}}"#, false),
        ] {
            let Ok(Scanned::Object { conflict, .. }) = run(text, 128).0 else {
                panic!("{text} is an object");
            };
            assert_eq!(conflict.is_some(), conflicts, "{text}");
        }
    }
}
