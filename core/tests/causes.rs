//! The cause of an anomaly is the first reason: seeded traffic of ten fields with one known cause.
//!
//! A record belongs to one of six kinds of client, and each kind has its own mix of values in each field, so fields are
//! correlated; one field has a value that comes in bursts. Extra records of the cause are drawn as its usual ones are:
//! their other fields shift with it. A cause is one that a detector would notice: 4.5 standard deviations of the total.

use outlier_core::explain::{Change, Lesson, Reason, Usual, why};
use outlier_core::sketch::Values;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

/// Records of a usual window.
const RECORDS: usize = 8_000;
const LEARNED: i64 = 50;
const KINDS: usize = 6;
/// Different values and whether they follow Zipf's law; others are uniform.
const FIELDS: [(usize, bool); 10] = [
    (2, true),
    (3, false),
    (5, true),
    (10, false),
    (20, true),
    (50, false),
    (200, true),
    (1_000, false),
    (2_000, true),
    (5_000, true),
];
/// The field with a value that comes in bursts; never a cause.
const BURSTY: usize = 4;

/// A distribution that is drawn from by its running sums.
struct Mix(Vec<f64>);

impl Mix {
    fn new(weights: impl IntoIterator<Item = f64>) -> Self {
        let mut sum = 0.0;
        Self(
            weights
                .into_iter()
                .map(|weight| {
                    sum += weight;
                    sum
                })
                .collect(),
        )
    }

    fn share(&self, value: usize) -> f64 {
        let before = if value == 0 { 0.0 } else { self.0[value - 1] };
        (self.0[value] - before) / self.0[self.0.len() - 1]
    }

    fn draw(&self, random: &mut impl Rng) -> usize {
        let at = random.random::<f64>() * self.0[self.0.len() - 1];
        self.0.partition_point(|sum| *sum <= at).min(self.0.len() - 1)
    }
}

struct World {
    kinds: Mix,
    /// By field, by kind.
    mixes: Vec<Vec<Mix>>,
    usual: Vec<Usual>,
}

#[derive(Clone, Copy)]
struct Cause {
    field: usize,
    value: usize,
    /// Extra records, of one usual record; -1: the value is gone.
    gain: f64,
}

impl World {
    fn new(seed: u64) -> Self {
        let random = &mut StdRng::seed_from_u64(seed);
        let kinds = Mix::new((0..KINDS).map(|_| random.random_range(0.5..2.0)));
        let mix = |(count, zipf): (usize, bool), shift: usize| {
            let base = move |value: usize| if zipf { 1.0 / (value + 1) as f64 } else { 1.0 };
            Mix::new((0..count).map(move |value| 0.6 * base(value) + 0.4 * base((value + shift) % count)))
        };
        let mut mixes = Vec::new();
        for field in FIELDS {
            mixes.push((0..KINDS).map(|_| mix(field, random.random_range(0..field.0))).collect());
        }
        let mut world = Self { kinds, mixes, usual: vec![Usual::default(); FIELDS.len()] };
        for window in 0..LEARNED {
            let now = world.window(None, random);
            let lesson = Lesson {
                start: window * 60_000,
                window: 60_000,
                anomalous: false,
                age_out: 86_400_000,
                besides: Usual::BESIDES,
            };
            world.usual.iter_mut().zip(&now).for_each(|(usual, now)| usual.learn(now, &lesson));
        }
        world
    }

    fn share(&self, field: usize, value: usize) -> f64 {
        (0..KINDS).map(|kind| self.kinds.share(kind) * self.mixes[field][kind].share(value)).sum()
    }

