//! Feeds sources in the order of their stream times.
//!
//! Invariant: of the sources that are not at their end, the one that is furthest behind goes next, as long as no more
//! than [`MOST_OPEN`] files are open; those without a known time go first.

use super::{Item, Next, Problem, Source};
use indicatif::ProgressBar;
use outlier_core::pipeline::Millis;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use tokio_util::sync::CancellationToken;

/// The most files that are open at a time.
const MOST_OPEN: usize = 256;
/// Windows are closed after this many records.
const SETTLE: u64 = 10_000;
/// The bar is told of the records after this many.
const TELL: u64 = 100_000;

/// What the records are for.
pub trait Consumer {
    /// Takes in what a source handed on.
    fn item(&mut self, source: usize, item: Item<'_>);
    /// A source has no more.
    fn ended(&mut self, source: usize);
    /// The largest event time of a source.
    fn stream_time(&self, source: usize) -> Option<Millis>;
    /// Now and then, and after the last record.
    ///
    /// # Errors
    /// What was found cannot be kept.
    fn settle(&mut self) -> anyhow::Result<()>;
}

/// Sources that wait for their turn, the earliest first.
type Waiting = BinaryHeap<Reverse<(Option<Millis>, usize)>>;

/// Reads every source to its end, or until `stop`; answers what could not be read.
///
/// # Errors
/// Nothing can be read any more, or what was found cannot be kept.
pub fn merge(
    sources: &mut [Box<dyn Source>],
    consumer: &mut dyn Consumer,
    bar: &ProgressBar,
    stop: &CancellationToken,
) -> anyhow::Result<Vec<Problem>> {
    let mut problems = Vec::new();
    let mut untouched: Waiting = (0..sources.len()).map(|i| Reverse((consumer.stream_time(i), i))).collect();
    let mut begun = Waiting::new();
    let (mut records, mut settled, mut told) = (0, 0, 0);
    while !stop.is_cancelled() {
        let is_full = begun.len() >= MOST_OPEN && begun.peek().is_some_and(|Reverse((_, i))| sources[*i].is_scarce());
        // Reversed: the greater entry is the earlier one.
        let fresh = !is_full && untouched.peek() >= begun.peek();
        let Some(Reverse((_, index))) = (if fresh { untouched.pop() } else { begun.pop() }) else { break };
        let source = &mut sources[index];
        let next = source.advance(&mut |item| {
            records += match item {
                Item::Record(..) => 1,
                Item::TooLong(lines) => lines,
            };
            consumer.item(index, item);
        })?;
        match next {
            Next::More => begun.push(Reverse((consumer.stream_time(index), index))),
            Next::End => consumer.ended(index),
            Next::Broken(detail) => {
                problems.push(Problem { source: source.name(), detail });
                consumer.ended(index);
            }
        }
        if records - settled >= SETTLE {
            settled = records;
            consumer.settle()?;
        }
        if records - told >= TELL {
            told = records;
            bar.set_message(format!("{records} records"));
        }
    }
    consumer.settle()?;
    Ok(problems)
}
