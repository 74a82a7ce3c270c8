//! False alarms of ordinary traffic: the module's table, within a factor of two.

use super::exact;
use super::support::*;
use crate::model::Model;
use rand::SeedableRng;
use rand::rngs::StdRng;

const P50: f64 = 4.64e-4;
const P75: f64 = 1e-5;

/// What is asked of the rate at 50: few events cannot hit every probability, so that only the upper bound holds.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Rate {
    Documented,
    AtMost,
}

/// Three days of `series` seeds; the rates are those of the last two.
fn check(law: Law, mean: f64, rhythm: f64, window: i64, series: u64, rate: Rate) {
    let traffic = Traffic { law, mean, rhythm, window };
    let (mut windows, mut at_50, mut at_75) = (0, 0, 0);
    for seed in 0..series {
        let (mut model, mut rng) = traffic.learned(seed, DAY);
        let verdicts = traffic.run(&mut model, &mut rng, BEGIN + DAY, 2 * DAY);
        windows += verdicts.len();
        at_50 += reaching(&verdicts, 50.0);
        at_75 += reaching(&verdicts, 75.0);
    }
    let (due_50, due_75) = (windows as f64 * P50, windows as f64 * P75);
    let what = format!("{traffic:?}: {at_50} at 50 (due {due_50:.1}), {at_75} at 75 (due {due_75:.1})");
    assert!(at_50 as f64 <= 2.0 * due_50, "{what}");
    // Of so few, twice what is due and three standard errors.
    let most_75 = 2.0 * due_75 + 3.0 * (2.0 * due_75).sqrt();
    assert!(at_75 as f64 <= most_75, "{what}");
    if rate == Rate::Documented {
        assert!(at_50 as f64 >= 0.5 * due_50, "{what}");
    }
}

#[test]
fn ordinary_counts_reach_a_score_as_often_as_documented() {
    use Law::{Dispersed, Negative, Poisson};
    use Rate::{AtMost, Documented};
    for (law, mean, rhythm, window, series, rate) in [
        (Poisson, 0.05, 3.0, 10_000, 8, AtMost),
        (Poisson, 0.2, 1.0, 10_000, 8, AtMost),
        (Poisson, 0.2, 3.0, 10_000, 8, AtMost),
        (Poisson, 5.0, 3.0, 10_000, 8, AtMost),
        (Poisson, 50.0, 1.0, 10_000, 16, Documented),
        (Poisson, 50.0, 3.0, 10_000, 16, Documented),
        (Poisson, 50.0, 3.0, 1_000, 2, Documented),
        (Poisson, 300.0, 3.0, 60_000, 16, AtMost),
        (Negative(5.0), 50.0, 1.0, 10_000, 16, Documented),
        (Negative(5.0), 50.0, 3.0, 10_000, 16, Documented),
        (Dispersed(4.0), 50.0, 3.0, 10_000, 16, Documented),
        (Dispersed(2.0), 0.2, 3.0, 10_000, 8, AtMost),
        (Negative(20.0), 1000.0, 3.0, 10_000, 8, Documented),
    ] {
        check(law, mean, rhythm, window, series, rate);
    }
}

#[test]
fn ordinary_shares_and_amounts_score_no_more_often_than_documented() {
    use Law::{LogNormal, MixedShare, Normal, Share};
    use Rate::{AtMost, Documented};
    for (law, mean, rhythm, rate) in [
        (Share(50), 0.005, 1.0, AtMost),
        (Share(50), 0.2, 3.0, AtMost),
        (Share(50), 0.995, 1.0, AtMost),
        (Share(5000), 0.2, 3.0, Documented),
        (MixedShare(5000, 0.04), 0.2, 3.0, Documented),
        (Normal(0.1), 1000.0, 3.0, AtMost),
        (LogNormal(0.25), 1000.0, 3.0, AtMost),
    ] {
        check(law, mean, rhythm, 10_000, 8, rate);
    }
}

/// The demo's two days, from the very first window: nothing to be alarmed about.
#[test]
fn two_days_from_nothing_have_hardly_an_alarm() {
    for mean in [0.05, 0.2, 1.0, 50.0] {
        let traffic = Traffic { law: Law::Poisson, mean, rhythm: 3.0, window: 10_000 };
        let mut alarms = 0;
        for seed in 100..110 {
            let mut rng = StdRng::seed_from_u64(seed);
            let mut model = Model::new(traffic.law.kind());
            let verdicts = traffic.run(&mut model, &mut rng, BEGIN, 2 * DAY);
            alarms += reaching(&verdicts, 90.0);
            assert!(reaching(&verdicts, 90.0) <= 1, "mean {mean} seed {seed}");
        }
        assert!(alarms <= 2, "mean {mean}: {alarms} alarms in ten series");
    }
}

