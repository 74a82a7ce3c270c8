//! The loops: pace, history, ends, control. Time is advanced by tokio, never slept.

use super::{Bench, Folder, NOW, files, settings, time_of};
use crate::produce::generator::{Field, Settings};
use crate::produce::replay::{Batch, Shift, read};
use crate::produce::run::{Left, Mock, Planned, Replay};
use outlier_core::pipeline::{TimeFormat, Timestamp};
use prometheus_client::metrics::counter::Counter;
use std::path::PathBuf;
use std::time::Duration;

const HOUR: i64 = 3_600_000;

fn plain(start: i64) -> Mock {
    Mock { start, history_only: false, anomaly: None }
}

fn planned(after: u64, lasts: u64, from_start: bool) -> Option<Planned> {
    Some(Planned {
        field: Field::Action,
        value: None,
        after: Duration::from_secs(after),
        lasts: Some(Duration::from_secs(lasts)),
        from_start,
    })
}

/// From the first to the last blocked record; seconds after [`NOW`], rounded.
fn blocked(lines: &[String]) -> (i64, i64) {
    let blocked: Vec<i64> = lines.iter().filter(|line| line.contains("BLOCK")).map(|line| time_of(line)).collect();
    let seconds = |at: &i64| (at - NOW + 500).div_euclid(1000);
    (seconds(blocked.first().unwrap()), seconds(blocked.last().unwrap()))
}

#[tokio::test(start_paused = true)]
async fn live_records_come_when_their_time_does() {
    let folder = Folder::new();
    let bench = Bench { duration: Some(Duration::from_secs(1000)), ..Bench::new() };
    let written = bench.mock(&settings(), &plain(NOW), files(&folder, 1, false)).await;
    let lines = folder.lines();
    assert_eq!(lines.len() as u64, written);
    assert!((4600..5400).contains(&written), "{written}");
    assert!(lines.iter().all(|line| (NOW..NOW + 1_000_000).contains(&time_of(line))));
    // It ends as soon as the next record would be too late.
    let ended = bench.clock.now() - NOW;
    assert!((995_000..=1_000_000).contains(&ended), "{ended}");
}

#[tokio::test(start_paused = true)]
async fn history_comes_first_and_in_order() {
    let folder = Folder::new();
    let bench = Bench { duration: Some(Duration::from_secs(60)), ..Bench::new() };
    let start = NOW - 2 * HOUR;
    let settings = Settings { start, ..settings() };
    let progress = bench.control.progress();
    bench.mock(&settings, &plain(start), files(&folder, 4, false)).await;
    let times: Vec<i64> = folder.lines().iter().map(|line| time_of(line)).collect();
    assert!(times.is_sorted());
    let before = times.iter().filter(|at| **at < NOW).count();
    assert!((35_000..37_000).contains(&before), "{before}");
    assert!((200..400).contains(&(times.len() - before)));
    let last = *progress.borrow();
    assert!(last.live && last.share() == 1.0 && last.from == start && last.until == NOW, "{last:?}");
    assert_eq!(last.records, times.len() as u64);
}

#[tokio::test(start_paused = true)]
async fn history_only_takes_no_time() {
    let folder = Folder::new();
    let bench = Bench::new();
    let start = NOW - HOUR;
    let mock = Mock { start, history_only: true, anomaly: planned(600, 60, true) };
    bench.mock(&Settings { start, ..settings() }, &mock, files(&folder, 1, false)).await;
    let lines = folder.lines();
    assert!(lines.iter().all(|line| time_of(line) < NOW));
    assert_eq!(bench.clock.now(), NOW);
    // Half an hour has some 9 blocked records without an anomaly.
    let minute = start + 600_000..start + 660_000;
    let bad = |line: &&String| line.contains("BLOCK") && minute.contains(&time_of(line));
    assert!(lines.iter().filter(bad).count() > 200);
}

#[tokio::test(start_paused = true)]
async fn count_is_exact() {
    for count in [0, 1, 1000] {
        let folder = Folder::new();
        let bench = Bench { count: Some(count), ..Bench::new() };
        let written = bench.mock(&settings(), &plain(NOW), files(&folder, 4, true)).await;
        assert_eq!((written, folder.lines().len() as u64), (count, count));
    }
}

