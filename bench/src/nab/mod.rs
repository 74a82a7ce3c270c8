//! The Numenta Anomaly Benchmark: detection quality of the full model in one fixed configuration.
//!
//! Data, labels and rules are the benchmark's own; see `bench/README.md` for how to get them and what the
//! numbers mean. The threshold is optimised on the benchmark itself, as its rules say for every entry;
//! the half-split number takes it from the other half of the files.

mod corpus;
mod report;
mod scorer;

use anyhow::Result;
use corpus::Series;
use outlier_core::model::full::{Gate, Habit, Surprise};
use scorer::Candidate;
use std::path::PathBuf;

/// Arguments of `bench nab`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Folder with the benchmark's `data` and `labels`
    folder: PathBuf,
    /// Print the results as JSON
    #[arg(long)]
    json: bool,
    /// Print also what each category scores
    #[arg(long)]
    categories: bool,
}

/// Runs the detector over the corpus and prints its scores.
pub fn run(arguments: &Arguments) -> Result<()> {
    let corpus = corpus::read(&arguments.folder)?;
    let points: usize = corpus.iter().map(|series| series.points.len()).sum();
    eprintln!("{} series, {points} points", corpus.len());
    let mut windows = 0;
    let mut results = Vec::new();
    for series in &corpus {
        let candidates = scorer::candidates(series, &detect(series), windows);
        results.push(Scored { series, first: windows, candidates });
        windows += series.windows.len();
    }
    let results = report::Report::new(&results);
    if arguments.json {
        println!("{}", results.json());
    } else {
        print!("{}", results.table(arguments.categories));
    }
    Ok(())
}

/// A series and what its points are worth.
struct Scored<'a> {
    series: &'a Series,
    /// Number of its first window.
    first: usize,
    candidates: Vec<Candidate>,
}

/// The detector's output for each point: the strength of an alarm, of 200.
fn detect(series: &Series) -> Vec<f64> {
    let (mut surprise, mut gate) = (Surprise::<f64>::new(), Gate::new(Habit::Succession));
    let outputs = series.points.iter().zip(0..).map(|(&(time, value), i)| {
        let strength = gate.observe(i, time, surprise.observe(time, value));
        strength.map_or(0.0, |strength| (strength / 200.0).min(1.0))
    });
    outputs.collect()
}
