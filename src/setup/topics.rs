//! Which topics a pipeline needs, and whether an existing one fits. No I/O.
//!
//! Invariant: the partitions of windows and state decide which instance owns a series; a topic with another number
//! would split its history, so that is an error and never changed here.

use crate::config::Config;
use crate::kafka::client::largest_message;
use outlier_core::pipeline::Pipeline;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// How long an alert that is over stays in its topic: 30 days.
const ALERTS_MS: u64 = 30 * DAY_MS;
const DAY_MS: u64 = 86_400_000;
/// How long differences stay after the last window that may hold them is over: a weekend and what is left of a day.
const WINDOWS_MS: u64 = 4 * DAY_MS;

/// A topic as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Full name.
    pub name: String,
    /// Number of partitions.
    pub partitions: i32,
    /// Another number is an error.
    pub fixed: bool,
    /// -1: the broker's default.
    pub replication_factor: i32,
    /// Settings other than the broker's defaults.
    pub settings: Vec<(&'static str, String)>,
}

/// What is there under a topic's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Missing,
    /// Something or nothing: this user may not see it.
    Hidden,
    /// A topic; `None`: this user may not see its settings.
    There {
        /// Number of partitions.
        partitions: i32,
        /// All settings.
        settings: Option<BTreeMap<String, String>>,
    },
}

/// How an existing topic differs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Compared {
    /// For the report.
    pub notes: Vec<String>,
    /// It cannot be used like that.
    pub errors: Vec<String>,
}

/// The topics of a pipeline, in the order of the path.
pub fn wanted(config: &Config, pipeline: &Pipeline) -> Vec<Topic> {
    let (raw, windows) = (config.kafka.raw_partitions, pipeline.windows_partitions);
    let size = |bytes: usize| ("max.message.bytes", bytes.to_string());
    // Whatever a producer of outlier lets pass, its topics take.
    let written = || size(largest_message(config));
    let compact = || {
        vec![
            ("cleanup.policy", "compact".to_owned()),
            // Only closed segments are compacted: small ones and an early cleaner keep a restore short.
            ("segment.bytes", (16 << 20).to_string()),
            ("segment.ms", 600_000.to_string()),
            ("min.cleanable.dirty.ratio", "0.1".to_owned()),
        ]
    };
    // An alert that is over is of use for a while; one that goes on is written again with each window.
    let mut alerts = compact();
    alerts[0].1 = "compact,delete".to_owned();
    alerts.push(("retention.ms", ALERTS_MS.to_string()));
    // Differences to a window in time to come are read again until it closes.
    let open = pipeline.detectors.iter().map(|detector| detector.window + detector.lateness).max().unwrap_or_default();
    let open = u64::try_from(pipeline.timestamp.max_skew.saturating_add(open)).unwrap_or_default();
    let windows_settings =
        vec![written(), ("retention.ms", (WINDOWS_MS.saturating_add(open)).max(7 * DAY_MS).to_string())];
    let state = compact().into_iter().chain([written()]).collect();
    let topics = &pipeline.topics;
    [
        (&topics.raw, raw, false, vec![size(2 * pipeline.max_record_bytes)]),
        (&topics.enriched, raw, false, vec![written()]),
        (&topics.windows, windows, true, windows_settings),
        (&topics.scores, windows, false, vec![]),
        (&topics.state, windows, true, state),
        (&topics.anomalies, windows, false, compact()),
        (&topics.alerts, windows, false, alerts),
        (&topics.rejected, raw, false, vec![written()]),
    ]
    .into_iter()
    .map(|(name, partitions, fixed, settings)| Topic {
        name: name.clone(),
        partitions,
        fixed,
        replication_factor: config.kafka.replication_factor,
        settings,
    })
    .collect()
}

/// Holds an existing topic against the wanted one.
pub fn compare(config: &Config, wanted: &Topic, found: &Found) -> Compared {
    let mut compared = Compared::default();
    let Found::There { partitions, settings } = found else {
        return compared;
    };
    let name = &wanted.name;
    if wanted.fixed && *partitions != wanted.partitions {
        compared.errors.push(format!(
            "the topic {name} has {partitions} partitions and the configuration says {}: set windows_partitions = {partitions}, or, to start from nothing, delete the pipeline's windows, state and anomalies topics and the groups of `process`, then run setup again",
            wanted.partitions
        ));
    } else if *partitions != wanted.partitions {
        compared.notes.push(format!(
            "note   topic {name} has {partitions} partitions; a new one would get {}",
            wanted.partitions
        ));
    }
    match settings {
        None => compared
            .notes
            .push(format!("note   topic {name}: this user may not see its settings, so they are not compared")),
        Some(settings) => compare_settings(config, wanted, settings, &mut compared),
    }
    if compared == Compared::default() {
        compared.notes.push(format!("ok     topic {name}"));
    }
    compared
}

