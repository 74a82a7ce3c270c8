//! JSON strings: finding the end of one, and unescaping it.
//!
//! Below `scan` on the data path. Invariants: the bytes handed in are valid UTF-8 (the scan checks the
//! whole record first); what is accepted here is RFC 8259 without lone surrogates, as in `serde_json`.

use super::marks::Marks;

/// A string's body, found by [`body`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Body {
    /// Position of the closing quote.
    pub end: usize,
    /// The body has at least one backslash.
    pub escaped: bool,
}

/// Finds the end of the string whose first byte after the opening quote is at `at`.
///
/// The error is the position of the byte that cannot be part of a string.
#[inline(always)] // measured: a tenth of the transform's time
pub(super) fn body(bytes: &[u8], marks: &Marks, at: usize) -> Result<Body, usize> {
    let at = marks.next(at);
    if bytes.get(at) == Some(&b'"') {
        return Ok(Body { end: at, escaped: false });
    }
    body_with_escapes(bytes, marks, at)
}

/// The rest of [`body`], from the first byte that is not plain.
fn body_with_escapes(bytes: &[u8], marks: &Marks, mut at: usize) -> Result<Body, usize> {
    loop {
        match bytes.get(at) {
            Some(b'"') => {
                return Ok(Body { end: at, escaped: true });
            }
            Some(b'\\') => at = marks.next(escape(bytes, at)?.1),
            _ => return Err(at),
        }
    }
}

/// Position of the first quote, backslash or control character from `at` on, or the length.
#[inline(always)]
fn special(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = u64::MAX / 0xff;
    const HIGH: u64 = ONES << 7;
    while let Some(block) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
        let word = u64::from_le_bytes(*block);
        let quote = (word ^ (ONES * b'"' as u64)).wrapping_sub(ONES);
        let backslash = (word ^ (ONES * b'\\' as u64)).wrapping_sub(ONES);
        let control = word.wrapping_sub(ONES * 0x20);
        // A borrow can only mark bytes above a true hit, and the lowest hit is the one that counts.
        let hits = (quote | backslash | control) & !word & HIGH;
        if hits != 0 {
            return at + (hits.trailing_zeros() / 8) as usize;
        }
        at += block.len();
    }
    while let Some(&byte) = bytes.get(at) {
        if byte < 0x20 || byte == b'"' || byte == b'\\' {
            break;
        }
        at += 1;
    }
    at
}

/// The character that the escape at `at` (its backslash) stands for, and the position after it.
///
/// The error is the position of the first byte that is wrong; a lone surrogate is wrong at its backslash.
fn escape(bytes: &[u8], at: usize) -> Result<(char, usize), usize> {
    let c = match bytes.get(at + 1) {
        Some(c @ (b'"' | b'\\' | b'/')) => char::from(*c),
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => return unicode(bytes, at),
        _ => return Err(at + 1),
    };
    Ok((c, at + 2))
}

/// The `\uXXXX` escape at `at`, or the pair of them that is one character outside the basic plane.
fn unicode(bytes: &[u8], at: usize) -> Result<(char, usize), usize> {
    let unit = hex4(bytes, at + 2)?;
    if let Some(c) = char::from_u32(unit) {
        return Ok((c, at + 6));
    }
    if unit >= 0xdc00 || bytes.get(at + 6..at + 8) != Some(b"\\u") {
        return Err(at);
    }
    let low = hex4(bytes, at + 8)?;
    if !(0xdc00..=0xdfff).contains(&low) {
        return Err(at);
    }
    let c = char::from_u32(0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00)).ok_or(at)?;
    Ok((c, at + 12))
}

/// Four hexadecimal digits from `at` on.
fn hex4(bytes: &[u8], at: usize) -> Result<u32, usize> {
    let mut unit = 0;
    for i in at..at + 4 {
        let digit = bytes.get(i).and_then(|&b| char::from(b).to_digit(16));
        unit = unit << 4 | digit.ok_or(i)?;
    }
    Ok(unit)
}

