//! Laws that hold for every input: the round trip of the state, finite verdicts, monotone surprise.

use super::support::*;
use crate::measure::Kind;
use crate::model::{DecodeError, Model, Point, Verdict};
use proptest::prelude::*;

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![Just(Kind::Count), Just(Kind::Amount), Just(Kind::Share)]
}

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => (0u32..100).prop_map(f64::from),
        2 => 0.0..1.0,
        1 => any::<f64>(),
        1 => prop_oneof![
            Just(f64::NAN),
            Just(f64::INFINITY),
            Just(f64::NEG_INFINITY),
            Just(f64::MAX),
            Just(f64::MIN),
            Just(5e-324),
            Just(-0.0),
            Just(1e15),
            Just(1e30),
            Just(-1e30),
        ],
    ]
}

fn count() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0u64..200, 1 => any::<u64>(), 1 => Just(u64::MAX), 1 => Just(1u64 << 40)]
}

/// Mostly the next window; sometimes anywhere.
fn hostile() -> impl Strategy<Value = Vec<Point>> {
    let start = prop_oneof![6 => Just(None), 1 => any::<i64>().prop_map(Some)];
    let window = prop_oneof![Just(1_000i64), Just(10_000), Just(60_000), Just(DAY), any::<i64>()];
    let point = (start, value(), count(), any::<u8>());
    (window, prop::collection::vec(point, 1..120)).prop_map(|(window, points)| {
        let mut at = BEGIN;
        let step = window.clamp(1, DAY);
        points
            .into_iter()
            .map(|(start, value, count, luck)| {
                at = start.unwrap_or(at.saturating_add(step));
                Point { start: at, window, value, count, trusted: luck > 5 }
            })
            .collect()
    })
}

pub(super) fn sound(kind: Kind, v: &Verdict) -> bool {
    let all = [v.expected, v.lower, v.upper, v.score, v.confidence];
    let range = match kind {
        Kind::Count => v.lower >= 0.0,
        Kind::Share => v.lower >= 0.0 && v.upper <= 1.0,
        Kind::Amount => true,
    };
    range
        && all.iter().all(|x| x.is_finite())
        && v.lower <= v.expected
        && v.expected <= v.upper
        && (0.0..=100.0).contains(&v.score)
        && (0.0..=1.0).contains(&v.confidence)
}

pub(super) fn encoded(model: &Model) -> Vec<u8> {
    let mut out = Vec::new();
    model.encode(&mut out);
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Encoding after every window changes nothing, whatever the windows; all verdicts are sound.
    #[test]
    fn a_model_that_was_encoded_continues_to_the_bit(kind in kind(), points in hostile()) {
        let mut kept = Model::new(kind);
        let mut moved = Model::new(kind);
        for point in &points {
            let verdict = kept.observe(point);
            prop_assert!(sound(kind, &verdict), "{:?} {:?}", point, verdict);
            prop_assert_eq!(moved.observe(point), verdict);
            let bytes = encoded(&moved);
            prop_assert!(bytes.len() <= 300);
            moved = Model::decode(&bytes).map_err(|e| TestCaseError::fail(format!("{e}: {moved:?}")))?;
            prop_assert_eq!(encoded(&moved), encoded(&kept));
        }
    }

    #[test]
    fn hostile_bytes_do_not_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..320), point in hostile()) {
        let _ = Model::decode(&bytes);
        if let Some(first) = bytes.first_mut() {
            *first = 1 + *first % 2;
        }
        if let Ok(mut model) = Model::decode(&bytes) {
            point.iter().for_each(|p| { model.observe(p); });
        }
    }

    /// A valid state with four bytes overwritten is refused or is a model whose verdicts are sound.
    #[test]
    fn damaged_state_is_refused_or_sound(kind in kind(), points in hostile(), at in 0usize..1_000, junk in any::<[u8; 4]>()) {
        let mut model = Model::new(kind);
        points.iter().for_each(|p| { model.observe(p); });
        let mut bytes = encoded(&model);
        let at = 2 + at % (bytes.len() - 6);
        bytes[at..at + 4].copy_from_slice(&junk);
        if let Ok(mut model) = Model::decode(&bytes) {
            for point in &points {
                let verdict = model.observe(point);
                prop_assert!(sound(kind, &verdict), "{:?}", verdict);
                prop_assert!(Model::decode(&encoded(&model)).is_ok());
            }
        }
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Further from the median, on the same side, is never less surprising.
    #[test]
    fn surprise_is_monotone(
        law in prop_oneof![
            Just(Law::Poisson), Just(Law::Negative(3.0)), Just(Law::Dispersed(1.5)), Just(Law::Share(60)),
            Just(Law::Share(20_000)), Just(Law::MixedShare(20_000, 0.1)), Just(Law::LogNormal(0.3)),
        ],
        size in -2.0f64..4.0,
        windows in 31i64..400,
        seed in any::<u64>(),
    ) {
        let mean = match law.kind() {
            Kind::Share => 1.0 / (1.0 + (size * 2.0).exp()),
            _ => 10f64.powf(size),
        };
        let (model, _) = Traffic { law, mean, rhythm: 1.0, window: 10_000 }.learned(seed, windows * 10_000);
        let n = match law { Law::Share(n) | Law::MixedShare(n, _) => n, _ => 100 };
        let at = |value: f64| model.clone().observe(&point(BEGIN + windows * 10_000, 10_000, value, n));
        let now = at(0.0);
        let unit = if law.kind() == Kind::Share { 1.0 / n as f64 } else { 1.0 };
        let step = ((now.upper - now.lower) / 100.0 / unit).ceil().max(1.0) * unit;
        let middle = (now.expected / unit).round();
        let scores: Vec<f64> = (-200..200)
            .map(|i| (middle + f64::from(i) * step / unit) * unit)
            .filter(|value| law.kind() == Kind::Amount || *value >= 0.0)
            .filter(|value| law.kind() != Kind::Share || *value <= 1.0)
            .map(|value| at(value).score)
            .collect();
        let least = scores.iter().copied().fold(f64::MAX, f64::min);
        let median = scores.iter().position(|&s| s == least).unwrap_or(0);
        let (below, above) = scores.split_at(median);
        prop_assert!(below.windows(2).all(|w| w[0] >= w[1] - 1e-6), "{:?}", scores);
        prop_assert!(above.windows(2).all(|w| w[0] <= w[1] + 1e-6), "{:?}", scores);
    }
}

