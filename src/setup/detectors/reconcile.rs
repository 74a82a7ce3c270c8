//! Keeps OpenSearch's detectors running: in the sink, one instance at a time.
//!
//! A detector that is started before the index holds enough intervals fails its cold start and, seen on OpenSearch 3.4,
//! does not try again for an hour. So each is started when the data is there, watched, and stopped and started again
//! when it is stuck.
//!
//! ```text
//!             data is there            samples are learned
//!  Waiting ───────────────► started ───────────────────────► Running
//!                              │  ▲
//!                       stuck  ▼  │ next look
//!                             stopped
//! ```
//!
//! Invariants: a detector that somebody stopped by hand stays stopped; nothing here holds up the sink.

use super::{Detector, NEEDED_INTERVALS, wanted};
use crate::config::Config;
use crate::index::opensearch::{Answer, Client};
use crate::setup::index::ledger::{Lease, Ledger};
use crate::setup::index::plugins::{Plugins, Presence};
use crate::setup::index::thing::{self, DETECTORS, Kind, bytes};
use crate::telemetry::Telemetry;
use crate::telemetry::health::State;
use opensearch::http::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How often detectors are looked at.
const LOOK: Duration = Duration::from_secs(30);

/// The right to start and stop detectors.
const LEASE: &str = "detectors";
const LEASE_TIME: Duration = Duration::from_secs(120);

/// A detector whose data is there is stuck when it has not learned it within so many intervals.
const STUCK_INTERVALS: u64 = 5;

/// How the profile of a detector begins that the server stopped, as its intervals failed.
const SERVER_STOPPED: &str = "Stopped detector";

/// What is known of a detector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// As its profile calls it.
    pub state: String,
    /// What its profile complains about; may be empty.
    pub error: String,
    /// Intervals with documents among the latest ones.
    pub intervals: u64,
    /// It was started by a reconciler, and not stopped by one since.
    pub started: bool,
    /// In this state without learning for so many intervals.
    pub unmoved: u64,
}

/// What to do, and what to say of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Start it.
    Start,
    /// Stop it; a later look starts it again.
    Stop,
    /// Nothing: it works.
    Works,
    /// Nothing yet, for this reason.
    Wait(String),
}

/// Decides on a detector.
pub fn decide(seen: &Seen) -> Act {
    let enough = seen.intervals >= NEEDED_INTERVALS;
    let data = || format!("{} of {NEEDED_INTERVALS} intervals with data are indexed", seen.intervals);
    match seen.state.as_str() {
        "RUNNING" if seen.error.is_empty() => Act::Works,
        "DISABLED" if seen.started && by_hand(&seen.error) => {
            Act::Wait("it was stopped by hand: start it in OpenSearch, or run `outlier setup --force`".to_owned())
        }
        "DISABLED" if enough => Act::Start,
        "DISABLED" => Act::Wait(format!("it is started when {}", data())),
        _ if !enough => Act::Wait(format!("it learns: {}", data())),
        _ if seen.unmoved >= STUCK_INTERVALS => Act::Stop,
        "INIT" => Act::Wait("it learns".to_owned()),
        state => Act::Wait(format!("it is {state}: {}", seen.error)),
    }
}

/// The health component of a detector.
fn component(detector: &Detector) -> String {
    format!("opensearch.detector.{}", detector.name)
}

/// Whether a detector that does not run was stopped by somebody. A profile keeps its last error through that; the one error
/// is the server's own reason to stop.
fn by_hand(error: &str) -> bool {
    !error.starts_with(SERVER_STOPPED)
}

/// Whether a detector stands still and the server did not stop it.
///
/// # Errors
/// No answer, or no right to look.
pub async fn stopped_by_hand(client: &Client, id: &str) -> anyhow::Result<bool> {
    let (state, error, _) = profile(client, id).await?;
    Ok(state == "DISABLED" && by_hand(&error))
}

/// State, error and progress of a detector.
async fn profile(client: &Client, id: &str) -> anyhow::Result<(String, String, Value)> {
    let path = format!("{DETECTORS}/{id}/_profile?_all=true");
    let mut profile = checked(client.send(Method::Get, &path, None).await?)?;
    let text = |name: &str| profile[name].as_str().unwrap_or_default().to_owned();
    Ok((text("state"), text("error"), profile["init_progress"].take()))
}

