//! A proxy between the sink and an index that does to bulk requests what networks, load balancers and busy clusters do.
//!
//! Which request is hit, by what and how, comes from a seed; how often at most is bounded, so that every course ends.
//! What is not hit goes through as it is, one connection to the index for each request.

use super::http::{Head, plain};
use super::tls::Certificate;
use openssl::ssl::{Ssl, SslAcceptor};
use rand::prelude::*;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_openssl::SslStream;

/// What happens to a bulk request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// 429 to this one and to some that follow.
    Storm,
    /// 503.
    Unavailable,
    /// The connection is reset before the index has the request.
    ResetBefore,
    /// The index takes the request; the connection is reset before the answer.
    ResetAfter,
    /// The index gets some of the documents; the others are answered with 429 or 503.
    Items,
    /// Nothing happens for a while; then the index gets the request, or it had it before.
    Stall,
    /// The index takes the request; the answer ends in the middle, with the length that it says or with another.
    Truncated,
    /// A page in HTML with 200 or 502.
    Page,
    /// The connection is reset, and some that follow are not to be trusted: in TLS another authority's certificate, without
    /// it a reset.
    Stranger,
}

impl Fault {
    pub const ALL: [Self; 9] = [
        Self::Storm,
        Self::Unavailable,
        Self::ResetBefore,
        Self::ResetAfter,
        Self::Items,
        Self::Stall,
        Self::Truncated,
        Self::Page,
        Self::Stranger,
    ];
}

/// What a proxy does.
#[derive(Debug, Clone)]
pub struct Plan {
    pub seed: u64,
    pub faults: Vec<Fault>,
    /// Faults at most; a storm is one.
    pub most: usize,
    pub stall: Duration,
    /// A longer bulk request is answered with 413, always; bytes before compression.
    pub largest: usize,
}

struct Course {
    plan: Plan,
    rng: StdRng,
    /// Requests that the storm still hits.
    storm: usize,
    /// Connections that a stranger still takes.
    stranger: usize,
    done: BTreeMap<Fault, usize>,
}

impl Course {
    /// What happens to the next request, and a number for the details.
    fn next(&mut self) -> Option<(Fault, u64)> {
        let detail = self.rng.random();
        if self.storm > 0 {
            self.storm -= 1;
            return Some((Fault::Storm, detail));
        }
        if self.done.values().sum::<usize>() >= self.plan.most || !self.rng.random_bool(0.5) {
            return None;
        }
        let fault = *self.plan.faults.choose(&mut self.rng)?;
        if fault == Fault::Storm {
            self.storm = self.rng.random_range(1..4);
        }
        if fault == Fault::Stranger {
            self.stranger = self.rng.random_range(1..4);
        }
        *self.done.entry(fault).or_default() += 1;
        Some((fault, detail))
    }

    /// Whether a stranger takes the next connection.
    fn is_stranger(&mut self) -> bool {
        let takes = self.stranger > 0;
        self.stranger = self.stranger.saturating_sub(1);
        takes
    }
}

#[derive(Clone)]
struct Shared {
    /// `host:port` of the index.
    upstream: Arc<str>,
    course: Arc<Mutex<Course>>,
    /// Requests that are not answered yet, or were given up by the client and may still reach the index.
    busy: Arc<AtomicUsize>,
}

/// Works until it is dropped or the runtime ends.
pub struct Proxy {
    pub url: String,
    shared: Shared,
    accepting: tokio::task::JoinHandle<()>,
}

impl Proxy {
    /// Stands before the index at `http://host:port`; with an acceptor, in TLS.
    pub async fn start(index: &str, plan: Plan, tls: Option<SslAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}", listener.local_addr().unwrap());
        let rng = StdRng::seed_from_u64(plan.seed);
        let course = Course { plan, rng, storm: 0, stranger: 0, done: BTreeMap::new() };
        let upstream = super::opensearch::address(index).into();
        let shared = Shared { upstream, course: Arc::new(Mutex::new(course)), busy: Arc::default() };
        let served = shared.clone();
        let stranger = tls.as_ref().map(|_| Certificate::authority("stranger").issue("localhost").acceptor(None));
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = served.clone();
                let strange = shared.course.lock().unwrap().is_stranger();
                let tls = if strange { stranger.clone() } else { tls.clone() };
                tokio::spawn(async move {
                    if strange && tls.is_none() {
                        return stream.set_zero_linger().ok();
                    }
                    let mut wire = Wire::open(stream, tls.as_ref()).await?;
                    while serve(&mut wire, &shared).await.is_some() {}
                    Some(())
                });
            }
        });
        Self { url, shared, accepting }
    }

    /// How many faults of which kind there were.
    pub fn done(&self) -> BTreeMap<Fault, usize> {
        self.shared.course.lock().unwrap().done.clone()
    }

    /// True when no request can reach the index any more but new ones.
    pub fn quiet(&self) -> bool {
        self.shared.busy.load(Ordering::SeqCst) == 0
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A client's connection.
enum Wire {
    Plain(TcpStream),
    Tls(SslStream<TcpStream>),
}

impl Wire {
    async fn open(stream: TcpStream, tls: Option<&SslAcceptor>) -> Option<Self> {
        let Some(acceptor) = tls else { return Some(Self::Plain(stream)) };
        let mut stream = SslStream::new(Ssl::new(acceptor.context()).unwrap(), stream).unwrap();
        if Pin::new(&mut stream).accept().await.is_err() {
            // With a request left unread the end would be a reset, which may overtake the alert that says why.
            let (stream, mut nowhere) = (stream.get_mut(), tokio::io::sink());
            stream.shutdown().await.ok();
            tokio::time::timeout(Duration::from_secs(1), tokio::io::copy(stream, &mut nowhere)).await.ok();
            return None;
        }
        Some(Self::Tls(stream))
    }

    fn io(&mut self) -> &mut dyn Stream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream,
        }
    }

    /// Makes the end of the connection, which comes when it is dropped, a reset.
    fn reset(&self) {
        let stream = match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref(),
        };
        stream.set_zero_linger().unwrap();
    }

    /// Writes a whole answer.
    async fn answer(&mut self, status: u16, kind: &str, body: &[u8]) -> Option<()> {
        let length = body.len();
        let head = format!("HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n");
        self.io().write_all(head.as_bytes()).await.ok()?;
        self.io().write_all(body).await.ok()?;
        self.io().flush().await.ok()
    }

    async fn refuse(&mut self, status: u16, reason: &str) -> Option<()> {
        let error = json!({"error": {"type": "proxy", "reason": reason}, "status": status});
        self.answer(status, JSON, error.to_string().as_bytes()).await
    }
}

