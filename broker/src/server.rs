//! The listener: accepts connections, bounds their number, and stops them.
//!
//! The only place that starts tasks: one for the timer, one for each connection.
//!
//! Invariant: when `run` returns, no task of the broker is left.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::connection;
use crate::node::Node;

/// How long to wait before accepting again when the system refuses (no file handles left, for instance).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop` fires or is dropped.
pub(crate) async fn run(listener: TcpListener, node: Arc<Node>, mut stop: oneshot::Receiver<()>) {
    let mut tasks = JoinSet::new();
    let timer = Arc::clone(&node);
    tasks.spawn(async move { timer.run_timer().await });
    loop {
        tokio::select! {
            _ = &mut stop => break,
            // The timer never ends by itself, so that the set is never empty here.
            Some(ended) = tasks.join_next() => {
                if let Err(error) = ended && error.is_panic() {
                    tracing::error!(%error, "a connection failed within the broker: please report this defect");
                }
            }
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) if tasks.len() > node.config.max_connections => {
                    tracing::warn!(%peer, limit = node.config.max_connections, "too many connections: refused one");
                    drop(stream);
                }
                Ok((stream, peer)) => {
                    let node = Arc::clone(&node);
                    tasks.spawn(async move { serve(stream, peer, node).await });
                }
                Err(error) => {
                    tracing::warn!(%error, "could not accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    tasks.shutdown().await;
}

async fn serve(stream: TcpStream, peer: SocketAddr, node: Arc<Node>) {
    if let Err(error) = connection::serve(stream, peer, node).await {
        tracing::info!(%peer, "closed a connection: {error:#}");
    }
}
