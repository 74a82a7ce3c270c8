//! Looks at what the whole group has committed, so that partitions that are far ahead wait for the slowest.
//!
//! In a thread of its own: the worker never waits for the broker on account of it. Invariant: when the broker does
//! not answer, nothing waits.

use crate::kafka::topics::bounds;
use outlier_core::pipeline::Millis;
use outlier_core::window::{Alignment, Limit, Standing};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);
/// The stop signal is looked at this often.
const STEP: Duration = Duration::from_millis(50);
/// The broker must answer within this time.
const ASK: Duration = Duration::from_secs(2);

/// How far partitions may be read, kept up to date until dropped.
pub struct Aligning {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    /// As of the last look.
    limit: Mutex<Option<Limit>>,
    /// Of the topic; 0 while unknown.
    partitions: AtomicI32,
    stop: AtomicBool,
}

/// Asks the broker.
struct Looking {
    /// A member's configuration; it never joins.
    group: BaseConsumer,
    /// Is told last stable offsets.
    reader: Arc<BaseConsumer>,
    topic: String,
    alignment: Alignment,
    begun: Instant,
}

impl Aligning {
    /// Watches `topic` in the group of `connection`; partitions may be ahead by `align` milliseconds, and zero means
    /// that nobody looks. `reader` is told last stable offsets.
    ///
    /// # Errors
    /// The client configuration is refused, or there is no thread.
    pub fn watch(
        connection: &ClientConfig,
        reader: Arc<BaseConsumer>,
        topic: &str,
        align: Millis,
    ) -> anyhow::Result<Self> {
        let shared = Shared { limit: Mutex::new(None), partitions: AtomicI32::new(0), stop: AtomicBool::new(false) };
        let shared = Arc::new(shared);
        if align == 0 {
            return Ok(Self { shared, thread: None });
        }
        let mut looking = Looking {
            // An open transaction of another member must not delay the answer: what was committed before it will do.
            group: connection.clone().set("isolation.level", "read_uncommitted").create()?,
            reader,
            topic: topic.to_owned(),
            alignment: Alignment::new(align),
            begun: Instant::now(),
        };
        let seen = shared.clone();
        let run = move || {
            while !seen.stop.load(Ordering::Relaxed) {
                let limit = looking.look(seen.partitions.load(Ordering::Relaxed));
                *seen.limit.lock().unwrap_or_else(PoisonError::into_inner) = limit;
                let next = Instant::now() + LOOK;
                while Instant::now() < next && !seen.stop.load(Ordering::Relaxed) {
                    std::thread::sleep(STEP);
                }
            }
        };
        let thread = std::thread::Builder::new().name("align".to_owned()).spawn(run)?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// The limit as of the last look; `None` if nothing must wait.
    pub fn limit(&self) -> Option<Limit> {
        *self.shared.limit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells how many partitions the topic has.
    pub fn set_partitions(&self, partitions: i32) {
        self.shared.partitions.store(partitions, Ordering::Relaxed);
    }
}

impl Drop for Aligning {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic in it was reported when it happened.
            let _ = thread.join();
        }
    }
}

impl Looking {
    fn look(&mut self, partitions: i32) -> Option<Limit> {
        // One partition alone has nobody to wait for.
        if partitions < 2 {
            return None;
        }
        match self.standings(partitions) {
            Ok(standings) => self.alignment.look(self.begun.elapsed().as_millis() as Millis, &standings),
            Err(error) => {
                tracing::debug!(topic = self.topic, %error, "cannot see how far the group is");
                None
            }
        }
    }

    fn standings(&self, partitions: i32) -> anyhow::Result<BTreeMap<i32, Standing>> {
        let mut committed = TopicPartitionList::with_capacity(partitions as usize);
        committed.add_partition_range(&self.topic, 0, partitions - 1);
        let committed = self.group.committed_offsets(committed, ASK)?;
        let ends = bounds(self.reader.as_ref(), &self.topic, 0..partitions, Offset::End, ASK)?;
        let standing = |element: &rdkafka::topic_partition_list::TopicPartitionListElem<'_>| {
            let Offset::Offset(offset) = element.offset() else { return None };
            let partition = element.partition();
            // What is not a stream time is for the partition's owner to report.
            let time = crate::worker::offsets::metadata_of(element).ok()?.parse().ok()?;
            Some((partition, Standing { offset, time, end: ends.get(&partition).copied() }))
        };
        Ok(committed.elements().iter().filter(|element| element.error().is_ok()).filter_map(standing).collect())
    }
}
