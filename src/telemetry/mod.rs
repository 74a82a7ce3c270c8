//! What a running service says of itself: logs, health and metrics.
//!
//! [`Telemetry`] is given to every service; [`http`] serves it at `/health`, `/ready` and `/metrics`.

pub mod health;
pub mod http;
pub mod log;
pub mod metrics;

use std::sync::Arc;

/// Shared by all services of one process. Cheap to clone.
#[derive(Clone, Default)]
pub struct Telemetry {
    /// Component states behind `/health` and `/ready`.
    pub health: health::Health,
    /// Counters behind `/metrics`.
    pub metrics: Arc<metrics::Metrics>,
}
