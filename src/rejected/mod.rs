//! `rejected`: what was rejected and why, and its way back after a fix.
//!
//! ```text
//! rejected topic ─► record ─► list
//!        ▲              └───► replay ─► raw topic (one transaction with the marks), or index (by its document's id)
//!        └── a mark for each record that went back ──┘
//! ```
//!
//! Invariant: a record goes back once. What went back is marked in the rejected topic itself, so that anybody who reads
//! it knows, and a replay that is run again, with any filter, goes on with the others.

mod list;
mod record;
mod replay;

use crate::config::Config;
use crate::produce::choose;
use record::Record;
use std::io::Write;

/// What `rejected` can do.
#[derive(Debug, clap::Subcommand)]
pub enum Rejected {
    /// Print the newest rejected records, and how many there are by reason.
    List(list::Options),
    /// Send rejected records back to where they were refused, after what caused it was mended. Each goes back once.
    Replay(replay::Options),
}

/// Which records.
#[derive(Debug, clap::Args)]
pub struct Which {
    /// The pipeline [default: the first one configured]
    #[arg(long, value_name = "NAME")]
    pipeline: Option<String>,
    /// Only those with this reason, such as no-timestamp or index
    #[arg(long, value_name = "CODE")]
    reason: Option<String>,
}

impl Which {
    /// True for a record that is wanted.
    fn takes(&self, record: &Record) -> bool {
        self.reason.as_ref().is_none_or(|reason| record.reason == *reason)
    }
}

/// Does what was asked. Blocks.
///
/// # Errors
/// No such pipeline, the broker or the index does not answer, or some records could not go back.
pub fn run(config: &Config, what: &Rejected, out: &mut dyn Write) -> anyhow::Result<()> {
    let (Rejected::List(list::Options { which, .. }) | Rejected::Replay(replay::Options { which, .. })) = what;
    let pipeline = choose(config, which.pipeline.as_deref())?;
    match what {
        Rejected::List(options) => list::run(&config.kafka, &pipeline.topics.rejected, options, out),
        Rejected::Replay(options) => replay::run(config, pipeline, options, out),
    }
}
