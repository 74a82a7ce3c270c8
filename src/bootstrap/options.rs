//! The command line of `bootstrap`.

use crate::produce::options::time;
use outlier_core::pipeline::Millis;
use std::path::PathBuf;

/// Lets the models learn from history before `process` runs for the first time, so that it scores from the first window
/// on.
///
/// From log files, from documents in OpenSearch, or from another topic. `process` reads its raw topic from the oldest
/// record on anyway: what is in there needs no bootstrap.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Options {
    /// Log files, one record a line, plain, gzip or zstd, each in order of time; - is standard input
    #[arg(value_name = "FILE", required_unless_present_any = ["index", "topic"], conflicts_with_all = ["index", "topic"])]
    pub files: Vec<PathBuf>,
    /// The documents of an OpenSearch index, by @timestamp [default without NAME: the pipeline's enriched index]
    #[arg(long, value_name = "NAME", num_args = 0..=1, conflicts_with = "topic")]
    pub index: Option<Option<String>>,
    /// The records of a topic that is not the pipeline's own
    #[arg(long, value_name = "NAME")]
    pub topic: Option<String>,
    /// Begin with documents, or records of the topic, from this time on: ISO 8601 or milliseconds since the epoch
    /// [default: the oldest]
    #[arg(long, value_name = "TIME", conflicts_with = "files", value_parser = time)]
    pub from: Option<Millis>,
    /// Where the raw topic takes over: leave out records whose event time is not before it, and take all before it as
    /// complete [default: the end of the history, of which windows that are not over are left out]
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub until: Option<Millis>,
    /// The pipeline [default: the first one configured]
    #[arg(long, value_name = "NAME")]
    pub pipeline: Option<String>,
    /// Learn and say what would be written, but change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// No progress bar, on a terminal either
    #[arg(long)]
    pub no_progress: bool,
}
