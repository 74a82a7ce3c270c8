//! Log files as an exporter leaves them: one for each slot of time, complete when it appears.
//!
//! A file is written under a hidden name and renamed when its slot is over, so that whoever tails the folder never
//! sees half a file. Invariants: no file is overwritten, not even by a second exporter in the same folder; a record
//! is in the file of its slot; slots are aligned to the epoch.

use super::{Outgoing, Tally};
use crate::produce::stamp;
use anyhow::Context;
use flate2::Compression;
use flate2::write::GzEncoder;
use outlier_core::pipeline::Millis;
use prometheus_client::metrics::counter::Counter;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// So much is collected before it is written; bytes.
const CHUNK: usize = 64 * 1024;

/// The exporter.
pub(in crate::produce) struct Files {
    folder: PathBuf,
    prefix: String,
    per_minute: u32,
    gzip: bool,
    open: Option<Open>,
    /// Of the next file, over the whole run.
    sequence: u64,
    tally: Tally,
    written: Counter,
}

/// A file that is being written.
struct Open {
    slot_end: Millis,
    chunk: Vec<u8>,
    records: u64,
    file: Writing,
}

struct Writing {
    hidden: PathBuf,
    finished: PathBuf,
    to: Encoder,
}

enum Encoder {
    Plain(File),
    Gzip(GzEncoder<File>),
}

impl Files {
    /// An exporter of `per_minute` files, whose names begin with `prefix`, into a folder that is made if needed.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn new(folder: &Path, prefix: &str, per_minute: u32, gzip: bool, written: Counter) -> anyhow::Result<Self> {
        fs::create_dir_all(folder)
            .with_context(|| format!("the folder {} cannot be made: choose another --dir", folder.display()))?;
        Ok(Self {
            folder: folder.to_owned(),
            prefix: prefix.to_owned(),
            per_minute: per_minute.max(1),
            gzip,
            open: None,
            sequence: 0,
            tally: Tally::default(),
            written,
        })
    }

    /// The end of the open file's slot.
    pub fn due(&self) -> Option<Millis> {
        self.open.as_ref().map(|open| open.slot_end)
    }

    pub async fn write(&mut self, record: Outgoing<'_>) -> anyhow::Result<()> {
        if self.due().is_some_and(|end| record.at >= end) {
            self.close().await?;
        }
        if self.open.is_none() {
            self.open = Some(self.begin(record.at).await?);
        }
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        open.chunk.extend_from_slice(record.bytes);
        open.chunk.push(b'\n');
        open.records += 1;
        if open.chunk.len() >= CHUNK {
            self.flush().await?;
        }
        Ok(())
    }

    /// Writes what is collected, and closes the file if its slot is over.
    pub async fn rest(&mut self, now: Millis) -> anyhow::Result<()> {
        match self.due() {
            Some(end) if now >= end => self.close().await,
            _ => self.flush().await,
        }
    }

    pub async fn finish(mut self) -> anyhow::Result<Tally> {
        self.close().await?;
        Ok(self.tally)
    }

    async fn begin(&mut self, at: Millis) -> anyhow::Result<Open> {
        // The n-th slot of a minute ends at n/per_minute of it, whether or not that divides evenly.
        let minute = at.div_euclid(60_000);
        let per_minute = Millis::from(self.per_minute);
        let slot = at.rem_euclid(60_000) * per_minute / 60_000;
        let edge = |slot: Millis| minute * 60_000 + (slot * 60_000 + per_minute - 1) / per_minute;
        let stem = format!("{}_{}", self.prefix, stamp::compact(edge(slot)));
        let (folder, gzip, first) = (self.folder.clone(), self.gzip, self.sequence);
        let begun = tokio::task::spawn_blocking(move || create(&folder, &stem, first, gzip)).await?;
        let (file, used) = begun.with_context(|| self.advice())?;
        self.sequence = used + 1;
        Ok(Open { slot_end: edge(slot + 1), chunk: Vec::new(), records: 0, file })
    }

    async fn flush(&mut self) -> anyhow::Result<()> {
        let Some(mut open) = self.open.take_if(|open| !open.chunk.is_empty()) else {
            return Ok(());
        };
        let (open, result) = tokio::task::spawn_blocking(move || {
            let result = open.file.to.write_all(&open.chunk);
            open.chunk.clear();
            (open, result)
        })
        .await?;
        self.open = Some(open);
        result.with_context(|| self.advice())
    }

    async fn close(&mut self) -> anyhow::Result<()> {
        self.flush().await?;
        let Some(open) = self.open.take() else {
            return Ok(());
        };
        let records = open.records;
        let closed = tokio::task::spawn_blocking(move || open.file.close()).await?;
        closed.with_context(|| self.advice())?;
        self.tally.written += records;
        self.written.inc_by(records);
        Ok(())
    }

    fn advice(&self) -> String {
        format!("the folder {} cannot be written: check its rights and the space left", self.folder.display())
    }
}

impl Writing {
    fn close(self) -> io::Result<()> {
        match self.to {
            Encoder::Plain(_) => {}
            Encoder::Gzip(encoder) => drop(encoder.finish()?),
        }
        fs::rename(&self.hidden, &self.finished)
    }
}

impl Encoder {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(file) => file.write_all(bytes),
            Self::Gzip(encoder) => encoder.write_all(bytes),
        }
    }
}

/// Creates the hidden file with the first sequence number from `first` on that nobody has, and answers the number.
///
/// Whoever creates the hidden name owns both names until the rename; so the final name is looked for only then.
fn create(folder: &Path, stem: &str, first: u64, gzip: bool) -> io::Result<(Writing, u64)> {
    let extension = if gzip { "log.gz" } else { "log" };
    let mut sequence = first;
    loop {
        let name = format!("{stem}_{sequence:06}.{extension}");
        let hidden = folder.join(format!(".{name}.part"));
        match File::create_new(&hidden) {
            Ok(file) => {
                let finished = folder.join(name);
                if !finished.try_exists()? {
                    let to = match gzip {
                        true => Encoder::Gzip(GzEncoder::new(file, Compression::default())),
                        false => Encoder::Plain(file),
                    };
                    return Ok((Writing { hidden, finished, to }, sequence));
                }
                fs::remove_file(&hidden)?;
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        sequence += 1;
    }
}
