//! Real log files once more: files or standard input in, the same records out, at their pace or as fast as wanted.
//!
//! ```text
//! lines (own thread: open, gunzip, split) ─► bounded channel ─► shift (event times) ─► sink
//! ```
//!
//! Invariants: a record goes out byte for byte, apart from its event time when that is moved; no line is dropped
//! silently: one that is too long is counted and named; lines keep their order.

mod lines;
mod shift;

pub(crate) use lines::{Batch, Lines};
pub(super) use shift::Shift;

use anyhow::Context;
use std::path::PathBuf;
use tokio::sync::mpsc;

/// Batches between the reader and the sink.
const AHEAD: usize = 4;

/// Starts to read the files, in this order; `-` is standard input. Lines over `max_record_bytes` are skipped.
///
/// # Errors
/// One of the files cannot be opened; the channel gives what is found out later.
pub(super) fn read(
    inputs: &[PathBuf],
    max_record_bytes: usize,
) -> anyhow::Result<mpsc::Receiver<anyhow::Result<Batch>>> {
    check(inputs)?;
    let (sender, receiver) = mpsc::channel(AHEAD);
    let inputs = inputs.to_vec();
    // A thread of its own, not one of the runtime's: standard input may never answer, and must not keep the
    // process from ending.
    std::thread::Builder::new()
        .name("replay".to_owned())
        .spawn(move || lines::read_all(&inputs, max_record_bytes, &sender))
        .context("no thread can be started to read the files")?;
    Ok(receiver)
}

/// Says which of the inputs are no files; answers how many bytes they hold, standard input (`-`) not counted.
///
/// # Errors
/// One of them is not there or is a folder.
pub(crate) fn check(inputs: &[PathBuf]) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for input in inputs.iter().filter(|input| input.as_os_str() != "-") {
        let kind = std::fs::metadata(input).with_context(|| format!("{} cannot be read", input.display()))?;
        anyhow::ensure!(!kind.is_dir(), "{} is a folder: name the files in it", input.display());
        bytes += kind.len();
    }
    Ok(bytes)
}
