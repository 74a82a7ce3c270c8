//! The loop's stage: score rows into books, changed alerts into the topic, what is owed to the notifier.
//!
//! Invariants: alerts and the offset of their rows are written in one transaction, by which somebody who does not own the
//! partition any more cannot write them, even if no row came; after an abort a partition's alerts are read from the topic
//! again, and what was delivered meanwhile is not forgotten; nothing is offered to the notifier before it is committed.

use super::notify::{Ending, Notifier};
use crate::kafka::output::Output;
use crate::kafka::read;
use crate::kafka::topics::partition_count;
use crate::telemetry::Telemetry;
use crate::time::now as clock;
use crate::worker::Misfit;
use crate::worker::stage::{Assigned, Next, Progress, Stage, Tell};
use outlier_core::alert::{Alert, Book, Counts, Recipient, Rules, batch, owed};
use outlier_core::pipeline::{Millis, Topics};
use outlier_core::score::Score;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use rdkafka::consumer::BaseConsumer;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::producer::BaseRecord;
use rdkafka::{ClientConfig, Offset};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Between two looks at what the clock decides; milliseconds.
const LOOK: Millis = 1_000;
/// The log says that messages are given up once in so many milliseconds.
const SAY: Millis = 60_000;

/// What a stage is made of; outlives it when it starts again.
pub struct Parts {
    /// The pipeline's.
    pub topics: Topics,
    /// When alerts begin, end and are told.
    pub rules: Arc<Rules>,
    /// Whom to tell; none where somebody else does.
    pub recipients: Vec<Recipient>,
    /// How long an alert waits for others; milliseconds.
    pub group_wait: Millis,
    /// Reads committed records.
    pub connection: ClientConfig,
    /// Sends.
    pub notifier: Notifier,
}

/// The alert stage of one pipeline.
pub struct AlertStage {
    parts: Arc<Parts>,
    books: BTreeMap<i32, Book>,
    /// The next offset of each partition, where it is known.
    next: BTreeMap<i32, i64>,
    /// Partitions whose rows or alerts are in the transaction under way.
    touched: BTreeSet<i32>,
    /// Partitions that are read to their end.
    at_end: BTreeSet<i32>,
    looked: Millis,
    /// When the log last said that messages are given up.
    said: Millis,
    /// Messages whose delivery is not committed yet: after an abort they are delivered all the same.
    delivered: Vec<Ending>,
    /// What is owed may have changed since it was offered.
    offer: bool,
    /// Partitions are about to go: nothing is offered until they have.
    leaving: bool,
    /// Rows of the transaction under way.
    rows: u64,
    unreadable: u64,
    lost: u64,
    /// Reading goes on elsewhere than was committed.
    skipped: bool,
    metrics: Metrics,
}

struct Metrics {
    rows: Counter,
    unreadable: Counter,
    lost: Counter,
    began: Counter,
    resolved: Counter,
    beyond: Counter,
    untold: Counter,
    open: Gauge,
}

impl AlertStage {
    /// A stage that owns nothing yet.
    ///
    /// # Errors
    /// The alerts topic has fewer partitions than that of the scores, or no broker answers.
    pub fn new(parts: Arc<Parts>, pipeline: &str, telemetry: &Telemetry) -> anyhow::Result<Self> {
        // The stage before this one may have failed while messages were on the way.
        parts.notifier.take_back();
        let consumer: BaseConsumer = parts.connection.create()?;
        let Topics { scores, alerts, .. } = &parts.topics;
        let (there, wanted) = (partition_count(&consumer, alerts)?, partition_count(&consumer, scores)?);
        if there < wanted {
            return Err(Misfit(format!(
                "the topic {alerts} has {there} partitions and {scores} {wanted}: `kafka-topics.sh --alter --topic {alerts} --partitions {wanted}`"
            ))
            .into());
        }
        let record = |outcome| telemetry.metrics.records("alert", pipeline, outcome, "");
        let metrics = Metrics {
            rows: record("in"),
            unreadable: telemetry.metrics.records("alert", pipeline, "rejected", "not-a-score"),
            lost: telemetry.metrics.records("alert", pipeline, "lost", "retention"),
            began: record("began"),
            resolved: record("resolved"),
            beyond: record("beyond"),
            untold: record("untold"),
            open: telemetry.metrics.gauge("alert", pipeline, "open_alerts"),
        };
        let component = format!("alert {pipeline}");
        telemetry.health.show_count(&component, "beyond", &metrics.beyond);
        telemetry.health.show_count(&component, "untold", &metrics.untold);
        telemetry.health.show_count(&component, "not_a_score", &metrics.unreadable);
        telemetry.health.show_count(&component, "lost", &metrics.lost);
        telemetry.health.show_level(&component, "open_alerts", &metrics.open);
        Ok(Self {
            parts,
            books: BTreeMap::new(),
            next: BTreeMap::new(),
            touched: BTreeSet::new(),
            at_end: BTreeSet::new(),
            looked: 0,
            said: 0,
            delivered: Vec::new(),
            offer: false,
            leaving: false,
            rows: 0,
            unreadable: 0,
            lost: 0,
            skipped: false,
            metrics,
        })
    }

