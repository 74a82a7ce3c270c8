//! Applies policies, templates, indices, channels, detectors and monitors to OpenSearch, and takes them away again.
//!
//! ```text
//! plugins ─► wanted ─┐
//! thing::find ───────┼─► step ─► thing::write ─► ledger
//! ledger ────────────┘
//! ```
//!
//! Invariants:
//! - What is stored and fits is not written again, and what somebody changed by hand stays, unless `force`.
//! - Everything is looked at before anything is written, and again under the lease, so that of several instances
//!   that start at once one writes and the others find it done.
//! - What a plugin refuses takes away that part only.

pub mod ledger;
pub mod plugins;
pub mod shape;
pub mod step;
pub mod thing;
pub mod wanted;

use super::monitors;
use crate::config::Config;
use crate::index::opensearch::Client;
use anyhow::Context;
use ledger::{Lease, Ledger, Written};
use plugins::Plugins;
use std::collections::BTreeMap;
use std::time::Duration;
use step::{States, Step};
use thing::{Found, Kind, Thing};
use wanted::Wanted;

/// The lease for writing.
const LEASE: &str = "setup";

/// How long it holds; it is renewed on the way.
const LEASE_TIME: Duration = Duration::from_secs(60);

/// How to apply.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct How {
    /// Change nothing.
    pub dry_run: bool,
    /// Overwrite what was changed by hand.
    pub force: bool,
}

/// What was done, or would be.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// One line a thing, with its differences below.
    pub lines: Vec<String>,
    /// What could not be done, and what to do about it. Everything else was.
    pub failed: Vec<String>,
    /// Things that were written, or would be.
    pub writes: usize,
}

/// Applies everything, or finds out what would be done.
///
/// # Errors
/// OpenSearch does not answer, or refuses what the sink cannot work without.
pub async fn apply(config: &Config, client: &Client, how: How) -> anyhow::Result<Report> {
    let plugins = Plugins::find(client).await?;
    let setup = Setup::new(config, client, how.force);
    shape::check(config, client).await?;
    let looked = setup.pass(wanted::all(config, &plugins, ledger::now()), None).await?;
    if how.dry_run || looked.writes == 0 {
        return Ok(looked);
    }
    let mut lease = setup.ledger.hold(LEASE, LEASE_TIME).await?;
    let done = setup.pass(wanted::all(config, &plugins, ledger::now()), Some(&mut lease)).await;
    setup.ledger.release(lease).await;
    done
}

/// Takes away what the setup made, or finds out what would be taken away; indices stay.
///
/// # Errors
/// OpenSearch does not answer, or refuses.
pub async fn remove(config: &Config, client: &Client, how: How) -> anyhow::Result<Report> {
    let setup = Setup::new(config, client, how.force);
    let written = setup.ledger.read().await?;
    if written.is_empty() {
        let line = format!("nothing was made by a setup, says the index {}", setup.ledger.index());
        return Ok(Report { lines: vec![line], ..Report::default() });
    }
    if how.dry_run {
        return setup.take_away(&written, false).await;
    }
    let lease = setup.ledger.hold(LEASE, LEASE_TIME).await?;
    let done = setup.take_away(&written, true).await;
    setup.ledger.release(lease).await;
    let report = done?;
    if setup.ledger.read().await?.is_empty() {
        setup.ledger.remove().await?;
    }
    Ok(report)
}

struct Setup<'a> {
    client: &'a Client,
    ledger: Ledger,
    force: bool,
}

impl<'a> Setup<'a> {
    fn new(config: &Config, client: &'a Client, force: bool) -> Self {
        let opensearch = &config.opensearch;
        Self { client, ledger: Ledger::new(client, &opensearch.index_prefix, opensearch.replicas), force }
    }

    /// Looks at all things, and writes what must be written if there is a lease.
    async fn pass(&self, wanted: Wanted, mut lease: Option<&mut Lease>) -> anyhow::Result<Report> {
        let mut report = Report { failed: wanted.refused, ..Report::default() };
        let written = self.ledger.read().await?;
        // Detectors by name: monitors name them by the ids that the server gave them.
        let mut ids = BTreeMap::new();
        for mut thing in wanted.things {
            if let Some(lease) = lease.as_deref_mut() {
                self.keep(lease).await?;
            }
            monitors::fill_in(&mut thing.body, &ids);
            match self.one(&thing, &written, lease.is_some(), &mut report).await {
                Ok(Some(id)) if thing.kind == Kind::Detector => {
                    ids.insert(thing.name, id);
                }
                Ok(_) => {}
                Err(error) if thing.kind.vital() => return Err(error),
                Err(error) => report.failed.push(format!("{error:#}")),
            }
        }
        report.lines.extend(wanted.notes);
        Ok(report)
    }

