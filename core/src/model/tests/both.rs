//! Both models as one: what is found beside each alone, and its bytes.

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