#[tokio::test(start_paused = true)]
async fn an_enforced_anomaly_counts_from_the_first_live_record() {
    let folder = Folder::new();
    let bench = Bench { duration: Some(Duration::from_secs(120)), ..Bench::new() };
    let start = NOW - HOUR;
    let mock = Mock { start, history_only: false, anomaly: planned(30, 20, false) };
    let settings = Settings { start, mode: crate::produce::generator::Mode::Good, ..settings() };
    bench.mock(&settings, &mock, files(&folder, 4, false)).await;
    assert_eq!(blocked(&folder.lines()), (30, 50));
}

#[tokio::test(start_paused = true)]
async fn another_task_can_start_an_anomaly_and_stop_the_run() {
    let folder = Folder::new();
    let bench = Bench::new();
    let settings = Settings { mode: crate::produce::generator::Mode::Good, rate: 100.0, ..settings() };
    let other = async {
        tokio::time::sleep(Duration::from_secs(40)).await;
        bench.control.trigger(Field::Action, None, Duration::from_secs(10));
        tokio::time::sleep(Duration::from_secs(60)).await;
        bench.stop.cancel();
    };
    let mock = plain(NOW);
    tokio::join!(bench.mock(&settings, &mock, files(&folder, 4, false)), other);
    assert_eq!(blocked(&folder.lines()), (40, 50));
    assert_eq!(bench.clock.now(), NOW + 100_000);
}

/// Slow runs end at once too, and a file does not wait for the next record.
#[tokio::test(start_paused = true)]
async fn a_rare_record_holds_nothing_up() {
    let folder = Folder::new();
    let bench = Bench::new();
    let settings = Settings { rate: 1e-6, start: NOW - 10_000_000_000, ..settings() };
    let other = async {
        tokio::time::sleep(Duration::from_secs(70)).await;
        let files = folder.files();
        assert!(!files.is_empty() && files.iter().all(|(name, _)| !name.starts_with('.')), "{files:?}");
        bench.stop.cancel();
    };
    let mock = plain(NOW - 10_000_000_000);
    tokio::join!(bench.mock(&settings, &mock, files(&folder, 4, false)), other);
    assert_eq!(bench.clock.now(), NOW + 70_000);
}

/// All lines of these files: tokio's clock would run ahead while the reader's own thread works.
async fn batches(paths: &[PathBuf]) -> Vec<anyhow::Result<Batch>> {
    let mut reader = read(paths, 100).unwrap();
    let mut all = Vec::new();
    while let Some(batch) = reader.recv().await {
        all.push(batch);
    }
    all
}

/// Replays these files; what came out, what was left, and how long it took in seconds.
async fn replay(bench: &Bench, inputs: &[(&str, Vec<u8>)], rate: Option<f64>, shift: bool) -> (Vec<String>, Left, i64) {
    let (from, to) = (Folder::new(), Folder::new());
    let paths: Vec<_> = inputs
        .iter()
        .map(|(name, bytes)| {
            let path = from.0.join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        })
        .collect();
    let mut sink = files(&to, 1, false);
    let timestamp = Timestamp { field: "timestamp".parse().unwrap(), format: TimeFormat::Auto, max_skew: 0 };
    let shift = shift.then(|| Shift::new(&timestamp, 8));
    let (sender, mut lines) = tokio::sync::mpsc::channel(100);
    for batch in batches(&paths).await {
        sender.try_send(batch).unwrap();
    }
    drop(sender);
    let mut replay = Replay { shift, rate, too_long: Counter::default() };
    let left = bench.run(&mut sink).replay(&mut lines, &mut replay).await.unwrap();
    assert_eq!(replay.too_long.get(), left.too_long);
    sink.finish(Duration::from_secs(1)).await.unwrap();
    (to.lines(), left, (bench.clock.now() - NOW) / 1000)
}

fn gzip(text: &str) -> Vec<u8> {
    use std::io::Write;
    let mut bytes = Vec::new();
    // Two members, as collectors that append leave them.
    for half in [&text[..text.len() / 2], &text[text.len() / 2..]] {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(half.as_bytes()).unwrap();
        bytes.extend(encoder.finish().unwrap());
    }
    bytes
}

