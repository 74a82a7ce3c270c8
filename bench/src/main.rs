//! Benchmarks that are more than a function: one subcommand each; `bench/README.md` keeps what they gave.

mod copy;
mod nab;
mod series;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "bench", about = "Benchmarks of outlier", max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    benchmark: Benchmark,
}

#[derive(Subcommand)]
enum Benchmark {
    /// Detection quality of the full model on the Numenta Anomaly Benchmark
    Nab(nab::Arguments),
    /// CPU and memory of many series: counting, frames, close and state, without a broker
    Series(series::Arguments),
    /// CPU a record and records a second of outlier, a bare copy and Kafka Streams, side by side.
    Transform(copy::transform::Options),
    /// From raw to enriched at a steady rate: outlier and Kafka Streams, side by side; and from window close to score.
    Latency(copy::latency::Options),
    /// A detector with a million groups end to end: windows closed, scored and committed, and the restore of its state.
    Groups(copy::groups::Options),
    /// CPU a document and documents a second of the sink, beside a bare bulk client with the same documents.
    Sink(copy::sink::Options),
    /// The bare bulk client, as a process of its own.
    #[command(hide = true)]
    Bulk(copy::bulk::Options),
    /// The bare copy, as a process of its own.
    #[command(hide = true)]
    Copy(copy::bare::Options),
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().benchmark {
        Benchmark::Nab(arguments) => nab::run(&arguments),
        Benchmark::Series(arguments) => series::run(&arguments),
        Benchmark::Transform(options) => copy::transform::run(&options),
        Benchmark::Latency(options) => copy::latency::run(&options),
        Benchmark::Groups(options) => copy::groups::run(&options),
        Benchmark::Sink(options) => copy::sink::run(&options),
        Benchmark::Bulk(options) => copy::bulk::run(&options),
        Benchmark::Copy(options) => copy::bare::run(&options),
    }
}