    /// A window's values by field.
    fn window(&self, cause: Option<Cause>, random: &mut StdRng) -> Vec<Values> {
        let mut counts: Vec<Vec<u64>> = FIELDS.iter().map(|(count, _)| vec![0; *count]).collect();
        let burst = random.random_bool(0.2);
        let mut record = |kind: usize, fixed: Option<Cause>, random: &mut StdRng| {
            let mut values = [0; FIELDS.len()];
            for (field, value) in values.iter_mut().enumerate() {
                *value = match fixed {
                    Some(cause) if cause.field == field => cause.value,
                    _ if field == BURSTY && burst && random.random_bool(0.15) => 3,
                    _ => self.mixes[field][kind].draw(random),
                };
            }
            let gone = cause.is_some_and(|cause| cause.gain < 0.0 && values[cause.field] == cause.value);
            if !gone {
                values.iter().zip(&mut counts).for_each(|(value, counts)| counts[*value] += 1);
            }
        };
        let spread = |mean: f64, random: &mut StdRng| {
            let normal: f64 = (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0;
            (mean + normal * mean.sqrt()).round().max(0.0) as usize
        };
        for _ in 0..spread(RECORDS as f64, random) {
            let kind = self.kinds.draw(random);
            record(kind, None, random);
        }
        if let Some(cause) = cause.filter(|cause| cause.gain > 0.0) {
            let having = |kind: usize| self.kinds.share(kind) * self.mixes[cause.field][kind].share(cause.value);
            let kinds = Mix::new((0..KINDS).map(having));
            let extra = self.share(cause.field, cause.value) * RECORDS as f64 * cause.gain;
            for _ in 0..spread(extra, random) {
                let kind = kinds.draw(random);
                record(kind, Some(cause), random);
            }
        }
        let salt = random.random();
        counts.iter().map(|counts| values(counts, salt)).collect()
    }

    /// A cause of this gain that a detector would notice, in any field that has one.
    fn cause(&self, gain: f64, random: &mut StdRng) -> Cause {
        let least = 4.5 / (RECORDS as f64).sqrt();
        let mut fields: Vec<Vec<Cause>> = Vec::new();
        for (field, (count, _)) in FIELDS.iter().enumerate().filter(|(field, _)| *field != BURSTY) {
            let noticed = |value: &usize| self.share(field, *value) * gain.abs() >= least;
            fields.push((0..*count).filter(noticed).map(|value| Cause { field, value, gain }).collect());
        }
        fields.retain(|causes| !causes.is_empty());
        let causes = &fields[random.random_range(0..fields.len())];
        causes[random.random_range(0..causes.len())]
    }

    fn why(&self, now: &[Values], change: Change) -> Vec<Reason> {
        let names: Vec<String> = (0..FIELDS.len()).map(|field| format!("f{field}")).collect();
        let fields = names.iter().zip(&self.usual).zip(now);
        let fields: Vec<(&str, &Usual, &Values)> = fields.map(|((name, usual), now)| (&**name, usual, now)).collect();
        why(&fields, change, 5)
    }
}

fn values(counts: &[u64], salt: u32) -> Values {
    let mut values = Values::salted(1_000, salt);
    counts.iter().enumerate().for_each(|(value, count)| values.add(&format!("value{value}"), *count));
    values
}

/// Runs in which the cause is the first reason; `gain` draws how much of it is extra.
fn found_first(runs: u64, change: Change, gain: impl Fn(&mut StdRng) -> f64) -> u64 {
    let mut found = 0;
    let mut by_field = [(0, 0); FIELDS.len()];
    let mut world = World::new(0);
    for seed in 0..runs {
        if seed > 0 && seed % 20 == 0 {
            world = World::new(seed);
        }
        let random = &mut StdRng::seed_from_u64(1_000_000 + seed);
        let cause = world.cause(gain(random), random);
        let now = world.window(Some(cause), random);
        let reasons = world.why(&now, change);
        let expected = (format!("f{}", cause.field), format!("value{}", cause.value));
        let first = reasons.first().map(|reason| (reason.field.clone(), reason.value.clone()));
        by_field[cause.field].1 += 1;
        if first.as_ref() == Some(&expected) {
            found += 1;
            by_field[cause.field].0 += 1;
        } else {
            let share = world.share(cause.field, cause.value);
            println!("seed {seed}: {expected:?}, share {share:.4}, gain {:.2}: {reasons:?}", cause.gain);
        }
        if !reasons.is_empty() {
            let sum: f64 = reasons.iter().map(|reason| reason.contribution).sum();
            assert!((sum - 100.0).abs() < 1e-9, "seed {seed}: {sum}");
        }
    }
    println!("{change:?}: {found} of {runs}; by field (found, runs): {by_field:?}");
    found
}

#[test]
fn the_cause_of_a_rise_is_first() {
    assert!(found_first(200, Change::Rise, |random| random.random_range(0.2..3.0)) >= 190);
}

#[test]
fn a_value_that_is_gone_is_first() {
    assert!(found_first(200, Change::Fall, |_| -1.0) >= 190);
}

#[test]
fn usual_windows_have_no_reason() {
    let world = World::new(7);
    let random = &mut StdRng::seed_from_u64(8);
    let reasons = |_| usize::from(!world.why(&world.window(None, random), Change::Shift).is_empty());
    let windows: usize = (0..100).map(reasons).sum();
    println!("{windows} of 100 usual windows have a reason");
    assert!(windows <= 5, "{windows}");
}
