//! Both models as one: calibration, what is found beside each alone, and its bytes.

use super::support::*;
use crate::model::{SeriesModel, Tier, Verdict};
use rand::SeedableRng;
use rand::rngs::StdRng;

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

#[test]
fn table() {
    for (law, mean) in [
        (Law::Poisson, 0.2),
        (Law::Poisson, 5.0),
        (Law::Poisson, 50.0),
        (Law::Negative(5.0), 50.0),
        (Law::Negative(20.0), 1000.0),
    ] {
        let traffic = Traffic { law, mean, rhythm: 3.0, window: 60_000 };
        for event in [
            Event::Single(20.0),
            Event::Single(3.0),
            Event::Single(2.0),
            Event::Single(1.5),
            Event::Single(0.2),
            Event::Single(0.0),
            Event::Hour(1.3),
            Event::Hour(1.6),
            Event::Hour(0.8),
            Event::Hour(0.5),
            Event::Hour(0.0),
            Event::Ramp(2.0),
        ] {
            let row = TIERS.map(|tier| found(tier, &traffic, event, 48));
            println!("{law:?} {mean} {event:?}: {row:?}");
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
