//! The counters of all services, in Prometheus' text format.
//!
//! Invariant: the ledgers of `process` (`in = out + rejected`) and of `sink` (`in = out + already_there + rejected`) add
//! up; nothing is dropped without being counted here.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Labels of [`Metrics::records`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Outcome {
    /// `produce`, `process`, `sink`.
    pub service: String,
    /// The pipeline's name.
    pub pipeline: String,
    /// `in`, `out`, `rejected`, `already_there`, `late`, `after_close`, …
    pub outcome: String,
    /// Why, where there is more than one reason; else empty.
    pub reason: String,
}

/// Labels of [`Metrics::gauges`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Named {
    /// The service.
    pub service: String,
    /// The pipeline's name.
    pub pipeline: String,
    /// What is measured.
    pub name: String,
}

/// All metrics of a process.
pub struct Metrics {
    registry: Registry,
    records: Family<Outcome, Counter>,
    transactions: Family<Outcome, Counter>,
    gauges: Family<Named, Gauge>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("outlier");
        let records = Family::default();
        registry.register("records", "Records by service and what became of them", records.clone());
        let transactions = Family::default();
        registry.register("transactions", "Kafka transactions by service and how they ended", transactions.clone());
        let gauges = Family::default();
        registry.register("level", "Levels such as open windows or lag, by name", gauges.clone());
        Self { registry, records, transactions, gauges }
    }
}

impl Metrics {
    /// Counter of records of a service with this outcome; keep the handle on hot paths.
    pub fn records(&self, service: &str, pipeline: &str, outcome: &str, reason: &str) -> Counter {
        self.records.get_or_create_owned(&outcome_of(service, pipeline, outcome, reason))
    }

    /// Counter of transactions that ended so: `committed`, `aborted`.
    pub fn transactions(&self, service: &str, pipeline: &str, outcome: &str) -> Counter {
        self.transactions.get_or_create_owned(&outcome_of(service, pipeline, outcome, ""))
    }

    /// A level that goes up and down.
    pub fn gauge(&self, service: &str, pipeline: &str, name: &str) -> Gauge {
        self.gauges.get_or_create_owned(&Named {
            service: service.to_owned(),
            pipeline: pipeline.to_owned(),
            name: name.to_owned(),
        })
    }

    /// Everything in Prometheus' text format.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

fn outcome_of(service: &str, pipeline: &str, outcome: &str, reason: &str) -> Outcome {
    Outcome {
        service: service.to_owned(),
        pipeline: pipeline.to_owned(),
        outcome: outcome.to_owned(),
        reason: reason.to_owned(),
    }
}