/// Watches the detectors of all pipelines until `stop`, if the cluster has such detectors.
pub async fn run(config: &Config, client: &Client, telemetry: &Telemetry, stop: &CancellationToken) {
    let mut reconciler = Reconciler::new(config, client, telemetry);
    if reconciler.detectors.is_empty() {
        return;
    }
    loop {
        let looked = tokio::select! {
            () = stop.cancelled() => break,
            looked = reconciler.look(Instant::now()) => looked,
        };
        match looked {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => tracing::warn!("OpenSearch's detectors could not be looked at: {error:#}"),
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
    reconciler.leave().await;
}

/// One instance's view of the detectors.
pub struct Reconciler<'a> {
    client: &'a Client,
    ledger: Ledger,
    telemetry: &'a Telemetry,
    detectors: Vec<Detector>,
    /// By name: the progress that was seen last, and since when.
    unmoved: BTreeMap<String, (String, Instant)>,
    lease: Option<Lease>,
    /// The plugin was seen.
    present: bool,
}

impl<'a> Reconciler<'a> {
    /// Nothing is asked yet.
    pub fn new(config: &Config, client: &'a Client, telemetry: &'a Telemetry) -> Self {
        let all = config.pipelines.iter().flat_map(|pipeline| wanted(config, pipeline));
        Self {
            client,
            ledger: Ledger::new(client, &config.opensearch.index_prefix, config.opensearch.replicas),
            telemetry,
            detectors: all.filter(|_| config.opensearch.detectors).collect(),
            unmoved: BTreeMap::new(),
            lease: None,
            present: false,
        }
    }

    /// Looks at each detector once, does what is needed, and says how each is. False: the cluster has no detectors.
    ///
    /// # Errors
    /// OpenSearch does not answer, or the lease cannot be written.
    pub async fn look(&mut self, now: Instant) -> anyhow::Result<bool> {
        let looked = self.look_at_all(now).await;
        if let Err(error) = &looked {
            self.tell_all(&format!("it was not looked at: {error:#}"));
        }
        looked
    }

    async fn look_at_all(&mut self, now: Instant) -> anyhow::Result<bool> {
        if !self.present {
            match Plugins::find(self.client).await?.detection {
                Presence::There => self.present = true,
                Presence::Absent => {
                    self.forget_all();
                    return Ok(false);
                }
                Presence::Refused(reason) => {
                    self.tell_all(&reason);
                    return Ok(true);
                }
            }
        }
        if !self.hold().await? {
            self.forget_all();
            return Ok(true);
        }
        let all_started = self.ledger.started().await?;
        for detector in self.detectors.clone() {
            let state = match self.one(&detector, all_started.contains(&detector.name), now).await {
                Ok(Act::Works) => State::Ready,
                Ok(Act::Wait(reason)) => State::Learning { reason },
                Ok(Act::Start) => State::Learning { reason: "it was started".to_owned() },
                Ok(Act::Stop) => State::Learning { reason: "it was stuck, and is started again".to_owned() },
                Err(error) => State::Learning { reason: format!("{error:#}") },
            };
            self.telemetry.health.set(&component(&detector), state);
        }
        Ok(true)
    }

    /// Says nothing of them any more.
    fn forget_all(&self) {
        self.detectors.iter().for_each(|detector| self.telemetry.health.forget(&component(detector)));
    }

    /// What holds up all of them.
    fn tell_all(&self, reason: &str) {
        for detector in &self.detectors {
            let state = State::Learning { reason: reason.to_owned() };
            self.telemetry.health.set(&component(detector), state);
        }
    }

    /// Lets another instance look.
    pub async fn leave(&mut self) {
        if let Some(lease) = self.lease.take() {
            self.ledger.release(lease).await;
        }
    }

    /// Whether this instance is the one that looks.
    async fn hold(&mut self) -> anyhow::Result<bool> {
        if let Some(lease) = &mut self.lease {
            if self.ledger.renew(lease, LEASE_TIME).await? {
                return Ok(true);
            }
            self.lease = None;
        }
        self.lease = self.ledger.try_hold(LEASE, LEASE_TIME).await?;
        Ok(self.lease.is_some())
    }

    async fn one(&mut self, detector: &Detector, started: bool, now: Instant) -> anyhow::Result<Act> {
        let Some(found) = thing::find(self.client, Kind::Detector, &detector.name).await? else {
            return Ok(Act::Wait("it is not there: `outlier setup` makes it, or says why not; with --force also where it was deleted by hand".to_owned()));
        };
        let (state, error, progress) = profile(self.client, &found.id).await?;
        let progress = format!("{state} {} {progress}", error.is_empty());
        let unmoved = self.unmoved(detector, progress, now);
        let seen = Seen { state, error, intervals: self.intervals(detector).await?, started, unmoved };
        let act = decide(&seen);
        match act {
            Act::Start => {
                self.post(&found.id, "_start").await?;
                self.ledger.note_started(&detector.name).await?;
            }
            Act::Stop => {
                // First, or a crash in between would make it one that somebody stopped.
                self.ledger.forget_started(&detector.name).await?;
                self.post(&found.id, "_stop").await?;
            }
            // Somebody started it; whoever stops it then means it.
            Act::Works if !seen.started => self.ledger.note_started(&detector.name).await?,
            Act::Works | Act::Wait(_) => {}
        }
        Ok(act)
    }

    /// For how many intervals the progress has been the same.
    fn unmoved(&mut self, detector: &Detector, progress: String, now: Instant) -> u64 {
        let last = self.unmoved.entry(detector.name.clone()).or_insert_with(|| (progress.clone(), now));
        if last.0 != progress {
            *last = (progress, now);
        }
        (now - last.1).as_secs() / (60 * detector.interval)
    }

    /// Intervals with documents, of twice as many as are needed.
    async fn intervals(&self, detector: &Detector) -> anyhow::Result<u64> {
        let minutes = 2 * NEEDED_INTERVALS * detector.interval;
        let query = json!({
            "size": 0,
            "query": {"range": {"@timestamp": {"gte": format!("now-{minutes}m"), "lt": "now"}}},
            "aggregations": {"intervals": {"date_histogram": {
                "field": "@timestamp", "fixed_interval": format!("{}m", detector.interval), "min_doc_count": 1,
            }}},
        });
        let path = format!("/{}/_search", detector.index);
        let found = checked(self.client.send(Method::Post, &path, Some(bytes(&query)?)).await?)?;
        Ok(found["aggregations"]["intervals"]["buckets"].as_array().map_or(0, Vec::len) as u64)
    }

    async fn post(&self, id: &str, verb: &str) -> anyhow::Result<()> {
        let answer = self.client.send(Method::Post, &format!("{DETECTORS}/{id}/{verb}"), None).await?;
        // That it runs already is an error with a good status.
        if answer.reason().contains("already running") {
            return Ok(());
        }
        checked(answer).map(|_| ())
    }
}

/// The body of an answer that is no error.
pub(super) fn checked(answer: Answer) -> anyhow::Result<Value> {
    anyhow::ensure!(!thing::refused(&answer)?, "{}", answer.reason());
    Ok(answer.json()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detectors_start_with_their_data_and_are_freed_when_stuck() {
        let wait = |text: &str| Act::Wait(text.to_owned());
        for (state, error, intervals, started, unmoved, want) in [
            ("DISABLED", "", 3, false, 0, wait("it is started when 3 of 40 intervals with data are indexed")),
            ("DISABLED", "", 40, false, 0, Act::Start),
            (
                "DISABLED",
                "",
                40,
                true,
                0,
                wait("it was stopped by hand: start it in OpenSearch, or run `outlier setup --force`"),
            ),
            ("DISABLED", "Stopped detector as job failed consecutively", 40, true, 0, Act::Start),
            (
                "DISABLED",
                "an error of last week",
                40,
                true,
                0,
                wait("it was stopped by hand: start it in OpenSearch, or run `outlier setup --force`"),
            ),
            ("INIT", "", 12, true, 9, wait("it learns: 12 of 40 intervals with data are indexed")),
            ("INIT", "", 40, true, 4, wait("it learns")),
            ("INIT", "", 40, true, 5, Act::Stop),
            ("RUNNING", "", 0, true, 99, Act::Works),
            ("RUNNING", "no data", 40, true, 1, wait("it is RUNNING: no data")),
            ("RUNNING", "no data", 40, true, 5, Act::Stop),
        ] {
            let seen = Seen { state: state.to_owned(), error: error.to_owned(), intervals, started, unmoved };
            assert_eq!(decide(&seen), want, "{seen:?}");
        }
    }
}
