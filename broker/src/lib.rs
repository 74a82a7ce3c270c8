//! A single-node, in-memory broker that speaks the Kafka protocol, for the demo and for tests.
//!
//! Stands where Kafka stands: services reach it through rdkafka and cannot tell the difference. It has topics,
//! idempotent and transactional producers, classic consumer groups, committed offsets with metadata, and the admin
//! APIs that rdkafka, kcat and the Python client use. Batches stay compressed as they came.
//!
//! What differs from Kafka:
//! - nothing is on disk;
//! - topics are never compacted: one with `cleanup.policy=compact` only grows, and may hold records without a key;
//! - retention is by bytes and exact, not by time (`retention.ms`) or by segments;
//! - records are not decompressed on the way in: a batch whose inside is damaged is only noticed by its reader, and
//!   `compression.type` of a topic has no effect; timestamps are always the producer's;
//! - a request has at most 100,000 array elements; what Metadata, DescribeConfigs, DescribeGroups or OffsetFetch name
//!   twice is answered once;
//! - a search by time looks at the first 64 MiB of a compressed batch's records, else answers with its first offset;
//! - no fetch sessions, topic ids in Fetch, KIP-848 groups, quotas or security: a client learns so from ApiVersions.
//!
//! ```text
//!  socket ─► connection ─► wire (header, shape) ─► api/<one file each> ─► node (one lock) ─┬─► topic ─► log
//!    ▲                                                  │                                  ├─► txn
//!    └──────────────── wire::frame (slices) ◄───────────┘                                  └─► group
//! ```
//!
//! Invariants: the protocol's state (log, txn, group) has no socket, clock or task and is given `now`; no client can
//! stop or block another one by what it sends; queues, connections, groups and partitions are bounded.

mod api;
mod clock;
mod connection;
mod group;
mod log;
mod node;
mod server;
mod topic;
mod txn;
mod wire;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use node::Node;

/// How the broker is set up.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen; port 0 lets the system choose. Default `127.0.0.1:0`. There is no authentication: anything but
    /// a loopback address opens the broker to the network.
    pub listen: SocketAddr,
    /// Partitions of a topic whose creator does not say (at least 1). Default 4.
    pub default_partitions: i32,
    /// Whether a client that asks for an unknown topic's metadata, and allows it, creates the topic. Default true.
    pub auto_create_topics: bool,
    /// Bytes that a topic keeps over all its partitions before the oldest batches go, unless it is compacted. Default
    /// 256 MiB. `retention.bytes` of a topic bounds each of its partitions as well.
    pub retention_bytes: u64,
    /// The largest request in bytes. Default 100 MiB.
    pub max_request_bytes: usize,
    /// Connections at a time; more are closed at once. Default 1,000.
    pub max_connections: usize,
    /// The shortest `session.timeout.ms` a consumer may ask for. Default 6 s, as in Kafka; shorter ones are for tests.
    pub min_session_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            default_partitions: 4,
            auto_create_topics: true,
            retention_bytes: 256 << 20,
            max_request_bytes: 100 << 20,
            max_connections: 1_000,
            min_session_timeout: Duration::from_secs(6),
        }
    }
}

/// Why the broker could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is taken, not this machine's, or not allowed.
    #[error("the broker cannot listen on {address}: {source}; choose another address or port, or stop what uses it")]
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// The system's reason.
        source: std::io::Error,
    },
}

/// A running broker. Dropping it stops it without waiting; [`Broker::shutdown`] waits.
#[derive(Debug)]
pub struct Broker {
    address: SocketAddr,
    /// Dropping it ends the task.
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Broker {
    /// Starts a broker on the current tokio runtime. When this returns, clients can connect.
    ///
    /// # Errors
    /// [`Error::Listen`] when the address cannot be used.
    pub async fn start(config: Config) -> Result<Self, Error> {
        let failed = |source| Error::Listen { address: config.listen, source };
        let listener = TcpListener::bind(config.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(server::run(listener, Node::new(config), stopped));
        Ok(Self { address, stop, task })
    }

    /// The address it listens on, with the port the system chose.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes all connections and frees all data. Nothing survives it.
    pub async fn shutdown(self) {
        drop(self.stop);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the broker's task failed while stopping");
        }
    }
}
