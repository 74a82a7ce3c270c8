//! Values, times and bytes that no healthy source sends: bounded, finite, and the series goes on.

use super::laws::{encoded, sound};
use super::support::*;
use crate::measure::Kind;
use crate::model::{Model, Point};

const WINDOW: i64 = 10_000;
const YEAR: i64 = 365 * DAY;

/// One bad window after a day of traffic: its score is in the range given, and traffic afterwards is ordinary.
#[test]
fn one_bad_window_is_bounded_and_the_series_goes_on() {
    let next = BEGIN + DAY;
    for (what, start, window, value, low, high, later) in [
        ("not a number", next, WINDOW, f64::NAN, 0.0, 0.0, 0),
        ("infinite", next, WINDOW, f64::INFINITY, 0.0, 0.0, 0),
        ("infinitely little", next, WINDOW, f64::NEG_INFINITY, 0.0, 0.0, 0),
        ("negative is none", next, WINDOW, -7.0, 90.0, 100.0, 0),
        ("beyond 1e15", next, WINDOW, 1e300, 100.0, 100.0, 0),
        ("a day back", BEGIN, WINDOW, 50.0, 0.0, 50.0, 0),
        ("before time began", i64::MIN, WINDOW, 50.0, 0.0, 100.0, 0),
        ("a year later", next + YEAR, WINDOW, 50.0, 0.0, 50.0, YEAR),
        ("a window of no length", next, 0, 50.0, 0.0, 50.0, 0),
        ("a window of negative length", next, i64::MIN, 50.0, 0.0, 50.0, 0),
    ] {
        let traffic = Traffic { law: Law::Poisson, mean: 50.0, rhythm: 1.0, window: WINDOW };
        let (mut model, mut rng) = traffic.learned(3, DAY);
        let verdict = model.observe(&point(start, window, value, 50));
        assert!(sound(Kind::Count, &verdict) && (low..=high).contains(&verdict.score), "{what}: {verdict:?}");
        let rest = traffic.run(&mut model, &mut rng, next + later + WINDOW, DAY / 4);
        assert!(reaching(&rest, 75.0) <= 1, "{what}: {}", reaching(&rest, 75.0));
    }
}

/// From the shortest to the longest window, ordinary traffic is ordinary and a tenfold count is not.
#[test]
fn windows_of_a_second_and_of_a_day_are_judged() {
    for (window, windows) in [(1, 5_000), (1_000, 20_000), (60_000, 3_000), (HOUR, 500), (DAY, 200)] {
        let traffic = Traffic { law: Law::Poisson, mean: 50.0, rhythm: 1.0, window };
        let (mut model, mut rng) = traffic.learned(5, windows * window);
        let from = BEGIN + windows * window;
        let rest = traffic.run(&mut model, &mut rng, from, 500 * window);
        assert!(reaching(&rest, 75.0) <= 1, "{window} ms: {}", reaching(&rest, 75.0));
        let odd = model.observe(&Point { value: 500.0, ..traffic.point(&mut rng, from + 500 * window) });
        assert!(odd.score >= 90.0, "{window} ms: {odd:?}");
    }
}

#[test]
fn a_model_is_small() {
    assert!(size_of::<Model>() <= 330, "{}", size_of::<Model>());
    let traffic = Traffic { law: Law::Poisson, mean: 50.0, rhythm: 1.0, window: WINDOW };
    let (mut model, _) = traffic.learned(3, DAY);
    (0..400).for_each(|i| {
        model.observe(&point(BEGIN + DAY + i * WINDOW, WINDOW, 0.0, 50));
    });
    assert!(model.former.is_some());
    let bytes = encoded(&model);
    assert!(bytes.len() <= 300, "{}", bytes.len());
    assert_eq!(Model::decode(&bytes), Ok(model));
}

/// Version 1 lacked what this one learned to remember; the rest is where it was.
#[test]
fn a_model_of_version_1_goes_on() {
    for (law, mean, odd) in
        [(Law::Poisson, 50.0, 300.0), (Law::Share(500), 0.2, 0.6), (Law::Normal(0.1), 900.0, 4000.0)]
    {
        let traffic = Traffic { law, mean, rhythm: 3.0, window: WINDOW };
        let (model, mut rng) = traffic.learned(9, 2 * DAY);
        let now = encoded(&model);
        // Its spread was written in another order, and complete for counts and shares, too.
        let (above, kurtosis, rest) = match law.kind() {
            Kind::Amount => (now[46..50].to_vec(), now[50..54].to_vec(), &now[54..250]),
            _ => (2f32.to_le_bytes().to_vec(), 9f32.to_le_bytes().to_vec(), &now[46..242]),
        };
        let old = [&[1], &now[1..22], &now[30..34], &above, &now[34..42], &kurtosis, rest].concat();
        assert_eq!(old.len(), 238);
        let mut model = Model::decode(&old).unwrap();
        let rest = traffic.run(&mut model, &mut rng, BEGIN + 2 * DAY, DAY);
        assert!(reaching(&rest, 75.0) <= 2, "{law:?}: {}", reaching(&rest, 75.0));
        let odd = model.observe(&point(BEGIN + 3 * DAY, WINDOW, odd, law.records()));
        assert!(odd.score >= 90.0, "{law:?}: {odd:?}");
        assert!(Model::decode(&old[..237]).is_err());
    }
}
