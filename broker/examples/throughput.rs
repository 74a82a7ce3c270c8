//! How fast one rdkafka producer and one consumer are on the embedded broker, or on the one named by the first argument.
//!
//! Records of 700 bytes in lz4 batches of 1 MB. Prints records per second, once for each direction.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use outlier_broker::{Broker, Config};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

const RECORDS: usize = 1_500_000;
const RECORD_BYTES: usize = 700;

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<()> {
    let broker = Broker::start(Config { retention_bytes: 2 << 30, ..Config::default() }).await?;
    let bootstrap = std::env::args().nth(1).unwrap_or_else(|| broker.address().to_string());
    tokio::task::spawn_blocking(move || measure(&bootstrap)).await??;
    broker.shutdown().await;
    Ok(())
}

fn measure(bootstrap: &str) -> Result<()> {
    let topic = format!("throughput-{}", std::process::id());
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("compression.type", "lz4")
        .set("linger.ms", "20")
        .set("batch.size", "1000000")
        .set("batch.num.messages", "100000")
        .set("queue.buffering.max.messages", "200000")
        .set("queue.buffering.max.kbytes", "200000")
        .create()?;
    // Half noise, half repetition: compresses about as logs do.
    let mut seed = 1_u64;
    let noise = (0..1 << 20).map(|i| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        if i / 16 % 2 == 0 { b'x' } else { (seed >> 56) as u8 }
    });
    let noise: Vec<u8> = noise.collect();
    let begun = Instant::now();
    for i in 0..RECORDS {
        let from = i * 7_919 % (noise.len() - RECORD_BYTES);
        let payload = &noise[from..from + RECORD_BYTES];
        let mut record = BaseRecord::<(), [u8]>::to(&topic).payload(payload).partition(0);
        while let Err((error, back)) = producer.send(record) {
            if error != KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) {
                return Err(error).context("could not produce");
            }
            record = back;
            producer.poll(Duration::from_millis(5));
        }
    }
    producer.flush(Duration::from_secs(60))?;
    report("produced", begun);
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "throughput")
        .set("fetch.message.max.bytes", "8000000")
        .create()?;
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&topic, 0, Offset::Beginning)?;
    consumer.assign(&list)?;
    let begun = Instant::now();
    for _ in 0..RECORDS {
        consumer.poll(Duration::from_secs(30)).context("no record came in time")??;
    }
    report("consumed", begun);
    Ok(())
}

fn report(what: &str, begun: Instant) {
    let seconds = begun.elapsed().as_secs_f64();
    println!("{what} {:.0} records/s ({:.1} s)", RECORDS as f64 / seconds, seconds);
}
