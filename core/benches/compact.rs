//! What one window of a series costs the compact model, by how much happens in it.
//!
//! A million series a minute leave 20 µs of one core for each; the model's share of that should be below 2 µs.
//! Models have a day of history; the windows go on from there, a minute each.

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use outlier_core::measure::Kind;
use outlier_core::model::{Model, Point};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::hint::black_box;

const WINDOW: i64 = 60_000;
const DAY: i64 = 1_440;
const MODELS: usize = 1_000;

/// Roughly a count of this mean: the sum of four uniform numbers has a bell's shape.
fn value(rng: &mut StdRng, kind: Kind, mean: f64) -> f64 {
    let bell: f64 = (0..4).map(|_| rng.random::<f64>() - 0.5).sum::<f64>() * 3f64.sqrt();
    let count = if mean < 4.0 {
        let (mut n, mut product) = (0.0, rng.random::<f64>());
        while product > (-mean).exp() {
            n += 1.0;
            product *= rng.random::<f64>();
        }
        n
    } else {
        (mean + mean.sqrt() * bell).round().max(0.0)
    };
    match kind {
        Kind::Count => count,
        Kind::Amount => mean * (1.0 + 0.1 * bell),
        Kind::Share => (count / 100.0).min(1.0),
    }
}

fn observe(c: &mut Criterion) {
    let mut group = c.benchmark_group("compact");
    group.sample_size(20);
    let cases = [0.05, 3.0, 50.0, 1_000.0, 100_000.0].map(|mean| (format!("count of {mean}"), Kind::Count, mean));
    let others = [
        ("share of 100 at 0.02".to_owned(), Kind::Share, 2.0),
        ("share of 100 at 0.4".to_owned(), Kind::Share, 40.0),
        ("amount".to_owned(), Kind::Amount, 1_000.0),
    ];
    for (name, kind, mean) in cases.into_iter().chain(others) {
        let mut rng = StdRng::seed_from_u64(1);
        let mut point = |i: i64| Point {
            start: i * WINDOW,
            window: WINDOW,
            value: value(&mut rng, kind, mean),
            count: 100,
            trusted: true,
        };
        let mut learned = Model::new(kind);
        (0..DAY).for_each(|i| {
            learned.observe(&point(i));
        });
        let points: Vec<Point> = (0..MODELS as i64).map(|i| Point { start: DAY * WINDOW, ..point(i) }).collect();
        // One iteration is a window of a thousand series: its time in µs is ns a window.
        group.bench_function(&name, |b| {
            b.iter_batched_ref(
                || vec![learned.clone(); MODELS],
                |models| {
                    models.iter_mut().zip(&points).for_each(|(model, point)| {
                        black_box(model.observe(black_box(point)));
                    });
                },
                BatchSize::LargeInput,
            )
        });
    }
    group.finish();
}

criterion_group!(benches, observe);
criterion_main!(benches);
