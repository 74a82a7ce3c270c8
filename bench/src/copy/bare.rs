//! The measure of `transform`: consume, produce the same bytes, commit. No program that uses librdkafka can do less.

use clap::Parser;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks at the clock and at the producer's events lie so many records.
const RECORDS_A_LOOK: u64 = 64;

/// What to copy.
#[derive(Debug, Parser)]
pub struct Options {
    /// Bootstrap servers
    #[arg(long)]
    servers: String,
    /// Consumer group, and the transactional id
    #[arg(long)]
    group: String,
    /// Topic to read
    #[arg(long)]
    from: String,
    /// Topic to write
    #[arg(long)]
    to: String,
    /// Transactions instead of at least once
    #[arg(long)]
    exactly_once: bool,
    /// Milliseconds between two commits
    #[arg(long, default_value_t = 100)]
    commit_ms: u64,
}

/// Copies until it is killed.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &options.servers)
        .set("group.id", &options.group)
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("isolation.level", "read_committed")
        .set("queued.max.messages.kbytes", "8192")
        .set("fetch.message.max.bytes", "1048576")
        .set("fetch.queue.backoff.ms", "10")
        .create()?;
    consumer.subscribe(&[&options.from])?;
    let mut producer = ClientConfig::new();
    producer
        .set("bootstrap.servers", &options.servers)
        .set("compression.codec", "lz4")
        .set("linger.ms", "20")
        .set("batch.size", "1000000")
        .set("queue.buffering.max.kbytes", "16384")
        .set("queue.buffering.max.messages", "200000")
        .set("max.in.flight.requests.per.connection", "2")
        .set("delivery.report.only.error", "true")
        .set("enable.idempotence", "true");
    if options.exactly_once {
        producer.set("transactional.id", &options.group);
    }
    let producer: BaseProducer = producer.create()?;
    if options.exactly_once {
        producer.init_transactions(PATIENCE)?;
    }
    let interval = Duration::from_millis(options.commit_ms);
    let mut offsets: Vec<Option<i64>> = Vec::new();
    let mut opened: Option<Instant> = None;
    let mut records = 0u64;
    loop {
        let mut look = records.is_multiple_of(RECORDS_A_LOOK);
        match consumer.poll(Duration::from_millis(10)) {
            None => look = true,
            Some(message) => {
                let message = message?;
                if opened.is_none() {
                    opened = Some(Instant::now());
                    if options.exactly_once {
                        producer.begin_transaction()?;
                    }
                }
                let partition = message.partition();
                let mut record = BaseRecord::<[u8], [u8]>::to(&options.to).partition(partition);
                record.payload = message.payload();
                record.key = message.key();
                record.timestamp = message.timestamp().to_millis();
                send(&producer, record)?;
                let index = partition as usize;
                if offsets.len() <= index {
                    offsets.resize(index + 1, None);
                }
                offsets[index] = Some(message.offset() + 1);
                records += 1;
            }
        }
        if !look {
            continue;
        }
        if opened.is_some_and(|opened| opened.elapsed() >= interval) {
            commit(options, &consumer, &producer, &mut offsets)?;
            opened = None;
        }
        producer.poll(Duration::ZERO);
    }
}

fn send(producer: &BaseProducer, mut record: BaseRecord<'_, [u8], [u8]>) -> anyhow::Result<()> {
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                record = back;
                wait(producer);
            }
            Err((error, _)) => return Err(error.into()),
        }
    }
}

/// The client's own poll would spin through the last millisecond.
fn wait(producer: &BaseProducer) {
    std::thread::sleep(Duration::from_micros(250));
    producer.poll(Duration::ZERO);
}

fn commit(
    options: &Options,
    consumer: &BaseConsumer,
    producer: &BaseProducer,
    offsets: &mut [Option<i64>],
) -> anyhow::Result<()> {
    while producer.in_flight_count() > 0 {
        wait(producer);
    }
    let mut list = TopicPartitionList::new();
    for (partition, offset) in offsets.iter_mut().enumerate() {
        if let Some(offset) = offset.take() {
            list.add_partition_offset(&options.from, partition as i32, Offset::Offset(offset))?;
        }
    }
    if !options.exactly_once {
        return Ok(consumer.commit(&list, CommitMode::Async)?);
    }
    let group = consumer.group_metadata().ok_or_else(|| anyhow::anyhow!("the consumer is in no group"))?;
    producer.send_offsets_to_transaction(&list, &group, PATIENCE)?;
    Ok(producer.commit_transaction(PATIENCE)?)
}
