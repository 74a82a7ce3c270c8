//! Paths to members of a JSON object, such as `httpRequest.country`.
//!
//! Invariant: a path has at least one segment and no segment is empty.

use std::fmt;
use std::str::FromStr;

/// A path from the top of a record to one member: segments joined by dots.
///
/// A dot inside a member's name is written `\.`, a backslash `\\`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FieldPath(Vec<String>);

/// Why a text is not a [`FieldPath`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a field path is one or more names joined by dots, such as httpRequest.country; {0:?} has an empty name")]
pub struct EmptySegment(pub String);

impl FieldPath {
    /// The names from the outermost object inwards; never empty.
    pub fn segments(&self) -> &[String] {
        &self.0
    }
}

impl FromStr for FieldPath {
    type Err = EmptySegment;

    fn from_str(text: &str) -> Result<Self, EmptySegment> {
        let mut segments = vec![String::new()];
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            let last = segments.len() - 1;
            match c {
                '.' => segments.push(String::new()),
                '\\' => segments[last].push(chars.next().unwrap_or('\\')),
                c => segments[last].push(c),
            }
        }
        if segments.iter().any(String::is_empty) {
            return Err(EmptySegment(text.to_owned()));
        }
        Ok(Self(segments))
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, segment) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(".")?;
            }
            f.write_str(&segment.replace('\\', "\\\\").replace('.', "\\."))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn empty_names_are_refused() {
        for text in ["", ".", "a.", ".a", "a..b"] {
            assert!(text.parse::<FieldPath>().is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn display_and_parse_round_trip(segments in prop::collection::vec("[a-z.\\\\é ]{1,6}", 1..4)) {
            let path = FieldPath(segments);
            prop_assert_eq!(path.to_string().parse::<FieldPath>(), Ok(path));
        }
    }
}
