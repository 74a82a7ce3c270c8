//! Flag groups ready to run: a value's text in, and the bytes that say which flag is set out.
//!
//! Behind `scan` on the data path. Invariants: at most one flag of a group is set; good is asked before
//! bad; deciding allocates nothing and costs the same for any number of literals.

use super::names::{Name, Names};
use super::number;
use crate::pipeline::{Fallback, Flag, FlagGroup, Matcher};

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
    /// Each flag's literals, with the flag's [`Outcome`].
    literals: Names,
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
        let mut literals = Names::new(group.ignore_case);
        for (flag, outcome) in [(&group.good, Outcome::Good), (&group.bad, Outcome::Bad)] {
            for matcher in &flag.matchers {
                if let Matcher::Literal(text) = matcher {
                    literals.add(text.as_bytes(), outcome as u32);
                }
            }
        }
        Self {
            field,
            literals,
            good: Matchers::new(&group.good.matchers, group.ignore_case),
            bad: Matchers::new(&group.bad.matchers, group.ignore_case),
            other: group.other.into(),
            missing: group.missing.into(),
            members: [members(0, 0), members(1, 0), members(0, 1)],
        }
    }

    /// Which flag a value's text sets.
    #[inline]
    pub fn outcome(&self, text: Option<Name<'_>>) -> Outcome {
        let Some(name) = text else { return self.missing };
        let literal = self.literals.get(name);
        let is = |outcome| literal == Some(outcome as u32);
        if is(Outcome::Good) || self.good.matches(name.text) {
            Outcome::Good
        } else if is(Outcome::Bad) || self.bad.matches(name.text) {
            Outcome::Bad
        } else {
            self.other
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

/// A flag's matchers by kind, without its literals.
#[derive(Debug, Default)]
struct Matchers {
    prefixes: Vec<Box<[u8]>>,
    /// Bit n stands for the class of n hundred and something.
    classes: u16,
    ranges: Vec<(f64, f64)>,
    ignore_case: bool,
}

impl Matchers {
    fn new(matchers: &[Matcher], ignore_case: bool) -> Self {
        let mut compiled = Self { ignore_case, ..Self::default() };
        for matcher in matchers {
            match matcher {
                Matcher::Literal(_) => {}
                Matcher::Prefix(text) => compiled.prefixes.push(text.as_bytes().into()),
                Matcher::Class(class) => compiled.classes |= 1u16.unbounded_shl(u32::from(*class)),
                Matcher::Range(low, high) => compiled.ranges.push((*low, *high)),
            }
        }
        compiled
    }

    #[inline]
    fn matches(&self, text: &[u8]) -> bool {
        (self.classes != 0 && self.classes & class(text) != 0)
            || self.prefixes.iter().any(|prefix| text.get(..prefix.len()).is_some_and(|start| self.same(prefix, start)))
            || (!self.ranges.is_empty() && self.in_range(text))
    }

    fn same(&self, known: &[u8], text: &[u8]) -> bool {
        if self.ignore_case { known.eq_ignore_ascii_case(text) } else { known == text }
    }

    fn in_range(&self, text: &[u8]) -> bool {
        number::float(text).is_some_and(|value| {
            let holds = |(low, high): &(f64, f64)| (*low..=*high).contains(&value);
            self.ranges.iter().any(holds)
        })
    }
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

    fn group(good: Flag, bad: Flag, ignore_case: bool) -> Group {
        let (name, field) = ("g".to_owned(), "f".parse().unwrap());
        let group = FlagGroup { name, field, good, bad, other: Fallback::Neither, missing: Fallback::Bad, ignore_case };
        Group::new(&group, 0)
    }

    fn outcome(group: &Group, text: &str) -> Outcome {
        group.outcome(Some(text.as_bytes().into()))
    }

    fn check(matchers: &[Matcher], ignore_case: bool, yes: &[&str], no: &[&str]) {
        let flag = |matchers: &[Matcher]| Flag { name: "x".to_owned(), matchers: matchers.to_vec() };
        for (good, bad, expected) in
            [(matchers, &[][..], Outcome::Good), (&[], matchers, Outcome::Bad), (matchers, matchers, Outcome::Good)]
        {
            let group = group(flag(good), flag(bad), ignore_case);
            for text in yes {
                assert_eq!(outcome(&group, text), expected, "{text:?} matches {matchers:?}");
            }
            for text in no {
                assert_eq!(outcome(&group, text), Outcome::Neither, "{text:?} does not match {matchers:?}");
            }
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
        let flag = |name: &str, matchers: &[Matcher]| Flag { name: name.to_owned(), matchers: matchers.to_vec() };
        let (x, start) = (Literal("x".to_owned()), Prefix("xy".to_owned()));
        let group = group(
            flag("a \"good\" one", &[x.clone(), start]),
            flag("bad", &[x, Literal("xyz".to_owned()), Literal("z".to_owned())]),
            false,
        );
        for (text, outcome, members) in [
            (Some("x"), Outcome::Good, r#","a \"good\" one":1,"bad":0"#),
            (Some("xyz"), Outcome::Good, r#","a \"good\" one":1,"bad":0"#),
            (Some("z"), Outcome::Bad, r#","a \"good\" one":0,"bad":1"#),
            (Some("y"), Outcome::Neither, r#","a \"good\" one":0,"bad":0"#),
            (None, Outcome::Bad, r#","a \"good\" one":0,"bad":1"#),
        ] {
            assert_eq!(group.outcome(text.map(|text: &str| text.as_bytes().into())), outcome);
            assert_eq!(group.members(outcome), members.as_bytes());
        }
    }
}
