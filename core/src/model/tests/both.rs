//! Both models as one: calibration, what is found beside each alone, and its bytes.

use super::support::*;
use crate::model::{SeriesModel, Tier, Verdict};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const TIERS: [Tier; 3] = [Tier::Compact, Tier::Full, Tier::Both];

fn run(traffic: &Traffic, model: &mut SeriesModel, rng: &mut StdRng, from: i64, windows: i64) -> Vec<Verdict> {
    (0..windows).map(|i| model.observe(&traffic.point(rng, from + i * traffic.window))).collect()
}

/// What happens to the traffic after three days.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// One window of this many times the mean.
    Single(f64),
    /// The mean times this for an hour.
    Hour(f64),
    /// Within an hour the mean rises to this many times.
    Ramp(f64),
}

impl Event {
    fn windows(self, window: i64) -> i64 {
        match self {
            Event::Single(_) => 1,
            _ => HOUR / window,
        }
    }

    fn factor(self, i: i64, window: i64) -> f64 {
        match self {
            Event::Single(f) | Event::Hour(f) => f,
            Event::Ramp(f) => 1.0 + (f - 1.0) * i as f64 / self.windows(window) as f64,
        }
    }
}

/// Of so many series: those that score 75 within the event, and windows that score 75 in the three hours after it.
fn found(tier: Tier, traffic: &Traffic, event: Event, series: u64) -> (u64, u64) {
    let (mut hits, mut after) = (0, 0);
    for seed in 0..series {
        let (mut model, mut rng) = (SeriesModel::new(tier, traffic.law.kind()), StdRng::seed_from_u64(seed));
        let begin = BEGIN + seed as i64 % 24 * HOUR;
        let from = begin + 3 * DAY;
        run(traffic, &mut model, &mut rng, begin, 3 * DAY / traffic.window);
        let windows = event.windows(traffic.window);
        let verdicts: Vec<Verdict> = (0..windows)
            .map(|i| {
                let odd = Traffic { mean: traffic.mean * event.factor(i, traffic.window), ..*traffic };
                model.observe(&odd.point(&mut rng, from + i * traffic.window))
            })
            .collect();
        hits += u64::from(reaching(&verdicts, 75.0) > 0);
        let rest = run(traffic, &mut model, &mut rng, from + windows * traffic.window, 3 * HOUR / traffic.window);
        after += reaching(&rest, 75.0) as u64;
    }
    (hits, after)
}

/// What one window shows they find as the compact model does, and what lasts as the full one helps to, if less often
/// than it alone. The whole table is in ADR 20.
#[test]
fn both_find_what_either_does() {
    let single = [Event::Single(3.0), Event::Single(0.2)];
    let lasting = [Event::Hour(1.3), Event::Hour(1.6), Event::Ramp(2.0)];
    for (events, least) in [(&single[..], [0.9, 2.0]), (&lasting[..], [2.0, 0.5])] {
        let mut hits = [0; 3];
        for (law, mean) in [(Law::Poisson, 5.0), (Law::Negative(20.0), 1000.0)] {
            let traffic = Traffic { law, mean, rhythm: 3.0, window: 60_000 };
            for event in events {
                for (hits, tier) in hits.iter_mut().zip(TIERS) {
                    *hits += found(tier, &traffic, *event, 24).0;
                }
            }
        }
        println!("{events:?}: {hits:?}");
        let [compact, full, both] = hits.map(|hits| hits as f64);
        assert!(both >= least[0] * compact && both >= least[1] * full, "{events:?}: {hits:?}");
    }
}

/// A state of another tier gives what it has; what it has not learns anew, and the band is there at once.
#[test]
fn a_state_of_another_tier_is_taken_over() {
    let traffic = Traffic { law: Law::Poisson, mean: 50.0, rhythm: 3.0, window: 60_000 };
    let learned = |tier| {
        let (mut model, mut rng) = (SeriesModel::new(tier, traffic.law.kind()), StdRng::seed_from_u64(1));
        run(&traffic, &mut model, &mut rng, BEGIN, 2_000);
        model
    };
    let next = point(BEGIN + 2_000 * traffic.window, traffic.window, 400.0, 100);
    for from in TIERS {
        let mut bytes = Vec::new();
        learned(from).encode(&mut bytes);
        let restored = SeriesModel::decode(&bytes).unwrap();
        assert_eq!(restored, learned(from));
        for to in TIERS {
            let mut model = restored.clone().in_tier(to);
            assert_eq!(model.tier(), to);
            let verdict = model.observe(&next);
            let shared = from == to || from == Tier::Both || to == Tier::Both;
            assert_eq!(verdict.learning, !shared, "{from:?} to {to:?}");
            assert_eq!(verdict.score > 90.0, shared, "{from:?} to {to:?}: {verdict:?}");
            // What is shared is the same model, not another that also alarms.
            if from == Tier::Both && to != Tier::Both {
                assert_eq!(restored.clone().in_tier(to), learned(to), "{to:?}");
            }
        }
    }
}

