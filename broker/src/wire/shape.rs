//! The shape of each request, walked over its bytes before the typed decoder runs.
//!
//! The decoder reserves room for as many elements as an array's length claims; a hostile length would abort the
//! process. The walk reads every length against the bytes that are there, so that what passes is sound. It also counts
//! elements: one of two bytes becomes hundreds in the decoder, and thousands in an answer.
//!
//! A shape is a line of fields in wire order:
//! `b` 1 byte, `h` 2, `i` 4, `l` 8, `u` 16 bytes, `s` string, `y` bytes, `{…}` array of one plain field, `[…]` array of
//! structures. `3:` before a field means from version 3, `2-4:` from 2 to 4. Flexible versions use compact lengths and
//! end each structure with tagged fields.
//!
//! Invariants: a shape consumes exactly the bytes that the encoder of its API writes (tested for every version); what
//! passes has at most [`MAX_ELEMENTS`] elements.

use anyhow::{Result, bail, ensure};
use bytes::{Buf, Bytes};

/// How deep shapes may nest.
const MAX_DEPTH: usize = 8;
/// Array elements and tagged fields of one request, over all levels. A fetch of every partition that a broker may hold
/// (20,000, at worst each of a topic of its own) has 40,000.
const MAX_ELEMENTS: usize = 100_000;

struct Walk {
    bytes: Bytes,
    version: i16,
    flexible: bool,
    /// Elements that may still come.
    room: usize,
}

/// Walks a request's header, which `frame` begins with; its string is never compact.
///
/// # Errors
/// What does not fit.
pub(crate) fn check_header(frame: &Bytes, flexible: bool) -> Result<()> {
    let mut walk = Walk { bytes: frame.clone(), version: 0, flexible: false, room: MAX_ELEMENTS };
    walk.fields(&["h", "h", "i", "s"], 0)?;
    if flexible { walk.tagged_fields() } else { Ok(()) }
}

/// Walks a request's body.
///
/// # Errors
/// What does not fit.
pub(crate) fn check(shape: &str, body: &Bytes, version: i16, flexible: bool) -> Result<()> {
    let mut walk = Walk { bytes: body.clone(), version, flexible, room: MAX_ELEMENTS };
    let fields: Vec<&str> = shape.split(' ').filter(|field| !field.is_empty()).collect();
    walk.structure(&fields, 0)?;
    // Bytes behind the request are ignored, as by Kafka: librdkafka sends some behind a request for all topics.
    Ok(())
}

impl Walk {
    fn structure(&mut self, fields: &[&str], depth: usize) -> Result<()> {
        self.fields(fields, depth)?;
        if self.flexible { self.tagged_fields() } else { Ok(()) }
    }

    fn tagged_fields(&mut self) -> Result<()> {
        let count = self.unsigned_varint()?;
        self.take_room(count as usize)?;
        for _ in 0..count {
            self.unsigned_varint()?;
            let size = self.unsigned_varint()?;
            self.skip(size as usize)?;
        }
        Ok(())
    }

    fn take_room(&mut self, count: usize) -> Result<()> {
        ensure!(count <= self.room, "more than {MAX_ELEMENTS} elements");
        self.room -= count;
        Ok(())
    }

    fn fields(&mut self, fields: &[&str], depth: usize) -> Result<()> {
        ensure!(depth < MAX_DEPTH, "nested too deeply");
        let mut at = 0;
        while let Some(field) = fields.get(at) {
            let (applies, kind) = self.guard(field)?;
            at += 1;
            match kind {
                "{" | "[" => {
                    let inner = &fields[at..end_of_group(fields, at)?];
                    at += inner.len() + 1;
                    if applies {
                        self.array(inner, kind == "[", depth)?;
                    }
                }
                _ if !applies => {}
                "b" => self.skip(1)?,
                "h" => self.skip(2)?,
                "i" => self.skip(4)?,
                "l" => self.skip(8)?,
                "u" => self.skip(16)?,
                "s" => self.sized(true)?,
                "y" => self.sized(false)?,
                other => bail!("no such field kind: {other}"),
            }
        }
        Ok(())
    }

