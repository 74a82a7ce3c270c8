//! Everything that speaks to Kafka: connections, group members, transactions.
//!
//! Invariant: services never know whether the broker is Kafka or the embedded one; there is one code path.

pub mod broken;
pub mod client;
pub mod explain;
pub mod fetching;
mod flush;
pub mod group;
pub mod leaving;
pub mod output;
pub mod read;
pub mod topics;
