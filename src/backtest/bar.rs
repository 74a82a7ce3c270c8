//! The progress bar, on a terminal only.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::path::PathBuf;

const BYTES: &str = "{msg} {wide_bar} {bytes} of {total_bytes} · {eta} left";
const RECORDS: &str = "{wide_bar} {human_pos} of {human_len} records · {per_sec} · {eta} left";
const UNKNOWN: &str = "{spinner} {msg} · {bytes}";

/// What a bar moves by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes of files.
    Bytes,
    /// Records of a topic, or documents.
    Records,
    /// Bytes of standard input, of which nobody knows how many there are.
    Unknown,
}

impl Unit {
    /// What a bar over these files moves by.
    pub fn of(files: &[PathBuf]) -> Self {
        let standard = files.iter().any(|path| path.as_os_str() == "-");
        if standard { Self::Unknown } else { Self::Bytes }
    }
}

/// A bar that does not show before [`begin`], nor where standard error is no terminal.
pub fn new(no_progress: bool) -> ProgressBar {
    if no_progress || !std::io::stderr().is_terminal() { ProgressBar::hidden() } else { ProgressBar::no_length() }
}

/// Says how much there is.
pub fn begin(bar: &ProgressBar, unit: Unit, size: u64) {
    let style = match unit {
        Unit::Records => RECORDS,
        Unit::Unknown => UNKNOWN,
        Unit::Bytes => BYTES,
    };
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    if unit != Unit::Unknown {
        bar.set_length(size);
    }
}
