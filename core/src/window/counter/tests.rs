//! Who is called idle: two partitions of one owner, one busy, the other with whatever a case says, a second at a time.

use super::*;
use crate::record::Texts;
use crate::testing;
use crate::window::Watermark;

const TIMEOUT: Millis = 30_000;

/// A record of the second partition, or the end of a transaction there.
#[derive(Clone, Copy, PartialEq)]
enum Entry {
    Good,
    Bad,
    End,
}
use Entry::{Bad, End, Good};

/// What happens in the second partition.
struct Case {
    name: &'static str,
    /// What is appended in a second.
    comes: fn(usize) -> Vec<Entry>,
    /// Entries that are read in a second.
    speed: usize,
    /// It is said that the end was reached; a broker does not where records come all the time.
    says_end: bool,
    /// When it is idle: seconds from and to, within the three minutes of the test.
    idle: &'static [(usize, usize)],
}

const LAST: usize = 180;

fn check(case: &Case) {
    let mut pipeline = testing::waf();
    pipeline.windows_partitions = 1;
    let mut counter = Counter::new(&pipeline, TIMEOUT);
    (0..2).for_each(|partition| counter.assign(partition, SourceTime::default(), 0));
    let (mut log, mut position, mut said) = (Vec::new(), 0, None);
    let mut watermark = Watermark::default();
    let mut idle = Vec::new();
    let record = Observed { flags: &[false; 10], numbers: &[], texts: &Texts::default() };
    for second in 0..=LAST {
        let now = second as Millis * 1_000;
        counter.add(0, now, &record);
        log.extend((case.comes)(second));
        // The last entry is still on its way where they come all the time.
        let to = (position + case.speed).min(if case.says_end { log.len() } else { log.len().saturating_sub(1) });
        for (offset, entry) in log.iter().enumerate().take(to).skip(position) {
            match entry {
                Good => counter.add(1, now, &record),
                Bad => {
                    counter.reject(1, &Reject::Tombstone);
                    counter.passed(1, offset as i64 + 1);
                }
                End => {}
            }
        }
        position = to;
        if case.says_end && position == log.len() && said != Some(position) {
            counter.at_end(1, now);
            said = Some(position);
        }
        for partition in counter.unsure(now) {
            assert_eq!(partition, 1, "{}: the other one is busy", case.name);
            counter.sure(partition, Some(log.len() as i64), now);
        }
        counter.tick(now);
        for (_, frame) in counter.take(2).frames {
            frame.marks.iter().for_each(|mark| watermark.apply(mark));
        }
        let is_idle = watermark.sources().any(|(partition, time)| partition == 1 && time.idle);
        if is_idle {
            let closed = watermark.time().is_some_and(|time| now - time < 60_000);
            assert!(closed, "{}: it holds windows in second {second}: {:?}", case.name, watermark.time());
        }
        match (is_idle, idle.last_mut()) {
            (true, Some((_, to))) if *to == second => *to = second + 1,
            (true, _) => idle.push((second, second + 1)),
            _ => {}
        }
    }
    assert_eq!(idle, case.idle, "{}: idle from and to", case.name);
}

fn always(entry: Entry, number: usize) -> Vec<Entry> {
    vec![entry; number]
}

#[test]
fn who_holds_no_good_record_is_idle_whatever_else_comes() {
    let fast = 1_000;
    let cases = [
        Case { name: "nothing", comes: |_| Vec::new(), speed: fast, says_end: true, idle: &[(30, 181)] },
        Case { name: "a reject a second", comes: |_| always(Bad, 1), speed: fast, says_end: true, idle: &[(30, 181)] },
        Case {
            name: "rejects all the time",
            comes: |_| always(Bad, 100),
            speed: fast,
            says_end: false,
            // The end that was told of is reached a second later.
            idle: &[(31, 181)],
        },
        Case {
            name: "rejects all the time, in transactions",
            comes: |_| [always(Bad, 100), always(End, 1)].concat(),
            speed: fast,
            says_end: false,
            idle: &[(31, 181)],
        },
        Case {
            name: "rejects in transactions now and then",
            comes: |second| if second % 20 == 0 { vec![Bad, End] } else { Vec::new() },
            speed: fast,
            says_end: true,
            // The last record is not just before the end: that it is reached is known when more comes.
            idle: &[(40, 181)],
        },
        Case {
            name: "ends of transactions",
            comes: |second| if second == 0 { vec![Good, End, End] } else { Vec::new() },
            speed: fast,
            says_end: true,
            idle: &[(30, 181)],
        },
        Case {
            name: "a good record among rejects",
            comes: |second| if second == 80 { vec![Bad, Good, Bad] } else { vec![Bad] },
            speed: fast,
            says_end: true,
            // The reject behind it came by the clock of second 79: that of the last tick.
            idle: &[(30, 80), (109, 181)],
        },
        Case {
            name: "a backlog of rejects, and a good record behind it",
            comes: |second| if second == 0 { [always(Bad, 100), always(Good, 1)].concat() } else { Vec::new() },
            speed: 1,
            says_end: true,
            // Read in second 100.
            idle: &[(130, 181)],
        },
        Case {
            name: "more rejects than are read, and good records among them",
            comes: |second| [always(Bad, 20), always(if second % 30 == 29 { Good } else { Bad }, 1)].concat(),
            speed: 10,
            says_end: true,
            idle: &[],
        },
        Case {
            name: "a backlog that an idle partition gets",
            comes: |second| if second == 50 { [always(Bad, 100), always(Good, 1)].concat() } else { Vec::new() },
            speed: 1,
            says_end: true,
            // Asked at once, and again half a timeout later.
            idle: &[(30, 65), (180, 181)],
        },
        Case {
            name: "good records that are not read",
            comes: |second| if second % 10 == 5 { vec![Good] } else { Vec::new() },
            speed: 0,
            says_end: true,
            idle: &[],
        },
    ];
    cases.iter().for_each(check);
}
