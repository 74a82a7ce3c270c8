//! `[alerting]`: who tells people about anomalies, how often, and where.

mod channel;

use super::names::Unique;
use super::reader::{Names, Reader};
use super::writer::Writer;
pub use channel::{Channel, Email, Recipient, Security, Severity};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3_600);

/// Alerts and who hears of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Alerting {
    /// Who notifies; the other one is silent.
    pub owner: Owner,
    /// A further message about an alert that goes on comes no sooner.
    pub repeat_interval: Duration,
    /// An anomaly of at least this score is critical; 0 to 100.
    pub critical: f64,
    /// An alert is over when its series had this many windows in a row without an anomaly.
    pub resolve_after: u32,
    /// No record indexed for so long is an alert of its own; zero: never.
    pub quiet: Duration,
    /// Alerts that begin or end within this time share a message of `outlier alert`.
    pub group_wait: Duration,
    /// `outlier alert` tells of no alert whose window ended longer ago, unless it goes on.
    pub max_age: Duration,
    /// Where messages go; none: anomalies are only indexed.
    pub channels: Vec<Channel>,
}

/// Who notifies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// OpenSearch's monitors, which `setup` creates.
    OpenSearch,
    /// The service `outlier alert`.
    Outlier,
}

const OWNERS: &Names<Owner> = &[("opensearch", Owner::OpenSearch), ("outlier", Owner::Outlier)];

impl Alerting {
    pub(super) fn read(mut r: Reader<'_>) -> Self {
        let owner = r.choice("owner", Owner::OpenSearch, OWNERS);
        // OpenSearch throttles an action for at most a day.
        let repeat_interval = r.duration("repeat_interval", HOUR, HOUR / 60..=24 * HOUR);
        let critical = r.number("critical", 98.0, 0.0..=100.0);
        let resolve_after = r.int("resolve_after", 3, 1..=1_000);
        let quiet = r.duration("quiet", Duration::ZERO, Duration::ZERO..=24 * HOUR);
        let group_wait = r.duration("group_wait", HOUR / 360, Duration::ZERO..=HOUR / 12);
        let max_age = r.duration("max_age", HOUR / 4, HOUR / 60..=7 * 24 * HOUR);
        let mut unique = Unique::new("channels");
        let channels = r.tables("channels", channel::TITLE);
        let channels = channels.into_iter().filter_map(|reader| channel::read(reader, owner, &mut unique)).collect();
        r.finish();
        Self { owner, repeat_interval, critical, resolve_after, quiet, group_wait, max_age, channels }
    }

    pub(super) fn write(&self, w: &mut Writer) {
        w.table("[alerting]");
        w.choice("owner", self.owner, OWNERS);
        w.duration("repeat_interval", self.repeat_interval);
        w.plain("critical", self.critical);
        w.plain("resolve_after", self.resolve_after);
        w.duration("group_wait", self.group_wait);
        w.duration("max_age", self.max_age);
        w.duration("quiet", self.quiet);
        for channel in &self.channels {
            channel::write(channel, w);
        }
    }
}
