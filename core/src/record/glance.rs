//! What can be said of a record without reading its values: that it is one object, if it is JSON at all.
//!
//! For records that were valid when they were written. One pass without validation, in vector instructions: where
//! strings are follows from the quotes alone if there is no backslash, and what stands outside of them from counting
//! brackets. Invariant: nothing that passes hides anything from a reader that takes comments or stops at the end of the
//! first value, or nests deeper than allowed.

use wide::u8x16;

/// Bytes that are looked at together.
const BLOCK: usize = 64;
/// Bytes that one vector holds.
const LANES: usize = 16;

/// Of a block, one bit for each byte, the first byte's lowest.
struct Bits {
    quotes: u64,
    /// Brackets, slashes, and four bytes that are not JSON outside of strings: Y, y, the underscore and DEL.
    specials: u64,
    /// Some byte is not ASCII, a control character or a backslash.
    odd: bool,
    /// Some byte is the initial.
    initial: bool,
}

/// True if the record begins like an object with a member and ends at that object's closing brace, with brackets that
/// nest at most `max_depth` deep; without white space around it, backslashes, control characters and bytes that are not
/// ASCII; outside of strings without slashes, as comments begin with one, and the other [`Bits::specials`]; and no string
/// begins with `initial`.
pub(super) fn one_object(record: &[u8], max_depth: usize, initial: u8) -> bool {
    // The last brace is outside of strings if its place is.
    let Some(open) = record.strip_suffix(b"}").filter(|open| open.starts_with(b"{\"")) else { return false };
    // All ones if the next block begins within a string; one if it comes after a quote.
    let (mut within, mut after_quote) = (0, 0);
    let mut depth = 0_usize;
    let (blocks, rest) = open.as_chunks();
    // Spaces behind the end mean nothing.
    let mut last = [b' '; BLOCK];
    last[..rest.len()].copy_from_slice(rest);
    for block in blocks.iter().chain([&last]) {
        let bits = bits(block, initial);
        if bits.odd || bits.initial && begins_with(block, initial, bits.quotes << 1 | after_quote) {
            return false;
        }
        after_quote = bits.quotes >> (BLOCK - 1);
        // From each opening quote to before its closing one.
        let strings = parity(bits.quotes) ^ within;
        within = 0u64.wrapping_sub(strings >> (BLOCK - 1));
        let mut outside = bits.specials & !strings;
        while outside != 0 {
            depth = match block[outside.trailing_zeros() as usize] {
                b'{' | b'[' => depth + 1,
                b'}' | b']' => depth - 1,
                _ => return false,
            };
            if depth == 0 || depth > max_depth {
                return false;
            }
            outside &= outside - 1;
        }
    }
    within == 0 && depth == 1
}

/// True if one of the bytes that come after a quote is the initial.
#[cold]
fn begins_with(block: &[u8; BLOCK], initial: u8, after_quote: u64) -> bool {
    (0..).zip(block).any(|(at, byte)| *byte == initial && after_quote >> at & 1 != 0)
}

/// For each bit how many are set up to it, modulo two.
fn parity(bits: u64) -> u64 {
    [1, 2, 4, 8, 16, 32].iter().fold(bits, |bits, shift| bits ^ bits << shift)
}

#[inline(always)]
fn bits(block: &[u8; BLOCK], initial: u8) -> Bits {
    let (mut odd, mut initials) = (u8x16::default(), u8x16::default());
    let (mut quotes, mut specials) = (0, 0);
    let (lanes, _) = block.as_chunks::<LANES>();
    for (lane, bytes) in lanes.iter().enumerate() {
        let bytes = u8x16::new(*bytes);
        let is = |byte| bytes.simd_eq(u8x16::splat(byte));
        odd |= bytes | bytes.min(u8x16::splat(0x1f)).simd_eq(bytes) | is(b'\\');
        initials |= is(initial);
        // Brackets differ in three bits, and the other four bytes do too.
        let brackets = (bytes | u8x16::splat(0x26)).simd_eq(u8x16::splat(0x7f));
        let bits = |hits: u8x16| u64::from(hits.to_bitmask()) << (lane * LANES);
        quotes |= bits(is(b'"'));
        specials |= bits(brackets | is(b'/'));
    }
    // A lane's highest bit.
    let any = |lanes: u8x16| lanes.to_bitmask() != 0;
    Bits { quotes, specials, odd: any(odd), initial: any(initials) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAX_DEPTH: usize = 4;

    /// The same, byte by byte.
    fn expected(record: &[u8]) -> bool {
        let (mut string, mut depth) = (false, 0_i32);
        for (at, byte) in record.iter().enumerate() {
            let before = at.checked_sub(1).map(|at| record[at]);
            match byte {
                b'"' => string = !string,
                b'\\' | 0..0x20 | 0x80.. => return false,
                b'@' if before == Some(b'"') => return false,
                _ if string => {}
                b'/' | b'Y' | b'y' | b'_' | 0x7f => return false,
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            let last = at + 1 == record.len();
            if depth > MAX_DEPTH as i32 || (depth == 0) != last {
                return false;
            }
        }
        !string && record.starts_with(b"{\"") && record.ends_with(b"}")
    }

    fn check(record: &[u8]) {
        let text = String::from_utf8_lossy(record);
        assert_eq!(one_object(record, MAX_DEPTH, b'@'), expected(record), "{text}");
    }

    #[test]
    fn objects_pass_and_what_could_hide_something_does_not() {
        for (record, passes) in [
            (r#"{"a":1}"#, true),
            (r#"{"a":{"b":[1, "x@/]}{[", true]}, "c":{}}"#, true),
            // What a strict reader refuses.
            (r#"{"a":01,,x}"#, true),
            (r#"{"a":[1}}"#, true),
            (r#"{"a":[[{}]]}"#, true),
            (r#"{"a":[[{"b":[]}]]}"#, false),
            (r#"{"a":"[[[[[[[["}"#, true),
            ("{}", false),
            ("", false),
            (r#"{""#, false),
            (r#"{"}"#, false),
            (r#"{ "a":1}"#, false),
            (r#"{"a":1} "#, false),
            (r#"{"a":1"#, false),
            (r#"{"a":1}}"#, false),
            (r#"{"a":1}{"b":2}"#, false),
            (r#"{"a":1},"b":{"c":2}"#, false),
            (r#"{"a":1/*x*/}"#, false),
            (r#"{"a":"//"}"#, true),
            (r#"{"a":"x\n"}"#, false),
            ("{\"a\":\n1}", false),
            ("{\"a\":\"\u{e9}\"}", false),
            (r#"{"@timestamp":1}"#, false),
            (r#"{"a":"x@y"}"#, true),
            (r#"[{"a":1}]"#, false),
        ] {
            assert_eq!(one_object(record.as_bytes(), MAX_DEPTH, b'@'), passes, "{record}");
            check(record.as_bytes());
            // Wherever it lies in the blocks.
            for length in 0..140 {
                let member = format!(r#"{{"{}":0,"#, "x".repeat(length));
                check(record.replacen('{', &member, 1).as_bytes());
            }
        }
    }

    proptest! {
        #[test]
        fn as_byte_by_byte(
            inside in prop::collection::vec(
                prop_oneof![20 => prop::sample::select(b"\"\"\"\"{}[]{}[]:,a1@/y ".to_vec()), 1 => any::<u8>()],
                0..200,
            ),
        ) {
            check(&inside);
            check(&[b"{\"", inside.as_slice(), b"}"].concat());
            check(&[b"{\"", inside.as_slice(), b"\":1}"].concat());
        }
    }
}
