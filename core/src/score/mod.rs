//! Scores: merges the differences of one windows partition, closes panes, asks the models.
//!
//! ```text
//! frame ──► apply ──► open panes ──► close ──► windows ──► judge ──► Score, Anomaly
//!             │                        │                     └─► why
//!             └─► watermark ───────────┘──► state records ──► restore
//! ```
//!
//! Invariants: a pane closes once, in the order (end, detector, group); a difference for a closed pane is
//! counted, never merged; what was decided is in the log, so reading it again decides the same.

mod group;
mod inspect;
mod judge;
mod left;
mod pane;
mod row;
mod scorer;
mod scoring;
mod state;
#[cfg(test)]
mod tests;

pub use inspect::{Inspected, inspect};
pub use row::{Anomaly, Closed, Score, SeriesName};
pub use scorer::{Changes, Counts, Position, Scorer};
pub use state::{Closing, Progress, StateError};
