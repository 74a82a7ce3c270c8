//! Every partition goes idle and comes back, while instances are killed.
//!
//! Who is idle depends on the wall clock, so no other group decides the same. But every decision is in the windows
//! topic: the scores must be those that its frames alone give.

use crate::feed::Feed;
use crate::fleet::Fleet;
use crate::outcome::scores;
use crate::support::from_env;
use crate::support::kafka::Kafka;
use crate::support::outlier::Outlier;
use crate::support::pipeline::{PARTITIONS, configuration, create, topic};
use crate::support::{Workplace, parse, read, wait};
use crate::{COURSE, PATIENCE, RECORDS, pause};
use outlier_core::pipeline::Pipeline;
use outlier_core::score::Scorer;
use outlier_core::window::Frame;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::Duration;

/// Length of a window, in ms.
const WINDOW: i64 = 2_000;
/// How often everything goes idle.
const RESTS: usize = 2;
/// What producers leave out each time, in ms of event time.
const REST: i64 = 60_000;

/// What the frames of the windows topic say.
#[derive(Default)]
struct Replay {
    /// The rows, sorted.
    scores: Vec<String>,
    /// How often all partitions have become idle at once.
    all_idle: usize,
}

/// The windows topic through fresh scorers, in the order of its offsets.
fn replay(kafka: &Kafka, windows: &str, pipeline: &Pipeline) -> Replay {
    let mut replay = Replay::default();
    let mut scorers: BTreeMap<i32, (Scorer, BTreeMap<i32, bool>)> = BTreeMap::new();
    for record in kafka.read_all(windows) {
        let new = || (Scorer::new(pipeline, record.partition), BTreeMap::new());
        let (scorer, idle) = scorers.entry(record.partition).or_insert_with(new);
        let frame = Frame::decode(record.value.as_deref().unwrap()).unwrap();
        let all_idle =
            |idle: &BTreeMap<i32, bool>| idle.len() == PARTITIONS as usize && idle.values().all(|idle| *idle);
        let before = all_idle(idle);
        idle.extend(frame.marks.iter().map(|mark| (mark.partition, mark.idle)));
        replay.all_idle += usize::from(record.partition == 0 && !before && all_idle(idle));
        scorer.passed(record.offset);
        scorer.apply(record.offset, &frame);
        while let Some(closed) = scorer.close(usize::MAX) {
            replay.scores.extend(closed.scores.iter().map(|score| serde_json::to_string(score).unwrap()));
        }
    }
    replay.scores.sort();
    replay
}

#[test]
fn idle_partitions_that_return_give_what_the_log_says() {
    let _turn = COURSE.lock().unwrap_or_else(PoisonError::into_inner);
    let seed = from_env("OUTLIER_SEED", 1);
    let kafka = Kafka::start();
    let place = Workplace::new("idle");
    let raw = topic(&place, "any", "raw");
    kafka.create(&[(raw.clone(), PARTITIONS)]);
    create(&kafka, &place, "idle");
    let configure = |file: &str, idle_timeout: &str| {
        let process = format!("idle_timeout = \"{idle_timeout}\"");
        let windows = format!("window = \"{WINDOW}ms\"\nlateness = \"1s\"");
        configuration(&kafka, &place, [file, "idle"], &raw, &process, &windows)
    };
    let (disturbed, calm) = (configure("disturbed", "2s"), configure("calm", "1h"));
    let pipeline = parse(&read(&disturbed)).pipelines.remove(0);

    let mut rng = StdRng::seed_from_u64(seed);
    let mut feed = Feed::new(&kafka, &raw, seed);
    let mut fleet = Fleet::new(vec![disturbed]);
    fleet.resize(&mut rng, 2);
    for _ in 0..RESTS {
        fleet.fill();
        feed.some(RECORDS);
        pause(&mut rng);
        fleet.kill(&mut rng);
        fleet.fill();
        feed.some(RECORDS);
        let last = feed.rest(REST);
        fleet.say("nothing comes any more");
        pause(&mut rng);
        fleet.kill(&mut rng);
        fleet.fill();
        // Windows without a record close by the clock alone.
        let silent = |row: &String| {
            let row: serde_json::Value = serde_json::from_str(row).unwrap();
            row["count"] == 0 && row["window_start"].as_i64() > Some(last)
        };
        wait("silence", PATIENCE, || scores(&kafka, &place, "idle").iter().any(silent));
        fleet.say("silence is noticed");
        fleet.kill(&mut rng);
    }
    fleet.fill();
    feed.some(RECORDS);
    let last = feed.rest(REST);
    wait("the last records", PATIENCE, || {
        let end = |row: &String| serde_json::from_str::<serde_json::Value>(row).unwrap()["window_end"].as_i64();
        scores(&kafka, &place, "idle").iter().any(|row| end(row) > Some(last))
    });
    for instance in fleet.into_processes() {
        assert!(instance.stop().success());
    }
    // Reads what is left, and calls nobody idle.
    let calm = Outlier::start(&calm, "calm", &["process"]);
    let windows = topic(&place, "idle", "windows");
    let mut said = Replay::default();
    let mut written = Vec::new();
    let deadline = std::time::Instant::now() + Duration::from_secs(40);
    while said.scores.is_empty() || (written != said.scores && std::time::Instant::now() < deadline) {
        std::thread::sleep(Duration::from_millis(500));
        said = replay(&kafka, &windows, &pipeline);
        written = scores(&kafka, &place, "idle");
    }
    let only = |these: &[String], those: &[String]| {
        these.iter().filter(|row| those.binary_search(row).is_err()).take(5).cloned().collect::<Vec<_>>()
    };
    let differences = [only(&written, &said.scores), only(&said.scores, &written)];
    assert_eq!(differences, [Vec::<String>::new(), Vec::new()], "written and replayed");
    assert_eq!(written.len(), said.scores.len());
    assert!(said.all_idle >= RESTS, "all were idle {} times", said.all_idle);
    println!("{} scores, all idle {} times", written.len(), said.all_idle);
    assert!(calm.stop().success());
}
