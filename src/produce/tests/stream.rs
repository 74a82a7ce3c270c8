//! The stream of records: the same for a seed, valid, weighted, and anomalous where it should be.

use super::{NOW, settings};
use crate::produce::generator::{Enforced, Field, Generator, Mode, Settings};
use crate::produce::stamp::Written;
use outlier_core::record::{Anomalies, Scratch, Transform};
use outlier_core::testing;
use proptest::prelude::*;

/// FNV-1a over the records and their times.
fn hash(settings: &Settings, records: usize) -> u64 {
    let mut generator = Generator::new(settings);
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for _ in 0..records {
        let record = generator.next_record();
        for byte in record.event_time.to_be_bytes().iter().chain(record.bytes) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
    hash
}

/// Whoever changes a stream changes what people compare by its seed: a line in the changelog.
#[test]
fn a_seed_gives_the_same_stream_for_ever() {
    for (mode, expected) in [
        (Mode::Usual, 0x8b9a_da39_9efd_9054u64),
        (Mode::Good, 0x26c8_483d_e1e3_4981),
        (Mode::Bursts, 0x0ce5_95e8_4d15_f4a0),
    ] {
        let got = hash(&Settings { mode, ..settings() }, 60_000);
        assert_eq!(got, expected, "{mode:?} {got:#x}");
    }
    assert_ne!(hash(&settings(), 10), hash(&Settings { seed: 43, ..settings() }, 10));
}

/// A typical record in length, too.
#[test]
fn records_have_600_to_700_bytes() {
    let mut generator = Generator::new(&settings());
    let sum: usize = (0..10_000).map(|_| generator.next_record().bytes.len()).sum();
    assert!((600..700).contains(&(sum / 10_000)), "{}", sum / 10_000);
}

const FIRST: &str = concat!(
    r#"{"timestamp":1795399664832,"formatVersion":1,"webaclId":"arn:aws:wafv2:us-east-1:123456789012:regional/"#,
    r#"webacl/shop/7f0e4b2a-1c55-4a0e","terminatingRuleId":"Default_Action","terminatingRuleType":"REGULAR","#,
    r#""action":"ALLOW","httpSourceName":"CF","httpSourceId":"E2EXAMPLE1ABCD","ruleGroupList":[],"#,
    r#""nonTerminatingMatchingRules":[],"httpStatus":202,"httpRequest":{"clientIp":"198.18.5.141","country":"UK","#,
    r#""headers":[{"name":"Host","value":"shop.example.com"},{"name":"User-Agent","value":"shop-app/4.12 (Android 16)"}"#,
    r#"],"uri":"/cart","args":"","httpVersion":"HTTP/2.0","httpMethod":"POST","#,
    r#""requestId":"1-6b039ff0-d9b0f46039495caafb6c262c"}}"#,
);

#[test]
fn the_first_record() {
    let mut generator = Generator::new(&settings());
    let record = String::from_utf8(generator.next_record().bytes.to_vec()).unwrap();
    assert_eq!(record, FIRST);
}

fn value(record: &serde_json::Value, field: Field) -> String {
    let pointer = match field {
        Field::Action => "/action",
        Field::Source => "/httpSourceName",
        Field::HttpStatus => "/httpStatus",
        Field::Country => "/httpRequest/country",
        Field::Method => "/httpRequest/httpMethod",
    };
    let value = record.pointer(pointer).unwrap();
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The share of records with each of the ten flags, as the shipped transform sets them.
fn flags(generator: &mut Generator, records: u32) -> Vec<f64> {
    let transform = Transform::new(&testing::waf());
    let anomalies = Anomalies::default();
    let mut scratch = Scratch::default();
    let mut counts = vec![0u32; 10];
    for _ in 0..records {
        let record = generator.next_record();
        let enriched = transform.apply(Some(record.bytes), record.event_time, &anomalies, &mut scratch).unwrap();
        assert_eq!(enriched.event_time, record.event_time);
        for (count, flag) in counts.iter_mut().zip(enriched.flags) {
            *count += u32::from(*flag);
        }
    }
    counts.into_iter().map(|count| f64::from(count) / f64::from(records)).collect()
}

#[test]
fn flags_are_as_often_as_the_weights_say() {
    const RECORDS: u32 = 100_000;
    // The share of bad values, in the order of the fields.
    let usual = [0.001 / 1.001, 0.001 / 1.001, 0.004 / 1.004, 0.004 / 0.754, 0.001 / 0.751];
    let forced = [2.0 / 2.4, 2.0 / 2.4, 8.0 / 8.4, 8.0 / 8.3, 2.0 / 2.3];
    let enforced = |field| Enforced { field, value: None, from: 0, until: i64::MAX };
    for anomalous in Field::ALL.map(Some).into_iter().chain([None]) {
        for mode in [Mode::Good, Mode::Usual] {
            let mut generator = Generator::new(&Settings { mode, ..settings() });
            if let Some(field) = anomalous {
                generator.enforce(&enforced(field));
            }
            let got = flags(&mut generator, RECORDS);
            for (index, field) in Field::ALL.into_iter().enumerate() {
                let bad = match mode {
                    _ if anomalous == Some(field) => forced[index],
                    Mode::Good => 0.0,
                    Mode::Usual | Mode::Bursts => usual[index],
                };
                let allowed = 5.0 * (bad * (1.0 - bad) / f64::from(RECORDS)).sqrt();
                let share = got[index * 2 + 1];
                assert!((share - bad).abs() <= allowed, "{anomalous:?} {mode:?} {field}: {share}, not {bad}");
                assert!((got[index * 2] + share - 1.0).abs() < 1e-9, "{field} has neither flag");
            }
        }
    }
}

#[test]
fn an_enforced_anomaly_has_its_time_and_wins_over_bursts() {
    let mut generator = Generator::new(&Settings { mode: Mode::Bursts, ..settings() });
    let (from, until) = (NOW + 3_600_000, NOW + 7_200_000);
    generator.enforce(&Enforced { field: Field::Country, value: Some("FR".to_owned()), from, until });
    let mut counts = [(0, 0); 2];
    loop {
        let record = generator.next_record();
        if record.event_time >= NOW + 10_800_000 {
            break;
        }
        let inside = (from..until).contains(&record.event_time);
        let json: serde_json::Value = serde_json::from_slice(record.bytes).unwrap();
        let count = &mut counts[usize::from(inside)];
        count.0 += 1;
        count.1 += u32::from(value(&json, Field::Country) == "FR");
    }
    assert_eq!(counts[0].1, 0);
    let share = f64::from(counts[1].1) / f64::from(counts[1].0);
    assert!((share - 2.0 / 2.304).abs() < 0.02, "{share}");
}

#[test]
fn now_and_then_a_burst() {
    let mut generator = Generator::new(&Settings { mode: Mode::Bursts, ..settings() });
    let mut minutes = vec![0u32; 24 * 60];
    let mut blocked = minutes.clone();
    loop {
        let record = generator.next_record();
        let minute = ((record.event_time - NOW) / 60_000) as usize;
        let Some(count) = minutes.get_mut(minute) else { break };
        *count += 1;
        let json: serde_json::Value = serde_json::from_slice(record.bytes).unwrap();
        blocked[minute] += u32::from(value(&json, Field::Action) == "BLOCK");
    }
    let bursts = minutes.iter().zip(&blocked).filter(|(all, bad)| **bad * 4 > **all).count();
    assert!((1..30).contains(&bursts), "{bursts} minutes of a day");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn every_record_is_one_line_of_json(
        seed in any::<u64>(),
        start in 946_684_800_000i64..4_000_000_000_000,
        rate in 0.001f64..1e6,
        field in prop::sample::select(Field::ALL.to_vec()),
        text in "\\PC{0,20}|[\"\\\\\n\u{0}-\u{1f}]{1,5}",
        written in prop::sample::select(vec![Written::Millis, Written::Seconds, Written::Iso]),
    ) {
        let mut generator = Generator::new(&Settings { seed, start, rate, written, ..settings() });
        generator.enforce(&Enforced { field, value: Some(text.clone()), from: 0, until: i64::MAX });
        let mut last = start;
        for _ in 0..50 {
            let due = generator.next_at();
            let record = generator.next_record();
            prop_assert_eq!(record.event_time, due);
            prop_assert!(due >= last);
            last = due;
            prop_assert!(!record.bytes.contains(&b'\n'));
            prop_assert!((500..1200).contains(&record.bytes.len()), "{} bytes", record.bytes.len());
            let json: serde_json::Value = serde_json::from_slice(record.bytes).unwrap();
            prop_assert!(value(&json, field).len() <= text.len().max(9));
        }
    }
}