    /// Messages were made or are due, or the clock has something to decide.
    fn due(&self, now: Millis) -> bool {
        let since = self.books.values().filter_map(Book::due_since).min();
        since.is_some_and(|since| now.saturating_sub(since) >= self.parts.group_wait)
    }

    /// Takes in what became of messages.
    fn endings(&mut self) {
        while let Some(ending) = self.parts.notifier.ended() {
            if ending.done {
                note(&mut self.books, &ending);
                self.delivered.push(ending);
            }
            self.offer = true;
        }
    }

    /// What the clock decides.
    fn look(&mut self, now: Millis) {
        if now.saturating_sub(self.looked) >= LOOK || now < self.looked {
            self.looked = now;
            for (partition, book) in &mut self.books {
                if self.at_end.contains(partition) {
                    book.caught_up(now);
                }
            }
        }
        if self.due(now) {
            batch(self.books.values_mut(), &self.parts.recipients);
        }
    }

    /// Gives what is owed and committed to the notifier.
    fn offer(&mut self) {
        if self.leaving || !std::mem::take(&mut self.offer) {
            return;
        }
        for mut message in owed(self.books.values()) {
            // Series of two pipelines may have one name, and their alerts one id.
            message.key = format!("{}-{}", self.parts.topics.alerts, message.key);
            // The channel has enough to do: again when something has ended.
            self.parts.notifier.offer(message);
        }
    }

    fn show_open(&self) {
        self.metrics.open.set(self.books.values().map(|book| book.open_alerts().len()).sum::<usize>() as i64);
    }

    fn has_changes(&self) -> bool {
        self.books.values().any(Book::has_changes)
    }
}

impl Stage for AlertStage {
    fn topic(&self) -> &str {
        &self.parts.topics.scores
    }

    fn assign(&mut self, partitions: Vec<Assigned>, now: Millis, tell: Tell<'_>) -> anyhow::Result<Vec<(i32, Offset)>> {
        let mut books: BTreeMap<i32, Book> =
            partitions.iter().map(|p| (p.partition, Book::new(Arc::clone(&self.parts.rules)))).collect();
        let numbers: Vec<i32> = books.keys().copied().collect();
        let topic = &self.parts.topics.alerts;
        read::committed(&self.parts.connection, topic, &numbers, tell, |partition, key, value| {
            let Some((book, bytes)) = books.get_mut(&partition).zip(value) else { return Ok(()) };
            let alert = Alert::parse(bytes)
                .map_err(|error| Misfit(format!("{topic}/{partition}: the record {key} is not an alert: {error}")))?;
            book.restore(alert, now);
            Ok(())
        })?;
        self.books.append(&mut books);
        self.delivered.iter().for_each(|ending| note(&mut self.books, ending));
        self.offer = true;
        self.show_open();
        let committed = |p: Assigned| (p.partition, p.committed.map(|(offset, _)| offset));
        let committed: Vec<(i32, Option<i64>)> = partitions.into_iter().map(committed).collect();
        self.next.extend(committed.iter().filter_map(|(partition, offset)| Some((*partition, (*offset)?))));
        Ok(committed.into_iter().map(|(p, offset)| (p, offset.map_or(Offset::Beginning, Offset::Offset))).collect())
    }

    fn revoke(&mut self, partition: i32) {
        self.books.remove(&partition);
        self.next.remove(&partition);
        self.touched.remove(&partition);
        self.at_end.remove(&partition);
        self.leaving = false;
        self.offer = true;
        self.show_open();
    }

    fn message(&mut self, message: &BorrowedMessage<'_>, _: &mut Output) -> anyhow::Result<Next> {
        let (partition, offset) = (message.partition(), message.offset());
        self.at_end.remove(&partition);
        self.next.insert(partition, offset + 1);
        self.touched.insert(partition);
        match serde_json::from_slice::<Score>(message.payload().unwrap_or_default()) {
            Ok(row) => {
                self.rows += 1;
                if let Some(book) = self.books.get_mut(&partition) {
                    book.row(&row, clock());
                }
            }
            Err(error) => {
                self.unreadable += 1;
                let topic = message.topic();
                tracing::warn!(topic, partition, offset, "not a score, left out: {error}");
            }
        }
        Ok(Next::Message)
    }

    fn lost(&mut self, partition: i32, records: i64) -> bool {
        let topic = &self.parts.topics.scores;
        tracing::error!(topic, partition, records, "scores were deleted before they were read, or made anew");
        self.lost += u64::try_from(records).unwrap_or_default();
        true
    }

    fn skip(&mut self, partition: i32, to: i64) -> bool {
        self.next.insert(partition, to);
        self.touched.insert(partition);
        self.skipped = true;
        true
    }

    fn at_end(&mut self, partition: i32, _: Millis) {
        self.at_end.insert(partition);
    }

    fn wants_commit(&mut self, now: Millis) -> bool {
        // Whatever was let go has gone, even if no partition was among it.
        self.offer |= std::mem::take(&mut self.leaving);
        self.endings();
        self.look(now);
        if !self.has_changes() {
            self.offer();
        }
        self.has_changes() || self.skipped
    }

