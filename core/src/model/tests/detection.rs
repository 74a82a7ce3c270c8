//! What must be found, what must not, and how the model goes on afterwards.

use super::support::*;
use crate::measure::Kind;
use crate::model::{LEARNING, Model};

const WINDOW: i64 = 10_000;

fn traffic(law: Law, mean: f64) -> Traffic {
    Traffic { law, mean, rhythm: 3.0, window: WINDOW }
}

/// The score of one value of 50 records after two days, at midnight's mean.
fn score(law: Law, mean: f64, value: f64, count: u64) -> f64 {
    let (mut model, _) = traffic(law, mean).learned(7, 2 * DAY);
    model.observe(&point(BEGIN + 2 * DAY, WINDOW, value, count)).score
}

#[test]
fn bursts_and_drops_score_and_ordinary_values_do_not() {
    for (law, mean, value, low, high) in [
        (Law::Poisson, 0.2, 30.0, 100.0, 100.0),
        (Law::Poisson, 0.2, 10.0, 100.0, 100.0),
        (Law::Poisson, 0.2, 0.0, 0.0, 5.0),
        (Law::Poisson, 0.2, 1.0, 0.0, 20.0),
        (Law::Poisson, 0.2, 2.0, 0.0, 35.0),
        (Law::Poisson, 0.2, 3.0, 0.0, 50.0),
        (Law::Poisson, 0.2, 4.0, 0.0, 75.0),
        (Law::Poisson, 50.0, 5.0, 90.0, 100.0),
        (Law::Poisson, 50.0, 0.0, 100.0, 100.0),
        (Law::Poisson, 50.0, 100.0, 90.0, 100.0),
        (Law::Poisson, 50.0, 50.0, 0.0, 5.0),
        (Law::Poisson, 50.0, 40.0, 0.0, 30.0),
        (Law::Poisson, 5000.0, 4000.0, 90.0, 100.0),
        (Law::Negative(5.0), 50.0, 80.0, 0.0, 30.0),
        (Law::Negative(5.0), 50.0, 400.0, 90.0, 100.0),
        (Law::Share(50), 0.005, 0.6, 100.0, 100.0),
        (Law::Share(50), 0.005, 0.02, 0.0, 20.0),
        (Law::Share(50), 0.995, 0.1, 100.0, 100.0),
        (Law::Share(50), 0.2, 0.8, 90.0, 100.0),
        (Law::Share(50), 0.2, 0.26, 0.0, 20.0),
        (Law::Normal(0.1), 1000.0, 5000.0, 90.0, 100.0),
        (Law::Normal(0.1), 1000.0, -5000.0, 90.0, 100.0),
        (Law::Normal(0.1), 1000.0, 1100.0, 0.0, 30.0),
    ] {
        let score = score(law, mean, value, 50);
        assert!((low..=high).contains(&score), "{law:?} mean {mean}, value {value}: {score}");
    }
}

#[test]
fn the_same_share_of_more_records_says_more() {
    let scores = [1, 5, 20, 50].map(|count| score(Law::Share(50), 0.05, 0.4, count));
    assert!(scores.is_sorted(), "{scores:?}");
    assert_eq!(score(Law::Share(50), 0.05, 1.0, 0), 0.0);
}

#[test]
fn little_learned_does_not_scream() {
    for (kind, usual, odd) in [(Kind::Count, 50.0, 500.0), (Kind::Amount, 50.0, 500.0), (Kind::Share, 0.0, 1.0)] {
        let mut model = Model::new(kind);
        for i in 0..i64::from(LEARNING) {
            let value = if i % 7 == 5 { odd } else { usual };
            let verdict = model.observe(&point(BEGIN + i * WINDOW, WINDOW, value, 50));
            assert!(verdict.learning && verdict.score == 0.0, "{kind:?} window {i}");
            assert!(verdict.confidence < 0.5);
        }
        let next = point(BEGIN + i64::from(LEARNING) * WINDOW, WINDOW, usual, 50);
        assert!(!model.observe(&next).learning);
    }
}

