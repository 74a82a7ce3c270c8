//! Where records go: Kafka, log files or standard output.
//!
//! Last step of `produce`. Invariants: a record handed to [`Sink::send`] is counted once, as written or as failed;
//! `send` waits while the way out is full; after [`Sink::finish`] everything is out or counted as failed.

mod files;
mod kafka;
mod stdout;

pub(super) use files::Files;
pub(super) use kafka::Kafka;
pub(super) use stdout::Stdout;

use outlier_core::pipeline::Millis;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// A record on its way out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outgoing<'r> {
    /// When it is written in the order of things: its event time, or now for a replay.
    pub at: Millis,
    /// Its Kafka timestamp is `at`; otherwise the time of sending.
    pub stamped: bool,
    /// Its Kafka key.
    pub key: Option<&'r [u8]>,
    /// The record.
    pub bytes: &'r [u8],
}

/// What became of the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Tally {
    pub written: u64,
    pub failed: u64,
}

/// One of the ways out.
pub(super) enum Sink {
    Kafka(Kafka),
    Files(Box<Files>),
    Stdout(Stdout),
}

impl Sink {
    /// Hands a record on; waits while there is no room, unless `stop` comes first.
    ///
    /// # Errors
    /// Nothing more can be written.
    pub async fn send(&mut self, record: Outgoing<'_>, stop: &CancellationToken) -> anyhow::Result<()> {
        match self {
            Self::Kafka(kafka) => kafka.send(record, stop).await,
            Self::Files(files) => files.write(record).await,
            Self::Stdout(stdout) => stdout.write(record.bytes).await,
        }
    }

    /// When something is to be done although no record comes.
    pub fn due(&self) -> Option<Millis> {
        match self {
            Self::Files(files) => files.due(),
            Self::Kafka(_) | Self::Stdout(_) => None,
        }
    }

    /// No record comes for a while after this time: what is kept back goes out.
    ///
    /// # Errors
    /// Nothing more can be written.
    pub async fn rest(&mut self, now: Millis) -> anyhow::Result<()> {
        match self {
            Self::Kafka(_) => Ok(()),
            Self::Files(files) => files.rest(now).await,
            Self::Stdout(stdout) => stdout.flush().await,
        }
    }

    /// Everything out, and what became of it. Kafka gets this long.
    ///
    /// # Errors
    /// The rest could not be written.
    pub async fn finish(self, deadline: Duration) -> anyhow::Result<Tally> {
        match self {
            Self::Kafka(kafka) => Ok(kafka.finish(deadline).await),
            Self::Files(files) => files.finish().await,
            Self::Stdout(stdout) => stdout.finish().await,
        }
    }
}
