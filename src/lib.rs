//! outlier: real-time anomaly detection for logs.

pub mod config;
pub mod kafka;
pub mod telemetry;
