//! Records on standard output, one a line.
//!
//! Invariant: whole lines are written; a reader that closes the pipe ends the run without an error.

use super::Tally;
use prometheus_client::metrics::counter::Counter;
use std::io::{self, ErrorKind, Write};
use tokio_util::sync::CancellationToken;

/// So much is collected before it is written; bytes.
const CHUNK: usize = 64 * 1024;

/// The output.
pub(in crate::produce) struct Stdout {
    chunk: Vec<u8>,
    lines: u64,
    tally: Tally,
    written: Counter,
    /// Stops the run when nobody reads any more.
    stop: CancellationToken,
}

impl Stdout {
    pub fn new(written: Counter, stop: CancellationToken) -> Self {
        Self { chunk: Vec::with_capacity(CHUNK + 4096), lines: 0, tally: Tally::default(), written, stop }
    }

    pub async fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.chunk.extend_from_slice(bytes);
        self.chunk.push(b'\n');
        self.lines += 1;
        if self.chunk.len() >= CHUNK { self.flush().await } else { Ok(()) }
    }

    pub async fn flush(&mut self) -> anyhow::Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::take(&mut self.chunk);
        let (mut chunk, result) = tokio::task::spawn_blocking(move || {
            let mut out = io::stdout().lock();
            let result = out.write_all(&chunk).and_then(|()| out.flush());
            (chunk, result)
        })
        .await?;
        let lines = std::mem::take(&mut self.lines);
        chunk.clear();
        self.chunk = chunk;
        match result {
            Ok(()) => {
                self.tally.written += lines;
                self.written.inc_by(lines);
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.stop.cancel();
                Ok(())
            }
            Err(error) => Err(anyhow::Error::new(error).context("standard output cannot be written")),
        }
    }

    pub async fn finish(mut self) -> anyhow::Result<Tally> {
        self.flush().await?;
        Ok(self.tally)
    }
}
