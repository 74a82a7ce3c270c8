//! The progress bar of a backfill, on a terminal only.

use super::control::{Control, Progress};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use tokio::task::JoinHandle;

const STEPS: u64 = 1000;
const STYLE: &str = "{msg} {wide_bar} {percent:>3} % · {eta} left";

/// Shows the bar until the history is written. `None` when standard error is no terminal.
pub(super) fn show(control: &Control) -> Option<JoinHandle<()>> {
    if !std::io::stderr().is_terminal() {
        return None;
    }
    let mut progress = control.progress();
    progress.mark_unchanged();
    Some(tokio::spawn(async move {
        let bar = ProgressBar::new(STEPS);
        if let Ok(style) = ProgressStyle::with_template(STYLE) {
            bar.set_style(style);
        }
        // Ends when the history is written, or with the run.
        while progress.changed().await.is_ok() {
            let now: Progress = *progress.borrow_and_update();
            bar.set_position((now.share() * STEPS as f64) as u64);
            bar.set_message(format!("history: {} records", now.records));
            if now.live {
                break;
            }
        }
        bar.finish_and_clear();
    }))
}
