//! What one window of a series costs the full model, beside the compact one and both together on the same counts.
//!
//! All go on through days that they have a week of already, a minute a window.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use outlier_core::measure::Kind;
use outlier_core::model::full::{Full, Surprise};
use outlier_core::model::{Both, Model, Point};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::hint::black_box;

const WINDOW: i64 = 60_000;
const WEEK: i64 = 7 * 1_440;

/// Roughly counts of 50 with a rhythm over the day.
fn point(rng: &mut StdRng, i: i64) -> Point {
    let phase = (i % 1_440) as f64 / 1_440.0 * std::f64::consts::TAU;
    let mean = 50.0 * (1.0 + 0.5 * phase.sin());
    let bell: f64 = (0..4).map(|_| rng.random::<f64>() - 0.5).sum::<f64>() * 3f64.sqrt();
    let value = (mean + mean.sqrt() * bell).round();
    Point { start: i * WINDOW, window: WINDOW, value, count: 100, trusted: true }
}

fn observe(c: &mut Criterion) {
    let mut rng = StdRng::seed_from_u64(1);
    let points: Vec<Point> = (0..2 * WEEK).map(|i| point(&mut rng, i)).collect();
    let (history, next) = points.split_at(WEEK as usize);
    let mut group = c.benchmark_group("model");
    group.sample_size(20).throughput(Throughput::Elements(next.len() as u64));
    let mut full = Full::new(Kind::Count);
    let mut compact = Model::new(Kind::Count);
    let mut both = Both::new(Kind::Count);
    let mut prototype = Surprise::<f64>::new();
    for point in history {
        full.observe(point);
        compact.observe(point);
        both.observe(point);
        prototype.observe(point.start / 1000, point.value);
    }
    group.bench_function("full", |b| b.iter(|| next.iter().map(|p| full.observe(black_box(p)).score).sum::<f64>()));
    group.bench_function("full, surprise alone", |b| {
        b.iter(|| next.iter().map(|p| prototype.observe(p.start / 1000, black_box(p.value))).sum::<f64>())
    });
    group.bench_function("compact", |b| {
        b.iter(|| next.iter().map(|p| compact.observe(black_box(p)).score).sum::<f64>())
    });
    group.bench_function("both", |b| b.iter(|| next.iter().map(|p| both.observe(black_box(p)).score).sum::<f64>()));
    let mut bytes = Vec::new();
    full.encode(&mut bytes);
    println!("full model, encoded: {} bytes", bytes.len());
    group.bench_function("full, decoded", |b| b.iter(|| Full::decode(black_box(&bytes)).is_ok()));
    group.finish();
}

criterion_group!(benches, observe);
criterion_main!(benches);