#[test]
fn the_band_is_where_the_score_is_that_of_a_thousandth() {
    for (law, mean) in [
        (Law::Poisson, 3.0),
        (Law::Poisson, 50.0),
        (Law::Negative(5.0), 400.0),
        (Law::Share(500), 0.2),
        (Law::Share(50_000), 0.2),
        (Law::MixedShare(50_000, 0.05), 0.2),
        (Law::Normal(0.1), 500.0),
    ] {
        let traffic = Traffic { law, mean, rhythm: 1.0, window: 10_000 };
        let (model, _) = traffic.learned(1, DAY);
        let n = match law {
            Law::Share(n) | Law::MixedShare(n, _) => n,
            _ => 1,
        };
        let at = |value| model.clone().observe(&point(BEGIN + DAY, 10_000, value, n));
        let band = at(mean);
        let unit = match law.kind() {
            Kind::Share => 1.0 / n as f64,
            _ => 1.0,
        };
        for (inside, outside) in [(band.lower, band.lower - unit), (band.upper, band.upper + unit)] {
            assert!(at(inside).score <= 50.0, "{law:?} {band:?}: {}", at(inside).score);
            if outside >= 0.0 {
                assert!(at(outside).score >= 40.0, "{law:?} {band:?}: {}", at(outside).score);
            }
        }
    }
}

#[test]
fn bytes_of_no_model_are_refused() {
    let good = encoded(&Model::new(Kind::Count));
    let mut nan = good.clone();
    nan[14..18].copy_from_slice(&f32::NAN.to_le_bytes());
    let mut infinite = good.clone();
    infinite[22..26].copy_from_slice(&f32::INFINITY.to_le_bytes());
    let newer = [&[3], &good[1..]].concat();
    for (bytes, expected) in [
        (Vec::new(), DecodeError::Damaged),
        (good[..good.len() - 1].to_vec(), DecodeError::Damaged),
        ([&good[..], &[0]].concat(), DecodeError::Damaged),
        ([&[2, 9], &good[2..]].concat(), DecodeError::Damaged),
        (nan, DecodeError::Damaged),
        (infinite, DecodeError::Damaged),
        (newer, DecodeError::Version(3)),
    ] {
        assert_eq!(Model::decode(&bytes), Err(expected));
    }
    assert_eq!(Model::decode(&good), Ok(Model::new(Kind::Count)));
}
