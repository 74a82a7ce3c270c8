//! Where a transaction ends decides nothing.

use super::*;
use crate::pipeline::Detector;
use crate::testing;
use crate::window::Cells;

type Merged = BTreeMap<(String, String, Millis), Cells>;

/// Takes `tally`'s differences and merges them into `merged`.
fn take(tally: &mut Tally, merged: &mut Merged) {
    for Diff { origin, group, start, cells } in tally.take().0.into_values().flatten() {
        merged.entry((origin.detector.clone(), group, start)).or_default().merge(&cells);
    }
}

#[test]
fn records_add_up_to_the_same_wherever_transactions_end() {
    let field = testing::field;
    let flag = || Operand::Flag(0, "K_action".into());
    let cases: [(&str, Vec<Measure>); 6] = [
        ("numbers alone", vec![Measure::Mean(field("a"))]),
        ("two fields", vec![Measure::Sum(Operand::Field(field("a"))), Measure::Quantile(500, field("b"))]),
        ("shares", vec![Measure::Ratio(Operand::Field(field("b")))]),
        ("a number and all", vec![Measure::Mean(field("a")), Measure::Count]),
        ("a number and a flag", vec![Measure::Mean(field("a")), Measure::Ratio(flag())]),
        ("values", vec![Measure::Distinct(field("v")), Measure::New(field("v")), Measure::Rare(field("v"))]),
    ];
    for (name, measures) in cases {
        for by in [vec![], vec![field("v")]] {
            let mut pipeline = testing::waf();
            let detector = Detector::new("d", measures.clone(), 60_000, 0);
            pipeline.detectors = vec![Detector { by, explain: vec![field("v"), field("w")], ..detector }];
            let numbers = pipeline.number_fields().len();
            let (mut whole, mut single) = (Tally::new(&pipeline), Tally::new(&pipeline));
            let (mut at_once, mut one_by_one) = (Merged::new(), Merged::new());
            for i in 0..200_usize {
                let mut texts = Texts::default();
                texts.push((i % 5 > 0).then_some(&[b'a' + (i % 5) as u8]));
                texts.push(Some(&[b'x' + (i % 3) as u8]));
                let number = |n: usize| (i % (2 + n) > 0).then_some(i as i128 * UNIT);
                let numbers: Vec<_> = (0..numbers).map(number).collect();
                let flags = [i % 4 == 0; 10];
                let observed = Observed { flags: &flags, numbers: &numbers, texts: &texts };
                for tally in [&mut whole, &mut single] {
                    tally.add(i as Millis * 1_000, &[], &observed);
                }
                take(&mut single, &mut one_by_one);
            }
            take(&mut whole, &mut at_once);
            assert!(!at_once.is_empty());
            assert_eq!(at_once, one_by_one, "{name}, by {:?}", pipeline.detectors[0].by);
        }
    }
}
