//! The command line of `backtest`.
//!
//! Invariant: what clap lets through is valid, apart from names that only the configuration knows and from files.

use crate::produce::options::time;
use outlier_core::pipeline::Millis;
use std::path::PathBuf;

/// Scores log files, or a range of a raw topic, with the code of the live service, as fast as it goes, and reports what
/// would have alerted.
///
/// Exit code 0: reported; 1: an input could not be read to its end, or an output not be written; 2: a wrong call,
/// configuration or labels file; 3: something alerted (with --fail-on-anomaly).
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Options {
    /// Log files, one record a line, plain, gzip or zstd, each a source partition of its own; - is standard input
    #[arg(value_name = "FILE", required_unless_present = "topic", conflicts_with = "topic")]
    pub files: Vec<PathBuf>,
    /// Read this topic instead of files [default without NAME: the pipeline's raw topic]
    #[arg(long, value_name = "NAME", num_args = 0..=1)]
    pub topic: Option<Option<String>>,
    /// Begin with the first record of each partition whose Kafka timestamp is at least this: ISO 8601 or milliseconds
    /// since the epoch [default: the oldest record]
    #[arg(long, value_name = "TIME", conflicts_with = "files", value_parser = time)]
    pub from: Option<Millis>,
    /// End before the first record of each partition whose Kafka timestamp is at least this [default: what is there at
    /// the start]
    #[arg(long, value_name = "TIME", conflicts_with = "files", value_parser = time)]
    pub to: Option<Millis>,

    /// The pipeline [default: the first one configured]
    #[arg(long, value_name = "NAME")]
    pub pipeline: Option<String>,
    /// Only this detector; may be given several times [default: all of the pipeline's]
    #[arg(long, value_name = "NAME")]
    pub detector: Vec<String>,
    /// Score the same records with this configuration as well, and show the difference
    #[arg(long, value_name = "FILE")]
    pub compare: Option<PathBuf>,
    /// Known incidents, as CSV with the columns start,end[,detector[,series]] or as a JSON array of such objects, to judge
    /// what was found by
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,

    /// Write the report as JSON; - is standard output
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the report as one self-contained page with charts; - is standard output
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Write every score row as a line of JSON, as the scores topic would have it; - is standard output
    #[arg(long, value_name = "FILE")]
    pub scores: Option<PathBuf>,
    /// End with exit code 3 if something would have alerted
    #[arg(long)]
    pub fail_on_anomaly: bool,
    /// No progress bar, on a terminal either
    #[arg(long)]
    pub no_progress: bool,
}
