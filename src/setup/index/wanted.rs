//! Everything that a configuration wants to have in OpenSearch, in the order in which it is made. No I/O.

use super::plugins::{Plugins, Presence};
use super::thing::{Kind, Thing};
use crate::config::{Config, Indices, Owner};
use crate::index::names;
use crate::setup::{channels, dashboards, detectors, monitors, policy, templates};
use outlier_core::pipeline::Millis;
use serde_json::json;

/// What is wanted, and what had to be left out and why.
#[derive(Debug, Default, PartialEq)]
pub struct Wanted {
    /// In order.
    pub things: Vec<Thing>,
    /// Left out, and that is fine: lines for people.
    pub notes: Vec<String>,
    /// Left out, and somebody must act: lines for people.
    pub refused: Vec<String>,
}

/// What the configuration wants of a cluster with these plugins; `now` is epoch milliseconds.
pub fn all(config: &Config, plugins: &Plugins, now: Millis) -> Wanted {
    let mut wanted = Wanted::default();
    let absent = if config.opensearch.indices == Indices::DataStream {
        "no Index State Management: the data streams never begin a new index, and nothing is deleted; `indices = \"daily\"` works without it"
    } else {
        "no Index State Management: the sink deletes old indices itself"
    };
    let policies: Vec<_> =
        config.pipelines.iter().filter_map(|p| Some((policy::name(config, p), policy::wanted(config, p)?))).collect();
    if !policies.is_empty()
        && wanted.usable(&plugins.management, "index management", absent, "index_management_full_access")
    {
        for (name, body) in policies {
            wanted.add(Kind::Policy, name, body);
        }
    }
    for pipeline in &config.pipelines {
        for template in templates::wanted(config, pipeline) {
            let name = template.name;
            wanted.add(Kind::Template, name.clone(), template.body);
            wanted.add(Kind::Index, name.clone(), json!({"path": first_index(config, &name, now)}));
        }
    }
    let owner = config.alerting.owner == Owner::OpenSearch;
    let absent = "no notifications: channels are not made, and monitors tell nobody";
    let notifications = owner
        && !config.alerting.channels.is_empty()
        && wanted.usable(&plugins.notifications, "notifications", absent, "notifications_full_access");
    if notifications {
        for channel in channels::wanted(config) {
            wanted.add(Kind::Channel, channel.id, channel.body);
        }
    }
    let absent = "no anomaly detection: outlier's own scores are all there is";
    let detection = config.opensearch.detectors
        && wanted.usable(&plugins.detection, "anomaly detection", absent, "anomaly_full_access");
    if detection {
        for pipeline in &config.pipelines {
            for detector in detectors::wanted(config, pipeline) {
                wanted.add(Kind::Detector, detector.name, detector.body);
            }
        }
    }
    let absent = if config.alerting.channels.is_empty() {
        "no alerting: anomalies are indexed, and nobody is told"
    } else {
        "no alerting: run `outlier alert`, which tells your channels in its place"
    };
    if wanted.usable(&plugins.alerting, "alerting", absent, "alerting_full_access") {
        for pipeline in &config.pipelines {
            let parts = monitors::Parts { channels: notifications, detectors: detection };
            for (name, body) in monitors::wanted(config, pipeline, parts) {
                wanted.add(Kind::Monitor, name, body);
            }
        }
    }
    match &plugins.dashboards {
        Presence::There => {
            for saved in config.pipelines.iter().flat_map(|pipeline| dashboards::wanted(config, pipeline)) {
                wanted.add(Kind::Saved, saved.path(), saved.body());
            }
        }
        Presence::Absent => {}
        Presence::Refused(why) => wanted.refused.push(format!(
            "dashboards were not imported: {why}; or import the file that `outlier setup --export-dashboards FILE` writes"
        )),
    }
    wanted
}

/// Where the first index of a name is made: detectors and monitors refuse a name behind which there is none.
fn first_index(config: &Config, name: &str, now: Millis) -> String {
    match config.opensearch.indices {
        Indices::DataStream => format!("/_data_stream/{name}"),
        indices => format!("/{}", names::of_period(name, indices, now)),
    }
}

impl Wanted {
    fn add(&mut self, kind: Kind, name: String, body: serde_json::Value) {
        self.things.push(Thing { kind, name, body });
    }

    /// Whether a plugin can be used; says why not. `role` is the Security plugin's own role that would do.
    fn usable(&mut self, presence: &Presence, plugin: &str, absent: &str, role: &str) -> bool {
        match presence {
            Presence::There => return true,
            Presence::Absent => self.notes.push(format!("note   OpenSearch has {absent}")),
            Presence::Refused(why) => self.refused.push(format!(
                "{plugin} cannot be set up: {why}; give the user the role {role}, or let an administrator run `outlier setup`"
            )),
        }
        false
    }
}
