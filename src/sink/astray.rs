//! Where reading goes on when the client has nowhere to: nothing is committed yet, or a partition begins behind what was
//! read last, or ends before it.
//!
//! Invariant: what retention deleted before it was read is counted, unless it may all have been ends of transactions.

use super::assignment::Assignment;
use super::batch::{Partition, Position};
use crate::kafka::topics::all_bounds;
use crate::worker::offsets::TRANSACTION_ENDS;
use prometheus_client::metrics::counter::Counter;
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::error::KafkaResult;
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What became of a partition's records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// Reading goes on where it was.
    There,
    /// Nothing of it was read before.
    New,
    /// So many offsets are deleted that were not read.
    Lost(i64),
    /// It ends before what was read: the topic was made anew.
    Anew,
}

/// A partition, and where its reading goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whence {
    pub place: Partition,
    pub topic: String,
    pub offset: i64,
    found: Found,
}

/// Looks at partitions of ours, all or `only` some; `moved` is where reading was made to go on before. Those whose bounds no
/// broker knows, as they have no leader, are apart. Blocks.
///
/// # Errors
/// No broker answers within `patience` for each of three questions, or the committed offset of a partition is not told.
pub fn look(
    consumer: &StreamConsumer<Assignment>,
    only: Option<&BTreeSet<Partition>>,
    moved: &BTreeMap<Partition, Position>,
    patience: Duration,
) -> KafkaResult<(Vec<Whence>, BTreeSet<Partition>)> {
    let place =
        |element: &TopicPartitionListElem<'_>| Some((consumer.context().stage(element.topic())?, element.partition()));
    let mut assigned = TopicPartitionList::new();
    for element in consumer.assignment()?.elements() {
        if place(&element).is_some_and(|place| only.is_none_or(|only| only.contains(&place))) {
            assigned.add_partition(element.topic(), element.partition());
        }
    }
    let (mut whence, mut leaderless) = (Vec::new(), BTreeSet::new());
    // The client asks for none in no case.
    if assigned.count() == 0 {
        return Ok((whence, leaderless));
    }
    let positions = consumer.position()?;
    let committed = consumer.committed_offsets(assigned.clone(), patience)?;
    // What is not known is not nothing.
    committed.elements().iter().try_for_each(TopicPartitionListElem::error)?;
    let starts = all_bounds(consumer, assigned.clone(), Offset::Beginning, patience)?;
    let ends = all_bounds(consumer, assigned.clone(), Offset::End, patience)?;
    for element in assigned.elements() {
        let (topic, partition) = (element.topic(), element.partition());
        let Some(place) = place(&element) else { continue };
        let of = |list: &TopicPartitionList| {
            list.find_partition(topic, partition)?.offset().to_raw().filter(|offset| *offset >= 0)
        };
        let moved = moved.get(&place).map(|moved| moved.next);
        let next = of(&positions).or(moved).or_else(|| of(&committed));
        // The client leaves out those without a leader, and says nothing of it.
        let (Some(start), Some(end)) = (of(&starts), of(&ends)) else {
            leaderless.insert(place);
            continue;
        };
        let (offset, found) = find(next, start, end);
        whence.push(Whence { place, topic: topic.to_owned(), offset, found });
    }
    Ok((whence, leaderless))
}

impl Whence {
    /// What was committed is none of the topic's offsets any more.
    pub fn is_moved(&self) -> bool {
        matches!(self.found, Found::Lost(_) | Found::Anew)
    }

    /// Says and counts what is gone.
    pub fn tell(&self, lost: &Counter) {
        let Self { place: (_, partition), topic, offset, found } = self;
        match found {
            Found::There | Found::New => {}
            Found::Lost(records) => {
                lost.inc_by(records.unsigned_abs());
                tracing::error!(
                    topic,
                    partition,
                    offset,
                    records,
                    "sink: records were deleted before they were read: give the topic a longer retention"
                );
            }
            Found::Anew => tracing::error!(
                topic,
                partition,
                offset,
                "sink: the topic was made anew and is read from its beginning; documents of the same topic, partition and \
                 offset that are in the index count as already there: delete the index, or choose another index_prefix"
            ),
        }
    }
}

/// Where a partition from `start` to `end` goes on that was read up to `next`.
fn find(next: Option<i64>, start: i64, end: i64) -> (i64, Found) {
    match next {
        None => (start, Found::New),
        Some(next) if next > end => (start, Found::Anew),
        Some(next) if next >= start => (next, Found::There),
        // Behind the last record of a transaction is its end, which no reader sees.
        Some(next) if start - next <= TRANSACTION_ENDS => (start, Found::There),
        Some(next) => (start, Found::Lost(start - next)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_is_known() {
        for (next, start, end, want) in [
            (None, 0, 0, (0, Found::New)),
            (None, 7, 9, (7, Found::New)),
            (Some(0), 0, 0, (0, Found::There)),
            (Some(9), 7, 9, (9, Found::There)),
            (Some(10), 7, 9, (7, Found::Anew)),
            (Some(5), 0, 4, (0, Found::Anew)),
            (Some(5), 5 + TRANSACTION_ENDS, 99, (5 + TRANSACTION_ENDS, Found::There)),
            (Some(5), 22, 99, (22, Found::Lost(17))),
            (Some(5), 99, 99, (99, Found::Lost(94))),
        ] {
            assert_eq!(find(next, start, end), want, "{next:?} {start} {end}");
        }
    }
}