/// A burst of five minutes is anomalous to its end, and the band is as before when it is over.
#[test]
fn a_burst_does_not_drag_the_baseline() {
    for (mean, burst) in [(0.2, 30.0), (50.0, 300.0), (50.0, 5.0)] {
        let traffic = traffic(Law::Poisson, mean);
        let (mut model, mut rng) = traffic.learned(3, 2 * DAY);
        let from = BEGIN + 2 * DAY;
        let before = model.clone().observe(&traffic.point(&mut rng, from));
        for i in 0..30 {
            let verdict = model.observe(&point(from + i * WINDOW, WINDOW, burst, 50));
            assert!(verdict.score >= 90.0, "mean {mean}, burst window {i}: {verdict:?}");
        }
        let after = model.clone().observe(&traffic.point(&mut rng, from + 30 * WINDOW));
        assert!((after.expected / before.expected - 1.0).abs() < 0.1, "{before:?} {after:?}");
        let rest = traffic.run(&mut model, &mut rng, from + 30 * WINDOW, DAY);
        assert!(reaching(&rest, 75.0) <= 1, "mean {mean}: {}", reaching(&rest, 75.0));
    }
}

/// A lasting change is anomalous at first, accepted after half an hour, and then normal the next day, too.
#[test]
fn a_lasting_new_level_is_accepted() {
    for (old, new) in [(50.0, 150.0), (150.0, 30.0), (0.2, 20.0), (50.0, 0.0)] {
        let (mut model, mut rng) = traffic(Law::Poisson, old).learned(5, 2 * DAY);
        let later = traffic(Law::Poisson, new);
        let from = BEGIN + 2 * DAY;
        let first = later.run(&mut model, &mut rng, from, HOUR / 4);
        assert!(reaching(&first, 75.0) > first.len() * 9 / 10, "{old} to {new}");
        later.run(&mut model, &mut rng, from + HOUR / 4, HOUR);
        let rest = later.run(&mut model, &mut rng, from + 2 * HOUR, DAY);
        let alarms = reaching(&rest, 75.0);
        assert!(alarms <= 2, "{old} to {new}: {alarms}");
    }
}

#[test]
fn traffic_that_only_sometimes_changes_is_accepted_in_the_end() {
    let (mut model, _) = traffic(Law::Poisson, 0.2).learned(2, 2 * DAY);
    let from = BEGIN + 2 * DAY;
    let mut alarms = |windows: std::ops::Range<i64>| {
        let verdicts: Vec<_> = windows
            .map(|i| {
                let value = if i % 4 == 0 { 30.0 } else { 0.0 };
                model.observe(&point(from + i * WINDOW, WINDOW, value, 50))
            })
            .collect();
        reaching(&verdicts, 90.0)
    };
    assert_eq!(alarms(0..360), 90);
    let meanwhile = alarms(360..8640);
    assert!(meanwhile < 900, "{meanwhile}");
    let later = alarms(8640..17_280);
    assert!(later < 60, "{later} of 2,160");
}

/// A series in which nothing ever happens: one event is a notice, no alarm; many are one.
#[test]
fn silence_is_learned() {
    let mut model = Model::new(Kind::Count);
    for i in 0..2 * 8640 {
        let verdict = model.observe(&point(BEGIN + i * WINDOW, WINDOW, 0.0, 50));
        assert!(verdict.score < 10.0, "window {i}: {verdict:?}");
    }
    for (value, low, high) in [(0.0, 0.0, 1.0), (1.0, 30.0, 60.0), (5.0, 90.0, 100.0)] {
        let at = point(BEGIN + 2 * DAY, WINDOW, value, 50);
        let score = model.clone().observe(&at).score;
        assert!((low..=high).contains(&score), "{value}: {score}");
    }
}

