//! Sends messages: for each channel a queue and a task that tries until it is delivered.
//!
//! ```text
//! Notifier::offer ─► queue ─► attempt ─┬─ delivered, refused or too old ─► Ending { done: true }
//!                               ▲      ├─ failed ─► pause ─┐
//!                               └──────┼───────────────────┘
//!                                      └─ settled meanwhile ─────────────► Ending { done: false }
//! ```
//!
//! Invariants: what was offered ends once; a channel that fails or hangs holds up nothing but itself; an attempt ends
//! within [`ATTEMPT`], and after [`Notifier::take_back`] none begins for what was offered before.

mod email;
mod text;
mod webhook;

pub use text::reasons;

use crate::config::{Channel, Recipient};
use crate::sink::backoff::Backoff;
use crate::telemetry::Telemetry;
use crate::telemetry::health::State;
use crate::time::now;
use anyhow::{Context, anyhow, bail};
use outlier_core::alert::Message;
use outlier_core::pipeline::Millis;
use prometheus_client::metrics::counter::Counter;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};

/// Messages that wait for a channel, beside the one that is being sent.
const QUEUE: usize = 16;
/// An attempt without an answer is given up after this long.
const ATTEMPT: Duration = Duration::from_secs(10);
/// How long a partition that moves on waits for attempts under way.
const SETTLE: Duration = Duration::from_secs(5);
/// A message that could not be delivered for so long is given up; milliseconds.
const TOO_OLD: Millis = 86_400_000;

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// The message's batch.
    pub batch: String,
    /// Its channel.
    pub channel: String,
    /// The alerts that it told of.
    pub ids: BTreeSet<String>,
    /// It was delivered or given up; else nothing is known and it is still owed.
    pub done: bool,
}

/// Why an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// It may work later.
    Later(String),
    /// This message will never be taken.
    Never(String),
}

/// A way to send.
enum Sender {
    Webhook(webhook::Webhook),
    Email(Box<email::Mailer>),
}

impl Sender {
    /// Prepares it; `None` for what only OpenSearch can send.
    fn new(channel: &Channel) -> anyhow::Result<Option<Self>> {
        let sender = match &channel.recipient {
            Recipient::Email(email) => email::Mailer::new(email, ATTEMPT).map(|mailer| Self::Email(Box::new(mailer))),
            Recipient::Webhook { url } => webhook::Webhook::plain(url, ATTEMPT).map(Self::Webhook),
            Recipient::Slack { url } => webhook::Webhook::slack(url, ATTEMPT).map(Self::Webhook),
            Recipient::Teams { url } => webhook::Webhook::teams(url, ATTEMPT).map(Self::Webhook),
            Recipient::Ses { .. } | Recipient::Sns { .. } => return Ok(None),
        };
        sender.map(Some).with_context(|| format!("channel {}", channel.name))
    }

    /// One attempt, which ends within [`ATTEMPT`].
    async fn send(&self, pipeline: &str, message: &Message) -> Result<(), Failure> {
        let attempt = async {
            match self {
                Self::Webhook(webhook) => webhook.send(pipeline, message).await,
                Self::Email(mailer) => mailer.send(pipeline, message).await,
            }
        };
        let late = |_| Err(Failure::Later(format!("no answer within {} s", ATTEMPT.as_secs())));
        tokio::time::timeout(ATTEMPT, attempt).await.unwrap_or_else(late)
    }
}

/// Sends a message that is about no alert, once.
///
/// # Errors
/// The channel cannot work, or did not take it: why.
pub async fn test(channel: &Channel, pipeline: &str) -> anyhow::Result<()> {
    let name = &channel.name;
    let Some(sender) = Sender::new(channel)? else {
        bail!("only OpenSearch can send by {name}, and of the pipeline {pipeline} it does not tell: nobody is told");
    };
    let key = format!("{:032x}", rand::random::<u128>());
    let (batch, since) = (key.clone(), now());
    let (alerts, ids) = (Vec::new(), BTreeSet::new());
    let message = Message { key, batch, channel: name.clone(), since, over: false, alerts, total: 0, ids };
    sender.send(pipeline, &message).await.map_err(|failure| {
        let (Failure::Later(why) | Failure::Never(why)) = failure;
        anyhow!("the message by {name} was not delivered: {why}")
    })
}

/// The channels of one pipeline.
pub struct Notifier {
    queues: BTreeMap<String, mpsc::Sender<(u64, Message)>>,
    turn: watch::Sender<u64>,
    state: Mutex<Under>,
}

struct Under {
    /// Batch and channel of what was offered and has not ended.
    way: BTreeSet<(String, String)>,
    endings: mpsc::Receiver<Ending>,
    /// Those found while settling.
    settled: Vec<Ending>,
}

