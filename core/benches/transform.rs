//! What reading a record costs on one core, beside reading it into a `serde_json::Value`.
//!
//! The ratios in one run are the figures to compare; absolute ones depend on the machine.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use outlier_core::record::{Anomalies, Objects, Scratch, Transform};
use outlier_core::testing;
use serde_json::Value;
use std::hint::black_box;

fn transform(c: &mut Criterion) {
    let objects: Vec<String> = (0..10_000).map(testing::record).collect();
    let strings: Vec<String> = (objects.iter()).map(|record| Value::from(record.as_str()).to_string()).collect();
    let transform = Transform::new(&testing::waf());
    let none = Anomalies::default();
    let mut scratch = Scratch::default();
    let mut group = c.benchmark_group("transform");
    for (shape, records) in [("object", &objects), ("string", &strings)] {
        let bytes = records.iter().map(|record| record.len() as u64).sum();
        group.throughput(Throughput::Bytes(bytes));
        group.bench_function(shape, |b| {
            b.iter(|| {
                let mut good = |record: &&String| {
                    let record = Some(black_box(record.as_bytes()));
                    transform.apply(record, -1, &none, &mut scratch).is_ok()
                };
                assert_eq!(records.iter().filter(&mut good).count(), records.len());
            })
        });
    }
    group.throughput(Throughput::Bytes(objects.iter().map(|r| r.len() as u64).sum()));
    group.bench_function("object as Value", |b| {
        b.iter(|| {
            for record in &objects {
                black_box(serde_json::from_str::<Value>(record).is_ok());
            }
        })
    });
    group.finish();
}

/// What the sink asks of every record.
fn objects(c: &mut Criterion) {
    let records: Vec<String> = (0..10_000).map(testing::record).collect();
    let mut objects = Objects::new(128, "@timestamp");
    let mut group = c.benchmark_group("objects");
    group.throughput(Throughput::Bytes(records.iter().map(|r| r.len() as u64).sum()));
    group.bench_function("find", |b| {
        b.iter(|| assert!(records.iter().all(|record| objects.find(black_box(record.as_bytes())).is_ok())))
    });
    group.bench_function("glance", |b| {
        b.iter(|| assert!(records.iter().all(|record| objects.glance(black_box(record.as_bytes())).is_some())))
    });
    group.finish();
}

criterion_group!(benches, transform, objects);
criterion_main!(benches);
