//! The shape of each request, walked over its bytes before the typed decoder runs.
//!
//! The decoder reserves room for as many elements as an array's length claims; a hostile length would abort the
//! process. The walk reads every length against the bytes that are there, so that what passes is sound.
//!
//! A shape is a line of fields in wire order:
//! `b` 1 byte, `h` 2, `i` 4, `l` 8, `u` 16 bytes, `s` string, `y` bytes, `{…}` array of one plain field, `[…]` array of
//! structures. `3:` before a field means from version 3, `2-4:` from 2 to 4. Flexible versions use compact lengths and
//! end each structure with tagged fields.
//!
//! Invariant: a shape consumes exactly the bytes that the encoder of its API writes (tested for every version).

use anyhow::{Result, bail, ensure};
use bytes::{Buf, Bytes};

/// How deep shapes may nest.
const MAX_DEPTH: usize = 8;

struct Walk {
    bytes: Bytes,
    version: i16,
    flexible: bool,
}

/// Walks a request's body.
///
/// # Errors
/// What does not fit.
pub(crate) fn check(shape: &str, body: &Bytes, version: i16, flexible: bool) -> Result<()> {
    let mut walk = Walk { bytes: body.clone(), version, flexible };
    let fields: Vec<&str> = shape.split(' ').filter(|field| !field.is_empty()).collect();
    walk.structure(&fields, 0)?;
    // Bytes behind the request are ignored, as by Kafka: librdkafka sends some behind a request for all topics.
    Ok(())
}

impl Walk {
    fn structure(&mut self, fields: &[&str], depth: usize) -> Result<()> {
        self.fields(fields, depth)?;
        if self.flexible {
            for _ in 0..self.unsigned_varint()? {
                self.unsigned_varint()?;
                let size = self.unsigned_varint()?;
                self.skip(size as usize)?;
            }
        }
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

    fn verdict(shape: &str, bytes: &'static [u8], version: i16, flexible: bool) -> bool {
        check(shape, &Bytes::from_static(bytes), version, flexible).is_ok()
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
}
