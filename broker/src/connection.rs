//! One client's connection: a frame in, its answer out, one after the other.
//!
//! Invariants: answers leave in the order of their requests, so a client's pipelined batches are appended in order; a
//! frame that cannot be understood closes this connection and no other; a frame takes memory as its bytes arrive.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::api::{self, Reply};
use crate::node::Node;
use crate::wire::frame::Frame;
use crate::wire::header::Call;

/// A client silent for so long is disconnected, as Kafka does.
const MAX_IDLE: Duration = Duration::from_secs(600);
/// Room that a frame gets before its bytes have arrived.
const FIRST_ROOM: usize = 2 << 20;
/// The largest request but Produce: none of the others carries data.
const MAX_PLAIN_REQUEST: usize = 8 << 20;
const PRODUCE: i16 = 0;

/// What an API knows of the connection it answers on.
pub(crate) struct Peer {
    pub(crate) node: Arc<Node>,
    /// Where the client is.
    pub(crate) peer: SocketAddr,
    /// The broker's address as the client reached it, and so the one to give back to it.
    pub(crate) local: SocketAddr,
}

/// Serves a connection until the client ends it.
///
/// # Errors
/// Why the broker had to end it.
pub(crate) async fn serve(mut stream: TcpStream, peer: SocketAddr, node: Arc<Node>) -> Result<()> {
    stream.set_nodelay(true).context("could not set TCP_NODELAY")?;
    let local = stream.local_addr().context("the connection has no local address")?;
    let context = Peer { node, peer, local };
    loop {
        let limit = context.node.config.max_request_bytes;
        let read = tokio::time::timeout(MAX_IDLE, read_frame(&mut stream, limit));
        let Some(frame) = read.await.context("silent for too long")?? else {
            return Ok(());
        };
        let call = Call::parse(frame)?;
        let (key, version) = (call.key, call.version);
        let name = || format!("request with API key {key}, version {version}");
        match api::answer(&context, call).await.with_context(name)? {
            Reply::Nothing => {}
            Reply::Frame(mut frame) => write(&mut stream, &mut frame).await?,
            Reply::Last(mut frame) => {
                write(&mut stream, &mut frame).await?;
                stream.shutdown().await.context("could not close")?;
                bail!("{} is not supported", name());
            }
        }
    }
}

/// Writes a whole answer. A client that does not read holds slices of logs, but not for ever.
async fn write(stream: &mut TcpStream, frame: &mut Frame) -> Result<()> {
    let written = tokio::time::timeout(MAX_IDLE, stream.write_all_buf(frame)).await;
    written.context("the client does not read its answer")?.context("could not answer")
}

/// Reads a length and that many bytes; `None` when the client has ended the connection between two frames.
async fn read_frame(stream: &mut TcpStream, limit: usize) -> Result<Option<Bytes>> {
    let mut head = [0; 6];
    let begun = stream.read(&mut head).await?;
    if begun == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut head[begun..]).await.context("ended within a request")?;
    let [a, b, c, d, key @ ..] = head;
    let length = i32::from_be_bytes([a, b, c, d]);
    let limit = if i16::from_be_bytes(key) == PRODUCE { limit } else { limit.min(MAX_PLAIN_REQUEST) };
    let length = usize::try_from(length).ok().filter(|length| (8..=limit).contains(length));
    let Some(length) = length else {
        bail!("a request of {} bytes is out of bounds", i32::from_be_bytes([a, b, c, d]))
    };
    let mut frame = BytesMut::with_capacity(length.min(FIRST_ROOM));
    frame.extend_from_slice(&key);
    while frame.len() < length {
        let missing = length - frame.len();
        if frame.capacity() == frame.len() {
            frame.reserve(missing.min(frame.len()));
        }
        let read = (&mut *stream).take(missing as u64).read_buf(&mut frame).await?;
        ensure!(read > 0, "ended within a request");
    }
    Ok(Some(frame.freeze()))
}
