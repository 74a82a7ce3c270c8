//! `[process]`: transactions and memory of the two stages.

use super::mistake::shown;
use super::reader::{Names, Reader};
use super::text::show_size;
use super::writer::Writer;
use outlier_core::pipeline::Pipeline;
use std::path::PathBuf;
use std::time::Duration;

const MIB: usize = 1 << 20;

/// How `process` commits and what it may hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Process {
    /// The longest time between a transaction's first record and its commit.
    pub commit_interval: Duration,
    /// What a crash may do to the results.
    pub guarantee: Guarantee,
    /// A partition of which its owner has no good record unread is idle after this long without one.
    pub idle_timeout: Duration,
    /// Partitions that are ahead of the slowest one by more than this, in event time, wait for it; zero for never.
    pub align: Duration,
    /// Holds the locks of instance slots; relative to the working directory.
    pub data_dir: PathBuf,
    /// The most records of one transaction.
    pub max_batch_records: usize,
    /// Bytes fetched ahead of processing.
    pub consumer_queue_bytes: usize,
    /// Bytes produced and not yet acknowledged.
    pub producer_queue_bytes: usize,
}

/// What a crash may do to the results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guarantee {
    /// Nothing: results and offsets are committed in one transaction.
    ExactlyOnce,
    /// Records may be doubled, windows may count them twice.
    AtLeastOnce,
}

const GUARANTEES: &Names<Guarantee> =
    &[("exactly_once", Guarantee::ExactlyOnce), ("at_least_once", Guarantee::AtLeastOnce)];

impl Process {
    pub(super) fn read(mut r: Reader<'_>) -> Self {
        let millis = Duration::from_millis;
        let process = Self {
            commit_interval: r.duration("commit_interval", millis(100), millis(10)..=millis(5_000)),
            guarantee: r.choice("guarantee", Guarantee::ExactlyOnce, GUARANTEES),
            idle_timeout: r.duration("idle_timeout", millis(30_000), millis(1_000)..=millis(3_600_000)),
            align: r.duration("align", millis(600_000), millis(0)..=millis(7 * 86_400_000)),
            data_dir: r.checked("data_dir", "./outlier-data", check_path).into(),
            max_batch_records: r.int("max_batch_records", 100_000, 1..=1_000_000),
            consumer_queue_bytes: r.size("consumer_queue_bytes", 8 * MIB, MIB..=1024 * MIB),
            producer_queue_bytes: r.size("producer_queue_bytes", 16 * MIB, MIB..=1024 * MIB),
        };
        r.finish();
        process
    }

    /// The producer's queue must hold two of the largest messages, the consumer's one.
    pub(super) fn check_queues(&self, top: &Reader<'_>, pipelines: &[Pipeline]) {
        let largest = pipelines.iter().map(|pipeline| pipeline.max_record_bytes).max();
        // Flags and metadata come on top of the record.
        let largest = largest.unwrap_or(0) + 64 * 1024;
        for (key, has, needs) in [
            ("producer_queue_bytes", self.producer_queue_bytes, 2 * largest),
            ("consumer_queue_bytes", self.consumer_queue_bytes, largest),
        ] {
            if has < needs {
                let needs = show_size(needs as u64);
                let text = format!(
                    "`{key}` must be at least {needs} for the `max_record_bytes` of the pipelines: raise it, or lower `max_record_bytes`"
                );
                top.mistake(top.at_path("process", key), text);
            }
        }
    }

    pub(super) fn write(&self, w: &mut Writer) {
        w.table("[process]");
        w.duration("commit_interval", self.commit_interval);
        w.choice("guarantee", self.guarantee, GUARANTEES);
        w.duration("idle_timeout", self.idle_timeout);
        w.duration("align", self.align);
        w.text("data_dir", &self.data_dir.to_string_lossy());
        w.plain("max_batch_records", self.max_batch_records);
        w.size("consumer_queue_bytes", self.consumer_queue_bytes);
        w.size("producer_queue_bytes", self.producer_queue_bytes);
    }
}

/// A path is not empty and has no NUL.
pub(super) fn check_path(text: &str) -> Result<(), String> {
    if text.is_empty() || text.contains('\0') {
        return Err(format!("must be a path, not {}", shown(text)));
    }
    Ok(())
}
