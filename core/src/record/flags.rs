//! Flag groups ready to run: a value's text in, and the bytes that say which flag is set out.
//!
//! Behind `scan` on the data path. Invariants: at most one flag of a group is set; good is asked before
//! bad; deciding allocates nothing and costs the logarithm of the number of literals.

use super::number;
use crate::pipeline::{Fallback, Flag, FlagGroup, Matcher};
use std::cmp::Ordering;

/// Which of a group's flags is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Neither.
    Neither,
    /// The good one.
    Good,
    /// The bad one.
    Bad,
}

impl From<Fallback> for Outcome {
    fn from(fallback: Fallback) -> Self {
        match fallback {
            Fallback::Bad => Outcome::Bad,
            Fallback::Neither => Outcome::Neither,
        }
    }
}

/// A flag group with its matchers compiled and its members written out.
#[derive(Debug)]
pub(super) struct Group {
    /// The number of the field whose text is matched.
    pub field: usize,
    good: Matchers,
    bad: Matchers,
    other: Outcome,
    missing: Outcome,
    /// The two members, each after a comma, for each outcome in the enum's order.
    members: [Vec<u8>; 3],
}

impl Group {
    /// Compiles a group whose field has this number.
    pub fn new(group: &FlagGroup, field: usize) -> Self {
        let members = |good, bad| [member(&group.good, good), member(&group.bad, bad)].concat();
        Self {
            field,
            good: Matchers::new(&group.good.matchers, group.ignore_case),
            bad: Matchers::new(&group.bad.matchers, group.ignore_case),
            other: group.other.into(),
            missing: group.missing.into(),
            members: [members(0, 0), members(1, 0), members(0, 1)],
        }
    }

    /// Which flag a value's text sets.
    pub fn outcome(&self, text: Option<&[u8]>) -> Outcome {
        match text {
            None => self.missing,
            Some(text) if self.good.matches(text) => Outcome::Good,
            Some(text) if self.bad.matches(text) => Outcome::Bad,
            Some(_) => self.other,
        }
    }

    /// The two members to add, each after a comma: `,"K_action":1,"B_action":0`.
    pub fn members(&self, outcome: Outcome) -> &[u8] {
        &self.members[outcome as usize]
    }
}

/// `,"name":value`
fn member(flag: &Flag, value: u8) -> Vec<u8> {
    let name = serde_json::Value::from(flag.name.as_str());
    format!(",{name}:{value}").into_bytes()
}

/// A flag's matchers by kind.
#[derive(Debug)]
struct Matchers {
    /// Sorted by [`order`].
    literals: Vec<Box<[u8]>>,
    prefixes: Vec<Box<[u8]>>,
    /// Bit n stands for the class of n hundred and something.
    classes: u16,
    ranges: Vec<(f64, f64)>,
    ignore_case: bool,
}

impl Matchers {
    fn new(matchers: &[Matcher], ignore_case: bool) -> Self {
        let mut compiled =
            Self { literals: Vec::new(), prefixes: Vec::new(), classes: 0, ranges: Vec::new(), ignore_case };
        for matcher in matchers {
            match matcher {
                Matcher::Literal(text) => compiled.literals.push(text.as_bytes().into()),
                Matcher::Prefix(text) => compiled.prefixes.push(text.as_bytes().into()),
                Matcher::Class(class) => compiled.classes |= 1u16.unbounded_shl(u32::from(*class)),
                Matcher::Range(low, high) => compiled.ranges.push((*low, *high)),
            }
        }
        compiled.literals.sort_by(|a, b| order(a, b, ignore_case));
        compiled
    }

    fn matches(&self, text: &[u8]) -> bool {
        let same = |known: &[u8], text: &[u8]| order(known, text, self.ignore_case);
        (self.literals).binary_search_by(|known| same(known, text)).is_ok()
            || (self.classes != 0 && self.classes & class(text) != 0)
            || self
                .prefixes
                .iter()
                .any(|prefix| text.get(..prefix.len()).is_some_and(|start| same(prefix, start).is_eq()))
            || (!self.ranges.is_empty() && self.in_range(text))
    }

