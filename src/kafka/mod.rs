//! Everything that speaks to Kafka: connections, topics, transactional workers.
//!
//! Invariant: services never know whether the broker is Kafka or the embedded one; there is one code path.

pub mod client;
pub mod explain;
