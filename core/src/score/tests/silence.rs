//! Expected traffic that stopped, told apart from what looks like it.

use super::*;
use crate::window::SourceTime;

const SECOND: Millis = 1_000;
const IDLE: Millis = 30 * SECOND;
/// When it stops and when it is back; seconds.
const STOPS: std::ops::Range<i64> = 600..720;
const LAST: i64 = 900;
const HOSTS: [&str; 2] = ["a", "b"];

struct Case {
    name: &'static str,
    /// Whether a host's record of this second comes in a partition.
    comes: fn(i64, &str, usize) -> bool,
    /// Whether the worker reads in this second.
    reads: fn(i64) -> bool,
    /// The hosts that are silent.
    silent: &'static [&'static str],
}

/// Two partitions of logs of two hosts, read by one worker; event time is the clock's.
fn check(case: &Case) {
    let mut detector = by(vec![Measure::Silence], &["host"]);
    (detector.window, detector.hop) = (10 * SECOND, 10 * SECOND);
    let pipeline = pipeline(detector);
    let mut counter = Counter::new(&pipeline, IDLE);
    (0..2).for_each(|partition| counter.assign(partition, SourceTime::default(), 0));
    let mut scorers = [0, 1].map(|partition| Scorer::new(&pipeline, partition));
    let (mut logs, mut read) = ([const { Vec::new() }; 2], [0; 2]);
    let mut silent = BTreeSet::new();
    for second in 0..LAST {
        let now = second * SECOND;
        for (partition, log) in logs.iter_mut().enumerate() {
            log.extend(HOSTS.iter().filter(|host| (case.comes)(second, host, partition)).map(|host| (now, *host)));
        }
        for (partition, log) in (0..).zip(&logs).filter(|_| (case.reads)(second)) {
            for (time, host) in &log[std::mem::replace(&mut read[partition as usize], log.len())..] {
                let mut texts = Texts::default();
                texts.push(Some(host.as_bytes()));
                counter.add(partition, *time, &Observed { flags: &[false; 10], numbers: &[None], texts: &texts });
            }
            counter.at_end(partition, now);
        }
        for partition in counter.unsure(now) {
            counter.sure(partition, Some(logs[partition as usize].len() as i64), now);
        }
        counter.tick(now);
        let outgoing = counter.take(2);
        for (partition, scorer) in (0..).zip(&mut scorers) {
            if let Some(frame) = outgoing.frames.get(&partition) {
                scorer.apply(second, frame);
            }
            while let Some(closed) = scorer.close(3) {
                for row in closed.scores.iter().filter(|row| row.anomaly) {
                    let within = STOPS.contains(&(row.window_start / SECOND)) && row.window_end / SECOND <= STOPS.end;
                    assert!(within && row.count == 0, "{}: {row:?}", case.name);
                    silent.insert(row.by["host"].clone());
                }
            }
            scorer.commit();
        }
    }
    assert_eq!(silent.iter().map(String::as_str).collect::<Vec<_>>(), case.silent, "{}", case.name);
}

#[test]
fn silence_is_told_from_lag_and_from_an_idle_partition() {
    let goes_on = |second: i64| !STOPS.contains(&second);
    for case in [
        Case { name: "nothing stops", comes: |_, _, _| true, reads: |_| true, silent: &[] },
        Case {
            name: "a source",
            comes: |second, host, _| host == "a" || !STOPS.contains(&second),
            reads: |_| true,
            silent: &["b"],
        },
        Case {
            name: "a partition is idle",
            comes: |second, _, partition| partition == 0 || !STOPS.contains(&second),
            reads: |_| true,
            silent: &[],
        },
        Case { name: "the consumer lags", comes: |_, _, _| true, reads: goes_on, silent: &[] },
        Case {
            name: "the whole pipeline",
            comes: |second, _, _| !STOPS.contains(&second),
            reads: |_| true,
            silent: &["a", "b"],
        },
    ] {
        check(&case);
    }
}
