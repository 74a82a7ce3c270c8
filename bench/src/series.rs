//! Many series in memory: both stages of a pipeline over whole windows, without a broker.
//!
//! Each window, every group has some records. Printed are the wall time of a window's counting, frames, close and state
//! records, the processor time of it all, memory a series, and bytes of state a series with its key: what a window writes
//! to the state topic.

use anyhow::Context;
use outlier_core::measure::Measure;
use outlier_core::pipeline::Detector;
use outlier_core::record::Texts;
use outlier_core::score::{Position, Scorer};
use outlier_core::testing;
use outlier_core::window::{Counter, Frame, Observed, SourceTime};
use std::time::{Duration, Instant};

/// Arguments of `bench series`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Series, each a group of its own
    #[arg(long, default_value_t = 1_000_000)]
    series: usize,
    /// Windows of a minute
    #[arg(long, default_value_t = 5)]
    windows: i64,
    /// Groups that a transaction closes
    #[arg(long, default_value_t = 10_000)]
    step: usize,
}

const MINUTE: i64 = 60_000;
const PARTITIONS: i32 = 8;

/// Runs the windows and prints a line for each.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mut pipeline = testing::waf();
    let mut detector = Detector::new("client", vec![Measure::Count], MINUTE, 0);
    (detector.by, detector.max_series) = (vec!["clientIp".parse()?], arguments.series);
    (pipeline.detectors, pipeline.windows_partitions) = (vec![detector], PARTITIONS);
    let mut counter = Counter::new(&pipeline, i64::MAX);
    counter.assign(0, SourceTime::default(), 0);
    let mut scorers: Vec<Scorer> = (0..PARTITIONS).map(|partition| Scorer::new(&pipeline, partition)).collect();
    let flags = [false; 10];
    println!("window     rows  count s  frames s  close s  state s   cpu s  rss MiB  B/series  state B/series");
    let (before, mut spent) = (resident()?, processor()?);
    let mut offset = 0;
    for window in 0..arguments.windows {
        let mut times = [Duration::ZERO; 4];
        let (mut rows, mut state) = (0, (0usize, 0usize));
        for chunk in 0..arguments.series.div_ceil(10_000) {
            let begun = Instant::now();
            for key in chunk * 10_000..((chunk + 1) * 10_000).min(arguments.series) {
                let mut texts = Texts::default();
                texts.push(Some(format!("10.{}.{}.{}", key >> 16, key >> 8 & 255, key & 255).as_bytes()));
                for _ in 0..1 + (key as i64 * 7 + window * 3) % 5 {
                    let observed = Observed { flags: &flags, numbers: &[], texts: &texts };
                    counter.add(0, window * MINUTE + chunk as i64, &observed);
                }
            }
            let outgoing = counter.take(1);
            times[0] += begun.elapsed();
            for (partition, frame) in outgoing.frames {
                let begun = Instant::now();
                let scorer = &mut scorers[partition as usize];
                for message in frame.encode(900_000) {
                    let frame = Frame::decode(&message).context("its own frame")?;
                    scorer.passed(offset);
                    times[1] += begun.elapsed();
                    close(scorer, arguments.step, &mut times, &mut rows, &mut state);
                    let begun = Instant::now();
                    scorer.apply(offset, &frame);
                    offset += 1;
                    times[1] += begun.elapsed();
                }
                close(scorer, arguments.step, &mut times, &mut rows, &mut state);
            }
        }
        let cpu = processor()? - std::mem::replace(&mut spent, processor()?);
        let [count, frames, closes, states] = times.map(|time| time.as_secs_f64());
        let (rss, per) = (resident()?, |bytes: usize, n: usize| bytes.checked_div(n).unwrap_or(0));
        println!(
            "{window:6} {rows:8} {count:8.2} {frames:9.2} {closes:8.2} {states:8.2} {cpu:7.2} {:8} {:9} {:15}",
            rss >> 20,
            per(rss.saturating_sub(before), arguments.series),
            per(state.1, state.0),
        );
    }
    Ok(())
}

fn close(scorer: &mut Scorer, step: usize, times: &mut [Duration; 4], rows: &mut usize, state: &mut (usize, usize)) {
    loop {
        let begun = Instant::now();
        let Some(closed) = scorer.close(step) else { break };
        for row in &closed.scores {
            // As it is written to the topic.
            *rows += usize::from(serde_json::to_vec(row).is_ok());
        }
        times[2] += begun.elapsed();
        let begun = Instant::now();
        if let Some(changes) = scorer.take_changes(Position::Due) {
            for (key, value) in changes.state.iter().filter(|(key, _)| key.starts_with("group/")) {
                state.0 += 1;
                state.1 += key.len() + value.as_ref().map_or(0, Vec::len);
            }
            scorer.commit();
        }
        times[3] += begun.elapsed();
    }
}

/// Resident memory of this process; bytes.
fn resident() -> anyhow::Result<usize> {
    let status = std::fs::read_to_string("/proc/self/statm").context("needs /proc")?;
    let pages = status.split(' ').nth(1).and_then(|text| text.parse::<usize>().ok()).context("an unknown /proc")?;
    Ok(pages * 4096)
}

/// Processor time of this process so far; seconds, in steps of 10 ms.
fn processor() -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").context("needs /proc")?;
    let after_name = stat.rsplit_once(") ").context("an unknown /proc")?.1;
    let ticks: Vec<f64> = after_name.split(' ').skip(11).take(2).filter_map(|text| text.parse().ok()).collect();
    Ok(ticks.iter().sum::<f64>() / 100.0)
}