    fn in_range(&self, text: &[u8]) -> bool {
        number::float(text).is_some_and(|value| {
            let holds = |(low, high): &(f64, f64)| (*low..=*high).contains(&value);
            self.ranges.iter().any(holds)
        })
    }
}

/// A total order of texts, cheap to decide: by length, then by bytes, which may be of either ASCII case.
#[inline]
fn order(a: &[u8], b: &[u8], ignore_case: bool) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| {
        if ignore_case {
            let lower = u8::to_ascii_lowercase;
            a.iter().map(lower).cmp(b.iter().map(lower))
        } else {
            a.cmp(b)
        }
    })
}

/// The bit of the class that three digits belong to; no bit for any other text.
fn class(text: &[u8]) -> u16 {
    match text {
        [first @ b'0'..=b'9', b'0'..=b'9', b'0'..=b'9'] => 1 << (first - b'0'),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Matcher::{Class, Literal, Prefix, Range};

    fn check(matchers: &[Matcher], ignore_case: bool, yes: &[&str], no: &[&str]) {
        let compiled = Matchers::new(matchers, ignore_case);
        for text in yes {
            assert!(compiled.matches(text.as_bytes()), "{text:?} matches {matchers:?}");
        }
        for text in no {
            assert!(!compiled.matches(text.as_bytes()), "{text:?} does not match {matchers:?}");
        }
    }

    #[test]
    fn matchers() {
        let literal = |text: &str| Literal(text.to_owned());
        let words = ["GET", "HEAD", "", "POST", "é", "true"].map(literal);
        check(&words, false, &["GET", "HEAD", "POST", "", "é", "true"], &["get", "GE", "GETS", "É"]);
        check(&words, true, &["get", "hEAD", "Post", "é", "TRUE"], &["É", "ge"]);
        check(
            &[Class(4), Class(2)],
            false,
            &["404", "400", "499", "200"],
            &["304", "4044", "40", "4xx", "404.0", "-404", "x00"],
        );
        check(
            &[Range(400.0, 499.0), Range(-1.5, f64::INFINITY)],
            false,
            &["400", "499", "450.5", "4.5e2", "-1.5", "1e300"],
            &["-1.6", "inf", "NaN", "1e999", "", "four", "400 ", "400.", "+400"],
        );
        check(&[Range(400.0, 499.0)], false, &["400", "499.0"], &["499.1", "399"]);
        check(&[Prefix("Rate".into())], false, &["Rate", "RateLimit"], &["Rat", "rateLimit", "xRate"]);
        check(&[Prefix("Rate".into())], true, &["rATE", "ratelimit"], &["Rat"]);
        check(&[], false, &[], &["", "x"]);
    }

    #[test]
    fn good_is_asked_first_and_names_are_escaped() {
        let flag = |name: &str| Flag { name: name.to_owned(), matchers: vec![Literal("x".to_owned())] };
        let group = Group::new(
            &FlagGroup {
                name: "g".to_owned(),
                field: "f".parse().unwrap(),
                good: flag("a \"good\" one"),
                bad: flag("bad"),
                other: Fallback::Neither,
                missing: Fallback::Bad,
                ignore_case: false,
            },
            0,
        );
        for (text, outcome, members) in [
            (Some("x"), Outcome::Good, r#","a \"good\" one":1,"bad":0"#),
            (Some("y"), Outcome::Neither, r#","a \"good\" one":0,"bad":0"#),
            (None, Outcome::Bad, r#","a \"good\" one":0,"bad":1"#),
        ] {
            assert_eq!(group.outcome(text.map(str::as_bytes)), outcome);
            assert_eq!(group.members(outcome), members.as_bytes());
        }
    }
}
