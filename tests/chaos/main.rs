//! One raw topic gives the same results whatever happens to the instances of `process` and to the broker.
//!
//! A seeded course disturbs a group of one, two and four instances, each with its own batch size and commit interval,
//! while records arrive; its topics are then compared with those of one instance and of four that nobody disturbed.
//! On the embedded broker, or on the real Kafka of `KAFKA_BOOTSTRAP_SERVERS`, which is killed too where
//! `OUTLIER_KAFKA_CONTROL` says how. More rounds with `OUTLIER_KILLS=100`, another course with `OUTLIER_SEED=7`.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod feed;
mod fleet;
mod idle;
mod outcome;
#[path = "../support/mod.rs"]
mod support;

use feed::Feed;
use fleet::Fleet;
use outcome::{Outcome, ledger, scores};
use rand::prelude::*;
use rand::rngs::StdRng;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use support::control::Control;
use support::kafka::Kafka;
use support::outlier::Outlier;
use support::pipeline::{BROAD, BROAD_ROWS, PARTITIONS, configuration, create};
use support::{Workplace, from_env, wait};

/// `max_batch_records` and `commit_interval` of the disturbed instances. The first commits each record, which takes
/// minutes on a busy machine, so it does not stay to the end.
const SETTINGS: [(u32, &str); 5] = [(1, "10ms"), (10_000, "100ms"), (100, "5s"), (25, "1s"), (1_000_000, "2s")];
/// Length of a window, in ms.
const WINDOW: i64 = 10_000;
/// How long a window stays open after its end, in ms.
const LATENESS: i64 = 2_000;
/// How many records are fed before each kill, and after it.
const RECORDS: usize = 250;
/// Shorter than the session (6 s), in ms.
const DOZE: std::ops::Range<u64> = 300..4_000;
/// Longer than the session, and sometimes than a transaction may last (10 s), in ms.
const FREEZE: std::ops::Range<u64> = 8_000..14_000;
/// How long results may take to come at the end.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a round does besides feeding and killing.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// The group gets this many instances: some start, or some are asked to stop.
    Resize(usize),
    /// An instance is frozen for less than its session.
    Doze,
    /// An instance is frozen for longer than its session, while the course goes on.
    Freeze,
    /// The broker is killed, and started again.
    Broker,
}

/// One of each, in any order.
const DECK: [Event; 6] =
    [Event::Resize(1), Event::Resize(2), Event::Resize(4), Event::Doze, Event::Freeze, Event::Broker];

/// Held by each course: one of them kills the broker that all share.
static COURSE: Mutex<()> = Mutex::new(());

fn pause(rng: &mut StdRng) {
    std::thread::sleep(Duration::from_millis(rng.random_range(50..1_500)));
}

/// `kill -9` in every round, instances that join, leave and freeze, a broker that is killed: the topics are those of
/// undisturbed groups.
#[test]
fn nothing_that_happens_changes_the_results() {
    let _turn = COURSE.lock().unwrap_or_else(PoisonError::into_inner);
    let (seed, rounds): (u64, u64) = (from_env("OUTLIER_SEED", 1), from_env("OUTLIER_KILLS", 12));
    println!("seed {seed}, {rounds} rounds");
    let kafka = Kafka::start();
    let control = Control::kafka();
    let place = Workplace::new("chaos");
    let raw = format!("{}raw", place.prefix);
    kafka.create(&[(raw.clone(), PARTITIONS)]);
    let configure = |file: &str, name: &str, process: &str| {
        let process = format!("idle_timeout = \"10m\"\n{process}");
        let windows = format!("window = \"{WINDOW}ms\"\nlateness = \"{LATENESS}ms\"");
        let path = configuration(&kafka, &place, [file, name], &raw, &process, &windows);
        std::fs::write(&path, support::read(&path) + BROAD).unwrap();
        path
    };
    let disturbed = SETTINGS.map(|(batch, interval)| {
        let process = format!("max_batch_records = {batch}\ncommit_interval = \"{interval}\"");
        configure(&format!("disturbed-{batch}-{interval}"), "disturbed", &process)
    });
    let (one, four) = (configure("one", "one", ""), configure("four", "four", ""));
    ["disturbed", "one", "four"].iter().for_each(|name| create(&kafka, &place, name));

    let mut rng = StdRng::seed_from_u64(seed);
    let mut feed = Feed::new(&kafka, &raw, seed);
    let mut fleet = Fleet::new(disturbed.to_vec());
    let mut deck = Vec::new();
    for round in 0..rounds {
        fleet.thaw(round);
        fleet.fill();
        feed.some(RECORDS);
        pause(&mut rng);
        fleet.kill(&mut rng);
        feed.some(RECORDS);
        pause(&mut rng);
        if deck.is_empty() {
            deck = DECK.to_vec();
            deck.shuffle(&mut rng);
        }
        match (deck.pop(), &control) {
            (Some(Event::Resize(size)), _) => fleet.resize(&mut rng, size),
            (Some(Event::Doze), _) => fleet.freeze(&mut rng, round + 1, DOZE),
            (Some(Event::Freeze), _) => fleet.freeze(&mut rng, round + 4, FREEZE),
            (Some(Event::Broker), Some(control)) => {
                fleet.say("kill -9 broker");
                control.kill();
                // Some start without a broker.
                fleet.fill();
                feed.some(RECORDS);
                pause(&mut rng);
                control.up();
                fleet.say("broker is back");
            }
            (Some(Event::Broker) | None, _) => {}
        }
    }
    fleet.thaw(u64::MAX);
    fleet.retire(&disturbed[0]);
    fleet.resize(&mut rng, [2, 4][(seed % 2) as usize]);
    fleet.fill();
    let last = feed.last();
    fleet.say("the last record is sent");
    let one = vec![Outlier::start(&one, "one", &["process"])];
    let four: Vec<_> = (0..4).map(|i| Outlier::start(&four, &format!("four-{i}"), &["process"])).collect();

    // The last window that the last records close.
    let end = (last - LATENESS) / WINDOW * WINDOW;
    for name in ["one", "four", "disturbed"] {
        wait(&format!("the last score of {name}"), PATIENCE, || {
            let marker = format!("\"window_end\":{end},");
            scores(&kafka, &place, name).iter().filter(|row| row.contains(&marker)).count() == BROAD_ROWS
        });
        fleet.say(&format!("{name} is done"));
    }
    let outcomes = ["one", "four", "disturbed"].map(|name| Outcome::read(&kafka, &place, name));
    for outcome in &outcomes {
        assert_eq!(outcome.counts(), feed.sent, "in = enriched + rejected");
    }
    outcomes[1].assert_same(&outcomes[0], "four instances and one");
    outcomes[2].assert_same(&outcomes[0], "disturbed instances and one");
    let (rows, reasons) = outcomes[0].rows();
    println!("{:?} records, {rows} scores, {reasons} of them with reasons", feed.sent);
    assert!(reasons > 0, "reasons are compared, too");
    let (good, bad) = feed.sent;
    assert_eq!(ledger("one", &one), [good + bad, good, bad]);
    assert_eq!(ledger("four", &four), [good + bad, good, bad]);
    let disturbed = fleet.into_processes();
    ledger("disturbed", &disturbed);
    std::thread::scope(|scope| {
        for instance in one.into_iter().chain(four).chain(disturbed) {
            scope.spawn(|| assert!(instance.stop().success()));
        }
    });
}