    fn letting_go(&mut self) {
        self.leaving = true;
        self.parts.notifier.settle();
    }

    fn finish(&mut self, now: Millis, output: &mut Output) -> anyhow::Result<Vec<Progress>> {
        self.endings();
        self.look(now);
        for (partition, book) in &mut self.books {
            for alert in book.take_changes() {
                let value = serde_json::to_vec(&alert)?;
                let record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(&self.parts.topics.alerts);
                output.send(record.partition(*partition).key(alert.id.as_bytes()).payload(&value))?;
                self.touched.insert(*partition);
                self.offer = true;
            }
        }
        let touched = std::mem::take(&mut self.touched).into_iter();
        let at = |partition| Some(Progress { partition, offset: *self.next.get(&partition)?, metadata: String::new() });
        Ok(touched.filter_map(at).collect())
    }

    fn committed(&mut self) {
        self.delivered.clear();
        let mut given_up = 0;
        for book in self.books.values_mut() {
            let Counts { began, resolved, beyond, untold } = book.take_counts();
            self.metrics.began.inc_by(began);
            self.metrics.resolved.inc_by(resolved);
            self.metrics.beyond.inc_by(beyond);
            self.metrics.untold.inc_by(untold);
            given_up += untold;
        }
        if given_up > 0 && !(0..SAY).contains(&clock().saturating_sub(self.said)) {
            self.said = clock();
            let (topic, all) = (&self.parts.topics.alerts, self.metrics.untold.get());
            tracing::error!(
                topic,
                all,
                "messages about alerts that are over are taken too slowly, or not at all: the oldest are given up. /health has the channels"
            );
        }
        self.metrics.rows.inc_by(std::mem::take(&mut self.rows));
        self.metrics.unreadable.inc_by(std::mem::take(&mut self.unreadable));
        self.metrics.lost.inc_by(std::mem::take(&mut self.lost));
        self.skipped = false;
        self.show_open();
        self.offer();
    }

    fn aborted(&mut self) {
        self.parts.notifier.take_back();
        self.books.clear();
        self.next.clear();
        self.touched.clear();
        self.at_end.clear();
        (self.rows, self.unreadable, self.lost, self.skipped) = (0, 0, 0, false);
    }
}

/// Notes that a message was delivered, or given up.
fn note(books: &mut BTreeMap<i32, Book>, Ending { batch, channel, ids, .. }: &Ending) {
    books.values_mut().for_each(|book| book.delivered(batch, channel, ids));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Environment};
    use crate::kafka::client;
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::{BaseProducer, Producer};
    use std::time::Duration;

    const ALERT: &str = r#"{"id":"0f","state":"firing","sequence":1,"severity":"normal","detector":"d","series":"s","start":0,"end":10,"updated":20,"windows":1,"peak":{"window_end":10,"value":1,"expected":1,"lower":0,"upper":2,"score":95},"tell":true}"#;

    /// Only with its offset does a transaction fail whose partition belongs to somebody else by now.
    #[tokio::test(flavor = "multi_thread")]
    async fn what_the_clock_decides_is_committed_with_the_offset() {
        let cluster = MockCluster::new(1).unwrap();
        let servers = cluster.bootstrap_servers();
        let text = format!("[kafka]\nbootstrap_servers = \"{servers}\"\n[[pipeline]]\npreset = \"waf\"\n");
        let config = Config::parse(&text, "test", &Environment::default()).unwrap();
        let (pipeline, telemetry) = (&config.pipelines[0], Telemetry::default());
        for topic in [&pipeline.topics.scores, &pipeline.topics.alerts] {
            cluster.create_topic(topic, 2, 1).unwrap();
        }
        let producer: BaseProducer = client::producer(&config.kafka).create().unwrap();
        let before = BaseRecord::to(&pipeline.topics.alerts).partition(0).key("0f").payload(ALERT);
        producer.send(before).map_err(|(error, _)| error).unwrap();
        producer.flush(Duration::from_secs(30)).unwrap();
        let parts = Arc::new(Parts {
            topics: pipeline.topics.clone(),
            rules: Arc::new(super::super::rules(&config, pipeline, true)),
            recipients: Vec::new(),
            group_wait: 0,
            connection: client::reader(&config.kafka),
            notifier: Notifier::start(&[], "p", &telemetry).unwrap(),
        });
        let settings = client::producer(&config.kafka);
        let work = move || {
            let mut stage = AlertStage::new(parts, "p", &telemetry).unwrap();
            let committed = |partition| Assigned { partition, committed: Some((5, String::new())) };
            stage.assign(vec![committed(0), committed(1)], clock(), &mut |_| Ok(())).unwrap();
            stage.at_end(0, clock());
            let mut output = Output::connect(settings, None, Duration::from_secs(10), |_| true).unwrap();
            let progress = stage.finish(clock() + 2 * 86_400_000, &mut output).unwrap();
            progress.into_iter().map(|Progress { partition, offset, .. }| (partition, offset)).collect::<Vec<_>>()
        };
        assert_eq!(tokio::task::spawn_blocking(work).await.unwrap(), [(0, 5)]);
    }
}
