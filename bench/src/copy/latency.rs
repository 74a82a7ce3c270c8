//! `bench latency`: a steady rate into raw, and how long each record takes to be visible in enriched to a reader of
//! committed records; and how long after its window closes a score is on its topic.

use super::PARTITIONS;
use super::broker::Kafka;
use super::load::{self, Load};
use super::program::{Kind, Programs, Running, Settings, by_client, pipeline};
use clap::Parser;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What to measure.
#[derive(Debug, Parser)]
pub struct Options {
    /// Bootstrap servers of a Kafka; without it an embedded broker
    #[arg(long)]
    servers: Option<String>,
    /// Records a second
    #[arg(long, default_value_t = 20_000)]
    rate: usize,
    /// Seconds that are measured
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Seconds before that: start, joining the group, warming up
    #[arg(long, default_value_t = 10)]
    warm_up: u64,
    /// How often each program is measured
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// Clients, each with a series of its own in windows of 10 seconds; none: the shipped detectors only
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=load::CLIENTS))]
    clients: u64,
    /// outlier's release binary [default: beside this one]
    #[arg(long)]
    outlier: Option<PathBuf>,
    /// Leave Kafka Streams out
    #[arg(long)]
    no_streams: bool,
}

/// Runs everything and prints a line for each.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let programs = Programs::find(options.outlier.as_deref(), !options.no_streams)?;
    let kafka = Kafka::open(options.servers.as_deref())?;
    let run = std::process::id();
    let mut kinds = vec![Kind::Outlier];
    if programs.streams.is_some() {
        kinds.push(Kind::Streams);
    }
    for round in 0..options.rounds {
        for &kind in &kinds {
            // Outlier commits earlier than its interval when it can; Kafka Streams is told to.
            let commit_ms = if kind == Kind::Outlier { 100 } else { 10 };
            let settings = Settings { kind, exactly_once: true, commit_ms, linger_ms: 5, threads: 1 };
            let name = format!("bench-{run}-{kind:?}-{round}").to_lowercase();
            let raw = format!("{name}.raw");
            kafka.create(&[(raw.clone(), PARTITIONS)])?;
            let clients = options.clients as usize;
            let mut running = if kind == Kind::Outlier && clients > 0 {
                let pipeline = pipeline(&raw, &name) + &by_client(clients, "10s");
                programs.start_outlier(&settings, &kafka, &pipeline, &name)?
            } else {
                programs.start(&settings, &kafka, &raw, &name)?
            };
            let stop = AtomicBool::new(false);
            let seen = std::thread::scope(|scope| {
                let writer = scope.spawn(|| write(&kafka.servers, &raw, options, &stop));
                let seen = observe(options, &kafka, &mut running, kind);
                stop.store(true, Ordering::Relaxed);
                let written = writer.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the writer panicked")));
                written.and(seen)
            })?;
            seen.print(kind);
            let mut topics = std::mem::take(&mut running.topics);
            drop(running);
            topics.push((raw, PARTITIONS));
            kafka.delete(&topics)?;
        }
    }
    Ok(())
}

/// Writes at a steady rate, each record with its time in microseconds as its key.
fn write(servers: &str, raw: &str, options: &Options, stop: &AtomicBool) -> anyhow::Result<()> {
    let producer: BaseProducer = load::producer(servers, 0)?;
    let mut load = Load::new();
    let clients = if options.clients == 0 { load::CLIENTS } else { options.clients } as usize;
    let start = Instant::now();
    let mut n = 0;
    while !stop.load(Ordering::Relaxed) {
        let due = (start.elapsed().as_secs_f64() * options.rate as f64) as usize;
        while n < due {
            let now = load::now_us();
            let record = load.record(n % clients, now / 1000);
            let partition = (n / 8) as i32 % PARTITIONS;
            let key = now.to_le_bytes();
            let record = BaseRecord::to(raw).partition(partition).key(&key[..]).payload(record).timestamp(now / 1000);
            producer.send(record).map_err(|(error, _)| error)?;
            n += 1;
        }
        std::thread::sleep(Duration::from_micros(500));
        producer.poll(Duration::ZERO);
    }
    Ok(producer.flush(Duration::from_secs(10))?)
}

