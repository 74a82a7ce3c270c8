//! `[[pipeline]]`: from TOML to `outlier_core::pipeline::Pipeline`.
//!
//! Invariant: what comes out holds everything that the core relies on: names are unique, operands point at
//! flags, windows divide the day, and no flag overwrites a member that the pipeline reads.

mod detectors;
mod flags;
mod matcher;
pub(super) mod preset;

use super::mistake::suggestion;
use super::names::{self, Unique};
use super::reader::{Names, Reader};
use super::writer::Writer;
use outlier_core::field::FieldPath;
use outlier_core::pipeline::{Millis, Pipeline, TimeFormat, Timestamp, Topics};
use std::time::Duration;

/// The most pipelines of a configuration.
pub const MAX_PIPELINES: usize = 64;

const KIB: usize = 1024;
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
const TITLE: &str = "[[pipeline]]";
const FORMATS: &Names<()> = &[("json", ())];
const TIME_FORMATS: &Names<TimeFormat> = &[
    ("auto", TimeFormat::Auto),
    ("epoch_seconds", TimeFormat::EpochSeconds),
    ("epoch_millis", TimeFormat::EpochMillis),
    ("iso8601", TimeFormat::Iso8601),
];

/// Reads every pipeline; `prefix` comes before the default names of topics.
pub(super) fn read_all(top: &mut Reader<'_>, prefix: &str) -> Vec<Pipeline> {
    let readers = top.tables("pipeline", TITLE);
    if !top.has("pipeline") {
        let presets = preset::names().collect::<Vec<_>>().join(", ");
        top.missing(format!(
            "there is no pipeline: add [[pipeline]] with `preset = \"…\"` (one of {presets}) or with its own flags and detectors"
        ));
    } else if readers.len() > MAX_PIPELINES || readers.is_empty() {
        let text = format!("there must be 1 to {MAX_PIPELINES} pipelines, not {}", readers.len());
        top.mistake(top.at("pipeline"), text);
        return Vec::new();
    }
    let mut unique = Unique::new("pipelines");
    let mut topics = Unique::new("topics");
    readers.into_iter().map(|r| read(r, prefix, &mut unique, &mut topics)).collect()
}

fn read(mut r: Reader<'_>, prefix: &str, unique: &mut Unique, topics: &mut Unique) -> Pipeline {
    let name = r.name("\"web\"", names::check_pipeline);
    // Pipelines of one name are reported as such, not once for each of their topics.
    let fresh = unique.add(&r, r.at("name"), &name) && !name.is_empty();
    r.choice("format", (), FORMATS);
    let topics = read_topics(&mut r, &format!("{prefix}{name}"), fresh, topics);
    let timestamp = read_timestamp(r.table("timestamp", "[pipeline.timestamp]"));
    let max_record_bytes = r.size("max_record_bytes", 1024 * KIB, KIB..=16 * 1024 * KIB);
    let max_depth = r.int("max_depth", 128, 1..=1_000);
    let windows_partitions = r.int("windows_partitions", 8, 1..=1024);
    let flags = flags::read_all(&mut r);
    let mut pipeline = Pipeline {
        name,
        topics,
        timestamp,
        max_record_bytes,
        max_depth,
        flags,
        detectors: Vec::new(),
        windows_partitions,
    };
    pipeline.detectors = detectors::read_all(&mut r, &pipeline);
    refuse_overwriting(&r, &pipeline);
    r.finish();
    pipeline
}

