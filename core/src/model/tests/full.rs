//! The full model beside the same traffic: calibration, and a course through its bytes.

use super::support::*;
use crate::measure::Kind;
use crate::model::full::{Full, Surprise};
use crate::model::{DecodeError, SeriesModel, Tier, Verdict};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const KINDS: [Kind; 3] = [Kind::Count, Kind::Amount, Kind::Share];

fn run(traffic: &Traffic, model: &mut Full, rng: &mut StdRng, from: i64, span: i64) -> Vec<Verdict> {
    let windows = (0..span / traffic.window).map(|i| from + i * traffic.window);
    windows.map(|start| model.observe(&traffic.point(rng, start))).collect()
}

#[test]
fn a_restored_model_goes_on_to_the_bit() {
    let laws = [(Law::Poisson, 0.01), (Law::Share(50), 0.2), (Law::LogNormal(0.5), 1e29)];
    for ((law, mean), window) in laws.into_iter().flat_map(|l| [1_000, 60_000, 3_600_000, DAY].map(|w| (l, w))) {
        let traffic = Traffic { law, mean, rhythm: 3.0, window };
        let (mut model, mut rng) = (Full::new(law.kind()), StdRng::seed_from_u64(1));
        for part in 0..20 {
            run(&traffic, &mut model, &mut rng, BEGIN + part * 37 * window, 37 * window);
            let mut bytes = Vec::new();
            model.encode(&mut bytes);
            assert!(bytes.len() <= Tier::Full.most_bytes());
            let back = Full::decode(&bytes).unwrap();
            assert_eq!(back, model, "{traffic:?} part {part}");
            model = back;
        }
    }
}

/// What never scatters takes most: no tail is ever fitted, so that each keeps values while every day is remembered.
#[test]
fn no_model_is_larger_than_said() {
    for (tier, kind) in [Tier::Full, Tier::Both].into_iter().flat_map(|tier| KINDS.map(|kind| (tier, kind))) {
        let (mut model, mut largest) = (SeriesModel::new(tier, kind), 0);
        let windows = 22 * DAY / 60_000;
        for i in 0..windows {
            model.observe(&point(BEGIN + i * 60_000, 60_000, 1.0, 100));
            // The buffers are longest just before they would be fitted.
            if i > windows - 200 {
                let mut bytes = Vec::new();
                model.encode(&mut bytes);
                largest = largest.max(bytes.len());
            }
        }
        let most = tier.most_bytes();
        assert!(largest <= most && largest > most - 200, "{tier:?} {kind:?}: {largest} bytes");
    }
}

/// Version 130 had no shift and no incidents, 129 no size and no fall either: what they have is the same model's, and
/// what they lack is learned from nothing.
#[test]
fn versions_before_are_read() {
    // Until every tail is fitted, and has its full length.
    let traffic = Traffic { law: Law::Poisson, mean: 50.0, rhythm: 3.0, window: 60_000 };
    let (mut model, mut rng) = (Full::new(traffic.law.kind()), StdRng::seed_from_u64(4));
    run(&traffic, &mut model, &mut rng, BEGIN, 3 * DAY);
    let mut bytes = Vec::new();
    model.encode(&mut bytes);
    let incidents = 2 + 8 + 8 * 8;
    let size = incidents + 4;
    let sums = size + 8 + 4 * 8;
    let shifts = sums + 8 + (1 + 48 * 4) + (1 + 12 * 4) + (1 + 24 * 4);
    let component = 2 * 8 + 1 + 5 * 8;
    let tails = shifts + (1 + 12 * 4);
    let fall = tails + 7 * component;
    let rest = &bytes[fall + 2 * component..];
    let middle = [&bytes[sums + 8..shifts], &bytes[tails..fall]].concat();
    let no_shift = [&bytes[..incidents], &bytes[size..sums], &middle, &bytes[fall..fall + component], rest].concat();
    let no_fall = [&bytes[..incidents], &bytes[size + 8..sums], &middle, rest].concat();
    for (version, mut before) in [(130, no_shift), (129, no_fall)] {
        before[0] = version;
        let (mut old, mut rng) = (Full::decode(&before).unwrap(), StdRng::seed_from_u64(5));
        assert_eq!(old.learned(), model.learned());
        assert_eq!(old.forecast(BEGIN + 3 * DAY), model.forecast(BEGIN + 3 * DAY));
        let next = run(&traffic, &mut old, &mut rng, BEGIN + 3 * DAY, DAY);
        assert!(reaching(&next, 75.0) <= 1, "{version}");
        assert!(old.observe(&point(BEGIN + 4 * DAY, 60_000, 200.0, 100)).score >= 75.0, "{version}");
        for other in [128, 131, 132] {
            before[0] = other;
            assert!(Full::decode(&before).is_err(), "{version} as {other}");
        }
    }
}

#[test]
fn hostile_bytes_are_refused_or_harmless() {
    let traffic = Traffic { law: Law::Poisson, mean: 5.0, rhythm: 3.0, window: 60_000 };
    let (mut model, mut rng) = (Full::new(traffic.law.kind()), StdRng::seed_from_u64(2));
    run(&traffic, &mut model, &mut rng, BEGIN, DAY);
    let mut bytes = Vec::new();
    model.encode(&mut bytes);
    assert_eq!(Full::decode(&[]), Err(DecodeError::Damaged));
    assert_eq!(Full::decode(&[7]), Err(DecodeError::Version(7)));
    for length in 1..bytes.len() {
        assert_eq!(Full::decode(&bytes[..length]), Err(DecodeError::Damaged));
    }
    for _ in 0..2000 {
        let mut hostile = bytes.clone();
        for _ in 0..rng.random_range(1..4) {
            let place = rng.random_range(1..hostile.len());
            hostile[place] = rng.random();
        }
        if let Ok(mut model) = Full::decode(&hostile) {
            let verdicts = run(&traffic, &mut model, &mut rng, BEGIN + DAY, 20 * traffic.window);
            assert!(verdicts.iter().all(|v| (0.0..=100.0).contains(&v.score)), "{verdicts:?}");
        }
    }
}

