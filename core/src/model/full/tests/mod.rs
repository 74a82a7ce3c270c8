//! Tests of the full model.

mod reference;

use super::cell::Cell;
use super::recent::Recent;
use super::surprise::{LONG, SHORT, STEPS, Surprise};

fn check<C: Cell>(huge: f64) {
    let mut model = Surprise::<C>::new();
    for i in 0..1_001_i64 {
        let value = if i == 500 { huge } else { (i * 7_919 % 101) as f64 / 7.0 };
        model.observe(i * 60, value);
        if i < 500 + LONG as i64 {
            continue;
        }
        let Surprise { residuals, nearest, steps, shifts, sums, .. } = &model;
        let rings =
            [of(residuals, SHORT), of(residuals, LONG), of(nearest, SHORT), of(steps, STEPS), of(shifts, SHORT)];
        for (index, (sum, (ring, size))) in sums.iter().zip(rings).enumerate() {
            assert!((sum - ring).abs() <= 1e-6 * size, "{huge:e}: sum {index} at {i} is {sum}, its values' {ring}");
        }
    }
}

/// The sum of the newest values, and of their sizes.
fn of<C: Cell, const N: usize>(recent: &Recent<C, N>, newest: usize) -> (f64, f64) {
    let values = (1..=newest).map(|ago| recent.ago(ago));
    (values.clone().sum(), values.map(f64::abs).sum())
}

/// What one value was so large as to hide in a sum comes back when that value is gone.
#[test]
fn sums_survive_a_huge_value() {
    for huge in [1e3, 1e9, 1e15, 1e26, -1e26] {
        check::<f32>(huge);
        check::<f64>(huge);
    }
}
