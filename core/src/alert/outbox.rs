//! From what is owed to messages: those that are due at a time share one, for each channel.
//!
//! Invariant: a batch is written into its alerts before its message is sent, so that the message after a crash has the
//! same key and the same alerts.

use super::book::Book;
use super::record::{Alert, Occasion, Owed, Severity, Step};
use crate::pipeline::Millis;
use crate::sketch::hash;
use std::collections::{BTreeMap, BTreeSet};

/// The most alerts that a message shows; of the rest it says the number.
const MOST_SHOWN: usize = 50;

/// A channel, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// Its name.
    pub name: String,
    /// The least severity that it is told of.
    pub from: Severity,
}

/// An alert in a message.
#[derive(Debug, Clone, PartialEq)]
pub struct Telling {
    /// Why it is told.
    pub occasion: Occasion,
    /// The alert.
    pub alert: Alert,
}

/// A message to one channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// The same whenever the same alerts are told on the same occasion: whoever has seen it may drop a repeat.
    pub key: String,
    /// To be given to [`Book::delivered`].
    pub batch: String,
    /// The channel's name.
    pub channel: String,
    /// When its first alert became due, by the wall clock.
    pub since: Millis,
    /// Its alerts are over; else they go on.
    pub over: bool,
    /// The alerts with the highest scores, the highest first; at most 50.
    pub alerts: Vec<Telling>,
    /// How many alerts there are in all.
    pub total: usize,
    /// Their ids, to be given to [`Book::delivered`]: an alert that came meanwhile may share the batch.
    pub ids: BTreeSet<String>,
}

/// Makes messages of all that is due: one batch of alerts that go on, one of those that are over.
pub fn batch<'a>(books: impl Iterator<Item = &'a mut Book>, recipients: &[Recipient]) {
    let mut books: Vec<&mut Book> = books.collect();
    let mut keys = [Key::default(), Key::default()];
    for book in &books {
        for alert in book.unmade.iter().filter_map(|id| book.alerts.get(id)) {
            alert.unmade().for_each(|owed| keys[class(owed.occasion)].add(alert, owed));
        }
    }
    let keys = keys.map(Key::text);
    for book in &mut books {
        for id in book.unmade.clone() {
            let Some(alert) = book.alerts.get_mut(&id) else { continue };
            let severity = alert.severity;
            let told = recipients.iter().filter(|recipient| recipient.from <= severity);
            let channels: Vec<String> = told.map(|recipient| recipient.name.clone()).collect();
            for owed in alert.owed.iter_mut().filter(|owed| owed.batch.is_none()) {
                owed.batch = Some(keys[class(owed.occasion)].clone());
                owed.channels.clone_from(&channels);
            }
            alert.owed.retain(|owed| !owed.channels.is_empty());
            alert.step(Step::Told);
            book.touch(&id);
        }
    }
}

/// What makes a message: the alerts of a batch that a channel did not get. In the order in which they are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Slot<'a> {
    since: Millis,
    class: usize,
    batch: &'a str,
    channel: &'a str,
}

/// The messages that are made and not delivered, the oldest first; of alerts that go on before those that are over.
pub fn owed<'a>(books: impl Iterator<Item = &'a Book>) -> Vec<Message> {
    let alerts = books.flat_map(|book| book.made.iter().filter_map(|id| book.alerts.get(id)));
    let all = alerts.flat_map(|alert| alert.owed.iter().map(move |owed| (owed, alert)));
    let made: Vec<(&str, &Owed, &Alert)> =
        all.filter_map(|(owed, alert)| Some((owed.batch.as_deref()?, owed, alert))).collect();
    let mut since: BTreeMap<&str, Millis> = BTreeMap::new();
    for (batch, owed, _) in &made {
        let first = since.entry(batch).or_insert(owed.since);
        *first = owed.since.min(*first);
    }
    let mut found: BTreeMap<Slot<'_>, Vec<(&Owed, &Alert)>> = BTreeMap::new();
    for (batch, owed, alert) in made {
        for channel in &owed.channels {
            let since = since.get(batch).copied().unwrap_or(owed.since);
            let slot = Slot { since, class: class(owed.occasion), batch, channel };
            found.entry(slot).or_default().push((owed, alert));
        }
    }
    found.into_iter().map(|(slot, alerts)| message(slot, alerts)).collect()
}

fn message(slot: Slot<'_>, mut alerts: Vec<(&Owed, &Alert)>) -> Message {
    let mut key = Key::default();
    alerts.iter().for_each(|(owed, alert)| key.add(alert, owed));
    alerts.sort_by(|(_, a), (_, b)| b.peak.score.total_cmp(&a.peak.score).then_with(|| a.id.cmp(&b.id)));
    let shown = alerts.iter().take(MOST_SHOWN);
    Message {
        key: key.text(),
        batch: slot.batch.to_owned(),
        channel: slot.channel.to_owned(),
        since: slot.since,
        over: slot.class == 1,
        total: alerts.len(),
        ids: alerts.iter().map(|(_, alert)| alert.id.clone()).collect(),
        alerts: shown.map(|(owed, alert)| Telling { occasion: owed.occasion, alert: (*alert).clone() }).collect(),
    }
}

/// Which of the two messages of a batch tells of it.
fn class(occasion: Occasion) -> usize {
    match occasion {
        Occasion::Began | Occasion::Escalated | Occasion::Repeated => 0,
        Occasion::Over => 1,
    }
}

/// What a message is about, in any order.
#[derive(Default)]
struct Key(Vec<String>);

impl Key {
    fn add(&mut self, alert: &Alert, owed: &Owed) {
        // There are several repeats; the others come once.
        let repeat = if owed.occasion == Occasion::Repeated { owed.since } else { 0 };
        self.0.push(format!("{} {:?} {repeat}", alert.id, owed.occasion));
    }

    fn text(mut self) -> String {
        self.0.sort_unstable();
        let text = self.0.join("\n");
        format!("{:016x}{:016x}", hash(text.as_bytes()), hash(format!("{text}\n").as_bytes()))
    }
}
