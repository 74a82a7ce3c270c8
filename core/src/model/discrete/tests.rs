//! The fast tails against plain sums of the whole distribution.

use super::*;

/// The two-sided mid-p by plain summation of the whole distribution.
fn summed(d: &Discrete, y: f64, most: u32) -> f64 {
    let pmf = |k: u32| exp(d.ln_pmf(f64::from(k)));
    let total: f64 = (0..=most).map(pmf).sum();
    assert!((total - 1.0).abs() < 1e-6, "the probabilities sum to {total}");
    let upper = y > d.mean;
    let beyond = (0..=most).filter(|&k| if upper { f64::from(k) > y } else { f64::from(k) < y });
    let tail: f64 = beyond.map(pmf).sum();
    let (one, end) = (tail + 0.5 * pmf(y as u32), if upper { pmf(0) } else { pmf(most) });
    let two_sided = one > exp(ONE_SIDED) || one >= 0.5 * end;
    log((if two_sided { 2.0 * one } else { one }).min(1.0))
}

#[test]
fn tails_are_those_of_the_summed_distribution() {
    for (d, most) in [
        (Discrete::count(0.2, 0.2), 200),
        (Discrete::count(50.0, 50.0), 400),
        (Discrete::count(50.0, 250.0), 1000),
        (Discrete::count(0.5, 20.0), 4000),
        (Discrete::share(50.0, 0.02, 1.0), 50),
        (Discrete::share(50.0, 0.9, 3.0), 50),
        (Discrete::share(700.0, 0.3, 1.5), 700),
        (Discrete::share(1.0, 0.3, 5.0), 1),
    ] {
        for y in (0..=most.min(120)).map(f64::from) {
            let (fast, slow) = (d.ln_p(y), summed(&d, y, most));
            // A sum of everything cannot see below 1e-12.
            if slow > -27.0 {
                assert!((fast - slow).abs() < 1e-4, "{y}: {fast} {slow}, mean {}", d.mean);
            }
        }
        let (low, high) = d.band();
        for (at, direction) in [(low, -1.0), (high, 1.0)] {
            let outside = exp(d.ln_pmf(at)) * d.beyond(at, direction);
            assert!(outside <= SIDE, "{at} mean {}: {outside}", d.mean);
            assert!(outside + exp(d.ln_pmf(at)) > SIDE || at == 0.0, "{at} mean {}", d.mean);
        }
    }
}

/// On both sides of the variance where summation ends, surprise is the same to 5 % of the score.
#[test]
fn saddlepoints_continue_the_sums() {
    let below = EXACT_VARIANCE * (1.0 - 1e-9);
    let above = EXACT_VARIANCE * (1.0 + 1e-9);
    let share = |n: f64, p: f64, variance: f64| Discrete::share(n, p, variance / (n * p * (1.0 - p)));
    for (name, sums, saddle) in [
        ("Poisson", Discrete::count(below, below), Discrete::count(above, above)),
        ("a little more", Discrete::count(150.0, below), Discrete::count(150.0, above)),
        ("much more", Discrete::count(60.0, below), Discrete::count(60.0, above)),
        ("binomial", share(2000.0, 0.1, below), share(2000.0, 0.1, above)),
        ("wide share", share(300.0, 0.2, below), share(300.0, 0.2, above)),
    ] {
        for sds in [-4.5, -3.0, -1.5, 1.5, 3.0, 5.0] {
            let y = libm::round(sums.mean + sds * 16.0);
            if y < 0.0 {
                continue;
            }
            let (exact, near) = (sums.ln_p(y), saddle.ln_p(y));
            assert!((exact - near).abs() < 0.1 - 0.05 * exact, "{name} at {sds}: {exact} {near}");
        }
    }
}

/// Counts that are mostly 0 and now and then very many: neither a few nor many are more surprising than they are.
#[test]
fn bursty_counts_are_judged_by_their_own_tail() {
    for (mean, variance) in [(0.31, 300.0), (0.31, 1_271.0), (1.0, 300.0), (5.0, 5_000.0), (40.0, 40_000.0)] {
        let d = Discrete::count(mean, variance);
        assert!(d.bursty().is_some());
        let most = (40.0 * variance / mean) as usize;
        let pmf: Vec<f64> = (0..=most).map(|k| exp(d.ln_pmf(k as f64))).collect();
        let mut before = f64::INFINITY;
        for y in [0, 1, 2, 3, 5, 10, 30, 100, 300, 1_000, 3_000, 10_000, most] {
            let (fast, up) = (d.ln_p(y as f64), y as f64 > mean);
            let beyond: f64 = if up { pmf[y.min(most) + 1..].iter().sum() } else { pmf[..y].iter().sum() };
            let one = beyond + 0.5 * pmf[y.min(most)];
            let two_sided = one > exp(ONE_SIDED) || (up && one >= 0.5 * pmf[0]);
            let slow = log(if two_sided { 2.0 * one } else { one }.min(1.0));
            if y < most / 4 {
                assert!((fast - slow).abs() < 1e-3, "mean {mean}, variance {variance}, {y}: {fast} {slow}");
            }
            assert!(fast.is_finite() && (!up || fast <= before), "{mean} {variance} {y}: {fast} after {before}");
            before = if up { fast } else { before };
        }
        let (low, high) = d.band();
        let outside = |y: f64| pmf[(y.max(-1.0) + 1.0) as usize..].iter().sum::<f64>();
        assert!(low == 0.0 && outside(high) <= SIDE, "{mean} {variance}: {high}");
        assert!(high == 0.0 || outside(floor(0.98 * high) - 1.0) > SIDE, "{mean} {variance}: {high}");
        assert!(d.ln_bursty_tail(1e12, true).is_finite());
    }
}

