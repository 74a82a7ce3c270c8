//! A measured program: a child process whose CPU time and memory Linux counts.

use super::broker::Kafka;
use super::{PARTITIONS, streams};
use anyhow::Context;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The bare copy.
    Copy,
    /// `outlier process`, windows on.
    Outlier,
    /// The flags on Kafka Streams, in one pass over a record's bytes.
    Streams,
    /// The same with a Jackson tree of each record.
    StreamsTree,
}

/// How a program is started.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which program.
    pub kind: Kind,
    /// Transactions instead of at least once.
    pub exactly_once: bool,
    /// Milliseconds between two commits, at most.
    pub commit_ms: u64,
    /// What the programs other than outlier wait for a batch, in milliseconds.
    pub linger_ms: u64,
    /// Threads of Kafka Streams.
    pub threads: u32,
}

/// Where the programs are.
pub struct Programs {
    /// `outlier`'s binary.
    pub outlier: PathBuf,
    /// The class path of the Streams application, if there is Java.
    pub streams: Option<String>,
    /// Scratch space.
    pub dir: PathBuf,
}

impl Programs {
    /// Finds the binary beside this one, or the given one, and builds the Streams application.
    pub fn find(outlier: Option<&Path>, with_streams: bool) -> anyhow::Result<Self> {
        let here = std::env::current_exe()?;
        let beside = here.with_file_name("outlier");
        let outlier = outlier.map_or(beside, Path::to_owned);
        anyhow::ensure!(
            outlier.is_file(),
            "{} is not there: run `cargo build --release`, or name it with --outlier",
            outlier.display()
        );
        let dir = here.with_file_name("bench-data");
        std::fs::create_dir_all(&dir)?;
        let streams = if with_streams { streams::build(&here.with_file_name("bench-streams")) } else { None };
        Ok(Self { outlier, streams, dir })
    }

    /// Starts a program that reads `raw`; `name` is new in every run.
    pub fn start(&self, settings: &Settings, kafka: &Kafka, raw: &str, name: &str) -> anyhow::Result<Running> {
        let enriched = format!("{name}.enriched");
        let command = match settings.kind {
            Kind::Copy => {
                let mut command = Command::new(std::env::current_exe()?);
                command.args(["copy", "--servers", &kafka.servers, "--group", name, "--from", raw, "--to", &enriched]);
                command.args(["--commit-ms", &settings.commit_ms.to_string()]);
                if settings.exactly_once {
                    command.arg("--exactly-once");
                }
                command
            }
            Kind::Outlier => return self.start_outlier(settings, kafka, &pipeline(raw, name), name),
            Kind::Streams | Kind::StreamsTree => {
                let how = if settings.kind == Kind::StreamsTree { "tree" } else { "bytes" };
                let classes = self.streams.as_ref().context("there is no Java")?;
                let guarantee = if settings.exactly_once { "exactly_once_v2" } else { "at_least_once" };
                let mut command = Command::new("java");
                command.args(["-Xms512m", "-Xmx512m", "-XX:+UseParallelGC"]);
                command.args(["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", classes, "bench.Flags"]);
                command.args([&kafka.servers, name, raw, &enriched, guarantee, &settings.commit_ms.to_string()]);
                command.args([&settings.linger_ms.to_string(), &settings.threads.to_string(), how]);
                command
            }
        };
        kafka.create(&topics(settings.kind, name))?;
        self.spawn(command, settings.kind, name.to_owned(), name)
    }

    /// Starts `outlier process` for a pipeline of this name, of whose configuration `pipeline` is the end; again if it ran
    /// before.
    pub fn start_outlier(
        &self,
        settings: &Settings,
        kafka: &Kafka,
        pipeline: &str,
        name: &str,
    ) -> anyhow::Result<Running> {
        let config = self.dir.join(format!("{name}.toml"));
        if !config.exists() {
            kafka.create(&topics(settings.kind, name))?;
        }
        std::fs::write(&config, configuration(settings, kafka, &self.dir.join(format!("{name}-data"))) + pipeline)?;
        let mut command = Command::new(&self.outlier);
        command.arg("--config").arg(config).arg("process");
        self.spawn(command, settings.kind, format!("{name}.transform"), name)
    }

