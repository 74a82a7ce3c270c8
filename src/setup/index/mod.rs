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
mod lifecycle;
pub mod plugins;
pub mod shape;
pub mod step;
pub mod thing;
pub mod wanted;

use super::detectors::reconcile;
use super::monitors;
use crate::config::Config;
use crate::index::opensearch::Client;
use crate::time::now;
use ledger::{Lease, Ledger, Note, Written};
use plugins::Plugins;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use step::{States, Step};
use thing::{Found, Kind, Thing};
use wanted::Wanted;

/// The lease for writing.
const LEASE: &str = "setup";

/// How long it holds beside four requests; it is renewed on the way.
const LEASE_TIME: Duration = Duration::from_secs(30);

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
    let looked = setup.pass(wanted::all(config, &plugins, now()), None).await?;
    // Forced, it is also forgotten who stopped which detector.
    let mut report = if how.dry_run || (looked.writes == 0 && !how.force) {
        looked
    } else {
        let mut lease = setup.ledger.hold(LEASE, setup.lease_time()).await?;
        let done = setup.pass(wanted::all(config, &plugins, now()), Some(&mut lease)).await;
        setup.ledger.release(lease).await;
        done?
    };
    report.lines.extend(setup.own(config).await?.1);
    // Of the indices that are there now. Everything else is done, so no answer is one thing more that failed.
    match shape::obstacles(config, client, now(), !how.dry_run).await {
        Ok(obstacles) => report.failed.extend(obstacles),
        Err(error) => report.failed.push(format!("whether documents would be taken is not known: {error:#}")),
    }
    Ok(report)
}

/// Takes away what the setup made, or finds out what would be taken away; indices stay.
///
/// # Errors
/// OpenSearch does not answer, or refuses.
pub async fn remove(config: &Config, client: &Client, how: How) -> anyhow::Result<Report> {
    let setup = Setup::new(config, client, how.force);
    let (written, others) = setup.own(config).await?;
    if written.is_empty() {
        let line = format!("nothing was made by a setup, says the index {}", setup.ledger.index());
        return Ok(Report { lines: vec![line], ..Report::default() });
    }
    if how.dry_run {
        let mut report = setup.take_away(&written, None).await?;
        report.lines.extend(others);
        return Ok(report);
    }
    let mut lease = setup.ledger.hold(LEASE, setup.lease_time()).await?;
    let done = setup.take_away(&written, Some(&mut lease)).await;
    setup.ledger.release(lease).await;
    let mut report = done?;
    report.lines.extend(others);
    // What was taken away is told whatever becomes of the ledger. A later run finds nothing in it, and leaves it.
    if let Err(error) = setup.remove_ledger().await {
        report.failed.push(format!("{error:#}; delete that index by hand once nothing is noted in it"));
    }
    Ok(report)
}

/// Where a thing is.
enum Place {
    /// In the cluster, under this id.
    There(String),
    /// Nowhere yet.
    Missing,
    /// Deleted by hand.
    Gone,
}

struct Setup<'a> {
    client: &'a Client,
    ledger: Ledger,
    force: bool,
    /// The longest that a request takes.
    request: Duration,
}

impl<'a> Setup<'a> {
    fn new(config: &Config, client: &'a Client, force: bool) -> Self {
        let opensearch = &config.opensearch;
        let ledger = Ledger::new(client, &opensearch.index_prefix, opensearch.replicas);
        Self { client, ledger, force, request: config.sink.request_timeout }
    }

    fn lease_time(&self) -> Duration {
        LEASE_TIME + 4 * self.request
    }

    /// Looks at all things, and writes what must be written if there is a lease.
    async fn pass(&self, wanted: Wanted, mut lease: Option<&mut Lease>) -> anyhow::Result<Report> {
        let mut report = Report { failed: wanted.refused, ..Report::default() };
        let written = self.ledger.read().await?;
        // Detectors by name: monitors name them by the ids that the server gave them, and leave out what was deleted.
        let mut ids = BTreeMap::new();
        for mut thing in wanted.things {
            monitors::fill_in(&mut thing.body, &ids);
            if monitors::unfilled(&thing.body) {
                // Its detectors are made first, or could not be.
                report.writes += 1;
                match lease {
                    None => report.lines.push(format!("create {}, with its detectors", thing.title())),
                    Some(_) => {
                        report.failed.push(format!("the {} lacks a detector and was left as it is", thing.title()))
                    }
                }
                continue;
            }
            match self.one(&thing, &written, lease.as_deref_mut(), &mut report).await {
                Ok(Place::There(id)) if thing.kind == Kind::Detector => {
                    ids.insert(thing.name, Some(id));
                }
                Ok(Place::Gone) if thing.kind == Kind::Detector => {
                    ids.insert(thing.name, None);
                }
                Ok(_) => {}
                Err(error) if thing.kind.vital() => return Err(error),
                Err(error) => report.failed.push(format!("{error:#}")),
            }
        }
        report.lines.extend(wanted.notes);
        Ok(report)
    }

    /// What the ledger holds of this configuration, and a line for each thing of another one, or of an earlier state of it.
    async fn own(&self, config: &Config) -> anyhow::Result<(Written, Vec<String>)> {
        let wanted = wanted::all(config, &Plugins::everything(), now());
        let names: BTreeSet<(Kind, String)> = wanted.things.into_iter().map(|thing| (thing.kind, thing.name)).collect();
        let (own, others): (Written, Written) =
            self.ledger.read().await?.into_iter().partition(|(key, _)| names.contains(key));
        let line = |(kind, name): &(Kind, String)| {
            format!("note   {} was made by a setup and is no part of this configuration", thing::title(*kind, name))
        };
        Ok((own, others.keys().map(line).collect()))
    }