    /// Splits `3:s` or `2-4:l` and says whether the field exists in this version.
    fn guard<'a>(&self, field: &'a str) -> Result<(bool, &'a str)> {
        let Some((range, kind)) = field.split_once(':') else {
            return Ok((true, field));
        };
        let applies = match range.split_once('-') {
            Some((from, to)) => (from.parse()?..=to.parse()?).contains(&self.version),
            None => self.version >= range.parse::<i16>()?,
        };
        Ok((applies, kind))
    }

    fn array(&mut self, inner: &[&str], structures: bool, depth: usize) -> Result<()> {
        let count = if self.flexible {
            // 0 is null; else the count plus one.
            self.unsigned_varint()?.saturating_sub(1) as usize
        } else {
            usize::try_from(self.bytes.try_get_i32()?.max(0))?
        };
        // Every element takes at least a byte.
        ensure!(count <= self.bytes.remaining(), "an array claims {count} elements");
        self.take_room(count)?;
        for _ in 0..count {
            if structures { self.structure(inner, depth + 1)? } else { self.fields(inner, depth + 1)? }
        }
        Ok(())
    }

    fn sized(&mut self, is_string: bool) -> Result<()> {
        let size = match (self.flexible, is_string) {
            (true, _) => self.unsigned_varint()?.saturating_sub(1) as usize,
            (false, true) => usize::try_from(self.bytes.try_get_i16()?.max(0))?,
            (false, false) => usize::try_from(self.bytes.try_get_i32()?.max(0))?,
        };
        self.skip(size)
    }

    fn skip(&mut self, count: usize) -> Result<()> {
        ensure!(count <= self.bytes.remaining(), "a field of {count} bytes reaches beyond the request");
        self.bytes.advance(count);
        Ok(())
    }

    fn unsigned_varint(&mut self) -> Result<u32> {
        let mut value = 0_u32;
        for shift in (0..35).step_by(7) {
            let byte = self.bytes.try_get_u8()?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        bail!("a length is longer than five bytes")
    }
}

/// The index of the bracket that closes the group whose inside begins at `from`.
fn end_of_group(fields: &[&str], from: usize) -> Result<usize> {
    let mut depth = 1_usize;
    for (index, field) in fields.iter().enumerate().skip(from) {
        match field.rsplit(':').next() {
            Some("{" | "[") => depth += 1,
            Some("}" | "]") => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Ok(index);
        }
    }
    bail!("a bracket is not closed")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(shape: &str, bytes: &[u8], version: i16, flexible: bool) -> bool {
        check(shape, &Bytes::copy_from_slice(bytes), version, flexible).is_ok()
    }

    #[test]
    fn lengths_are_held_against_the_bytes() {
        assert!(verdict("s i", &[0, 1, b'x', 0, 0, 0, 1], 0, false));
        assert!(verdict("s", &[0xff, 0xff], 0, false), "null");
        assert!(!verdict("s", &[0, 5, b'x'], 0, false));
        assert!(!verdict("{ i }", &[0x7f, 0xff, 0xff, 0xff], 0, false), "a huge count");
        assert!(!verdict("{ i }", &[0xff, 0xff, 0xff, 0xff, 0x0f], 0, true), "a huge compact count");
        assert!(verdict("[ s { i } ]", &[2, 2, b'x', 2, 0, 0, 0, 1, 0, 0], 0, true));
        assert!(verdict("i", &[0, 0, 0, 1, 9], 0, false), "bytes left over are ignored");
        assert!(verdict("3:i 1-2:h b", &[0, 0, 7], 2, false));
    }

    /// An array of this many elements, each of these bytes.
    fn array(count: usize, element: &[u8]) -> Vec<u8> {
        [&u32::try_from(count).unwrap().to_be_bytes(), element.repeat(count).as_slice()].concat()
    }

    /// The same with a count of tagged fields' form.
    fn compact(mut count: usize, element: &[u8]) -> Vec<u8> {
        let all = element.repeat(count);
        let mut bytes = Vec::new();
        while count >= 0x80 {
            bytes.push((count & 0x7f) as u8 | 0x80);
            count >>= 7;
        }
        bytes.push(count as u8);
        [bytes, all].concat()
    }

    #[test]
    fn elements_are_counted_over_the_whole_request() {
        const HALF: usize = MAX_ELEMENTS / 2;
        let pair = array(1, &[0]);
        let two = |second| [array(HALF, &[0]), array(second, &[0])].concat();
        // The shape, its bytes, whether it is flexible, and the verdict.
        let cases = [
            ("{ b }", array(MAX_ELEMENTS, &[0]), false, true),
            ("{ b }", array(MAX_ELEMENTS + 1, &[0]), false, false),
            ("{ b } { b }", two(HALF), false, true),
            ("{ b } { b }", two(HALF + 1), false, false),
            ("[ { b } ]", array(HALF, &pair), false, true),
            ("[ { b } ]", array(HALF + 1, &pair), false, false),
            ("", compact(MAX_ELEMENTS, &[9, 0]), true, true),
            ("", compact(MAX_ELEMENTS + 1, &[9, 0]), true, false),
        ];
        for (case, (shape, bytes, flexible, sound)) in cases.into_iter().enumerate() {
            assert_eq!(verdict(shape, &bytes, 0, flexible), sound, "case {case}: {shape}");
        }
    }

    #[test]
    fn a_headers_tagged_fields_are_counted() {
        let header =
            |fields| Bytes::from([vec![0, 3, 0, 9, 0, 0, 0, 7, 0, 1, b'x'], compact(fields, &[9, 0])].concat());
        for (fields, flexible, sound) in [
            (0, true, true),
            (MAX_ELEMENTS, true, true),
            (MAX_ELEMENTS + 1, true, false),
            (MAX_ELEMENTS + 1, false, true),
        ] {
            assert_eq!(check_header(&header(fields), flexible).is_ok(), sound, "{fields} {flexible}");
        }
        assert!(check_header(&Bytes::from_static(&[0, 3, 0, 9, 0, 0]), true).is_err(), "cut");
    }
}