/// Night is not an anomaly by day, nor day by night: the hour counts.
#[test]
fn the_hour_of_the_day_counts() {
    let traffic = Traffic { law: Law::Poisson, mean: 100.0, rhythm: 9.0, window: 60_000 };
    let (model, _) = traffic.learned(11, 3 * DAY);
    let (day, night) = (BEGIN + 3 * DAY + 6 * HOUR, BEGIN + 3 * DAY + 18 * HOUR);
    for (start, value, low, high) in
        [(day, 300.0, 0.0, 40.0), (day, 33.0, 90.0, 100.0), (night, 33.0, 0.0, 40.0), (night, 300.0, 90.0, 100.0)]
    {
        // The model saw nothing since midnight: its slots alone know the hour.
        let verdict = model.clone().observe(&point(start, 60_000, value, 50));
        assert!((low..=high).contains(&verdict.score), "{value}: {verdict:?}");
    }
}

/// Nine bad of 23 records where 2 % are usual, for five minutes, after windows that are only unusual, at every
/// distance from the hour: a burst widens nothing and is anomalous to its end.
#[test]
fn a_burst_of_shares_is_anomalous_to_its_end() {
    let usual = Traffic { law: Law::Share(23), mean: 0.02, rhythm: 1.0, window: WINDOW };
    for seed in 0..24 {
        let history = 6 * HOUR + seed * HOUR / 24;
        let (mut model, _) = usual.learned(seed as u64, history);
        for (i, bad) in [2.0; 4].into_iter().chain([9.0; 30]).enumerate() {
            let at = point(BEGIN + history + i as i64 * WINDOW, WINDOW, bad / 23.0, 23);
            let verdict = model.observe(&at);
            assert!(bad < 9.0 || verdict.score >= 90.0, "seed {seed}, window {i}: {verdict:?}");
        }
    }
}

/// Even a young model with little evidence is not widened by a burst.
#[test]
fn a_burst_after_ten_minutes_is_anomalous_to_its_end() {
    for (mean, burst) in [(0.2, 25.0), (3.0, 60.0), (50.0, 300.0)] {
        for seed in 0..10 {
            let (mut model, _) = traffic(Law::Poisson, mean).learned(seed, HOUR / 6);
            for i in 0..30 {
                let at = point(BEGIN + HOUR / 6 + i * WINDOW, WINDOW, burst, 50);
                let verdict = model.observe(&at);
                assert!(verdict.score >= 90.0, "mean {mean}, seed {seed}, window {i}: {verdict:?}");
            }
        }
    }
}

/// After an outage the old level is ordinary again within a minute, at any hour, and the next outage is found.
#[test]
fn a_series_that_comes_back_is_ordinary_within_a_few_windows() {
    for (law, mean, dead) in [
        (Law::Poisson, 50.0, 0.0),
        (Law::Poisson, 5000.0, 0.0),
        (Law::Share(500), 0.4, 0.0),
        (Law::Normal(0.1), 900.0, 0.0),
    ] {
        // What an amount adds by day is not what it adds to nothing: its rhythm does not outlast a long outage.
        let most = if law.kind() == Kind::Amount { HOUR } else { 20 * HOUR };
        for outage in [HOUR, 5 * HOUR, 20 * HOUR].into_iter().filter(|&o| o <= most) {
            let traffic = traffic(law, mean);
            let (mut model, mut rng) = traffic.learned(4, 2 * DAY);
            let mut from = BEGIN + 2 * DAY;
            for round in 0..2 {
                let mut loud = 0;
                for i in 0..outage / WINDOW {
                    loud +=
                        i64::from(model.observe(&point(from + i * WINDOW, WINDOW, dead, law.records())).score >= 90.0);
                }
                assert!(loud >= 100, "{law:?} {mean}, outage {outage}, round {round}: {loud}");
                let back = traffic.run(&mut model, &mut rng, from + outage, DAY);
                let (first, rest) = back.split_at(6);
                assert!(reaching(first, 75.0) >= 3, "{law:?} {mean}, outage {outage}, round {round}: {first:?}");
                assert!(reaching(rest, 75.0) <= 2, "{law:?} {mean}, outage {outage}: {}", reaching(rest, 75.0));
                from += outage + DAY;
            }
        }
    }
}
