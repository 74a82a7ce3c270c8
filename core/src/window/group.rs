//! The key of a group: the values of a detector's `by` fields, as one text.
//!
//! Names the series between the stages and in the state topic. Values are joined by [`JOIN`]; within a value a
//! backslash and the joint itself are written with a backslash, so that different values give different keys.
//! A missing value and an empty text are the same. Invariants: a key has at most [`LONGEST`] bytes; what is longer
//! is replaced by its hash; no values give the key of the overflow or of a hash; the overflow is before every
//! other in order but for the empty key, of records without a value; a close in steps goes in this order.

use crate::sketch::hash;

/// Between two values: the ASCII unit separator.
const JOIN: u8 = 0x1f;
/// Longer keys are hashed; bytes.
const LONGEST: usize = 1_024;
/// The group of all series beyond `max_series`.
pub const OVERFLOW: &str = "\0";
/// Begins the key of a group whose values are too long.
const HASHED: &str = "\\h";

/// Appends one value to a key; `first` for the first one.
pub(super) fn push_value(key: &mut Vec<u8>, value: &[u8], first: bool) {
    if !first {
        key.push(JOIN);
    }
    for &byte in value {
        match byte {
            b'\\' => key.extend_from_slice(b"\\\\"),
            JOIN => key.extend_from_slice(b"\\u"),
            0 => key.extend_from_slice(b"\\0"),
            byte => key.push(byte),
        }
    }
}

/// The key as text, hashed if it is too long; true if it was.
pub(super) fn finish(key: Vec<u8>) -> (String, bool) {
    if key.len() > LONGEST {
        let (low, high) = (hash(&key), hash(&[&key[..], b"\\"].concat()));
        return (format!("{HASHED}{high:016x}{low:016x}"), true);
    }
    // Values are parts of a text that was checked; what is not UTF-8 cannot come.
    (String::from_utf8(key).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()), false)
}

/// The values of a key, in the order of the fields; of the overflow of this windows partition and of hashed keys, one
/// that says so.
pub fn values(key: &str, partition: i32) -> Vec<String> {
    if key == OVERFLOW {
        return vec![format!("(beyond max_series of partition {partition})")];
    }
    if let Some(hash) = key.strip_prefix(HASHED) {
        return vec![format!("(hash {hash})")];
    }
    let unescape = |value: &str| {
        let mut text = String::with_capacity(value.len());
        let mut chars = value.chars();
        while let Some(c) = chars.next() {
            match c {
                '\\' => text.push(match chars.next() {
                    Some('u') => char::from(JOIN),
                    Some('0') => '\0',
                    _ => '\\',
                }),
                c => text.push(c),
            }
        }
        text
    };
    key.split(char::from(JOIN)).map(unescape).collect()
}

/// What follows a measure in the name of a series: `{country=US,method=GET}`; nothing without fields. Where there are
/// several, a comma and a backslash in a value have a backslash before them, so that no two groups have one name.
pub fn label(fields: &[String], key: &str, partition: i32) -> String {
    if fields.is_empty() && key.is_empty() {
        return String::new();
    }
    let values = values(key, partition);
    if values.len() != fields.len() || key == OVERFLOW || key.starts_with(HASHED) {
        return format!("{{{}}}", values.join(","));
    }
    let mut text = String::from("{");
    for (i, (field, value)) in fields.iter().zip(values).enumerate() {
        if i > 0 {
            text.push(',');
        }
        text.push_str(field);
        text.push('=');
        for c in value.chars() {
            if fields.len() > 1 && matches!(c, ',' | '\\') {
                text.push('\\');
            }
            text.push(c);
        }
    }
    text.push('}');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What could be taken for the other field.
    const VALUE: &str = "(x|,b=|\\\\|=){0,4}";

    fn key(parts: &[String]) -> (String, bool) {
        let mut key = Vec::new();
        for (i, part) in parts.iter().enumerate() {
            push_value(&mut key, part.as_bytes(), i == 0);
        }
        finish(key)
    }

    proptest! {
        #[test]
        fn keys_read_back(parts in prop::collection::vec("[a\\\\0u\u{0}\u{1f}é]{0,6}", 1..5)) {
            let (key, hashed) = key(&parts);
            prop_assert!(!hashed && key != OVERFLOW && !key.starts_with(HASHED));
            prop_assert_eq!(values(&key, 0), parts);
        }

        #[test]
        fn no_two_groups_have_one_name(one in [VALUE; 2], other in [VALUE; 2]) {
            let name = |parts: &[String; 2]| label(&["a".to_owned(), "b".to_owned()], &key(parts).0, 0);
            prop_assert_eq!(name(&one) == name(&other), one == other);
        }
    }

    #[test]
    fn long_keys_are_hashed() {
        let long = |c: &str| key(&[c.repeat(1 << 20)]);
        let (one, other) = (long("x"), long("y"));
        assert!(one.1 && one.0.len() < 40);
        assert_ne!(one, other);
        assert!(values(&one.0, 0)[0].starts_with("(hash "));
    }

    #[test]
    fn labels_name_fields_and_values() {
        let fields = ["a.b".to_owned(), "c".to_owned()];
        assert_eq!(label(&[], "", 3), "");
        assert_eq!(label(&fields, "US\u{1f}GET", 3), "{a.b=US,c=GET}");
        assert_eq!(label(&fields, "US,c=GET\u{1f}", 3), "{a.b=US\\,c=GET,c=}");
        assert_eq!(label(&fields[..1], "US,GET", 3), "{a.b=US,GET}");
        assert_eq!(label(&fields, OVERFLOW, 3), "{(beyond max_series of partition 3)}");
    }
}