fn zstd(text: &str) -> Vec<u8> {
    let halves = [&text[..text.len() / 2], &text[text.len() / 2..]];
    halves.iter().flat_map(|half| zstd::encode_all(half.as_bytes(), 1).unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn files_are_replayed_as_they_are() {
    let long = "x".repeat(101);
    let inputs = [
        ("a.log", format!("one\r\nno {{ json\n\n{long}\n").into_bytes()),
        ("b.gz", gzip("{\"timestamp\":1}\nlast without an end")),
        ("c.zst", zstd("packed\notherwise")),
    ];
    let (lines, left, _) = replay(&Bench::new(), &inputs, None, false).await;
    assert_eq!(lines, ["one", "no { json", "{\"timestamp\":1}", "last without an end", "packed", "otherwise"]);
    assert_eq!(left, Left { too_long: 1, unmoved: 0 });
}

#[tokio::test(start_paused = true)]
async fn a_replay_can_be_slowed_down_and_cut() {
    let inputs = [("a.log", b"line\n".repeat(100))];
    let (lines, _, seconds) = replay(&Bench::new(), &inputs, Some(2.0), false).await;
    assert_eq!((lines.len(), seconds), (100, 49));
    let bench = Bench { count: Some(7), ..Bench::new() };
    assert_eq!(replay(&bench, &inputs, None, false).await.0.len(), 7);
    let bench = Bench { duration: Some(Duration::from_secs(10)), ..Bench::new() };
    let (lines, _, seconds) = replay(&bench, &inputs, Some(2.0), false).await;
    assert_eq!((lines.len(), seconds), (20, 10));
}

/// An input that pauses makes no burst: what it has then waits for its turn.
#[tokio::test(start_paused = true)]
async fn the_rate_holds_after_a_pause() {
    let (from, to) = (Folder::new(), Folder::new());
    let path = from.0.join("a.log");
    std::fs::write(&path, b"line\n".repeat(10)).unwrap();
    let twice = [batches(std::slice::from_ref(&path)).await, batches(std::slice::from_ref(&path)).await];
    let bench = Bench::new();
    let (sender, mut lines) = tokio::sync::mpsc::channel(10);
    let pausing = async {
        for (pause, all) in [0, 1000].into_iter().zip(twice) {
            tokio::time::sleep(Duration::from_secs(pause)).await;
            for batch in all {
                sender.send(batch).await.unwrap();
            }
        }
        drop(sender);
    };
    let mut sink = files(&to, 1, false);
    let mut replay = Replay { shift: None, rate: Some(2.0), too_long: Counter::default() };
    let mut run = bench.run(&mut sink);
    let (ended, ()) = tokio::join!(run.replay(&mut lines, &mut replay), pausing);
    assert_eq!(ended.unwrap(), Left::default());
    assert_eq!((bench.clock.now() - NOW) / 1000, 1004, "nine waits of half a second after the pause");
}

#[tokio::test(start_paused = true)]
async fn moved_times_keep_their_spacing_and_are_waited_for() {
    let inputs = [(
        "a.log",
        b"{\"timestamp\":1682374606245}\nno json\n{\"timestamp\":1682374666245}\n{\"timestamp\":1682374626000}\n"
            .to_vec(),
    )];
    let (lines, left, seconds) = replay(&Bench::new(), &inputs, None, true).await;
    let expected =
        ["{\"timestamp\":1795399664245}", "no json", "{\"timestamp\":1795399724245}", "{\"timestamp\":1795399684000}"];
    assert_eq!(lines, expected);
    assert_eq!((left.unmoved, seconds), (1, 59));
}

#[tokio::test]
async fn what_cannot_be_read_is_an_error_that_names_it() {
    let folder = Folder::new();
    let missing = folder.0.join("missing.log");
    for (path, words) in [(&missing, "missing.log"), (&folder.0, "is a folder")] {
        let error = read(std::slice::from_ref(path), 100).unwrap_err();
        assert!(format!("{error:#}").contains(words), "{error:#}");
    }
    for (name, pack) in [("cut.gz", gzip as fn(&str) -> Vec<u8>), ("cut.zst", zstd)] {
        let cut = folder.0.join(name);
        let whole = pack(&"line\n".repeat(1000));
        std::fs::write(&cut, &whole[..whole.len() - 9]).unwrap();
        let mut lines = read(&[cut], 100).unwrap();
        let mut got = 0;
        let error = loop {
            match lines.recv().await.unwrap() {
                Ok(batch) => got += batch.lines().count(),
                Err(error) => break format!("{error:#}"),
            }
        };
        assert!(got >= 500 && error.contains(name), "{got} {error}");
    }
}
