//! outlier: real-time anomaly detection for logs.

pub mod config;
