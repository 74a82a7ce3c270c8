//! `bench transform`: the same raw topic read by each program in turn, and what each record cost.

use super::broker::Kafka;
use super::load::{Course, Load};
use super::program::{Kind, Programs, Settings};
use super::{PARTITIONS, median};
use clap::Parser;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A program must come on within this time.
const STUCK: Duration = Duration::from_secs(60);

/// How the flags are made on Kafka Streams.
const STREAMS: [(Kind, &str); 2] = [(Kind::Streams, "one pass over the bytes"), (Kind::StreamsTree, "a Jackson tree")];

/// What to measure.
#[derive(Debug, Parser)]
pub struct Options {
    /// Bootstrap servers of a Kafka; without it an embedded broker, which is good for a try only
    #[arg(long)]
    servers: Option<String>,
    /// Records of the raw topic
    #[arg(long, default_value_t = 1_500_000)]
    records: usize,
    /// The first so many hundredths of them are not measured: start, joining the group, warming up
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u8).range(1..90))]
    warm_up: u8,
    /// How often each program is measured; the median counts
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Milliseconds between two commits
    #[arg(long, default_value_t = 100)]
    commit_ms: u64,
    /// outlier's release binary [default: beside this one]
    #[arg(long)]
    outlier: Option<PathBuf>,
    /// Leave Kafka Streams out
    #[arg(long)]
    no_streams: bool,
}

/// What one run of a program gave.
#[derive(Debug, Clone, Copy)]
struct Figures {
    cpu_us: f64,
    per_second: f64,
    peak_mb: f64,
}

/// Runs everything and prints a table and the ratios.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let programs = Programs::find(options.outlier.as_deref(), !options.no_streams)?;
    let kafka = Kafka::open(options.servers.as_deref())?;
    let run = std::process::id();
    let raw = format!("bench-{run}.raw");
    kafka.create(&[(raw.clone(), PARTITIONS)])?;
    let mut load = Load::new();
    println!("writing {} records of {} bytes on average", options.records, load.mean_bytes());
    // About what a program passes in a second of real time.
    load.prefill(&kafka.servers, &raw, Course::new(options.records, 400_000))?;

    let mut kinds = vec![Kind::Copy, Kind::Outlier];
    if programs.streams.is_some() {
        kinds.extend([Kind::Streams, Kind::StreamsTree]);
    }
    let mut runs: BTreeMap<(Kind, bool), Vec<Figures>> = BTreeMap::new();
    for round in 0..options.rounds {
        for exactly_once in [false, true] {
            for &kind in &kinds {
                let settings = Settings { kind, exactly_once, commit_ms: options.commit_ms, linger_ms: 20, threads: 2 };
                let name = format!("bench-{run}-{kind:?}-{}-{round}", u8::from(exactly_once)).to_lowercase();
                let figures = measure(options, &kafka, &programs, &settings, &raw, &name)?;
                print(&format!("round {round}"), kind, exactly_once, figures);
                runs.entry((kind, exactly_once)).or_default().push(figures);
            }
        }
    }
    println!();
    let medians: BTreeMap<_, _> = runs.iter().map(|(key, figures)| (*key, medians(figures))).collect();
    for ((kind, exactly_once), figures) in &medians {
        print("median", *kind, *exactly_once, *figures);
    }
    println!();
    ratios(&medians);
    kafka.delete(&[(raw, PARTITIONS)])
}

fn measure(
    options: &Options,
    kafka: &Kafka,
    programs: &Programs,
    settings: &Settings,
    raw: &str,
    name: &str,
) -> anyhow::Result<Figures> {
    let mut running = programs.start(settings, kafka, raw, name)?;
    let watch = kafka.watch(&running.group, raw)?;
    let all = options.records as i64;
    let warm = all * i64::from(options.warm_up) / 100;
    let mut begun = None;
    let (mut before, mut moved) = (0, Instant::now());
    loop {
        std::thread::sleep(Duration::from_millis(10));
        let committed = watch.committed()?;
        let (now, cpu) = (Instant::now(), running.cpu()?);
        if committed != before {
            (before, moved) = (committed, now);
        }
        anyhow::ensure!(moved.elapsed() < STUCK, "{name} stands still at {committed} of {all} records");
        match begun {
            None if committed >= warm && committed < all => begun = Some((committed, now, cpu)),
            Some((from, at, cpu_then)) if committed >= all => {
                let records = (committed - from) as f64;
                let figures = Figures {
                    cpu_us: (cpu - cpu_then).as_secs_f64() * 1e6 / records,
                    per_second: records / (now - at).as_secs_f64(),
                    peak_mb: running.peak_mb() as f64,
                };
                let topics = std::mem::take(&mut running.topics);
                drop(running);
                kafka.delete(&topics)?;
                return Ok(figures);
            }
            None if committed >= all => anyhow::bail!("too few records to measure {name}: use more --records"),
            _ => {}
        }
    }
}

fn print(what: &str, kind: Kind, exactly_once: bool, figures: Figures) {
    let guarantee = if exactly_once { "exactly once" } else { "at least once" };
    let Figures { cpu_us, per_second, peak_mb } = figures;
    let thousands = per_second / 1e3;
    let kind = format!("{kind:?}").to_lowercase();
    println!(
        "{what:8} {kind:11} {guarantee:13} {cpu_us:6.2} µs CPU/record {thousands:6.0}k records/s {peak_mb:5.0} MB"
    );
}

/// The median of each figure by itself.
fn medians(rounds: &[Figures]) -> Figures {
    let of = |figure: fn(&Figures) -> f64| median(rounds, figure);
    Figures { cpu_us: of(|f| f.cpu_us), per_second: of(|f| f.per_second), peak_mb: of(|f| f.peak_mb) }
}

fn ratios(medians: &BTreeMap<(Kind, bool), Figures>) {
    let figure = |kind, exactly_once, of: fn(&Figures) -> f64| medians.get(&(kind, exactly_once)).map(of);
    let ratio = |text: &str, above: Option<f64>, below: Option<f64>| {
        if let (Some(above), Some(below)) = (above, below) {
            println!("{:5.2} {text}", above / below);
        }
    };
    let cpu = |f: &Figures| f.cpu_us;
    let rate = |f: &Figures| f.per_second;
    for (exactly_once, guarantee) in [(false, "at least once"), (true, "exactly once")] {
        let of = |kind| figure(kind, exactly_once, cpu);
        ratio(
            &format!("CPU of outlier to the copy, {guarantee} (goal at most 1.5)"),
            of(Kind::Outlier),
            of(Kind::Copy),
        );
        for (kind, how) in STREAMS {
            let text = format!("CPU of outlier to Kafka Streams with {how}, {guarantee} (goal at most 0.25)");
            ratio(&text, of(Kind::Outlier), of(kind));
        }
    }
    let (once, least) = (figure(Kind::Outlier, true, rate), figure(Kind::Outlier, false, rate));
    ratio("rate of outlier exactly once to at least once (goal at least 0.85)", once, least);
    for (kind, how) in STREAMS {
        let text = format!("rate of outlier to Kafka Streams with {how}, exactly once (goal at least 3)");
        ratio(&text, once, figure(kind, true, rate));
    }
}