    /// Starts `outlier sink` with a configuration of one pipeline of this name whose index is there.
    pub fn start_sink(&self, config: &Path, name: &str) -> anyhow::Result<Running> {
        let mut command = Command::new(&self.outlier);
        command.arg("--config").arg(config).args(["sink", "--no-setup"]);
        self.spawn(command, Kind::Outlier, format!("{name}.sink"), name)
    }

    fn spawn(&self, mut command: Command, kind: Kind, group: String, name: &str) -> anyhow::Result<Running> {
        let path = self.dir.join(format!("{name}.log"));
        let log = File::create(&path)?;
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        Ok(Running { child, group, enriched: format!("{name}.enriched"), topics: topics(kind, name), log: path })
    }
}

/// The topics that a program needs besides the raw one.
fn topics(kind: Kind, name: &str) -> Vec<(String, i32)> {
    let stages: &[(&str, i32)] = match kind {
        Kind::Copy | Kind::Streams | Kind::StreamsTree => &[("enriched", PARTITIONS)],
        Kind::Outlier => &[
            ("enriched", PARTITIONS),
            ("windows", 8),
            ("scores", 4),
            ("state", 8),
            ("anomalies", 1),
            ("rejected", PARTITIONS),
        ],
    };
    stages.iter().map(|(stage, partitions)| (format!("{name}.{stage}"), *partitions)).collect()
}

/// What a configuration says before its pipeline.
fn configuration(settings: &Settings, kafka: &Kafka, data: &Path) -> String {
    let guarantee = if settings.exactly_once { "exactly_once" } else { "at_least_once" };
    format!(
        "[kafka]\nbootstrap_servers = \"{}\"\n[process]\nguarantee = \"{guarantee}\"\ncommit_interval = \"{}ms\"\n\
         data_dir = \"{}\"\n[telemetry]\nlisten = \"127.0.0.1:0\"\n",
        kafka.servers,
        settings.commit_ms,
        data.display()
    )
}

/// The shipped pipeline under another name.
pub fn pipeline(raw: &str, name: &str) -> String {
    format!("[[pipeline]]\npreset = \"waf\"\nname = \"{name}\"\n[pipeline.topics]\nraw = \"{raw}\"\n")
}

/// The end of a pipeline: a detector that counts the records of each client, of which there are so many at most.
pub fn by_client(clients: usize, window: &str) -> String {
    format!(
        "[[pipeline.detectors]]\nname = \"client\"\nmeasures = [\"count\"]\nby = [\"httpRequest.clientIp\"]\n\
         window = \"{window}\"\nmax_series = {clients}\n"
    )
}

/// A started program; killed when dropped.
pub struct Running {
    child: Child,
    /// The group whose committed offsets say how far it is.
    pub group: String,
    /// The topic it writes.
    pub enriched: String,
    /// All topics made for it.
    pub topics: Vec<(String, i32)>,
    /// Where its output goes.
    pub log: PathBuf,
}

impl Running {
    /// User and system time until now; fails when it has ended.
    pub fn cpu(&mut self) -> anyhow::Result<Duration> {
        if let Some(status) = self.child.try_wait()? {
            anyhow::bail!("the program ended with {status}: its log is in bench-data beside the bench");
        }
        spent(&format!("/proc/{}/stat", self.child.id()))
    }

    /// User and system time until now of the threads of each name, the busiest first.
    pub fn threads(&self) -> anyhow::Result<Vec<(String, Duration)>> {
        let mut by_name = BTreeMap::<String, Duration>::new();
        for task in std::fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let path = task?.path();
            let name = std::fs::read_to_string(path.join("comm"))?;
            *by_name.entry(name.trim().to_owned()).or_default() += spent(&path.join("stat").display().to_string())?;
        }
        let mut threads: Vec<_> = by_name.into_iter().collect();
        threads.sort_by_key(|(_, spent)| std::cmp::Reverse(*spent));
        Ok(threads)
    }

    /// Peak resident memory in MB.
    pub fn peak_mb(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().next()).and_then(|n| n.parse::<u64>().ok());
        kilobytes.unwrap_or(0) * 1_024 / 1_000_000
    }
}

/// User and system time in a `stat` file of Linux.
pub fn spent(path: &str) -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string(path)?;
    // After the name, which ends with the last parenthesis: state is the first, utime the 12th, stime the 13th.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: u64 = fields.iter().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    // A tick is 10 ms on every Linux that matters.
    Ok(Duration::from_millis(ticks * 10))
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