/// Where a saddlepoint takes over from the incomplete beta function, surprise is the same to 5 % of the score.
#[test]
fn saddlepoints_continue_the_bursty() {
    for mean in [20.0, 100.0, 10_000.0] {
        let of = |size: f64| Discrete::count(mean, mean + mean * mean / size);
        let (beta, saddle) = (of(BURSTY_SIZE - 1e-6), of(BURSTY_SIZE + 1e-6));
        assert!(beta.bursty().is_some() && saddle.bursty().is_none());
        for times in [0.05, 0.3, 2.0, 4.0, 8.0, 15.0] {
            let y = libm::round(mean * times);
            let (one, other) = (beta.ln_p(y), saddle.ln_p(y));
            assert!((one - other).abs() < 0.1 - 0.05 * one, "{y} of mean {mean}: {one} {other}");
        }
        let (one, other) = (beta.band().1, saddle.band().1);
        assert!((one / other - 1.0).abs() < 0.05, "mean {mean}: {one} {other}");
    }
}

/// Shares that are mostly at an end and now and then far from it, such as those of errors that come in bursts.
#[test]
fn jagged_shares_are_judged_by_their_own_tail() {
    for (a, b) in [(0.1, 50.0), (0.1, 200.0), (0.3, 250.0), (0.05, 1.0), (0.9, 30.0)] {
        for n in [20_000.0, 200_000.0] {
            for mirrored in [false, true] {
                let (p, rho) = (a / (a + b), 1.0 / (a + b + 1.0));
                let p = if mirrored { 1.0 - p } else { p };
                let d = Discrete::share(n, p, 1.0 + rho * (n - 1.0));
                assert!(d.jagged().is_some(), "{n} {a} {b}");
                let at = |k: f64| if mirrored { n - k } else { k };
                let pmf: Vec<f64> = (0..=n as usize).map(|k| exp(d.ln_pmf(at(k as f64)))).collect();
                let mean = n * a / (a + b);
                let mut before = f64::INFINITY;
                for y in [0, 1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000, 19_000] {
                    let up = y as f64 > mean;
                    let beyond: f64 = if up { pmf[y + 1..].iter().sum() } else { pmf[..y].iter().sum() };
                    let one = beyond + 0.5 * pmf[y];
                    let two_sided = one > exp(ONE_SIDED) || one >= 0.5 * pmf[if up { 0 } else { n as usize }];
                    let slow = log(if two_sided { 2.0 * one } else { one }.min(1.0));
                    let fast = d.ln_p(at(y as f64));
                    // A sum of so many terms cannot see below 1e-10.
                    if slow > -23.0 && fast > -23.0 {
                        assert!((fast - slow).abs() < 0.15 - 0.03 * slow, "{n} {a} {b} {mirrored} {y}: {fast} {slow}");
                    }
                    assert!(fast.is_finite() && (!up || fast <= before), "{n} {a} {b} {y}: {fast} after {before}");
                    before = if up { fast } else { before };
                }
                let (low, high) = d.band();
                let (inner, outer) = if mirrored { (n - high, n - low) } else { (low, high) };
                let outside = |y: f64| pmf[y as usize + 1..].iter().sum::<f64>();
                assert_eq!(inner, 0.0);
                assert!(outside(floor(1.04 * outer).min(n - 1.0)) <= SIDE, "{n} {a} {b}: {outer}");
                assert!(outside(floor(0.95 * outer)) > SIDE, "{n} {a} {b}: {outer}");
            }
        }
    }
}

/// However skewed: the band ends where the tail of its scores is 0.05 %.
#[test]
fn the_band_ends_where_the_tail_says() {
    for (mean, variance) in
        [(0.01, 200.0), (0.3, 250.0), (3.0, 255.0), (30.0, 20_000.0), (1e6, 4e11), (200.0, 30_000.0)]
    {
        let d = Discrete::count(mean, variance);
        let (low, high) = d.band();
        assert!(low <= mean && d.ln_outside(1.02 * high + 1.0, true) <= LN_SIDE, "{mean} {variance}: {high}");
        assert!(high == 0.0 || d.ln_outside(floor(0.96 * high) - 1.0, true) > LN_SIDE, "{mean} {variance}: {high}");
    }
}
