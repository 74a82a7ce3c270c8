//! Partitions that are far ahead wait for one that catches up, also when another instance reads that.

use crate::support::kafka::{Kafka, flush, send};
use crate::support::opensearch::get;
use crate::support::outlier::Outlier;
use crate::support::pipeline::{self, START, log_record, topic};
use crate::support::{Workplace, read, wait};
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::time::Duration;

/// Records of the partition that has much to catch up with, in the first ten minutes of an hour.
const MANY: i64 = 2_000;
/// Records of the other one, in the fifty minutes after that.
const FEW: i64 = 400;
const HOUR: i64 = 3_600_000;
const HEAD_START: i64 = 600_000;
/// Closes every window of the hour.
const LAST: i64 = START + HOUR + 60_000;
/// End of the last window that it closes, of ten seconds and two of lateness.
const END: i64 = START + HOUR + 50_000;

/// Two instances of a group that commit each record, so that reading takes a while.
struct Group {
    name: &'static str,
    instances: [Outlier; 2],
    /// The most panes that were open at a time.
    peak: i64,
    /// A partition was seen to wait.
    waited: bool,
}

impl Group {
    fn start(kafka: &Kafka, place: &Workplace, raw: &str, name: &'static str, align: &str) -> Self {
        pipeline::create(kafka, place, name);
        let process = format!("idle_timeout = \"10m\"\nmax_batch_records = 1\nalign = \"{align}\"");
        let windows = "window = \"10s\"\nlateness = \"2s\"";
        let config = pipeline::configuration(kafka, place, [name; 2], raw, &process, windows);
        let instances = [1, 2].map(|i| Outlier::start(&config, &format!("{name}-{i}"), &["process"]));
        Self { name, instances, peak: 0, waited: false }
    }

    /// Each instance owns one of the two raw partitions.
    fn shares(&self) -> bool {
        self.instances.iter().all(|instance| {
            let log = read(&instance.log);
            let worker = format!("process {} transform", self.name);
            let last = log.lines().rfind(|line| line.contains(&worker) && line.contains("owned="));
            last.is_some_and(|line| line.contains("owned={0}") || line.contains("owned={1}"))
        })
    }

    /// What the instances' metrics of this name add up to; `labels` as they are written.
    fn sum(&self, metric: &str, service: &str, labels: &str) -> i64 {
        let line = format!("{metric}{{service=\"{service}\",pipeline=\"{}\",{labels}}} ", self.name);
        let value = |metrics: String| -> i64 {
            metrics.lines().find_map(|text| text.strip_prefix(&line)?.parse().ok()).unwrap_or(0)
        };
        self.instances.iter().map(|instance| value(get(&instance.telemetry(), "/metrics").unwrap())).sum()
    }

    fn enriched(&self) -> i64 {
        self.sum("outlier_records_total", "process", "outcome=\"out\",reason=\"\"")
    }

    fn look(&mut self) {
        let level = |service: &str, name: &str| self.sum("outlier_level", service, &format!("name=\"{name}\""));
        let (open, waiting) = (level("score", "open_panes"), level("process", "waiting_partitions"));
        self.peak = self.peak.max(open);
        if waiting > 0 && !self.waited {
            let noted = |i: &Outlier| get(&i.telemetry(), "/health").unwrap().contains("\"waiting_partitions\":1");
            self.waited = self.instances.iter().any(noted);
        }
    }
}

/// The same scores with and without, and far fewer windows open at a time.
#[test]
fn one_that_is_ahead_waits_for_one_that_catches_up() {
    let kafka = Kafka::start();
    let place = Workplace::new("align");
    let raw = topic(&place, "any", "raw");
    kafka.create(&[(raw.clone(), 2)]);
    let start = |name, align| Group::start(&kafka, &place, &raw, name, align);
    let mut groups = [start("aligned", "1m"), start("free", "0s")];
    for group in &groups {
        wait("a partition for each instance", Duration::from_secs(60), || group.shares());
    }
    let mut rng = StdRng::seed_from_u64(1);
    let producer = kafka.producer();
    let mut feed = |partition: i32, time: i64| {
        send(&producer, &raw, partition, Some(log_record(&mut rng, time).as_bytes()), time);
    };
    (0..MANY).for_each(|i| feed(0, START + i * HEAD_START / MANY));
    for group in &groups {
        wait("the backlog's beginning", Duration::from_secs(60), || group.enriched() > 200);
    }
    (0..FEW).for_each(|i| feed(1, START + HEAD_START + i * (HOUR - HEAD_START) / FEW));
    feed(1, LAST);
    // However fast it is read, there is more of the backlog until it has shown.
    let mut sent = MANY + FEW + 1;
    wait("partitions that wait", Duration::from_secs(60), || {
        groups.iter_mut().for_each(Group::look);
        if groups.iter().any(|group| group.enriched() + 500 > sent) {
            (0..1_000).for_each(|_| feed(0, START + HEAD_START));
            sent += 1_000;
        }
        groups[0].waited && groups[1].peak > 500
    });
    feed(0, LAST);
    flush(&producer);

    let scores = |name: &str| {
        let mut rows: Vec<_> = kafka.read_all(&topic(&place, name, "scores")).iter().map(|r| r.text()).collect();
        rows.sort();
        rows
    };
    let marker = format!("\"window_end\":{END},");
    wait("the last scores", Duration::from_secs(120), || {
        groups.iter_mut().for_each(Group::look);
        let done = |group: &Group| scores(group.name).iter().filter(|row| row.contains(&marker)).count();
        groups.iter().all(|group| done(group) == pipeline::SERIES)
    });
    let [aligned, free] = groups;
    println!("panes open at a time: {} aligned, {} free", aligned.peak, free.peak);
    assert!(aligned.waited && !free.waited);
    assert!(aligned.peak * 3 < free.peak, "{} and {}", aligned.peak, free.peak);
    assert_eq!(scores("aligned"), scores("free"));
    assert_eq!(aligned.enriched(), sent + 1);
    for instance in aligned.instances.into_iter().chain(free.instances) {
        assert!(instance.stop().success());
    }
}