fn compare_settings(config: &Config, wanted: &Topic, found: &BTreeMap<String, String>, compared: &mut Compared) {
    let (name, servers) = (&wanted.name, &config.kafka.bootstrap_servers);
    // The order of a list says nothing.
    let values = |text: &str| text.split(',').map(|value| value.trim().to_owned()).collect::<BTreeSet<_>>();
    for (key, value) in &wanted.settings {
        // A broker that does not tell a setting has nothing to compare.
        let Some(there) = found.get(*key).filter(|there| values(there) != values(value)) else {
            continue;
        };
        // A comma would begin the next setting, and brackets are the shell's.
        let setting = if value.contains(',') { format!("'{key}=[{value}]'") } else { format!("{key}={value}") };
        let change =
            format!("kafka-configs.sh --bootstrap-server {servers} --alter --topic {name} --add-config {setting}");
        let fits = match (*key, there.parse::<u64>(), value.parse::<u64>()) {
            ("max.message.bytes" | "retention.ms", Ok(there), Ok(value)) => there >= value,
            // Kept for ever.
            ("retention.ms", Err(_), _) => there == "-1",
            _ => false,
        };
        if *key == "cleanup.policy" {
            compared.errors.push(format!(
                "the topic {name} has {key}={there}, which would lose or keep too much of it: `{change}`"
            ));
        } else if !fits {
            compared.notes.push(format!("differs topic {name}: {key} is {there}, should be {value}: `{change}`"));
        }
    }
}

impl Topic {
    /// The command with which an administrator creates it.
    pub fn command(&self, config: &Config) -> String {
        let mut line = format!(
            "kafka-topics.sh --bootstrap-server {} --create --topic {} --partitions {}",
            config.kafka.bootstrap_servers, self.name, self.partitions
        );
        if self.replication_factor > 0 {
            line += &format!(" --replication-factor {}", self.replication_factor);
        }
        for (key, value) in &self.settings {
            line += &format!(" --config {key}={value}");
        }
        line
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "topic {}: {} partitions", self.name, self.partitions)?;
        if self.replication_factor > 0 {
            write!(f, ", replication factor {}", self.replication_factor)?;
        }
        for (key, value) in &self.settings {
            write!(f, ", {key}={value}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;

    #[test]
    fn settings_are_compared_by_what_they_mean() {
        let text = "[kafka]\nbootstrap_servers = \"k:1\"\n[[pipeline]]\npreset = \"waf\"\n";
        let config = Config::parse(text, "test", &Environment::default()).unwrap();
        let command = |topic: &str, setting: &str| {
            format!("`kafka-configs.sh --bootstrap-server k:1 --alter --topic {topic} --add-config {setting}`")
        };
        let policy = command("waf.alerts", "'cleanup.policy=[compact,delete]'");
        let size = command("waf.enriched", "max.message.bytes=4259840");
        for (name, key, there, notes, errors) in [
            ("waf.alerts", "cleanup.policy", "compact,delete", "ok ", ""),
            ("waf.alerts", "cleanup.policy", "delete, compact", "ok ", ""),
            ("waf.alerts", "cleanup.policy", "delete", "", policy.as_str()),
            ("waf.state", "cleanup.policy", "compact,delete", "", &command("waf.state", "cleanup.policy=compact")),
            ("waf.enriched", "max.message.bytes", "4259840", "ok ", ""),
            ("waf.enriched", "max.message.bytes", "9999999", "ok ", ""),
            ("waf.enriched", "max.message.bytes", "1048588", &size, ""),
            ("waf.alerts", "retention.ms", "-1", "ok ", ""),
        ] {
            let topic = wanted(&config, &config.pipelines[0]).into_iter().find(|topic| topic.name == name).unwrap();
            let settings = Some(BTreeMap::from([(key.to_owned(), there.to_owned())]));
            let compared = compare(&config, &topic, &Found::There { partitions: topic.partitions, settings });
            for (told, want) in [(compared.notes, notes), (compared.errors, errors)] {
                let told = told.join("\n");
                assert!(told.contains(want) && told.is_empty() == want.is_empty(), "{name} {key}={there}: {told}");
            }
        }
    }
}
