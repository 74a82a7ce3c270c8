//! The reasons of an anomaly: the values, across fields, that tell this window's records from the usual ones best.
//!
//! For each value the test statistic of its share is `G = 2·N·KL(now ‖ usual)`, the deviance of "has this value" as a
//! binomial, divided by what it scatters anyway. Why the cause comes first: if extra records of one value `v` came (or
//! went), the ratio of the densities of this window's records and the usual ones depends on "has `v`" alone; by the
//! data-processing inequality no other yes-or-no question about a record has a larger divergence, whatever else is
//! correlated with `v`. Naming a value among K costs 2·ln K, so that a field of many values does not win by chance.
//!
//! Invariant: the answer depends on the content of the arguments alone; ties go to the earlier field, then the text.

use super::Usual;
use crate::sketch::Values;
use libm::log;
use serde::{Deserialize, Serialize};

/// Reasons that are returned when the caller has no other wish.
pub const MOST_REASONS: usize = 5;
/// What `G`, less the price of the name, must reach: about one false reason in a hundred windows.
const SIGNIFICANT: f64 = 6.6;

/// How the series' value changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// More records than expected: values are looked for whose share rose.
    Rise,
    /// Fewer records: values whose share fell.
    Fall,
    /// Neither, as for a ratio or a quantile: both.
    Shift,
}

/// A value that has to do with the anomaly.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reason {
    /// The field's name.
    pub field: String,
    /// The value; a long one is cut and ends in `…` and its hash.
    pub value: String,
    /// Its share of the window's records, 0 to 1.
    pub now: f64,
    /// Its usual share, 0 to 1.
    pub usual: f64,
    /// Its part in the change of all reasons returned; percent, they sum to 100.
    pub contribution: f64,
    /// The counts behind it are not exact.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub approximate: bool,
}

/// At most `most` values whose share changed beyond chance, the most telling first. Each field comes with its name, what
/// is usual, learned before this window, and the window's values. Empty when no share changed: then all values rose or
/// fell alike, or too little is known.
pub fn why(fields: &[(&str, &Usual, &Values)], change: Change, most: usize) -> Vec<Reason> {
    let price = 2.0 * log(fields.len().max(1) as f64) + SIGNIFICANT;
    let mut found: Vec<(f64, Reason)> = Vec::new();
    for (name, usual, now) in fields {
        let field = Field::new(usual, now);
        found.extend(field.reasons(name, change).filter(|(worth, _)| *worth > price));
        // Sorting is stable, so ties stay in the order of the fields.
        found.sort_by(|(a, left), (b, right)| b.total_cmp(a).then_with(|| tie(left, right)));
        found.truncate(most);
    }
    let all: f64 = found.iter().map(|(_, reason)| (reason.now - reason.usual).abs()).sum();
    let reasons = found.into_iter().map(|(_, reason)| reason);
    reasons.map(|reason| Reason { contribution: 100.0 * (reason.now - reason.usual).abs() / all, ..reason }).collect()
}

/// Of the two values of one field, when one rises as the other falls, the one that rises.
fn tie(a: &Reason, b: &Reason) -> std::cmp::Ordering {
    if a.field != b.field {
        return std::cmp::Ordering::Equal;
    }
    let rises = |reason: &Reason| reason.now > reason.usual;
    rises(b).cmp(&rises(a)).then_with(|| a.value.cmp(&b.value))
}

/// One field of the window.
struct Field<'a> {
    usual: &'a Usual,
    now: &'a Values,
    /// Records of the window.
    count: f64,
    /// Records learned.
    records: f64,
    /// What naming one of the values costs.
    price: f64,
    /// The largest share that a value can usually have without being among those whose text is kept.
    unnamed: f64,
}

impl<'a> Field<'a> {
    fn new(usual: &'a Usual, now: &'a Values) -> Self {
        let candidates = now.distinct().max(usual.candidates()).max(1.0);
        let records = usual.records();
        let named = usual.entries.values().filter(|entry| entry.name.is_some()).map(|entry| entry.weight);
        let least = if usual.rest > 0.0 { named.fold(f32::INFINITY, f32::min) } else { 0.0 };
        let unnamed = if least.is_finite() { f64::from(least) / records.max(0.5) } else { 0.0 };
        Self { usual, now, count: now.total() as f64, records, price: 2.0 * log(candidates), unnamed }
    }

    /// All values with what they are worth, unsorted; nothing before anything was learned.
    fn reasons(&self, name: &'a str, change: Change) -> impl Iterator<Item = (f64, Reason)> {
        let present = self.now.by_mark().map(|(mark, text, weight)| (mark, text, weight as f64));
        let absent = self.usual.entries.iter().filter_map(|(mark, entry)| {
            let text = &*entry.name.as_ref()?.text;
            let told_apart = self.now.weight(text);
            match (told_apart, self.now.outside(*mark)) {
                (Some(0), _) => Some((*mark, text, 0.0)),
                (None, Some(about)) => Some((*mark, text, about)),
                _ => None,
            }
        });
        let known = self.records > 0.0 && self.count > 0.0;
        present.chain(absent).filter(move |_| known).filter_map(move |(mark, text, weight)| {
            let usual = self.usual.share_of(mark, self.records).min(1.0 - 0.5 / (self.records + 1.0));
            let now = weight / self.count;
            let wanted = match change {
                Change::Rise => now > usual,
                Change::Fall => now < usual,
                Change::Shift => now != usual,
            };
            let kept = self.usual.entries.get(&mark).and_then(|entry| entry.name.as_ref());
            // What is not kept for certain may be as usual as the rarest value that is.
            let known = if kept.is_none() && now > usual { usual.max(self.unnamed) } else { usual };
            if now == known || (now > usual && now < known) {
                return None;
            }
            let noise = kept.map_or(1.0, |name| f64::from(name.noise).max(1.0)) * (1.0 + self.count / self.records);
            let worth = deviance(weight, self.count, known) / noise - self.price;
            let approximate = !self.now.is_exact();
            let reason = || Reason {
                field: name.to_owned(),
                value: text.to_owned(),
                now,
                usual,
                contribution: 0.0,
                approximate,
            };
            (wanted && worth > 0.0).then(|| (worth, reason()))
        })
    }
}

/// Twice the logarithm of the likelihood ratio of `y` of `n` at its own share and at the share `p`, above 0 and below 1.
fn deviance(y: f64, n: f64, p: f64) -> f64 {
    let part = |y: f64, mean: f64| if y > 0.0 { y * log(y / mean) } else { 0.0 };
    2.0 * (part(y, n * p) + part(n - y, n * (1.0 - p)))
}
