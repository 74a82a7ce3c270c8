//! `bench groups`: `outlier process` with a detector that has a million groups, end to end: windows closed, scored and
//! committed, and the state read again after a `kill -9`.

use super::PARTITIONS;
use super::broker::Kafka;
use super::latency::{scores_of, window_end};
use super::load;
use super::program::{Kind, Programs, Running, Settings, by_client, pipeline};
use anyhow::Context;
use clap::Parser;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A window must close, and the state be read, within this time.
const STUCK: Duration = Duration::from_secs(300);
const WINDOW: i64 = 60_000;

/// What to measure.
#[derive(Debug, Parser)]
pub struct Options {
    /// Bootstrap servers of a Kafka; without it an embedded broker, which is good for a try only
    #[arg(long)]
    servers: Option<String>,
    /// Groups, each with a series of its own
    #[arg(long, default_value_t = 1_000_000)]
    groups: usize,
    /// Windows of a minute of event time
    #[arg(long, default_value_t = 6)]
    windows: i64,
    /// Write each window in its minute, instead of all at once before
    #[arg(long)]
    live: bool,
    /// outlier's release binary [default: beside this one]
    #[arg(long)]
    outlier: Option<PathBuf>,
}

/// Runs everything and prints a line for each window.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let programs = Programs::find(options.outlier.as_deref(), false)?;
    let kafka = Kafka::open(options.servers.as_deref())?;
    let name = format!("bench-groups-{}", std::process::id());
    let raw = format!("{name}.raw");
    kafka.create(&[(raw.clone(), PARTITIONS)])?;
    let writer = Writer { producer: load::producer(&kafka.servers, 20)?, raw: &raw, groups: options.groups };
    // Live, the first window begins now; else the last one ends two minutes ago.
    let now = load::now_ms() / WINDOW * WINDOW;
    let first = if options.live { now + WINDOW } else { now - (options.windows + 2) * WINDOW };
    if !options.live {
        println!("writing {} windows of {} groups", options.windows, options.groups);
        for window in 0..options.windows {
            writer.window(window, first, false)?;
        }
        writer.end(first + options.windows * WINDOW)?;
    }
    let settings = Settings { kind: Kind::Outlier, exactly_once: true, commit_ms: 100, linger_ms: 20, threads: 1 };
    let pipeline = pipeline(&raw, &name) + &by_client(options.groups, "1m");
    let start = || programs.start_outlier(&settings, &kafka, &pipeline, &name);
    let mut running = start()?;
    std::thread::scope(|scope| {
        let written = scope.spawn(|| {
            for window in 0..if options.live { options.windows } else { 0 } {
                writer.window(window, first, true)?;
            }
            if options.live { writer.end(first + options.windows * WINDOW) } else { Ok(()) }
        });
        watch_windows(options, &kafka, &mut running, first)?;
        written.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the writer panicked")))
    })?;
    println!("processor time by thread, seconds:");
    for (thread, spent) in running.threads()? {
        println!("  {:7.2} {thread}", spent.as_secs_f64());
    }
    let mut topics = std::mem::take(&mut running.topics);
    drop(running);

    let begun = Instant::now();
    let mut running = start()?;
    let restored = loop {
        std::thread::sleep(Duration::from_millis(100));
        let log = std::fs::read_to_string(&running.log)?;
        if let Some(line) = log.lines().find(|line| line.contains("state restored")) {
            break line.to_owned();
        }
        anyhow::ensure!(begun.elapsed() < STUCK, "the state is not restored: see {}", running.log.display());
    };
    let (cpu, peak) = (running.cpu()?.as_secs_f64(), running.peak_mb());
    println!("after kill -9: {restored}; {cpu:.2} s CPU, {peak} MB at most");
    drop(running);
    topics.push((raw, PARTITIONS));
    kafka.delete(&topics)
}

struct Writer<'a> {
    producer: BaseProducer,
    raw: &'a str,
    groups: usize,
}

