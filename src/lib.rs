//! outlier: real-time anomaly detection for logs.

pub mod config;
pub mod index;
pub mod kafka;
pub mod setup;
pub mod sink;
pub mod telemetry;
