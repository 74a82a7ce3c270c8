//! From scored series to the numbers that are printed.
//!
//! Invariant: the splits are seeded, so that every run prints the same.

use super::Scored;
use super::scorer::{Candidate, PROFILES, Profile, at, normalised, optimum};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Random halves.
const SPLITS: u64 = 50;

/// One profile's numbers.
struct Line {
    profile: Profile,
    score: f64,
    threshold: f64,
    /// Mean and standard deviation with the threshold of the other half.
    half: (f64, f64),
    /// Score of each category at the corpus' threshold, where it has windows; else its raw score.
    categories: Vec<(String, f64)>,
}

/// The benchmark's result.
pub struct Report {
    lines: Vec<Line>,
}

impl Report {
    pub fn new(all: &[Scored]) -> Report {
        let whole: Vec<&Scored> = all.iter().collect();
        let splits = splits(all);
        Report { lines: PROFILES.iter().map(|profile| line(profile, &whole, &splits)).collect() }
    }

    pub fn table(&self, categories: bool) -> String {
        let mut text = String::from("profile        score  threshold  threshold from the other half\n");
        for line in &self.lines {
            let (name, (mean, sd)) = (line.profile.name, line.half);
            let _ = writeln!(text, "{name:13}  {:5.2}  {:9.4}  {mean:.1} ± {sd:.1}", line.score, line.threshold);
        }
        if categories && let Some(line) = self.lines.first() {
            for (name, score) in &line.categories {
                let _ = writeln!(text, "  {name:22} {score:6.1}");
            }
        }
        text
    }

    pub fn json(&self) -> Value {
        let lines = self.lines.iter().map(|line| {
            let (mean, sd) = line.half;
            let half = json!({ "mean": mean, "sd": sd, "splits": SPLITS });
            let (profile, score, threshold) = (line.profile.name, line.score, line.threshold);
            json!({ "profile": profile, "score": score, "threshold": threshold, "half_split": half })
        });
        lines.collect()
    }
}

fn line(profile: &Profile, whole: &[&Scored], splits: &[[Vec<&Scored>; 2]]) -> Line {
    let (candidates, windows) = joined(whole);
    let (threshold, raw) = optimum(&candidates, windows, profile);
    let mut halves = Vec::new();
    for split in splits {
        for (half, other) in [(&split[0], &split[1]), (&split[1], &split[0])] {
            let (candidates, windows) = joined(other);
            let (threshold, _) = optimum(&candidates, windows, profile);
            let (candidates, windows) = joined(half);
            halves.push(normalised(at(&candidates, windows, profile, threshold), windows, profile));
        }
    }
    let mut categories: BTreeMap<String, Vec<&Scored>> = BTreeMap::new();
    for scored in whole {
        categories.entry(scored.series.category().to_owned()).or_default().push(scored);
    }
    let categories = categories.into_iter().map(|(name, scored)| {
        let (candidates, windows) = joined(&scored);
        let raw = at(&candidates, windows, profile, threshold);
        (name, if windows == 0 { raw } else { normalised(raw, windows, profile) })
    });
    Line {
        profile: *profile,
        score: normalised(raw, windows, profile),
        threshold,
        half: moments(&halves),
        categories: categories.collect(),
    }
}

/// All candidates with their windows numbered from 0, and how many windows there are.
fn joined(scored: &[&Scored]) -> (Vec<Candidate>, usize) {
    let (mut candidates, mut windows) = (Vec::new(), 0);
    for Scored { series, first, candidates: own } in scored {
        let renumbered = |c: &Candidate| Candidate { window: c.window.map(|w| w - first + windows), ..*c };
        candidates.extend(own.iter().map(renumbered));
        windows += series.windows.len();
    }
    (candidates, windows)
}

/// Halves of every category.
fn splits<'a>(all: &'a [Scored<'a>]) -> Vec<[Vec<&'a Scored<'a>>; 2]> {
    let split = |seed| {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut halves = [Vec::new(), Vec::new()];
        let mut categories: BTreeMap<&str, Vec<&Scored>> = BTreeMap::new();
        for scored in all {
            categories.entry(scored.series.category()).or_default().push(scored);
        }
        for (k, mut files) in categories.into_values().enumerate() {
            files.shuffle(&mut rng);
            for (place, scored) in files.into_iter().enumerate() {
                halves[(place + k) % 2].push(scored);
            }
        }
        halves
    };
    (0..SPLITS).map(split).collect()
}

/// Mean and standard deviation.
fn moments(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (mean, (values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / (n - 1.0)).sqrt())
}
