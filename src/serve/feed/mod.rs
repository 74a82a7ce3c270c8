//! Kafka side: each pipeline has one feed of scores and one of enriched records.
//!
//! Feeds assign themselves all partitions and commit nothing, so any number of dashboards can run beside each other and
//! none disturbs a consumer group. What they read goes to the [`Hub`].
//!
//! Invariants: a feed never gives up: without Kafka or without its topic it says so and tries again; a stop ends it at
//! the next wait.

mod enriched;
mod scores;

use super::hub::Hub;
use crate::config::{Config, Kafka};
use crate::kafka::{client, explain};
use crate::telemetry::health::State;
use anyhow::{Context, anyhow};
use outlier_core::pipeline::Pipeline;
use rdkafka::consumer::{Consumer, DefaultConsumerContext, StreamConsumer};
use rdkafka::error::KafkaError;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{JoinSet, spawn_blocking};
use tokio_util::sync::CancellationToken;

/// The longest that a question to the broker may take.
const ANSWER: Duration = Duration::from_secs(3);
/// The time between two attempts.
const RETRY: Duration = Duration::from_secs(2);
/// The time between two looks at the topic's partitions.
const LOOK: Duration = Duration::from_secs(15);

/// A reader of one topic.
type Reader = StreamConsumer<DefaultConsumerContext>;

/// What a feed needs.
#[derive(Clone)]
struct Feed {
    config: Arc<Config>,
    hub: Arc<Hub>,
    /// Index of the pipeline.
    index: usize,
    topic: String,
    stop: CancellationToken,
}

/// Starts the feeds of all pipelines; they end with `stop`.
pub fn start(config: &Arc<Config>, hub: &Arc<Hub>, stop: &CancellationToken) -> JoinSet<()> {
    let mut feeds = JoinSet::new();
    for (index, pipeline) in config.pipelines.iter().enumerate() {
        let feed = |topic: &String| Feed {
            config: config.clone(),
            hub: hub.clone(),
            index,
            topic: topic.clone(),
            stop: stop.clone(),
        };
        feeds.spawn(keep(feed(&pipeline.topics.scores), async |feed| scores::session(feed).await));
        feeds.spawn(keep(feed(&pipeline.topics.enriched), async |feed| enriched::session(feed).await));
    }
    feeds
}

/// Runs sessions until the stop; says what is wrong between them.
async fn keep<F>(feed: Feed, session: F)
where
    F: AsyncFn(&Feed) -> anyhow::Result<()>,
{
    let sessions = async {
        feed.set(State::Starting { reason: "connecting to Kafka".to_owned() });
        loop {
            if let Err(wrong) = session(&feed).await {
                feed.set(feed.waiting(&wrong));
                tokio::time::sleep(RETRY).await;
            }
        }
    };
    tokio::select! {
        () = feed.stop.cancelled() => {}
        () = sessions => {}
    }
}

impl Feed {
    fn pipeline(&self) -> &Pipeline {
        &self.config.pipelines[self.index]
    }

    fn kafka(&self) -> &Kafka {
        &self.config.kafka
    }

    fn set(&self, state: State) {
        self.hub.set(&self.topic, state);
    }

    fn waiting(&self, wrong: &anyhow::Error) -> State {
        State::Waiting { reason: format!("topic {}: {wrong:#}", self.topic) }
    }

    fn connect(&self, queue_kbytes: &str) -> anyhow::Result<Arc<Reader>> {
        // Never joined: the name only tells the broker's operator who asks.
        let group = format!("{}{}.serve", self.kafka().topic_prefix, self.pipeline().name);
        let mut settings = client::consumer(self.kafka(), &group);
        settings.set("queued.max.messages.kbytes", queue_kbytes);
        settings.set("queued.min.messages", "1000");
        let reader: Reader = settings.create().context("the Kafka client does not start: check [kafka.properties]")?;
        Ok(Arc::new(reader))
    }

    /// The number of the topic's partitions.
    async fn partitions(&self, reader: &Arc<Reader>) -> anyhow::Result<i32> {
        let topic = self.topic.clone();
        let counted = ask(reader, move |reader| {
            let metadata = reader.fetch_metadata(Some(&topic), ANSWER)?;
            let topic = metadata.topics().first();
            match topic.and_then(|topic| topic.error()) {
                Some(error) => Err(KafkaError::MetadataFetch(error.into())),
                None => Ok(topic.map_or(0, |topic| topic.partitions().len())),
            }
        });
        i32::try_from(counted.await?).context("the topic has too many partitions")
    }

    /// Looks at the topic again: it is [`State::Ready`] when it answers and was read to its end before (`ready`).
    /// True when it has another number of partitions, and the session must assign them anew.
    async fn look(&self, reader: &Arc<Reader>, partitions: i32, ready: bool) -> bool {
        match self.partitions(reader).await {
            Ok(count) if count != partitions => return true,
            Ok(_) if ready => self.set(State::Ready),
            Ok(_) => {}
            Err(wrong) => self.set(self.waiting(&wrong)),
        }
        false
    }
}

/// What an error while reading means: a lost connection comes back by itself, and only [`Feed::look`] tells whether the
/// broker is gone; anything else ends the session.
///
/// # Errors
/// The error that ends it, and what to do.
fn endure(error: &KafkaError) -> anyhow::Result<()> {
    use rdkafka::error::RDKafkaErrorCode as Code;
    match error.rdkafka_error_code() {
        Some(Code::AllBrokersDown | Code::BrokerTransportFailure | Code::Resolve | Code::OperationTimedOut) => Ok(()),
        _ => Err(anyhow!(explain::explain(error))),
    }
}

/// Asks the broker on a thread that may block.
async fn ask<T: Send + 'static>(
    reader: &Arc<Reader>,
    question: impl FnOnce(&Reader) -> Result<T, KafkaError> + Send + 'static,
) -> anyhow::Result<T> {
    let reader = reader.clone();
    let answer = spawn_blocking(move || question(&reader)).await.context("asking the broker")?;
    answer.map_err(|error| anyhow!(explain::explain(&error)))
}
