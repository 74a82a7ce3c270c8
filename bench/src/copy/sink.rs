//! `bench sink`: `outlier sink` beside a bare client that sends the same documents, built before, to the same OpenSearch
//! with the same size and number of requests; in turn, in one run.

use super::broker::{Kafka, Watch};
use super::bulk::{self, Spent};
use super::load::{Course, Load};
use super::program::{Programs, Running};
use super::{PARTITIONS, median};
use anyhow::Context;
use clap::Parser;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

/// The sink must be done within this time.
const STUCK: Duration = Duration::from_secs(600);

/// What to measure.
#[derive(Debug, Parser)]
pub struct Options {
    /// Bootstrap servers of a Kafka; without it an embedded broker
    #[arg(long)]
    servers: Option<String>,
    /// `http://host:port` of an OpenSearch
    #[arg(long, default_value = "http://localhost:9200")]
    opensearch: String,
    /// Enriched records instead of raw ones
    #[arg(long)]
    enriched: bool,
    /// Documents of a round
    #[arg(long, default_value_t = 200_000)]
    records: usize,
    /// Rounds of both
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Bytes of documents in a request
    #[arg(long, default_value_t = 1 << 20)]
    bulk_bytes: usize,
    /// Requests on the way at once
    #[arg(long, default_value_t = 2)]
    requests: usize,
    /// outlier's release binary [default: beside this one]
    #[arg(long)]
    outlier: Option<PathBuf>,
}

/// Runs everything and prints a line for each round and the medians.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let programs = Programs::find(options.outlier.as_deref(), false)?;
    let kafka = Kafka::open(options.servers.as_deref())?;
    let name = format!("bench-sink-{}", std::process::id());
    let stage = if options.enriched { "enriched" } else { "raw" };
    let topic = format!("{name}.{stage}");
    kafka.create(&[(topic.clone(), PARTITIONS), (format!("{name}.rejected"), 1)])?;
    let course = Course::new(options.records, 100_000);
    let mut load = Load::of(options.enriched);
    load.prefill(&kafka.servers, &topic, course)?;
    let round = Round { options, programs: &programs, kafka: &kafka, name: &name, stage, course };
    println!("{} {stage} documents of {} bytes a round", options.records, load.mean_bytes());
    println!("round  client   documents/s  CPU us a document");
    let (mut bares, mut sinks) = (Vec::new(), Vec::new());
    for n in 0..options.rounds {
        // Who begins has the colder server.
        for sink in if n % 2 == 0 { [false, true] } else { [true, false] } {
            let spent = if sink { round.sink(n)? } else { round.bare(n)? };
            println!("{n:5}  {:6} {:13.0} {:18.2}", if sink { "sink" } else { "bare" }, spent.rate, spent.cpu_us);
            if sink { &mut sinks } else { &mut bares }.push(spent);
        }
    }
    let (bare, sink) = (median(&bares, |spent| spent.rate), median(&sinks, |spent| spent.rate));
    println!("medians: the sink has {:.0} % of the bare client's rate;", 100.0 * sink / bare);
    println!("CPU a document: {:.2} us, {:.2} us", median(&sinks, |s| s.cpu_us), median(&bares, |s| s.cpu_us));
    kafka.delete(&[(topic, PARTITIONS), (format!("{name}.rejected"), 1)])
}

struct Round<'a> {
    options: &'a Options,
    programs: &'a Programs,
    kafka: &'a Kafka,
    name: &'a str,
    stage: &'static str,
    course: Course,
}

