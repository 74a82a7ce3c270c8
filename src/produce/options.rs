//! The command line of `produce`.
//!
//! Invariant: what clap lets through is valid, apart from names that only the configuration knows.

use super::generator::{Field, Rhythm};
use super::stamp::Written;
use crate::config::text;
use outlier_core::field::FieldPath;
use outlier_core::pipeline::{Millis, TimeFormat};
use outlier_core::record::event_time;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// Writes logs into a pipeline's raw topic, into files or to standard output: mock AWS WAF logs, or real log files
/// replayed.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// The pipeline whose raw topic, timestamp field and size limit count [default: the first one configured]
    #[arg(long, value_name = "NAME")]
    pub pipeline: Option<String>,

    /// Records a second: of mock logs on average [default: 5], of a replay at most [default: no limit]
    #[arg(long, value_name = "NUMBER", value_parser = rate)]
    pub rate: Option<f64>,
    /// Stop after this many records
    #[arg(long, value_name = "NUMBER")]
    pub count: Option<u64>,
    /// Stop after this long, the time for --backfill not counted, such as 90s, 5m or 1h30m; 0s: as --backfill-only
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub duration: Option<Duration>,
    /// Seed of the mock logs; with --start the same seed gives the same bytes [default: a random one, in the log]
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,

    /// Which mock logs are anomalous: none (good values only), random (a bad value now and then, and once an hour or
    /// so a burst of them), FIELD (mostly bad values) or FIELD=VALUE (mostly this value); fields: action, source,
    /// httpstatus, country, method
    #[arg(long, value_name = "KIND", default_value_t)]
    pub anomaly: Anomaly,
    /// How long after the first live record the anomaly of FIELD begins
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = duration)]
    pub anomaly_after: Duration,
    /// How long the anomaly of FIELD lasts [default: to the end]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub anomaly_for: Option<Duration>,
    /// How the rate of mock logs changes with the time of day
    #[arg(long, value_enum, default_value_t)]
    pub rhythm: Rhythm,
    /// How mock logs write their timestamp [default: as the pipeline reads it; millis when it reads any]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub timestamp: Option<Written>,

    /// Write the mock logs of this long before now first, as fast as possible and in the order of their times
    #[arg(long, value_name = "TIME", value_parser = duration, conflicts_with = "start")]
    pub backfill: Option<Duration>,
    /// The same, from this time on: ISO 8601 or milliseconds since the epoch
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub start: Option<Millis>,
    /// Stop when the logs before now are written
    #[arg(long)]
    pub backfill_only: bool,
    /// No progress bar, on a terminal either
    #[arg(long)]
    pub no_progress: bool,

    /// Replay these log files, one record a line, plain, gzip or zstd; - is standard input
    #[arg(long, value_name = "FILE", num_args = 1..,
        conflicts_with_all = ["seed", "anomaly", "anomaly_after", "anomaly_for", "rhythm", "timestamp", "backfill", "start", "backfill_only"])]
    pub input: Vec<PathBuf>,
    /// Times of replayed records: keep them, or move them so that the first one is now and each record comes when its
    /// time does
    #[arg(long, value_enum, default_value_t, requires = "input")]
    pub time: Times,

    /// Write to standard output, one record a line, instead of Kafka
    #[arg(long, conflicts_with_all = ["files_per_minute", "dir", "key"])]
    pub stdout: bool,
    /// Write log files to --dir instead of Kafka, this many a minute; each appears when it is complete
    #[arg(long, value_name = "NUMBER", default_value_t = 4, requires = "dir", value_parser = clap::value_parser!(u32).range(1..=6000))]
    pub files_per_minute: u32,
    /// Where log files go
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Compress the log files
    #[arg(long, requires = "dir")]
    pub gzip: bool,
    /// The member that becomes the Kafka key, such as httpRequest.clientIp, so that its values keep their order
    /// [default: no key, partitions in turn]
    #[arg(long, value_name = "FIELD", conflicts_with = "dir")]
    pub key: Option<FieldPath>,
}

impl Default for Options {
    /// What the command line without arguments means.
    fn default() -> Self {
        Self {
            pipeline: None,
            rate: None,
            count: None,
            duration: None,
            seed: None,
            anomaly: Anomaly::default(),
            anomaly_after: Duration::ZERO,
            anomaly_for: None,
            rhythm: Rhythm::default(),
            timestamp: None,
            backfill: None,
            start: None,
            backfill_only: false,
            no_progress: false,
            input: Vec::new(),
            time: Times::default(),
            stdout: false,
            files_per_minute: 4,
            dir: None,
            gzip: false,
            key: None,
        }
    }
}