#[test]
fn hostile_bytes_are_refused_or_harmless() {
    let traffic = Traffic { law: Law::Poisson, mean: 5.0, rhythm: 3.0, window: 60_000 };
    let (mut model, mut rng) = (SeriesModel::new(Tier::Both, traffic.law.kind()), StdRng::seed_from_u64(2));
    run(&traffic, &mut model, &mut rng, BEGIN, 1_440);
    let mut bytes = Vec::new();
    model.encode(&mut bytes);
    for length in (0..bytes.len()).step_by(7) {
        assert!(SeriesModel::decode(&bytes[..length]).is_err(), "{length}");
    }
    for _ in 0..1_000 {
        let mut hostile = bytes.clone();
        for _ in 0..rng.random_range(1..4) {
            let place = rng.random_range(0..400.min(hostile.len()));
            hostile[place] = rng.random();
        }
        if let Ok(mut model) = SeriesModel::decode(&hostile) {
            let verdicts = run(&traffic, &mut model, &mut rng, BEGIN + DAY, 20);
            assert!(verdicts.iter().all(|v| (0.0..=100.0).contains(&v.score)), "{verdicts:?}");
        }
    }
}

/// Four days of `series` seeds; the rates are those of the last two.
#[test]
fn ordinary_traffic_scores_as_often_as_documented() {
    let mut wrong = Vec::new();
    for (law, mean, rhythm, window, series, least) in [
        (Law::Poisson, 0.05, 3.0, 10_000, 6, 0.0),
        (Law::Poisson, 0.2, 1.0, 10_000, 6, 0.0),
        (Law::Poisson, 0.2, 3.0, 10_000, 6, 0.0),
        (Law::Poisson, 5.0, 3.0, 10_000, 6, 0.5),
        (Law::Poisson, 50.0, 1.0, 10_000, 12, 0.5),
        (Law::Poisson, 50.0, 3.0, 10_000, 12, 0.5),
        (Law::Poisson, 50.0, 3.0, 1_000, 1, 0.5),
        (Law::Poisson, 300.0, 3.0, 60_000, 24, 0.0),
        (Law::Negative(5.0), 50.0, 1.0, 10_000, 12, 0.5),
        (Law::Negative(5.0), 50.0, 3.0, 10_000, 12, 0.5),
        (Law::Negative(20.0), 1000.0, 3.0, 10_000, 12, 0.5),
        (Law::Dispersed(4.0), 50.0, 3.0, 10_000, 12, 0.5),
        (Law::Share(500), 0.2, 3.0, 10_000, 6, 0.5),
        (Law::LogNormal(0.5), 1000.0, 3.0, 10_000, 6, 0.0),
    ] {
        let traffic = Traffic { law, mean, rhythm, window };
        let (mut windows, mut at) = (0.0, [0.0; 3]);
        for seed in 0..series {
            let (mut model, mut rng) = (SeriesModel::new(Tier::Both, law.kind()), StdRng::seed_from_u64(seed));
            run(&traffic, &mut model, &mut rng, BEGIN, 2 * DAY / window);
            let verdicts = run(&traffic, &mut model, &mut rng, BEGIN + 2 * DAY, 2 * DAY / window);
            windows += verdicts.len() as f64;
            for (at, score) in at.iter_mut().zip([50.0, 75.0, 90.0]) {
                *at += reaching(&verdicts, score) as f64;
            }
        }
        let due = [4.64e-4, 1e-5, 1e-6].map(|p| p * windows);
        let what = format!("{traffic:?}: {at:?} of {windows}, due {due:.1?}");
        println!("{what}");
        let most = |k: usize| 2.0 * due[k] + 3.0 * (2.0 * due[k]).sqrt();
        if at[0] > 2.0 * due[0] || at[0] < least * due[0] || at[1] > most(1) || at[2] > most(2) {
            wrong.push(what);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