impl Round<'_> {
    /// A configuration with an index and a group of its own; the index is there then.
    fn prepare(&self, own: &str) -> anyhow::Result<PathBuf> {
        let Self { options, kafka, name, stage, .. } = self;
        let text = format!(
            "[kafka]\nbootstrap_servers = {:?}\n[sink]\nwhat = [\"{stage}\"]\nbulk_bytes = \"{}KiB\"\nbulk_records = 100000\n\
             bulk_requests = {}\n[opensearch]\nurls = [{:?}]\nreplicas = 0\n[telemetry]\nlisten = \"127.0.0.1:0\"\n\
             [[pipeline]]\npreset = \"waf\"\nname = \"{own}\"\n[pipeline.topics]\n{stage} = \"{name}.{stage}\"\nrejected = \"{name}.rejected\"\n",
            kafka.servers,
            options.bulk_bytes >> 10,
            options.requests,
            options.opensearch,
        );
        let path = self.programs.dir.join(format!("{own}.toml"));
        std::fs::write(&path, text)?;
        let mut setup = Command::new(&self.programs.outlier);
        let done = setup.arg("--config").arg(&path).args(["setup", "--only-index"]).output()?;
        anyhow::ensure!(done.status.success(), "setup: {}", String::from_utf8_lossy(&done.stderr));
        Ok(path)
    }

    fn bare(&self, n: usize) -> anyhow::Result<Spent> {
        let own = format!("{}-bare-{n}", self.name);
        self.prepare(&own)?;
        let server = self.options.opensearch.trim_start_matches("http://").trim_end_matches('/');
        let Course { start, per_second, records } = self.course;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["bulk", "--server", server, "--index", &format!("{own}-{}", self.stage)]);
        command.args(["--topic", &self.topic(), "--start", &start.to_string()]);
        if self.options.enriched {
            command.arg("--enriched");
        }
        for (name, number) in [
            ("--records", records),
            ("--per-second", per_second),
            ("--bulk-bytes", self.options.bulk_bytes),
            ("--requests", self.options.requests),
        ] {
            command.args([name, &number.to_string()]);
        }
        let done = command.output()?;
        let spent = bulk::read(&String::from_utf8_lossy(&done.stdout), self.options.records);
        self.delete(&own)?;
        spent.with_context(|| String::from_utf8_lossy(&done.stderr).into_owned())
    }

    /// From when the sink has committed something until it has committed almost everything: the last request is not full and
    /// waits for more records.
    fn sink(&self, n: usize) -> anyhow::Result<Spent> {
        let own = format!("{}-sink-{n}", self.name);
        let config = self.prepare(&own)?;
        let mut running = self.programs.start_sink(&config, &own)?;
        let watch = self.kafka.watch(&running.group, &self.topic())?;
        let all = self.options.records as i64;
        let (first, begun, before) = reach(&mut running, &watch, 1)?;
        let (last, ended, after) = reach(&mut running, &watch, all - all / 20)?;
        drop(running);
        self.delete(&own)?;
        let documents = (last - first) as f64;
        anyhow::ensure!(documents > 0.5 * all as f64, "too few documents to measure: raise --records");
        let cpu_us = (after - before).as_secs_f64() * 1e6 / documents;
        Ok(Spent { rate: documents / (ended - begun).as_secs_f64(), cpu_us })
    }

    fn topic(&self) -> String {
        format!("{}.{}", self.name, self.stage)
    }

    fn delete(&self, own: &str) -> anyhow::Result<()> {
        let index = format!("{own}-{}", self.stage);
        for path in [format!("_index_template/{index}"), index] {
            bulk::delete(&self.options.opensearch, &path)?;
        }
        Ok(())
    }
}

/// Waits until so many records are committed: how many there are, when, and the CPU time until then.
fn reach(running: &mut Running, watch: &Watch, wanted: i64) -> anyhow::Result<(i64, Instant, Duration)> {
    let begun = Instant::now();
    loop {
        let (committed, now, cpu) = (watch.committed()?, Instant::now(), running.cpu()?);
        if committed >= wanted {
            return Ok((committed, now, cpu));
        }
        anyhow::ensure!(begun.elapsed() < STUCK, "the sink is stuck: see {}", running.log.display());
        std::thread::sleep(Duration::from_millis(100));
    }
}