    /// One thing; answers its id if it is there.
    async fn one(
        &self,
        thing: &Thing,
        written: &Written,
        write: bool,
        report: &mut Report,
    ) -> anyhow::Result<Option<String>> {
        let found = thing::find(self.client, thing.kind, &thing.name).await?;
        if found.as_ref().is_some_and(|found| found.twins) {
            report.lines.push(format!("note   there are several of the name {:?}: delete all but one", thing.name));
        }
        let masked = thing.masked();
        let states = States {
            wanted: &masked,
            found: found.as_ref().map(|found| &found.body),
            written: written.get(&(thing.kind, thing.name.clone())),
        };
        let step = states.step(thing.kind.vital(), self.force);
        report.tell(&step, &thing.title());
        let id = found.as_ref().map(|found| found.id.clone());
        if !matches!(step, Step::Create | Step::Change(_)) {
            return Ok(id);
        }
        report.writes += 1;
        if !write {
            return Ok(id);
        }
        let id = thing::write(self.client, thing, found.as_ref()).await?;
        self.ledger.note(thing).await?;
        if thing.kind == Kind::Detector {
            // It was stopped for the change, or is new: the reconciler starts it.
            self.ledger.forget_started(&thing.name).await?;
        }
        Ok(Some(id))
    }

    async fn take_away(&self, written: &Written, really: bool) -> anyhow::Result<Report> {
        let mut report = Report::default();
        // Monitors before what they name, templates last.
        for ((kind, name), body) in written.iter().rev() {
            let title = thing::title(*kind, name);
            let found =
                thing::find(self.client, *kind, name).await.with_context(|| format!("while removing the {title}"))?;
            let mut kept = found.as_ref().and_then(|found| self.reason_to_keep(*kind, found, body));
            if *kind == Kind::Template && thing::has_stream(self.client, name).await? {
                kept = Some("its data stream holds your data; delete that yourself, then run this again");
            }
            report.lines.push(match (&found, kept) {
                (None, _) => format!("gone   {title}"),
                (Some(_), Some(why)) => format!("keep   {title}: {why}"),
                (Some(_), None) => format!("delete {title}"),
            });
            let delete = found.filter(|_| kept.is_none());
            report.writes += usize::from(delete.is_some());
            if really {
                if let Some(found) = &delete {
                    thing::remove(self.client, *kind, name, found).await?;
                }
                if kept.is_none() || *kind == Kind::Index {
                    self.ledger.forget(*kind, name).await?;
                }
            }
        }
        Ok(report)
    }

    fn reason_to_keep(&self, kind: Kind, found: &Found, written: &serde_json::Value) -> Option<&'static str> {
        let states = States { wanted: written, found: Some(&found.body), written: Some(written) };
        if kind == Kind::Index {
            Some("it holds your data; delete it yourself")
        } else if self.force || states.untouched(&found.body) {
            None
        } else {
            Some("it was changed by hand; --force deletes it")
        }
    }

    /// Renews the lease in time.
    async fn keep(&self, lease: &mut Lease) -> anyhow::Result<()> {
        if !lease.lasts(LEASE_TIME / 2) {
            let kept = self.ledger.renew(lease, LEASE_TIME).await?;
            anyhow::ensure!(
                kept,
                "another outlier began to set OpenSearch up, as this one took too long: run it again"
            );
        }
        Ok(())
    }
}

impl Report {
    fn tell(&mut self, step: &Step, title: &str) {
        let (line, lines) = match step {
            Step::Fits => (format!("ok     {title}"), [].as_slice()),
            Step::Create => (format!("create {title}"), [].as_slice()),
            Step::Change(lines) => (format!("change {title}"), lines.as_slice()),
            Step::Keep(lines) => (
                format!("keep   {title}: it was changed by hand, or made by somebody else; --force overwrites it"),
                lines.as_slice(),
            ),
            Step::Gone => (format!("gone   {title}: it was deleted by hand; --force makes it again"), [].as_slice()),
        };
        self.lines.push(line);
        self.lines.extend(lines.iter().map(|line| format!("         {}", thing::readable(line))));
    }
}