    /// One thing; answers where it is then.
    async fn one(
        &self,
        thing: &Thing,
        written: &Written,
        lease: Option<&mut Lease>,
        report: &mut Report,
    ) -> anyhow::Result<Place> {
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
        let writes = matches!(step, Step::Create | Step::Change(_));
        // It became what is wanted in another way than by us, or before a crash.
        let stale = step == Step::Fits && states.written.is_some_and(|note| note.pending || note.body != masked);
        report.writes += usize::from(writes || stale);
        let place = match (&step, &found) {
            (Step::Gone, _) => Place::Gone,
            (_, Some(found)) => Place::There(found.id.clone()),
            (_, None) => Place::Missing,
        };
        let Some(lease) = lease else { return Ok(place) };
        let restarts = thing.kind == Kind::Detector && self.restarts(writes, found.as_ref()).await?;
        if restarts {
            self.ledger.forget_started(&thing.name).await?;
        }
        if !(writes || stale) {
            return Ok(place);
        }
        let place = match writes {
            true => Place::There(self.write(thing, found.as_ref(), states.written, lease).await?),
            false => place,
        };
        if thing.kind == Kind::Policy {
            // Before it is noted as done, so that it is done again after a failure.
            lifecycle::give(self.client, &thing.name, &thing.body).await?;
        }
        self.ledger.note(thing).await?;
        if restarts {
            // A reconciler may have seen it run, and noted that, before it was stopped.
            self.ledger.forget_started(&thing.name).await?;
        }
        Ok(place)
    }

    /// Writes a thing, and notes that before.
    async fn write(
        &self,
        thing: &Thing,
        found: Option<&Found>,
        written: Option<&Note>,
        lease: &mut Lease,
    ) -> anyhow::Result<String> {
        // Whoever has it next finds what is written now, or there would be two of what has no name of its own.
        self.keep(lease).await?;
        self.ledger.note_pending(thing).await?;
        let body = match (found, written) {
            (Some(found), Some(written)) if !self.force => thing.over(&written.body, &found.body),
            _ => thing.body.clone(),
        };
        let done = thing::write(self.client, &Thing { body, ..thing.clone() }, found).await;
        // What was refused is as before, and so is what is known of it.
        if done.as_ref().is_err_and(|error| error.is::<thing::Refusal>()) {
            self.ledger.restore(thing.kind, &thing.name, written).await?;
        }
        done
    }

    /// Whether the reconciler is to start a detector that is new, or stopped to be changed: not one that somebody stopped,
    /// unless forced.
    async fn restarts(&self, writes: bool, found: Option<&Found>) -> anyhow::Result<bool> {
        match found.filter(|_| !self.force) {
            Some(found) if writes => Ok(!reconcile::stopped_by_hand(self.client, &found.id).await?),
            Some(_) => Ok(false),
            None => Ok(writes || self.force),
        }
    }

    /// Takes away what is noted, if there is a lease; what cannot be is told and stays noted.
    async fn take_away(&self, written: &Written, mut lease: Option<&mut Lease>) -> anyhow::Result<Report> {
        let mut report = Report::default();
        // Monitors before what they name, templates last.
        for ((kind, name), note) in written.iter().rev() {
            if let Some(lease) = lease.as_deref_mut() {
                self.keep(lease).await?;
            }
            if let Err(error) = self.take_one(*kind, name, note, lease.is_some(), &mut report).await {
                report.failed.push(format!("{error:#}"));
            }
        }
        Ok(report)
    }

    /// Deletes the ledger if nothing is noted in it any more.
    async fn remove_ledger(&self) -> anyhow::Result<()> {
        if self.ledger.read().await?.is_empty() {
            self.ledger.remove().await?;
        }
        Ok(())
    }

    async fn take_one(
        &self,
        kind: Kind,
        name: &str,
        note: &Note,
        really: bool,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let title = thing::title(kind, name);
        if kind == Kind::Saved && self.client.dashboards().is_none() {
            report.lines.push(format!("keep   {title}: opensearch.dashboards_url is not set"));
            return Ok(());
        }
        let found = thing::find(self.client, kind, name).await?;
        let mut kept = found.as_ref().and_then(|found| self.reason_to_keep(kind, found, note));
        if kind == Kind::Template && thing::has_stream(self.client, name).await? {
            kept = Some("its data stream holds your data; delete that yourself, then run this again");
        }
        report.lines.push(match (&found, kept) {
            (None, _) => format!("gone   {title}"),
            (Some(_), Some(why)) => format!("keep   {title}: {why}"),
            (Some(_), None) => format!("delete {title}"),
        });
        let delete = found.filter(|_| kept.is_none());
        report.writes += usize::from(delete.is_some());
        if !really {
            return Ok(());
        }
        if let Some(found) = &delete {
            thing::remove(self.client, kind, name, found).await?;
        }
        if kept.is_none() || kind == Kind::Index {
            self.ledger.forget(kind, name).await?;
        }
        if kind == Kind::Detector && kept.is_none() {
            self.ledger.forget_started(name).await?;
        }
        Ok(())
    }

    fn reason_to_keep(&self, kind: Kind, found: &Found, note: &Note) -> Option<&'static str> {
        let states = States { wanted: &note.body, found: Some(&found.body), written: Some(note) };
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
        if !lease.lasts(3 * self.request) {
            let kept = self.ledger.renew(lease, self.lease_time()).await?;
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