/// An hour of three times the mean is an alarm; so is a burst of a single window a day later, in spite of that hour.
#[test]
fn an_incident_does_not_dull_the_model() {
    let traffic = Traffic { law: Law::Poisson, mean: 50.0, rhythm: 3.0, window: 10_000 };
    for seed in 0..10 {
        let (mut model, mut rng) = (Full::new(traffic.law.kind()), StdRng::seed_from_u64(seed));
        run(&traffic, &mut model, &mut rng, BEGIN, 2 * DAY);
        let incident = Traffic { mean: 150.0, ..traffic };
        let loud = run(&incident, &mut model, &mut rng, BEGIN + 2 * DAY, HOUR);
        assert!(reaching(&loud, 75.0) > 0, "seed {seed}");
        run(&traffic, &mut model, &mut rng, BEGIN + 2 * DAY + HOUR, DAY);
        let burst = model.observe(&point(BEGIN + 3 * DAY + HOUR, 10_000, 200.0, 100));
        println!("seed {seed}: {}", burst.score);
        assert!(burst.score >= 70.0, "seed {seed}: {burst:?}");
    }
}

/// What is far beyond ordinary amounts is an alarm, and what is four times as large after two or four such incidents.
#[test]
fn a_huge_amount_after_incidents_is_an_alarm() {
    for window in [60_000, 300_000] {
        for (law, spike) in [(Law::Normal(0.1), 5.0), (Law::LogNormal(0.25), 8.0), (Law::LogNormal(0.5), 50.0)] {
            for incidents in [0, 2, 4] {
                let traffic = Traffic { law, mean: 1000.0, rhythm: 3.0, window };
                let (mut model, mut rng) = (Full::new(law.kind()), StdRng::seed_from_u64(3));
                run(&traffic, &mut model, &mut rng, BEGIN, 3 * DAY);
                let mut at = BEGIN + 3 * DAY;
                for _ in 0..incidents {
                    for _ in 0..5 {
                        model.observe(&point(at, window, 1000.0 * spike, 100));
                        at += window;
                    }
                    run(&traffic, &mut model, &mut rng, at, DAY - 5 * window);
                    at += DAY - 5 * window;
                }
                at += 6 * HOUR;
                let score = model.clone().observe(&point(at, window, 1000.0 * spike, 100)).score;
                let more = model.observe(&point(at, window, 4000.0 * spike, 100)).score;
                let what = format!("{law:?} {window} {incidents}: {score:.1}, {more:.1}");
                println!("{what}");
                assert!(incidents > 0 || score >= 85.0, "{what}");
                assert!(more >= 75.0, "{what}");
            }
        }
    }
}

#[test]
fn what_says_nothing_is_not_learned_and_a_burst_is_seen() {
    let traffic = Traffic { law: Law::Poisson, mean: 50.0, rhythm: 3.0, window: 60_000 };
    let (mut model, mut rng) = (Full::new(traffic.law.kind()), StdRng::seed_from_u64(3));
    let verdicts = run(&traffic, &mut model, &mut rng, BEGIN, 2 * DAY);
    assert!(verdicts.iter().all(|v| v.lower <= v.expected && v.expected <= v.upper && v.lower >= 0.0));
    let before = model.clone();
    for (value, trusted) in [(1e6, false), (f64::NAN, true), (f64::INFINITY, true)] {
        let mut bad = point(BEGIN + 2 * DAY, 60_000, value, 100);
        bad.trusted = trusted;
        assert_eq!(model.observe(&bad).score, 0.0);
        assert_eq!(model, before);
    }
    assert!(model.observe(&point(BEGIN + 2 * DAY, 60_000, 200.0, 100)).score >= 75.0);
}

/// Where the prior of the calibration comes from: the surprise that this share of the windows exceeds.
#[test]
fn surprise_of_ordinary_traffic_has_the_tail_of_the_prior() {
    let mut all = Vec::new();
    for (law, mean, rhythm) in [
        (Law::Poisson, 5.0, 1.0),
        (Law::Poisson, 50.0, 1.0),
        (Law::Poisson, 50.0, 3.0),
        (Law::Negative(5.0), 50.0, 1.0),
        (Law::Negative(20.0), 1000.0, 3.0),
    ] {
        let traffic = Traffic { law, mean, rhythm, window: 10_000 };
        for seed in 0..8 {
            let (mut model, mut rng) = (Surprise::<f32>::new(), StdRng::seed_from_u64(seed));
            let windows = (0..4 * DAY / traffic.window).map(|i| BEGIN + i * traffic.window);
            let surprises = windows.map(|start| model.observe(start / 1000, traffic.point(&mut rng, start).value));
            all.extend(surprises.skip((2 * DAY / traffic.window) as usize));
        }
    }
    all.sort_by(|a, b| b.total_cmp(a));
    for (share, due) in [(1e-2, 7.3), (1e-3, 13.8), (1e-4, 21.3), (1e-5, 29.0)] {
        let got = all[(share * all.len() as f64) as usize];
        assert!((got / due - 1.0).abs() < 0.2, "{share}: {got}, prior {due}");
    }
}
