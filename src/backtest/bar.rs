//! The progress bar, on a terminal only.

use super::options::Options;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;

const BYTES: &str = "{msg} {wide_bar} {bytes} of {total_bytes} · {eta} left";
const RECORDS: &str = "{wide_bar} {human_pos} of {human_len} records · {per_sec} · {eta} left";
const UNKNOWN: &str = "{spinner} {msg} · {bytes}";

/// A bar that does not show before [`begin`], nor where standard error is no terminal.
pub fn new(options: &Options) -> ProgressBar {
    if options.no_progress || !std::io::stderr().is_terminal() {
        ProgressBar::hidden()
    } else {
        ProgressBar::no_length()
    }
}

/// Says how much there is: bytes of files, records of a topic.
pub fn begin(bar: &ProgressBar, options: &Options, size: u64) {
    let standard = options.files.iter().any(|path| path.as_os_str() == "-");
    let style = match (&options.topic, standard) {
        (Some(_), _) => RECORDS,
        (None, true) => UNKNOWN,
        (None, false) => BYTES,
    };
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    if !standard {
        bar.set_length(size);
    }
}
