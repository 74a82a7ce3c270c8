//! The five fields whose values are drawn, and with which weights.
//!
//! Behind `bursts`, before `record`. Invariant: the values and weights are those of the design's table.

use super::rng::Rng;
use std::fmt;
use std::str::FromStr;

/// A field that can become anomalous, named as its flag group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Field {
    /// `action`.
    Action,
    /// `httpSourceName`.
    Source,
    /// `httpStatus`.
    HttpStatus,
    /// `httpRequest.country`.
    Country,
    /// `httpRequest.httpMethod`.
    Method,
}

/// A text that names no [`Field`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no field {0:?}: use one of action, source, httpstatus, country, method")]
pub struct UnknownField(pub String);

impl Field {
    /// Every field, in the order of their discriminants.
    pub const ALL: [Self; 5] = [Self::Action, Self::Source, Self::HttpStatus, Self::Country, Self::Method];

    /// The name of its flag group.
    pub fn name(self) -> &'static str {
        match self {
            Self::Action => "action",
            Self::Source => "source",
            Self::HttpStatus => "httpstatus",
            Self::Country => "country",
            Self::Method => "method",
        }
    }

    fn good(self) -> &'static [&'static str] {
        match self {
            Self::Action => &["ALLOW", "CAPTCHA", "Challenge", "Count"],
            Self::Source => &["ALB", "APIGW", "APPSYNC", "CF"],
            Self::HttpStatus => &["200", "202", "307", "308"],
            Self::Country => &["US", "UK", "IN"],
            Self::Method => &["GET", "HEAD", "POST"],
        }
    }

    fn bad(self) -> &'static [&'static str] {
        match self {
            Self::Action => &["BLOCK"],
            Self::Source => &["-"],
            Self::HttpStatus => &["403", "404", "502", "504"],
            Self::Country => &["XX", "YY", "ZZ", "WW"],
            Self::Method => &["DELETE"],
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Field {
    type Err = UnknownField;

    fn from_str(text: &str) -> Result<Self, UnknownField> {
        let field = Self::ALL.into_iter().find(|field| field.name() == text);
        field.ok_or_else(|| UnknownField(text.to_owned()))
    }
}

/// A drawn value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Value {
    /// Its text.
    pub text: String,
    /// As JSON: a text in quotes; a status of digits as a number.
    pub json: String,
}

impl Value {
    fn new(field: Field, text: &str) -> Self {
        let number = field == Field::HttpStatus && matches!(text.as_bytes(), [b'1'..=b'9', b'0'..=b'9', b'0'..=b'9']);
        let json = if number { text.to_owned() } else { serde_json::Value::from(text).to_string() };
        Self { text: text.to_owned(), json }
    }
}

/// A value for each field, in the order of [`Field::ALL`].
pub(super) type Drawn<'t> = [&'t Value; Field::ALL.len()];

const USUAL_GOOD: f64 = 0.25;
const USUAL_BAD: f64 = 0.001;
const ENFORCED_GOOD: f64 = 0.1;
const ENFORCED_BAD: f64 = 2.0;

/// Values and how often each is drawn.
#[derive(Debug)]
pub(super) struct Table {
    /// With the sum of the weights up to and including this value; the likelier first.
    values: Vec<(f64, Value)>,
    /// What is drawn when rounding leaves nothing else; also in `values`.
    last: Value,
    total: f64,
}

