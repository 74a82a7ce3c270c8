//! The bare bulk client: documents that were built before, over as many plain connections as requests may be on the way,
//! and nothing else. A process of its own, so that its CPU time is its own.

use super::load::{Course, Load, Place};
use super::program::spent;
use anyhow::Context;
use clap::Parser;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How often a request is sent again that OpenSearch has no room for, and after how long.
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(100);

/// What to send where.
#[derive(Debug, Parser)]
pub struct Options {
    /// `host:port` of OpenSearch
    #[arg(long)]
    server: String,
    /// The index
    #[arg(long)]
    index: String,
    /// The topic that the documents' ids name
    #[arg(long)]
    topic: String,
    /// Enriched records instead of raw ones
    #[arg(long)]
    enriched: bool,
    /// How many documents
    #[arg(long)]
    records: usize,
    /// Time of the first, epoch milliseconds
    #[arg(long)]
    start: i64,
    /// Documents to each second
    #[arg(long)]
    per_second: usize,
    /// Bytes of documents in a request
    #[arg(long)]
    bulk_bytes: usize,
    /// Requests on the way at once
    #[arg(long)]
    requests: usize,
}

/// What a client took for its documents.
#[derive(Debug, Clone, Copy)]
pub struct Spent {
    /// Documents a second.
    pub rate: f64,
    /// Microseconds of CPU a document.
    pub cpu_us: f64,
}

/// Sends everything and prints [`Spent`].
pub fn run(options: &Options) -> anyhow::Result<()> {
    let bodies = bodies(options);
    let next = AtomicUsize::new(0);
    let (begun, before) = (Instant::now(), spent("/proc/self/stat")?);
    std::thread::scope(|scope| {
        let senders: Vec<_> = (0..options.requests).map(|_| scope.spawn(|| send(options, &bodies, &next))).collect();
        for sender in senders {
            sender.join().map_err(|_| anyhow::anyhow!("a sender panicked"))??;
        }
        anyhow::Ok(())
    })?;
    let cpu = spent("/proc/self/stat")? - before;
    println!("{} {}", begun.elapsed().as_secs_f64(), cpu.as_secs_f64());
    Ok(())
}

/// Reads what [`run`] printed for so many documents.
pub fn read(printed: &str, records: usize) -> anyhow::Result<Spent> {
    let mut numbers = printed.split_whitespace().map(str::parse::<f64>);
    let (Some(Ok(seconds)), Some(Ok(cpu))) = (numbers.next(), numbers.next()) else {
        anyhow::bail!("the bare client did not end well: {printed}");
    };
    Ok(Spent { rate: records as f64 / seconds, cpu_us: cpu * 1e6 / records as f64 })
}

/// The lines of the requests.
fn bodies(options: &Options) -> Vec<Vec<u8>> {
    let Options { index, topic, records, start, per_second, .. } = options;
    let course = Course { start: *start, per_second: *per_second, records: *records };
    let mut load = Load::of(options.enriched);
    let (mut bodies, mut body, mut documents) = (Vec::new(), Vec::new(), 0);
    for n in 0..*records {
        let Place { time, partition, offset } = course.place(n);
        let record = load.record(n, time);
        documents += record.len();
        let action = format!(r#"{{"create":{{"_index":"{index}","_id":"{topic}-{partition}-{offset}"}}}}"#);
        body.extend_from_slice(format!("{action}\n{{\"@timestamp\":{time},").as_bytes());
        body.extend_from_slice(&record[1..]);
        body.push(b'\n');
        if documents >= options.bulk_bytes || n + 1 == *records {
            bodies.push(std::mem::take(&mut body));
            documents = 0;
        }
    }
    bodies
}

fn send(options: &Options, bodies: &[Vec<u8>], next: &AtomicUsize) -> anyhow::Result<()> {
    let mut stream = BufReader::new(TcpStream::connect(&options.server)?);
    stream.get_ref().set_nodelay(true)?;
    stream.get_ref().set_read_timeout(Some(Duration::from_secs(60)))?;
    while let Some(body) = bodies.get(next.fetch_add(1, Ordering::Relaxed)) {
        let mut tries = 0;
        loop {
            let (status, answer) = exchange(&mut stream, &options.server, body)?;
            if status.contains(" 429 ") && tries < TRIES {
                tries += 1;
                std::thread::sleep(PAUSE);
                continue;
            }
            anyhow::ensure!(status.contains(" 200 "), "OpenSearch says {status}");
            anyhow::ensure!(!answer.windows(8).any(|part| part == b"\"error\":"), "OpenSearch refused a document");
            break;
        }
    }
    Ok(())
}

/// Sends a request; returns the first line of the answer, and its body.
fn exchange(stream: &mut BufReader<TcpStream>, server: &str, body: &[u8]) -> anyhow::Result<(String, Vec<u8>)> {
    let head = format!(
        "POST /_bulk?filter_path=error,items.*.status,items.*.error HTTP/1.1\r\nhost: {server}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    stream.get_mut().write_all(head.as_bytes())?;
    stream.get_mut().write_all(body)?;
    let (mut status, mut line, mut length) = (String::new(), String::from(" "), 0);
    stream.read_line(&mut status)?;
    while !matches!(line.as_str(), "\r\n" | "") {
        line.clear();
        stream.read_line(&mut line)?;
        if let Some((_, value)) = line.to_lowercase().split_once("content-length:") {
            length = value.trim().parse().context("content-length is no number")?;
        }
    }
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer)?;
    Ok((status, answer))
}

/// Deletes `path` of an OpenSearch at `http://host:port`; a server that is out of breath is asked again.
pub fn delete(url: &str, path: &str) -> anyhow::Result<()> {
    let server = url.trim_start_matches("http://").trim_end_matches('/');
    let mut answer = String::new();
    for _ in 0..30 {
        let mut stream = TcpStream::connect(server)?;
        write!(stream, "DELETE /{path} HTTP/1.0\r\nhost: {server}\r\n\r\n")?;
        answer.clear();
        stream.read_to_string(&mut answer)?;
        if answer.contains(" 200 ") {
            return Ok(());
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    anyhow::bail!("{path} cannot be deleted: {answer}")
}
