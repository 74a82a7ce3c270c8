//! `[sink]` and `[sqlite]`: what is indexed, and where on a laptop.

use super::process::check_path;
use super::reader::{Names, Reader};
use super::writer::Writer;
use outlier_core::pipeline::Pipeline;
use std::path::PathBuf;
use std::time::Duration;

const MIB: usize = 1 << 20;

/// What the sink indexes and how it groups requests.
#[derive(Debug, Clone, PartialEq)]
pub struct Sink {
    /// Which index.
    pub index: IndexKind,
    /// Which topics; not empty, each once.
    pub what: Vec<Stage>,
    /// A request is sent when it has this many bytes, or fewer while the index is slow.
    pub bulk_bytes: usize,
    /// A request is sent when it has this many documents.
    pub bulk_records: usize,
    /// Requests that may be on the way at once, or fewer while the index is slow.
    pub bulk_requests: usize,
    /// A request is sent when its first document waited this long.
    pub flush_interval: Duration,
    /// A request without an answer is given up and sent again after this long.
    pub request_timeout: Duration,
}

/// Which index the sink writes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexKind {
    /// `[opensearch]`.
    OpenSearch,
    /// `[sqlite]`.
    Sqlite,
}

/// A topic that can be indexed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Logs as they came.
    Raw,
    /// Logs with flags.
    Enriched,
    /// Scores of windows.
    Scores,
    /// Alerts, one document each time that state or severity changes.
    Alerts,
}

impl Stage {
    /// The topic with the documents.
    pub fn topic(self, pipeline: &Pipeline) -> &str {
        let topics = &pipeline.topics;
        match self {
            Self::Raw => &topics.raw,
            Self::Enriched => &topics.enriched,
            Self::Scores => &topics.scores,
            Self::Alerts => &topics.alerts,
        }
    }
}

const INDICES: &Names<IndexKind> = &[("opensearch", IndexKind::OpenSearch), ("sqlite", IndexKind::Sqlite)];
const STAGES: &Names<Stage> =
    &[("raw", Stage::Raw), ("enriched", Stage::Enriched), ("scores", Stage::Scores), ("alerts", Stage::Alerts)];

impl Sink {
    pub(super) fn read(mut r: Reader<'_>) -> Self {
        let millis = Duration::from_millis;
        let sink = Self {
            index: r.choice("index", IndexKind::OpenSearch, INDICES),
            what: read_what(&mut r),
            bulk_bytes: r.size("bulk_bytes", 5 * MIB, 64 * 1024..=100 * MIB),
            bulk_records: r.int("bulk_records", 10_000, 1..=100_000),
            bulk_requests: r.int("bulk_requests", 4, 1..=64),
            flush_interval: r.duration("flush_interval", millis(1_000), millis(10)..=millis(60_000)),
            request_timeout: r.duration("request_timeout", millis(30_000), millis(1_000)..=millis(600_000)),
        };
        r.finish();
        sink
    }

    pub(super) fn write(&self, w: &mut Writer) {
        w.table("[sink]");
        w.choice("index", self.index, INDICES);
        let what = STAGES.iter().filter(|(_, stage)| self.what.contains(stage));
        w.list("what", what.map(|(name, _)| name));
        w.size("bulk_bytes", self.bulk_bytes);
        w.plain("bulk_records", self.bulk_records);
        w.plain("bulk_requests", self.bulk_requests);
        w.duration("flush_interval", self.flush_interval);
        w.duration("request_timeout", self.request_timeout);
    }
}

/// The stages in the order of the path, whatever the order they are written in.
fn read_what(r: &mut Reader<'_>) -> Vec<Stage> {
    let all = || STAGES.iter().map(|(_, stage)| *stage).collect::<Vec<_>>();
    let Some(nodes) = r.list("what") else {
        return all();
    };
    if nodes.is_empty() {
        let text = "`what` is empty, so nothing would be indexed: name some of raw, enriched, scores, alerts";
        r.mistake(r.at("what"), text.to_owned());
    }
    let mut what = Vec::new();
    for node in &nodes {
        match r.choice_of("`what`", node, STAGES) {
            Some(stage) if what.contains(&stage) => {
                r.mistake(node.at.clone(), "`what` names this twice: keep one".to_owned());
            }
            Some(stage) => what.push(stage),
            None => {}
        }
    }
    what.sort();
    what
}

/// The embedded index.
#[derive(Debug, Clone, PartialEq)]
pub struct Sqlite {
    /// The database file; relative to the working directory.
    pub path: PathBuf,
    /// The oldest rows of a table are deleted beyond this many.
    pub max_rows: u64,
}

impl Sqlite {
    pub(super) fn read(mut r: Reader<'_>) -> Self {
        let sqlite = Self {
            path: r.checked("path", "outlier.sqlite", check_path).into(),
            max_rows: r.int("max_rows", 1_000_000, 1_000..=1_000_000_000),
        };
        r.finish();
        sqlite
    }

    pub(super) fn write(&self, w: &mut Writer) {
        w.table("[sqlite]");
        w.text("path", &self.path.to_string_lossy());
        w.plain("max_rows", self.max_rows);
    }
}
