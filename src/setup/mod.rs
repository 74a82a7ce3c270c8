//! Prepares what the services need: topics, index templates, indices, and one monitor where alerting is installed.
//!
//! Beside the path, before it: `outlier setup` does all, `sink` the index part at its start, `process` and `demo` the
//! topics. Invariants: running it again changes nothing; what exists is compared field by field and reported, and
//! nothing is ever deleted; `dry_run` changes nothing and says what it would do.

pub mod acl;
pub mod admin;
pub mod diff;
pub mod index;
pub mod monitor;
pub mod templates;
pub mod topics;

use crate::config::{Config, IndexKind};
use crate::index::opensearch::Client;
use crate::index::opensearch::probe::probe;
use crate::index::sqlite::Sqlite;
use admin::Admin;
use anyhow::{Context, bail};
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
    /// Templates, indices and the monitor, or the tables.
    pub index: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { dry_run: false, topics: true, index: true }
    }
}

/// Applies the setup, or prints the difference, one line a thing to `out`.
///
/// # Errors
/// No broker or index, missing rights, or something there that does not fit the configuration: says what to do.
pub async fn run(config: &Config, options: Options, out: &mut dyn Write) -> anyhow::Result<()> {
    if options.topics {
        let lines = topic_part(config, options.dry_run).await;
        // What was found out is shown also when it ends in an error.
        for line in &lines.report {
            writeln!(out, "{line}")?;
        }
        lines.result?;
    }
    if options.index {
        for line in index_part(config, options.dry_run).await? {
            writeln!(out, "{line}")?;
        }
    }
    if options.dry_run {
        writeln!(out, "nothing was changed (dry run)")?;
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

/// Applies templates, indices and the monitor, or creates the tables; answers what was done.
///
/// # Errors
/// The index does not answer, or refused. The monitor alone never fails it: that is a line of the answer.
pub async fn apply_index(config: &Config) -> anyhow::Result<Vec<String>> {
    index_part(config, false).await
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
        let compared = topics::compare(topic, found);
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

async fn index_part(config: &Config, dry_run: bool) -> anyhow::Result<Vec<String>> {
    match config.sink.index {
        IndexKind::OpenSearch => {
            let client = Client::new(config)?;
            probe(&client).await?;
            index::apply(config, &client, dry_run).await
        }
        IndexKind::Sqlite => {
            let path = config.sqlite.path.display();
            if config.sqlite.path.exists() {
                return Ok(vec![format!("ok     database {path}")]);
            }
            if !dry_run {
                Sqlite::open(config).with_context(|| format!("cannot create the database {path}"))?;
            }
            Ok(vec![format!("create database {path}")])
        }
    }
}