/// Which mock logs are anomalous.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Anomaly {
    /// Good values only.
    None,
    /// The usual weights, and now and then a burst.
    #[default]
    Random,
    /// The usual weights, and an enforced anomaly of this field: of one value, or of all bad ones.
    Enforced(Field, Option<String>),
}

impl FromStr for Anomaly {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = match text.split_once('=') {
            Some((_, "")) => return Err("there is no value after the =".to_owned()),
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text, None),
        };
        match (name, value) {
            ("none", None) => Ok(Self::None),
            ("random", None) => Ok(Self::Random),
            (name, value) => match name.parse() {
                Ok(field) => Ok(Self::Enforced(field, value)),
                Err(unknown) => Err(format!("{unknown}, or none or random")),
            },
        }
    }
}

impl std::fmt::Display for Anomaly {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Random => f.write_str("random"),
            Self::Enforced(field, None) => write!(f, "{field}"),
            Self::Enforced(field, Some(value)) => write!(f, "{field}={value}"),
        }
    }
}

/// What a replay does to event times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Times {
    /// Records go out byte for byte as they are
    #[default]
    Keep,
    /// Event times are moved, all by the same whole seconds
    Now,
}

/// A time span on the command line.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    match text {
        "0" => Ok(Duration::ZERO),
        text => text::duration(text)
            .filter(|span| *span <= Duration::from_secs(3660 * 86_400))
            .ok_or_else(|| "write whole numbers with ms, s, m, h or d, such as 90s, 1h30m or 7d".to_owned()),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().ok().filter(|rate| (1e-6..=1e7).contains(rate));
    rate.ok_or_else(|| "write a number above zero, at most 10000000".to_owned())
}

/// A time on the command line.
pub(crate) fn time(text: &str) -> Result<Millis, String> {
    let formats = [TimeFormat::EpochMillis, TimeFormat::Iso8601];
    let read = formats.into_iter().find_map(|format| event_time(text.as_bytes(), format));
    read.ok_or_else(|| "write a time such as 2026-11-23T02:07:44Z, or milliseconds since the epoch".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        options: Options,
    }

    fn parse(line: &str) -> Result<Options, String> {
        let arguments = std::iter::once("produce").chain(line.split_whitespace());
        Command::try_parse_from(arguments).map(|command| command.options).map_err(|error| error.to_string())
    }

    #[test]
    fn the_default_is_the_empty_line() {
        let empty = parse("").unwrap();
        assert_eq!(format!("{empty:?}"), format!("{:?}", Options::default()));
    }

    #[test]
    fn lines_that_are_accepted() {
        let check = |line: &str, holds: fn(&Options) -> bool| {
            let options = parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
            assert!(holds(&options), "{line}: {options:?}");
        };
        check("--rate 0.5 --count 3 --duration 0", |o| o.rate == Some(0.5) && o.duration == Some(Duration::ZERO));
        check("--backfill 7d --backfill-only", |o| o.backfill == Some(Duration::from_secs(7 * 86_400)));
        check("--anomaly none", |o| o.anomaly == Anomaly::None);
        check("--anomaly action", |o| o.anomaly == Anomaly::Enforced(Field::Action, None));
        check("--anomaly country=F=R", |o| o.anomaly == Anomaly::Enforced(Field::Country, Some("F=R".to_owned())));
        check("--start 2026-11-23T02:07:44.758Z", |o| o.start == Some(1_795_399_664_758));
        check("--start 1795399664758", |o| o.start == Some(1_795_399_664_758));
        check("--dir logs --files-per-minute 60 --gzip", |o| o.files_per_minute == 60 && o.gzip);
        check("--input a.log b.gz - --time now", |o| o.input.len() == 3 && o.time == Times::Now);
        check("--key httpRequest.clientIp", |o| o.key.is_some());
    }

    #[test]
    fn lines_that_are_refused() {
        for (line, words) in [
            ("--rate 0", "above zero"),
            ("--rate nan", "above zero"),
            ("--duration 5", "such as 90s"),
            ("--duration -5s", "unexpected argument"),
            ("--anomaly colour", "use one of action"),
            ("--anomaly none=1", "use one of action"),
            ("--anomaly action=", "no value after"),
            ("--start yesterday", "such as 2026"),
            ("--backfill 1d --start 0", "2026"),
            ("--stdout --dir logs", "cannot be used with"),
            ("--files-per-minute 4", "--dir"),
            ("--files-per-minute 0 --dir logs", "1..=6000"),
            ("--gzip", "--dir"),
            ("--time now", "--input"),
            ("--input a --backfill 1d", "cannot be used with"),
            ("--input a --anomaly none", "cannot be used with"),
            ("--key a..b", "empty name"),
        ] {
            match parse(line) {
                Ok(options) => panic!("{line} is accepted: {options:?}"),
                Err(error) => assert!(error.contains(words), "{line}: {error}"),
            }
        }
    }
}
