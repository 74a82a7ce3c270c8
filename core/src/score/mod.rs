//! Scores: merges the differences of one windows partition, closes windows, asks the models.
//!
//! ```text
//! frame ──► apply ──► open windows ──► close ──► Score, Anomaly
//!             │                          │
//!             └─► watermark ─────────────┘──► state records ──► restore
//! ```
//!
//! Invariants: a window closes once, in the order (end, detector, series); a difference for a closed window is
//! counted, never merged; what was decided is in the log, so reading it again decides the same.

mod row;
mod scorer;
mod state;

pub use row::{Anomaly, Score, SeriesName};
pub use scorer::{Changes, Closed, Counts, Scorer};
pub use state::{Progress, StateError};
