//! What a group left behind, and whether it is the same as another's.

use crate::support::Workplace;
use crate::support::kafka::Kafka;
use crate::support::opensearch::get;
use crate::support::outlier::Outlier;
use crate::support::pipeline::topic;
use std::collections::BTreeMap;
use std::fmt::Debug;

/// The end state of a pipeline.
pub struct Outcome {
    /// Enriched records by their source, without the best-effort part.
    enriched: Vec<(String, String)>,
    /// Rejected records by their source.
    rejected: Vec<(String, String)>,
    /// Every row, sorted.
    scores: Vec<String>,
}

impl Outcome {
    /// Reads every topic. Fails on a source that is there twice, or out of order.
    pub fn read(kafka: &Kafka, place: &Workplace, name: &str) -> Self {
        let enriched = by_source(kafka, &topic(place, name, "enriched"), true);
        let rejected = by_source(kafka, &topic(place, name, "rejected"), false);
        let plain = |text: String| text.split(",\"outlier\"").next().unwrap_or_default().to_owned();
        let enriched = enriched.into_iter().map(|(source, text)| (source, plain(text))).collect();
        Self { enriched, rejected: rejected.into_iter().collect(), scores: scores(kafka, place, name) }
    }

    /// How many enriched and rejected records there are.
    pub fn counts(&self) -> (usize, usize) {
        (self.enriched.len(), self.rejected.len())
    }

    /// Fails with the first differences.
    pub fn assert_same(&self, other: &Self, names: &str) {
        same(&format!("enriched: {names}"), &self.enriched, &other.enriched);
        same(&format!("rejected: {names}"), &self.rejected, &other.rejected);
        same(&format!("scores: {names}"), &self.scores, &other.scores);
    }

    /// How many rows of scores there are, and how many of them have reasons.
    pub fn rows(&self) -> (usize, usize) {
        let reasons = self.scores.iter().filter(|row| row.contains("\"why\":[{")).count();
        (self.scores.len(), reasons)
    }
}

/// Every row of the scores topic, sorted.
pub fn scores(kafka: &Kafka, place: &Workplace, name: &str) -> Vec<String> {
    let mut rows: Vec<_> = kafka.read_all(&topic(place, name, "scores")).iter().map(|record| record.text()).collect();
    rows.sort();
    rows
}

/// Records that the instances count on `/metrics`: read, enriched and rejected; fails unless each one's add up.
pub fn ledger<'a>(name: &str, instances: impl IntoIterator<Item = &'a Outlier>) -> [usize; 3] {
    let mut total = [0; 3];
    for instance in instances {
        let metrics = get(&instance.telemetry(), "/metrics").expect("/metrics");
        let counted = ["in", "out", "rejected"].map(|outcome| {
            let labels = format!(
                "outlier_records_total{{service=\"process\",pipeline=\"{name}\",outcome=\"{outcome}\",reason=\""
            );
            let lines = metrics.lines().filter(|line| line.starts_with(&labels));
            lines.map(|line| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap()).sum::<usize>()
        });
        assert_eq!(counted[0], counted[1] + counted[2], "in = enriched + rejected: {}", instance.log.display());
        total.iter_mut().zip(counted).for_each(|(total, counted)| *total += counted);
    }
    total
}

fn by_source(kafka: &Kafka, topic: &str, ordered: bool) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut last: BTreeMap<i32, i64> = BTreeMap::new();
    for record in kafka.read_all(topic) {
        let source = record.header("outlier-source").expect("the header outlier-source").to_owned();
        let before = found.insert(source.clone(), record.text());
        assert_eq!(before, None, "{source} is there twice in {topic}");
        let offset: i64 = source.rsplit('/').next().unwrap().parse().unwrap();
        let before = last.insert(record.partition, offset);
        assert!(!ordered || before < Some(offset), "{source} comes after {before:?} in {topic}");
    }
    found
}

fn same<T: Ord + Debug>(what: &str, these: &[T], those: &[T]) {
    let first = |these: &[T], those: &[T]| {
        let only: Vec<_> = these.iter().filter(|one| those.binary_search(one).is_err()).collect();
        let few: Vec<_> = only.iter().take(5).map(|one| format!("\n  {one:?}")).collect();
        format!("{} only there:{}", only.len(), few.concat())
    };
    if these != those {
        let (left, right) = (first(these, those), first(those, these));
        panic!("{what} differ, {} and {}\nleft {left}\nright {right}", these.len(), those.len());
    }
}
