//! How a matcher is written: `4xx`, `400..499`, `Rate*`, and everything else a literal.
//!
//! Invariant: `show` writes what `parse` reads back as the same matcher.

use crate::config::mistake::shown;
use outlier_core::pipeline::Matcher;

/// The longest text of a matcher; bytes.
const MAX_TEXT: usize = 1024;

/// Reads a matcher. A leading `=` makes the rest a literal whatever it looks like.
///
/// # Errors
/// What is wrong and what to do.
pub(super) fn parse(text: &str) -> Result<Matcher, String> {
    if text.is_empty() || text.len() > MAX_TEXT {
        return Err(format!("must have 1 to {MAX_TEXT} bytes; `\"=\"` matches an empty text"));
    }
    if let Some(literal) = text.strip_prefix('=') {
        return Ok(Matcher::Literal(literal.to_owned()));
    }
    if let [digit @ b'1'..=b'9', b'x', b'x'] = text.as_bytes() {
        return Ok(Matcher::Class(digit - b'0'));
    }
    if text == "*" {
        return Err("`\"*\"` would match every text: use `other`, or `\"=*\"` for an asterisk".into());
    }
    if let Some(prefix) = text.strip_suffix('*') {
        return Ok(Matcher::Prefix(prefix.to_owned()));
    }
    match text.split_once("..") {
        None => Ok(Matcher::Literal(text.to_owned())),
        Some((from, to)) => match (number(from), number(to)) {
            (Some(from), Some(to)) if from <= to => Ok(Matcher::Range(from, to)),
            (Some(_), Some(_)) => Err(format!("{} is empty: write the smaller number first", shown(text))),
            (Some(_), None) if to.is_empty() => Err(half(text)),
            (None, Some(_)) if from.is_empty() => Err(half(text)),
            _ => Ok(Matcher::Literal(text.to_owned())),
        },
    }
}

fn half(text: &str) -> String {
    let not = shown(text);
    format!("{not} has only one end: write both, such as \"400..499\", or put = before it for a literal")
}

fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

/// Writes a matcher.
pub(super) fn show(matcher: &Matcher) -> String {
    match matcher {
        Matcher::Class(digit) => format!("{digit}xx"),
        Matcher::Range(from, to) => format!("{from}..{to}"),
        Matcher::Prefix(prefix) => format!("{prefix}*"),
        Matcher::Literal(text) => match parse(text) {
            Ok(Matcher::Literal(same)) if same == *text => same,
            _ => format!("={text}"),
        },
    }
}

/// A text that both match, if one is easily found.
pub(super) fn overlap(a: &Matcher, b: &Matcher, ignore_case: bool) -> Option<String> {
    let both = |text: &String| matches(a, text, ignore_case) && matches(b, text, ignore_case);
    witnesses(a).into_iter().chain(witnesses(b)).find(both)
}

/// Texts at the edges of what a matcher matches.
fn witnesses(matcher: &Matcher) -> Vec<String> {
    match matcher {
        Matcher::Literal(text) | Matcher::Prefix(text) => vec![text.clone()],
        Matcher::Class(digit) => vec![format!("{digit}00"), format!("{digit}99")],
        Matcher::Range(from, to) => vec![from.to_string(), to.to_string()],
    }
}

fn matches(matcher: &Matcher, text: &str, ignore_case: bool) -> bool {
    let fold = |text: &str| {
        if ignore_case { text.to_ascii_lowercase() } else { text.to_owned() }
    };
    match matcher {
        Matcher::Literal(literal) => fold(literal) == fold(text),
        Matcher::Prefix(prefix) => fold(text).starts_with(&fold(prefix)),
        Matcher::Class(digit) => {
            let bytes = text.as_bytes();
            bytes.len() == 3 && bytes[0] == b'0' + digit && bytes.iter().all(u8::is_ascii_digit)
        }
        Matcher::Range(from, to) => number(text).is_some_and(|n| (*from..=*to).contains(&n)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Matcher::{Class, Literal, Prefix, Range};
    use proptest::prelude::*;

    #[test]
    fn matchers_are_read() {
        let literal = |text: &str| Some(Literal(text.into()));
        for (text, want) in [
            ("BLOCK", literal("BLOCK")),
            ("4xx", Some(Class(4))),
            ("=4xx", literal("4xx")),
            ("0xx", literal("0xx")),
            ("4XX", literal("4XX")),
            ("400..499", Some(Range(400.0, 499.0))),
            ("-1.5..2e3", Some(Range(-1.5, 2000.0))),
            ("a..b", literal("a..b")),
            ("1..b", literal("1..b")),
            ("Rate*", Some(Prefix("Rate".into()))),
            ("=Rate*", literal("Rate*")),
            ("==", literal("=")),
            ("=", literal("")),
            ("..", literal("..")),
            ("*", None),
            ("", None),
            ("2..1", None),
            ("400..", None),
            ("..400", None),
        ] {
            assert_eq!(parse(text).ok(), want, "{text:?}");
        }
    }

    #[test]
    fn overlaps_are_found() {
        for (a, b, ignore_case, want) in [
            ("404", "4xx", false, true),
            ("404", "400..499", false, true),
            ("4xx", "450..600", false, true),
            ("5xx", "4xx", false, false),
            ("Rate*", "RateBased", false, true),
            ("Ra*", "Rate*", false, true),
            ("block", "BLOCK", false, false),
            ("block", "BLOCK", true, true),
        ] {
            let (a, b) = (parse(a).unwrap(), parse(b).unwrap());
            assert_eq!(overlap(&a, &b, ignore_case).is_some(), want, "{a:?} {b:?}");
            assert_eq!(overlap(&b, &a, ignore_case).is_some(), want, "{b:?} {a:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(text in "[=*.x0-9a-z-]{1,8}", from in any::<f64>(), to in any::<f64>()) {
            let mut all = vec![Literal(text.clone())];
            all.extend(parse(&text));
            if from <= to && from.is_finite() && to.is_finite() {
                all.push(Range(from, to));
            }
            for matcher in all {
                prop_assert_eq!(parse(&show(&matcher)), Ok(matcher));
            }
        }
    }
}