/// What is asked of the exact rates: how many times below and above what is documented they may be.
type Within = (f64, f64);
const DOCUMENTED: Within = (0.5, 2.0);
/// Whole numbers of few events step over most probabilities.
const AT_MOST: Within = (0.0, 2.0);

/// The exact chances of the last two of three days, averaged over so many series.
fn check_exactly(law: Law, mean: f64, rhythm: f64, window: i64, series: u64, (least, most): Within) {
    let traffic = Traffic { law, mean, rhythm, window };
    let rates = exact::rates(&traffic, series, 3, 1 + 2_400_000 / window);
    let ratios: Vec<f64> = exact::THRESHOLDS.iter().zip(rates).map(|(&t, rate)| rate / exact::documented(t)).collect();
    println!("{traffic:?}: {ratios:.2?}");
    assert!(ratios.iter().all(|ratio| (least..=most).contains(ratio)), "{traffic:?}: {ratios:.2?}");
}

#[test]
fn chances_of_poisson_counts_are_those_documented() {
    use Law::Poisson;
    for (mean, rhythm, window, series, within) in [
        (0.05, 3.0, 10_000, 4, AT_MOST),
        (0.2, 1.0, 10_000, 4, AT_MOST),
        (0.2, 3.0, 10_000, 4, AT_MOST),
        (1.0, 3.0, 10_000, 4, AT_MOST),
        (2.0, 3.0, 10_000, 4, DOCUMENTED),
        (5.0, 3.0, 10_000, 4, DOCUMENTED),
        (5.0, 3.0, 60_000, 16, DOCUMENTED),
        (50.0, 1.0, 10_000, 4, DOCUMENTED),
        (50.0, 3.0, 10_000, 4, DOCUMENTED),
        (50.0, 3.0, 60_000, 16, DOCUMENTED),
        (50.0, 3.0, 1_000, 1, DOCUMENTED),
        (300.0, 3.0, 60_000, 16, DOCUMENTED),
        (1000.0, 3.0, 10_000, 4, DOCUMENTED),
        (5000.0, 3.0, 60_000, 16, DOCUMENTED),
        // Twenty-four slots draw the rhythm to half a percent, which is more than such counts scatter by.
        (100_000.0, 3.0, 60_000, 16, (0.5, 4.0)),
    ] {
        check_exactly(Poisson, mean, rhythm, window, series, within);
    }
}

#[test]
fn chances_of_overdispersed_counts_are_those_documented() {
    use Law::{Dispersed, Negative};
    for (law, mean, rhythm, window, series) in [
        (Negative(5.0), 2.0, 1.0, 10_000, 4),
        (Negative(5.0), 50.0, 1.0, 10_000, 4),
        (Negative(5.0), 50.0, 3.0, 10_000, 4),
        (Negative(5.0), 50.0, 3.0, 60_000, 24),
        (Negative(1.0), 50.0, 3.0, 60_000, 24),
        (Dispersed(4.0), 50.0, 3.0, 10_000, 4),
        (Dispersed(2.0), 0.2, 3.0, 10_000, 8),
        (Negative(20.0), 1000.0, 3.0, 10_000, 4),
        (Negative(20.0), 1000.0, 3.0, 60_000, 24),
    ] {
        check_exactly(law, mean, rhythm, window, series, DOCUMENTED);
    }
}

#[test]
fn chances_of_shares_and_amounts_are_those_documented() {
    use Law::{LogNormal, MixedShare, Normal, Share};
    for (law, mean, rhythm, window, series, within) in [
        (Share(50), 0.005, 1.0, 10_000, 4, AT_MOST),
        (Share(50), 0.995, 1.0, 10_000, 4, AT_MOST),
        (Share(50), 0.2, 3.0, 10_000, 4, DOCUMENTED),
        (Share(5000), 0.2, 3.0, 10_000, 4, DOCUMENTED),
        (Share(5000), 0.2, 3.0, 60_000, 16, DOCUMENTED),
        (MixedShare(5000, 0.04), 0.2, 3.0, 10_000, 2, DOCUMENTED),
        (MixedShare(5000, 0.04), 0.2, 3.0, 60_000, 8, DOCUMENTED),
        // The law of an amount is a guess from its values.
        (Normal(0.1), 1000.0, 3.0, 10_000, 8, (0.33, 3.0)),
        (Normal(0.1), 1000.0, 3.0, 60_000, 24, (0.33, 3.0)),
        (LogNormal(0.25), 1000.0, 3.0, 10_000, 8, (0.33, 3.0)),
        (LogNormal(1.0), 1000.0, 3.0, 10_000, 8, (0.33, 3.0)),
        (LogNormal(1.0), 1000.0, 3.0, 60_000, 24, (0.33, 3.0)),
    ] {
        check_exactly(law, mean, rhythm, window, series, within);
    }
}
