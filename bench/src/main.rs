//! Measurements end to end: one subcommand each; `bench/README.md` keeps what they gave.

mod copy;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "bench", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// CPU a record and records a second of outlier, a bare copy and Kafka Streams, side by side.
    Transform(copy::transform::Options),
    /// From raw to enriched at a steady rate: outlier and Kafka Streams, side by side; and from window close to score.
    Latency(copy::latency::Options),
    /// The bare copy, as a process of its own.
    #[command(hide = true)]
    Copy(copy::bare::Options),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Transform(options) => copy::transform::run(&options),
        Command::Latency(options) => copy::latency::run(&options),
        Command::Copy(options) => copy::bare::run(&options),
    }
}
