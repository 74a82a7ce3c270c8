//! Benchmarks that are more than a function: each is a subcommand with a folder of its own.

mod nab;
mod series;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Benchmarks of outlier")]
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
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().benchmark {
        Benchmark::Nab(arguments) => nab::run(&arguments),
        Benchmark::Series(arguments) => series::run(&arguments),
    }
}