const JSON: &str = "application/json";

/// Counts as long as it lives.
struct Busy(Arc<AtomicUsize>);

impl Busy {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Serves one request. `None`: the connection is over.
async fn serve(wire: &mut Wire, shared: &Shared) -> Option<()> {
    let mut head = Head::read(wire.io()).await?;
    let _busy = Busy::new(&shared.busy);
    if !head.path.starts_with("/_bulk") {
        let body = head.body(wire.io()).await?;
        let (status, answer) = forward(shared, &head, body).await?;
        return wire.answer(status, JSON, &answer).await;
    }
    let (fault, plan) = {
        let mut course = shared.course.lock().unwrap();
        (course.next(), course.plan.clone())
    };
    if let Some((Fault::ResetBefore | Fault::Stranger, _)) = fault {
        wire.reset();
        return None;
    }
    let body = plain(head.body(wire.io()).await?);
    if body.len() > plan.largest {
        return wire.refuse(413, "too large").await;
    }
    let Some((fault, detail)) = fault else {
        let (status, answer) = forward(shared, &head, body).await?;
        return wire.answer(status, JSON, &answer).await;
    };
    let even = detail % 2 == 0;
    match fault {
        Fault::Storm => wire.refuse(429, "storm").await,
        Fault::Unavailable => wire.refuse(503, "starting").await,
        Fault::ResetBefore | Fault::Stranger => None,
        Fault::ResetAfter => {
            forward(shared, &head, body).await?;
            wire.reset();
            None
        }
        Fault::Items => {
            let answer = some_items(shared, &head, &body, detail).await?;
            wire.answer(200, JSON, answer.to_string().as_bytes()).await
        }
        Fault::Stall => {
            if even {
                tokio::time::sleep(plan.stall).await;
            }
            let (status, answer) = forward(shared, &head, body).await?;
            if !even {
                tokio::time::sleep(plan.stall).await;
            }
            wire.answer(status, JSON, &answer).await
        }
        Fault::Truncated => {
            let (status, answer) = forward(shared, &head, body).await?;
            let half = &answer[..answer.len() / 2];
            if even {
                return wire.answer(status, JSON, half).await;
            }
            let head =
                format!("HTTP/1.1 {status} X\r\ncontent-type: {JSON}\r\ncontent-length: {}\r\n\r\n", answer.len());
            wire.io().write_all(&[head.as_bytes(), half].concat()).await.ok()?;
            wire.io().shutdown().await.ok();
            None
        }
        Fault::Page => wire.answer(if even { 200 } else { 502 }, "text/html", b"<html><h1>Welcome</h1></html>").await,
    }
}

/// Lets the index have some of the documents, and answers for the others in their places.
async fn some_items(shared: &Shared, head: &Head, body: &[u8], seed: u64) -> Option<Value> {
    let mut rng = StdRng::seed_from_u64(seed);
    let lines: Vec<&[u8]> = body.split_inclusive(|byte| *byte == b'\n').collect();
    let documents: Vec<(&[&[u8]], bool)> = lines.chunks(2).map(|pair| (pair, rng.random())).collect();
    let kept: Vec<u8> = documents.iter().filter(|(_, kept)| *kept).flat_map(|(pair, _)| pair.concat()).collect();
    let mut taken = Vec::new();
    if !kept.is_empty() {
        let (_, answer) = forward(shared, head, kept).await?;
        let answer: Value = serde_json::from_slice(&answer).ok()?;
        taken.clone_from(answer["items"].as_array()?);
    }
    let mut taken = taken.into_iter();
    let items: Option<Vec<Value>> = documents
        .iter()
        .map(|(_, kept)| match kept {
            true => taken.next(),
            false => {
                let status = *[429, 503].choose(&mut rng)?;
                Some(json!({"create": {"status": status, "error": {"type": "rejected", "reason": "queue full"}}}))
            }
        })
        .collect();
    Some(json!({"errors": true, "items": items?}))
}

/// Sends a request to the index; status and body of the answer.
async fn forward(shared: &Shared, head: &Head, body: Vec<u8>) -> Option<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect(&*shared.upstream).await.ok()?;
    let mut text =
        format!("{} {} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", head.method, head.path, shared.upstream);
    for name in ["authorization", "content-type"] {
        if let Some(value) = head.header(name) {
            text += &format!("{name}: {value}\r\n");
        }
    }
    text += &format!("content-length: {}\r\n\r\n", body.len());
    stream.write_all(text.as_bytes()).await.ok()?;
    stream.write_all(&body).await.ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok()?;
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let body = answer.split_off(end + 4);
    let status = String::from_utf8_lossy(&answer).split(' ').nth(1)?.parse().ok()?;
    Some((status, body))
}
