//! outlier: real-time anomaly detection for logs.
//!
//! The folders follow the path of a record: `produce` → `process` → `alert` → `sink` → `serve`; `kafka`,
//! `worker` and `telemetry` are what they share, `outlier_core` holds everything pure.

pub mod alert;
pub mod backtest;
pub mod bootstrap;
pub mod cli;
pub mod config;
pub mod demo;
mod incident;
pub mod index;
pub mod kafka;
pub mod process;
pub mod produce;
pub mod rejected;
pub mod serve;
pub mod setup;
pub mod shutdown;
pub mod sink;
pub mod state;
pub mod telemetry;
pub(crate) mod time;
pub(crate) mod worker;