impl Writer<'_> {
    /// Writes 1 to 3 records of each group into a window; each record when it is due if it is `live`.
    fn window(&self, window: i64, first: i64, live: bool) -> anyhow::Result<()> {
        let start = first + window * WINDOW;
        for group in 0..self.groups {
            // Groups in another order than their keys.
            let key = group * 7_919 % self.groups;
            let time = start + (group as i64 * WINDOW) / self.groups as i64;
            if live && group % 100 == 0 {
                let wait = time - load::now_ms();
                std::thread::sleep(Duration::from_millis(wait.max(0) as u64));
            }
            for record in 0..1 + (key as i64 + window) % 3 {
                let partition = ((group / 512) as i64 + record) as i32 % PARTITIONS;
                self.send(partition, time, &format!("10.{}.{}.{}", key >> 16, key >> 8 & 255, key & 255))?;
            }
        }
        self.producer.flush(Duration::from_secs(60)).context("the broker does not take the records")
    }

    /// One record in each partition, late enough to close everything before `end`.
    fn end(&self, end: i64) -> anyhow::Result<()> {
        for partition in 0..PARTITIONS {
            self.send(partition, end + WINDOW / 2, "192.0.2.1")?;
        }
        self.producer.flush(Duration::from_secs(60)).context("the broker does not take the records")
    }

    fn send(&self, partition: i32, time: i64, client: &str) -> anyhow::Result<()> {
        let text = format!(
            r#"{{"timestamp":{time},"action":"ALLOW","httpSourceName":"ALB","httpStatus":200,"httpRequest":{{"clientIp":"{client}","country":"US","httpMethod":"GET","uri":"/"}}}}"#
        );
        let record = BaseRecord::to(self.raw).partition(partition).payload(text.as_bytes()).timestamp(time);
        load::send(&self.producer, record)
    }
}

/// Prints a line for each window when all of its rows are there.
fn watch_windows(options: &Options, kafka: &Kafka, running: &mut Running, first: i64) -> anyhow::Result<()> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &kafka.servers)
        .set("group.id", "bench-groups")
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .create()?;
    let mut list = TopicPartitionList::new();
    let scores = scores_of(&running.enriched);
    for partition in 0..PARTITIONS {
        list.add_partition_offset(&scores, partition, Offset::Beginning)?;
    }
    consumer.assign(&list)?;
    println!("window      rows  seconds  behind s   cpu s  of it after the end  peak MB");
    let mut rows = vec![0usize; options.windows as usize];
    let (mut current, mut before, mut moved) = (0, (Instant::now(), Duration::ZERO), Instant::now());
    // Processor time when the current window ended.
    let mut at_end = None;
    while current < rows.len() {
        if at_end.is_none() && load::now_ms() >= first + (current as i64 + 1) * WINDOW {
            at_end = Some(running.cpu()?);
        }
        anyhow::ensure!(moved.elapsed() < STUCK, "no row for {} s: see {}", STUCK.as_secs(), running.log.display());
        let message = consumer.poll(Duration::from_millis(100)).transpose()?;
        if let Some(message) = &message {
            let end = window_end(message.payload().unwrap_or_default()).context("a row without window_end")?;
            if let Some(count) = rows.get_mut(((end - first) / WINDOW - 1) as usize) {
                *count += 1;
            }
            moved = Instant::now();
        }
        // Every group has a row in a window that it has another value in than before.
        while rows.get(current).is_some_and(|count| *count >= options.groups) {
            let (now, cpu) = (Instant::now(), running.cpu()?);
            let behind = (load::now_ms() - first - (current as i64 + 1) * WINDOW) as f64 / 1e3;
            println!(
                "{current:6} {:9} {:8.2} {behind:9.2} {:7.2} {:20.2} {:8}",
                rows[current],
                (now - before.0).as_secs_f64(),
                (cpu - before.1).as_secs_f64(),
                cpu.saturating_sub(at_end.take().unwrap_or(before.1)).as_secs_f64(),
                running.peak_mb(),
            );
            before = (now, cpu);
            current += 1;
        }
    }
    Ok(())
}
