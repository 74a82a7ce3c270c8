//! What the path from raw to enriched costs, beside programs that do less: a bare copy, and the flags on Kafka Streams.
//!
//! ```text
//! load ─► raw ─► program (a process of its own: its CPU and memory are read from /proc) ─► enriched
//!                  └ its group's committed offsets say how far it is
//! ```
//!
//! Invariant: everything that is compared ran on the same broker, on the same records, in the same run.

pub mod bare;
mod broker;
pub mod bulk;
pub mod groups;
pub mod latency;
mod load;
mod program;
pub mod sink;
mod streams;
pub mod transform;

/// Partitions of the raw and the enriched topic.
const PARTITIONS: i32 = 4;

/// The middle of a figure of all rounds; not a number where there is none.
fn median<T>(rounds: &[T], figure: impl Fn(&T) -> f64) -> f64 {
    let mut values: Vec<f64> = rounds.iter().map(figure).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
