//! Where results go: rows as they come, reports at the end.
//!
//! Invariant: files are opened before anything is read, so that a long run does not fail at its end; of all results only
//! one goes to standard output, and then the tables go to standard error.

use super::options::Options;
use super::report::{Report, html, terminal};
use anyhow::Context;
use outlier_core::score::Score;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// A file or standard output.
pub struct Output {
    name: String,
    to: BufWriter<Box<dyn Write>>,
}

impl Output {
    fn open(path: &Path) -> anyhow::Result<Self> {
        if path.as_os_str() == "-" {
            return Ok(Self { name: "standard output".into(), to: BufWriter::new(Box::new(io::stdout())) });
        }
        let name = path.display().to_string();
        let file = File::create(path).with_context(|| format!("{name} cannot be written: choose another place"))?;
        Ok(Self { name, to: BufWriter::with_capacity(256 * 1024, Box::new(file)) })
    }

    fn put(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.to.write_all(bytes).with_context(|| format!("{} cannot be written", self.name))
    }

    fn close(mut self) -> anyhow::Result<()> {
        self.to.flush().with_context(|| format!("{} cannot be written", self.name))
    }
}

/// Score rows as lines of JSON.
pub struct Rows(Output);

impl Rows {
    /// Writes a row as the scores topic has it.
    ///
    /// # Errors
    /// The output cannot be written.
    pub fn write(&mut self, row: &Score) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(row)?;
        line.push(b'\n');
        self.0.put(&line)
    }

    /// Writes what is left.
    ///
    /// # Errors
    /// The output cannot be written.
    pub fn finish(self) -> anyhow::Result<()> {
        self.0.close()
    }
}

/// What the options ask for.
pub struct Outputs {
    /// Of `--scores`.
    pub rows: Option<Rows>,
    /// Of `--json`.
    pub json: Option<Output>,
    /// Of `--html`.
    pub html: Option<Output>,
    /// A result goes to standard output.
    is_piped: bool,
}

impl Outputs {
    /// Opens them.
    ///
    /// # Errors
    /// A file cannot be made, or several go to standard output.
    pub fn open(options: &Options) -> anyhow::Result<Self> {
        let all = [&options.scores, &options.json, &options.html];
        let piped = all.iter().filter(|path| path.as_ref().is_some_and(|path| path.as_os_str() == "-")).count();
        anyhow::ensure!(piped <= 1, "only one of --scores, --json and --html can go to standard output");
        let open = |path: &Option<PathBuf>| path.as_deref().map(Output::open).transpose();
        Ok(Self {
            rows: open(&options.scores)?.map(Rows),
            json: open(&options.json)?,
            html: open(&options.html)?,
            is_piped: piped > 0,
        })
    }

    /// Writes the reports, the tables last.
    ///
    /// # Errors
    /// An output cannot be written.
    pub fn write(self, report: &Report) -> anyhow::Result<()> {
        if let Some(mut json) = self.json {
            let mut text = serde_json::to_vec_pretty(report)?;
            text.push(b'\n');
            json.put(&text)?;
            json.close()?;
        }
        if let Some(mut html) = self.html {
            html.put(html::page(report).as_bytes())?;
            html.close()?;
        }
        let text = terminal::tables(report);
        let written = if self.is_piped {
            io::stderr().write_all(text.as_bytes())
        } else {
            io::stdout().write_all(text.as_bytes())
        };
        match written {
            // `head` has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => written.context("the tables cannot be written"),
        }
    }
}