/// Replaces `out` by the unescaped text of a string's body that [`body`] accepted.
///
/// (Bytes that `body` would refuse end the text; they cannot come here.)
pub(super) fn unescape(body: &[u8], out: &mut Vec<u8>) {
    out.clear();
    let mut at = 0;
    while at < body.len() {
        let plain = special(body, at);
        out.extend_from_slice(&body[at..plain]);
        let Ok((c, next)) = escape(body, plain) else {
            return;
        };
        out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        at = next;
    }
}

/// How many bytes of a string's body the first `length` bytes of its unescaped text are written with.
///
/// `length` must end between two characters of the text.
pub(super) fn written(body: &[u8], length: usize) -> usize {
    let mut at = 0;
    let mut left = length;
    while left > 0 && at < body.len() {
        let plain = special(body, at) - at;
        if plain >= left {
            return at + left;
        }
        left -= plain;
        at += plain;
        let Ok((c, next)) = escape(body, at) else {
            return at;
        };
        left = left.saturating_sub(c.len_utf8());
        at = next;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn find(bytes: &[u8], at: usize) -> Result<Body, usize> {
        let mut marks = Marks::default();
        marks.fill(bytes);
        body(bytes, &marks, at)
    }

    fn check(body_text: &str, expected: Result<&str, usize>) {
        let bytes = format!("{body_text}\"");
        let mut text = Vec::new();
        let got = find(bytes.as_bytes(), 0).map(|found| {
            assert_eq!(found.end, body_text.len(), "{body_text:?}");
            assert_eq!(found.escaped, body_text.contains('\\'), "{body_text:?}");
            unescape(&bytes.as_bytes()[..found.end], &mut text);
            std::str::from_utf8(&text).unwrap()
        });
        assert_eq!(got, expected, "{body_text:?}");
    }

    #[test]
    fn strings() {
        for (text, expected) in [
            ("", Ok("")),
            ("a", Ok("a")),
            ("exactly8", Ok("exactly8")),
            ("more than sixteen bytes é 😀", Ok("more than sixteen bytes é 😀")),
            (r#"\"\\\/\b\f\n\r\t"#, Ok("\"\\/\u{8}\u{c}\n\r\t")),
            (r"\u0041\u00e9\u20AC\u0000", Ok("Aé€\0")),
            (r"\ud83d\ude00 x", Ok("😀 x")),
            ("\u{7f}", Ok("\u{7f}")),
            ("12345678\u{1f}", Err(8)),
            ("\n", Err(0)),
            (r"\x", Err(1)),
            (r"\u12g4", Err(4)),
            (r"12345678\ud83d", Err(8)),
            (r"\ud83d\u0041", Err(0)),
            (r"\ud83dxxxxxxx", Err(0)),
            (r"\ude00", Err(0)),
            (r"\u+123", Err(2)),
        ] {
            check(text, expected);
        }
        assert_eq!(find(b"no end", 0), Err(6));
        assert_eq!(find(b"no end\\", 0), Err(7));
        assert_eq!(find(b"\\u12", 0), Err(4));
    }

    proptest! {
        #[test]
        fn unescape_agrees_with_serde_json(text in any::<String>()) {
            let quoted = serde_json::to_string(&text).unwrap();
            let bytes = quoted.as_bytes();
            let found = find(bytes, 1).unwrap();
            prop_assert_eq!(found.end, bytes.len() - 1);
            let mut out = vec![b'x'];
            unescape(&bytes[1..found.end], &mut out);
            prop_assert_eq!(out, text.into_bytes());
        }

        #[test]
        fn the_first_special_byte_is_found(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let expected = bytes.iter().position(|&b| b < 0x20 || b == b'"' || b == b'\\');
            prop_assert_eq!(special(&bytes, 0), expected.unwrap_or(bytes.len()));
        }
    }
}
