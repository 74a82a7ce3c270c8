//! Prepares what the services need: topics, index templates, indices and, where the plugins are, notification channels,
//! anomaly detectors and monitors.
//!
//! Beside the path, before it: `outlier setup` does all, `sink` the index part at its start, `demo` the topics.
//! Invariants: running it again changes nothing; what exists is compared field by field and reported; only
//! `remove` deletes, and only what a setup made; `dry_run` changes nothing and says what it would do.

pub mod acl;
pub mod admin;
pub mod channels;
pub mod dashboards;
pub mod detectors;
pub mod diff;
pub mod index;
pub mod monitors;
mod painless;
pub mod policy;
pub mod retention;
pub mod script;
pub mod templates;
pub mod topics;

use crate::config::{Config, IndexKind};
use crate::index::opensearch::Client;
use crate::index::opensearch::probe::probe;
use crate::index::sqlite::Sqlite;
use admin::Admin;
use anyhow::{Context, bail};
use detectors::historical::Analysis;
use index::{How, Report};
use std::io::Write;
use std::sync::Arc;
use topics::Found;

/// What to do of the setup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Change nothing, print what would be changed.
    pub dry_run: bool,
    /// The topics.
    pub topics: bool,
    /// Templates, indices, channels, detectors and monitors, or the tables.
    pub index: bool,
    /// Overwrite what was changed by hand.
    pub force: bool,
    /// Take away what a setup made in OpenSearch, instead of making it.
    pub remove: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { dry_run: false, topics: true, index: true, force: false, remove: false }
    }
}

/// Applies the setup, or prints the difference, one line a thing to `out`.
///
/// # Errors
/// No broker or index, missing rights, or something there that does not fit the configuration: says what to do.
pub async fn run(config: &Config, options: Options, out: &mut dyn Write) -> anyhow::Result<()> {
    // Topics hold data: they are never taken away.
    if options.topics && !options.remove {
        let lines = topic_part(config, options.dry_run).await;
        // What was found out is shown also when it ends in an error.
        for line in &lines.report {
            writeln!(out, "{line}")?;
        }
        lines.result?;
    }
    let mut failed = Vec::new();
    if options.index {
        let report = index_part(config, options).await?;
        for line in report.lines {
            writeln!(out, "{line}")?;
        }
        failed = report.failed;
    }
    if options.dry_run {
        writeln!(out, "nothing was changed (dry run)")?;
    }
    if !failed.is_empty() {
        bail!("{}", failed.join("\n"));
    }
    Ok(())
}

/// Creates the missing topics of all pipelines and checks the others.
///
/// # Errors
/// As [`run`].
pub async fn ensure_topics(config: &Config) -> anyhow::Result<()> {
    let lines = topic_part(config, false).await;
    for line in &lines.report {
        tracing::info!("{line}");
    }
    lines.result
}

/// Applies the index part; answers what was done. What a plugin refuses is logged and takes away that part only.
///
/// # Errors
/// The index does not answer, or refused what the sink cannot work without.
pub async fn apply_index(config: &Config) -> anyhow::Result<Applied> {
    let report = index_part(config, Options::default()).await?;
    for line in &report.failed {
        tracing::warn!("{line}");
    }
    Ok(Applied { lines: report.lines, missing: report.failed })
}

/// What [`apply_index`] did.
#[derive(Debug)]
pub struct Applied {
    /// For the log.
    pub lines: Vec<String>,
    /// What could not be done, and what to do about it.
    pub missing: Vec<String>,
}

/// Analyses what is indexed already; answers the summary.
///
/// # Errors
/// As [`detectors::historical::run`].
pub async fn analyse(config: &Config, analysis: &Analysis) -> anyhow::Result<String> {
    detectors::historical::run(config, &Client::new(config)?, analysis).await
}

struct Lines {
    report: Vec<String>,
    result: anyhow::Result<()>,
}

async fn topic_part(config: &Config, dry_run: bool) -> Lines {
    let mut report = Vec::new();
    let result = topics(config, dry_run, &mut report).await;
    Lines { report, result }
}

async fn topics(config: &Config, dry_run: bool, report: &mut Vec<String>) -> anyhow::Result<()> {
    let admin = Arc::new(Admin::connect(&config.kafka)?);
    let wanted: Vec<_> = config.pipelines.iter().flat_map(|pipeline| topics::wanted(config, pipeline)).collect();
    let found = admin.find(&wanted).await?;
    let mut missing = Vec::new();
    let mut wrong = Vec::new();
    for (topic, found) in wanted.iter().zip(&found) {
        let compared = topics::compare(config, topic, found);
        report.extend(compared.notes);
        wrong.extend(compared.errors);
        if matches!(found, Found::Missing | Found::Hidden) {
            missing.push(topic);
        }
    }
    if dry_run {
        report.extend(missing.iter().map(|topic| format!("create {topic}")));
        report.push("rights needed:".to_owned());
        report.extend(acl::commands(config).into_iter().map(|line| format!("  {line}")));
    } else if !missing.is_empty() {
        let refused = admin.create(&missing, report).await?;
        if !refused.is_empty() {
            report.push(
                "these topics are missing and this user may not create them; let an administrator do so:".to_owned(),
            );
            report.extend(refused.iter().map(|topic| format!("  {}", topic.command(config))));
            report.push("and give these rights:".to_owned());
            report.extend(acl::commands(config).into_iter().map(|line| format!("  {line}")));
            let names: Vec<&str> = refused.iter().map(|topic| topic.name.as_str()).collect();
            bail!(
                "topics are missing and may not be created: {}; `outlier setup --dry-run` prints what is needed",
                names.join(", ")
            );
        }
    }
    if !wrong.is_empty() {
        bail!("{}", wrong.join("\n"));
    }
    Ok(())
}

async fn index_part(config: &Config, options: Options) -> anyhow::Result<Report> {
    match config.sink.index {
        IndexKind::OpenSearch => {
            let client = Client::with_dashboards(config)?;
            probe(&client).await?;
            let how = How { dry_run: options.dry_run, force: options.force };
            if options.remove {
                index::remove(config, &client, how).await
            } else {
                index::apply(config, &client, how).await
            }
        }
        IndexKind::Sqlite => {
            let path = config.sqlite.path.display();
            let line = if options.remove {
                format!("keep   database {path}: it holds your data; delete it yourself")
            } else if config.sqlite.path.exists() {
                format!("ok     database {path}")
            } else {
                if !options.dry_run {
                    Sqlite::open(config).with_context(|| format!("cannot create the database {path}"))?;
                }
                format!("create database {path}")
            };
            Ok(Report { lines: vec![line], ..Report::default() })
        }
    }
}