impl Table {
    fn new(field: Field, weighted: impl IntoIterator<Item = (f64, &'static str)>, value: Option<&str>) -> Self {
        let mut weights: Vec<(f64, &str)> = weighted.into_iter().collect();
        if let Some(value) = value {
            weights.retain(|(_, text)| *text != value);
            weights.push((ENFORCED_BAD, value));
        }
        weights.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut total = 0.0;
        let values: Vec<(f64, Value)> = weights
            .iter()
            .map(|(weight, text)| {
                total += weight;
                (total, Value::new(field, text))
            })
            .collect();
        let last = Value::new(field, weights.last().map_or("", |(_, text)| text));
        Self { values, last, total }
    }

    fn weighted(field: Field, good: f64, bad: f64) -> impl Iterator<Item = (f64, &'static str)> {
        let good = field.good().iter().map(move |text| (good, *text));
        good.chain(field.bad().iter().map(move |text| (bad, *text))).filter(|(weight, _)| *weight > 0.0)
    }

    /// Good values only.
    pub fn good(field: Field) -> Self {
        Self::new(field, Self::weighted(field, USUAL_GOOD, 0.0), None)
    }

    /// Good values, and now and then a bad one.
    pub fn usual(field: Field) -> Self {
        Self::new(field, Self::weighted(field, USUAL_GOOD, USUAL_BAD), None)
    }

    /// Mostly bad values.
    pub fn bad(field: Field) -> Self {
        Self::new(field, Self::weighted(field, ENFORCED_GOOD, ENFORCED_BAD), None)
    }

    /// Mostly this one value.
    pub fn dominated(field: Field, value: &str) -> Self {
        Self::new(field, Self::weighted(field, ENFORCED_GOOD, USUAL_BAD), Some(value))
    }

    /// One value by the weights.
    #[inline]
    pub fn draw(&self, rng: &mut Rng) -> &Value {
        let at = rng.unit() * self.total;
        let found = self.values.iter().find(|(sum, _)| at < *sum);
        found.map_or(&self.last, |(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const DRAWS: u32 = 200_000;

    /// The share of each value that is drawn, within five standard deviations of what the weights say.
    fn check(name: &str, table: &Table, expected: &[(&str, f64)]) {
        let mut rng = Rng::new(7);
        let mut counts = BTreeMap::<&str, u32>::new();
        for _ in 0..DRAWS {
            *counts.entry(&table.draw(&mut rng).text).or_default() += 1;
        }
        let total: f64 = expected.iter().map(|(_, weight)| weight).sum();
        for (text, weight) in expected {
            let p = weight / total;
            let mean = p * f64::from(DRAWS);
            let got = f64::from(counts.remove(text).unwrap_or(0));
            assert!((got - mean).abs() <= 5.0 * (mean * (1.0 - p)).sqrt(), "{name}: {text} {got}, not {mean}");
        }
        assert!(counts.is_empty(), "{name}: {counts:?}");
    }

    #[test]
    fn weights() {
        for field in Field::ALL {
            let with = |good: f64, bad: f64| -> Vec<(&str, f64)> {
                let good = field.good().iter().map(|text| (*text, good));
                good.chain(field.bad().iter().map(|text| (*text, bad))).collect()
            };
            check("good", &Table::good(field), &with(1.0, 0.0)[..field.good().len()]);
            check("usual", &Table::usual(field), &with(0.25, 0.001));
            check("bad", &Table::bad(field), &with(0.1, 2.0));
            let new = [with(0.1, 0.001), vec![("new", 2.0)]].concat();
            check("dominated", &Table::dominated(field, "new"), &new);
        }
        let post = [("GET", 0.1), ("HEAD", 0.1), ("POST", 2.0), ("DELETE", 0.001)];
        check("dominated by a good one", &Table::dominated(Field::Method, "POST"), &post);
    }

    #[test]
    fn values_as_json() {
        for (field, text, json) in [
            (Field::HttpStatus, "503", "503"),
            (Field::HttpStatus, "5xx", r#""5xx""#),
            (Field::HttpStatus, "007", r#""007""#),
            (Field::Country, "200", r#""200""#),
            (Field::Action, "a\"\n", r#""a\"\n""#),
        ] {
            assert_eq!(Value::new(field, text).json, json);
        }
    }

    #[test]
    fn names() {
        for (i, field) in Field::ALL.into_iter().enumerate() {
            assert_eq!(field as usize, i);
            assert_eq!(field.name().parse(), Ok(field));
        }
        assert!("Action".parse::<Field>().is_err());
    }
}
