//! Requests as they come over the wire: a head, then a body of the length that it names.

use std::io::Read;
use tokio::io::{AsyncRead, AsyncReadExt};

/// The head of a request, and what came of its body with it.
pub struct Head {
    pub method: String,
    pub path: String,
    /// As it came.
    pub lines: String,
    begun: Vec<u8>,
}

impl Head {
    /// `None`: the connection ended.
    pub async fn read(stream: &mut (impl AsyncRead + Unpin + ?Sized)) -> Option<Self> {
        let mut bytes = Vec::new();
        let end = loop {
            let mut part = [0; 65_536];
            let read = stream.read(&mut part).await.ok().filter(|read| *read > 0)?;
            bytes.extend_from_slice(&part[..read]);
            if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break end;
            }
        };
        let begun = bytes.split_off(end + 4);
        let lines = String::from_utf8_lossy(&bytes).into_owned();
        let mut words = lines.split(' ');
        let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
        Some(Self { method, path, lines, begun })
    }

    pub fn header(&self, wanted: &str) -> Option<String> {
        let mut named = self.lines.lines().filter_map(|line| line.split_once(':'));
        let (_, value) = named.find(|(name, _)| name.eq_ignore_ascii_case(wanted))?;
        Some(value.trim().to_owned())
    }

    /// `None`: the connection ended before the body did.
    pub async fn body(&mut self, stream: &mut (impl AsyncRead + Unpin + ?Sized)) -> Option<Vec<u8>> {
        let length = self.header("content-length").and_then(|value| value.parse::<usize>().ok());
        let mut body = std::mem::take(&mut self.begun);
        while body.len() < length.unwrap_or(0) {
            let mut part = [0; 65_536];
            let read = stream.read(&mut part).await.ok().filter(|read| *read > 0)?;
            body.extend_from_slice(&part[..read]);
        }
        Some(body)
    }
}

/// A body as it was before it was compressed; gzip is told by its first bytes.
pub fn plain(body: Vec<u8>) -> Vec<u8> {
    if !body.starts_with(&[0x1f, 0x8b]) {
        return body;
    }
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut plain).unwrap();
    plain
}