impl Notifier {
    /// Starts a task for each channel, which end with the notifier. Must be called within a runtime.
    ///
    /// # Errors
    /// A channel cannot work.
    pub fn start(channels: &[Channel], pipeline: &str, telemetry: &Telemetry) -> anyhow::Result<Self> {
        let (turn, _) = watch::channel(0);
        let (ended, endings) = mpsc::channel(channels.len().max(1) * (QUEUE + 2));
        let mut queues = BTreeMap::new();
        for channel in channels {
            let Some(sender) = Sender::new(channel)? else {
                // The configuration refuses them for this owner; here OpenSearch turned out to have no plugin.
                let channel = &channel.name;
                tracing::warn!(channel, "only OpenSearch can send there, and it does not notify: nobody is told");
                continue;
            };
            let (queue, waiting) = mpsc::channel(QUEUE);
            queues.insert(channel.name.clone(), queue);
            let count = |outcome| telemetry.metrics.records("alert", pipeline, outcome, &channel.name);
            let task = Task {
                pipeline: pipeline.to_owned(),
                component: format!("alert {pipeline} {}", channel.name),
                sender,
                turn: turn.subscribe(),
                ended: ended.clone(),
                telemetry: telemetry.clone(),
                delivered: count("delivered"),
                failed: count("failed"),
                given_up: count("given_up"),
            };
            tokio::spawn(task.run(waiting));
        }
        Ok(Self { queues, turn, state: Mutex::new(Under { way: BTreeSet::new(), endings, settled: Vec::new() }) })
    }

    /// Gives a message to its channel unless it has it already, or has enough to do. Never waits.
    pub fn offer(&self, message: Message) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let id = (message.batch.clone(), message.channel.clone());
        if state.way.contains(&id) {
            return;
        }
        let Some(queue) = self.queues.get(&message.channel) else {
            let channel = &message.channel;
            tracing::warn!(channel, "there is no such channel any more: what it was owed is given up");
            let Message { batch, channel, ids, .. } = message;
            state.settled.push(Ending { batch, channel, ids, done: true });
            return;
        };
        if queue.try_send((*self.turn.borrow(), message)).is_ok() {
            state.way.insert(id);
        }
    }

    /// A message that ended.
    pub fn ended(&self) -> Option<Ending> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ending) = state.settled.pop() {
            return Some(ending);
        }
        let ending = state.endings.try_recv().ok()?;
        state.way.remove(&(ending.batch.clone(), ending.channel.clone()));
        Some(ending)
    }

    /// Takes back what was offered and is not being sent.
    pub fn take_back(&self) {
        self.turn.send_modify(|turn| *turn += 1);
    }

    /// The same, and waits a moment for what is being sent. Blocks.
    pub fn settle(&self) {
        self.take_back();
        let deadline = Instant::now() + SETTLE;
        loop {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            while let Ok(ending) = state.endings.try_recv() {
                state.way.remove(&(ending.batch.clone(), ending.channel.clone()));
                state.settled.push(ending);
            }
            if state.way.is_empty() || Instant::now() > deadline {
                return;
            }
            drop(state);
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// What one channel's task needs.
struct Task {
    pipeline: String,
    component: String,
    sender: Sender,
    turn: watch::Receiver<u64>,
    ended: mpsc::Sender<Ending>,
    telemetry: Telemetry,
    delivered: Counter,
    failed: Counter,
    given_up: Counter,
}

impl Task {
    async fn run(mut self, mut waiting: mpsc::Receiver<(u64, Message)>) {
        self.telemetry.health.set(&self.component, State::Ready);
        while let Some((turn, message)) = waiting.recv().await {
            let done = self.deliver(turn, &message).await;
            let Message { batch, channel, ids, .. } = message;
            if self.ended.send(Ending { batch, channel, ids, done }).await.is_err() {
                return;
            }
        }
    }

    /// Tries until the message is delivered or given up, or was taken back; false in that case.
    async fn deliver(&mut self, turn: u64, message: &Message) -> bool {
        let mut backoff = Backoff::default();
        loop {
            if *self.turn.borrow_and_update() != turn {
                return false;
            }
            let reason = match self.sender.send(&self.pipeline, message).await {
                Ok(()) => {
                    self.delivered.inc();
                    self.telemetry.health.set(&self.component, State::Ready);
                    let Message { key, channel, total, .. } = message;
                    tracing::info!(channel, key, alerts = total, over = message.over, "message delivered");
                    return true;
                }
                Err(Failure::Never(reason)) => {
                    self.give_up(message, &reason);
                    return true;
                }
                Err(Failure::Later(reason)) if now().saturating_sub(message.since) > TOO_OLD => {
                    self.give_up(message, &reason);
                    return true;
                }
                Err(Failure::Later(reason)) => reason,
            };
            self.failed.inc();
            self.telemetry.health.set(&self.component, State::Waiting { reason });
            tokio::select! {
                changed = self.turn.changed() => if changed.is_err() { return false },
                () = backoff.wait() => {}
            }
        }
    }

    fn give_up(&self, message: &Message, reason: &str) {
        self.given_up.inc();
        let reason = format!("a message of {} alerts was given up: {reason}", message.total);
        self.telemetry.health.set(&self.component, State::Waiting { reason });
    }
}