/// What a reader saw.
struct Seen {
    enriched_us: Vec<i64>,
    scores_ms: Vec<i64>,
    cores: f64,
    peak_mb: u64,
}

fn observe(options: &Options, kafka: &Kafka, running: &mut Running, kind: Kind) -> anyhow::Result<Seen> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &kafka.servers)
        .set("group.id", "bench-latency")
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .set("fetch.message.max.bytes", "1048576")
        .create()?;
    let mut list = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        list.add_partition_offset(&running.enriched, partition, Offset::Beginning)?;
        if kind == Kind::Outlier {
            list.add_partition_offset(&scores_of(&running.enriched), partition, Offset::Beginning)?;
        }
    }
    consumer.assign(&list)?;
    let begin = Instant::now() + Duration::from_secs(options.warm_up);
    let end = begin + Duration::from_secs(options.seconds);
    let mut cpu = None;
    let (mut enriched_us, mut scores_ms) = (Vec::new(), Vec::new());
    while Instant::now() < end {
        if cpu.is_none() && Instant::now() >= begin {
            cpu = Some(running.cpu()?);
        }
        let Some(message) = consumer.poll(Duration::from_millis(10)) else { continue };
        let message = message?;
        let now = load::now_us();
        if message.topic() != running.enriched {
            scores_ms.extend(score_delay(message.payload().unwrap_or_default(), now / 1000));
        } else if cpu.is_some()
            && let Some(key) = message.key().and_then(<[u8]>::first_chunk)
        {
            enriched_us.push(now - i64::from_le_bytes(*key));
        }
    }
    let used = running.cpu()?.saturating_sub(cpu.unwrap_or_default());
    let cores = used.as_secs_f64() / options.seconds as f64;
    Ok(Seen { enriched_us, scores_ms, cores, peak_mb: running.peak_mb() })
}

/// The scores topic beside an enriched one.
pub fn scores_of(enriched: &str) -> String {
    enriched.replace(".enriched", ".scores")
}

/// Milliseconds from when a score's window could close (its end and the lateness) until now.
fn score_delay(score: &[u8], now: i64) -> Option<i64> {
    /// The shipped pipeline's lateness.
    const LATENESS: i64 = 10_000;
    Some(now - window_end(score)? - LATENESS)
}

/// The end of a score's window, in epoch milliseconds.
pub fn window_end(score: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(score).ok()?;
    let after = text.split_once("\"window_end\":")?.1;
    after.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

impl Seen {
    fn print(mut self, kind: Kind) {
        let kind = format!("{kind:?}").to_lowercase();
        self.enriched_us.sort_unstable();
        self.scores_ms.sort_unstable();
        let at = |values: &[i64], hundredth: usize| values.get(values.len() * hundredth / 100).copied().unwrap_or(-1);
        let (p50, p99) = (at(&self.enriched_us, 50) as f64 / 1e3, at(&self.enriched_us, 99) as f64 / 1e3);
        let (records, cores, peak) = (self.enriched_us.len(), self.cores, self.peak_mb);
        println!(
            "{kind:8} raw to enriched p50 {p50:5.1} ms, p99 {p99:5.1} ms over {records} records, {cores:.2} cores, {peak} MB"
        );
        if let Some(last) = self.scores_ms.last() {
            let (p50, p99) = (at(&self.scores_ms, 50), at(&self.scores_ms, 99));
            println!(
                "{kind:8} window close to score p50 {p50} ms, p99 {p99} ms, at most {last} ms over {} scores",
                self.scores_ms.len()
            );
        }
    }
}