/// A stage's key, its topic.
fn stages(topics: &mut Topics) -> [(&'static str, &mut String); 8] {
    [
        ("raw", &mut topics.raw),
        ("enriched", &mut topics.enriched),
        ("windows", &mut topics.windows),
        ("scores", &mut topics.scores),
        ("state", &mut topics.state),
        ("anomalies", &mut topics.anomalies),
        ("alerts", &mut topics.alerts),
        ("rejected", &mut topics.rejected),
    ]
}

/// Topics that are not named are `default` and the stage; those count only when the pipeline's name does.
fn read_topics(pipeline: &mut Reader<'_>, default: &str, named: bool, unique: &mut Unique) -> Topics {
    let mut r = pipeline.table("topics", "[pipeline.topics]");
    let none = String::new;
    let mut topics = Topics {
        raw: none(),
        enriched: none(),
        windows: none(),
        scores: none(),
        state: none(),
        anomalies: none(),
        alerts: none(),
        rejected: none(),
    };
    for (stage, topic) in stages(&mut topics) {
        let default = format!("{default}.{stage}");
        *topic = r.checked(stage, &default, names::check_topic);
        if named || r.has(stage) {
            let at = if r.has(stage) { r.at(stage) } else { pipeline.at("name") };
            unique.add(&r, at, topic);
        }
    }
    r.finish();
    topics
}

fn read_timestamp(mut r: Reader<'_>) -> Timestamp {
    let timestamp = Timestamp {
        field: read_field(&mut r, "field", Some("timestamp")),
        format: r.choice("format", TimeFormat::Auto, TIME_FORMATS),
        max_skew: millis(r.duration("max_skew", HOUR, Duration::ZERO..=365 * DAY)),
    };
    r.finish();
    timestamp
}

/// A path to a member; without a default it must be there.
fn read_field(r: &mut Reader<'_>, key: &'static str, default: Option<&str>) -> FieldPath {
    let text = match default {
        Some(default) => r.optional(key).unwrap_or_else(|| default.to_owned()),
        None => match r.required(key, "\"httpRequest.country\"") {
            Some(text) => text,
            None => return unread(),
        },
    };
    text.parse().unwrap_or_else(|wrong| {
        r.mistake(r.at(key), format!("`{key}`: {wrong}"));
        unread()
    })
}

/// Stands for a path that could not be read; the configuration is refused anyway.
fn unread() -> FieldPath {
    match "-".parse() {
        Ok(path) => path,
        Err(_) => unreachable!("`-` is a path of one name"),
    }
}

/// A record that already has a member with a flag's name is rejected, so a flag must not have the name of a
/// member that the pipeline itself reads.
fn refuse_overwriting(r: &Reader<'_>, pipeline: &Pipeline) {
    let mut read: Vec<&FieldPath> = vec![&pipeline.timestamp.field];
    read.extend(pipeline.flags.iter().map(|group| &group.field));
    read.extend(pipeline.number_fields());
    read.extend(pipeline.text_fields());
    for flag in pipeline.flag_names().filter(|name| !name.is_empty()) {
        if let Some(path) = read.iter().find(|path| path.segments()[0] == flag) {
            let text = format!(
                "the flag `{flag}` has the name of a member that is read (`{path}`), so every record that has it would be rejected: rename the flag"
            );
            r.mistake(r.at("flags"), text);
        }
    }
}

/// Whole milliseconds of a checked span.
fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX)
}

/// The span of milliseconds that are never negative here.
fn span(millis: Millis) -> Duration {
    Duration::from_millis(millis.unsigned_abs())
}

/// Refuses a preset that is not there.
fn unknown_preset(text: &str) -> String {
    let names: Vec<&str> = preset::names().collect();
    format!("there is no preset {}{}", super::mistake::shown(text), suggestion(text, &names))
}

/// Writes one pipeline, complete.
pub(super) fn write(pipeline: &Pipeline, w: &mut Writer) {
    w.table(TITLE);
    w.text("name", &pipeline.name);
    w.choice("format", (), FORMATS);
    w.size("max_record_bytes", pipeline.max_record_bytes);
    w.plain("max_depth", pipeline.max_depth);
    w.plain("windows_partitions", pipeline.windows_partitions);
    w.table("[pipeline.topics]");
    for (stage, topic) in stages(&mut pipeline.topics.clone()) {
        w.text(stage, topic);
    }
    w.table("[pipeline.timestamp]");
    w.text("field", &pipeline.timestamp.field.to_string());
    w.choice("format", pipeline.timestamp.format, TIME_FORMATS);
    w.duration("max_skew", span(pipeline.timestamp.max_skew));
    flags::write_all(&pipeline.flags, w);
    detectors::write_all(pipeline, w);
}
