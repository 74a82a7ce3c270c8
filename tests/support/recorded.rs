//! Exchanges with a real OpenSearch 3.4 and its plugins, as they went over the wire.

use std::path::Path;

/// A request and its answer.
pub struct Exchange {
    pub method: String,
    pub path: String,
    pub body: String,
    pub status: u16,
    pub answer: String,
}

/// Reads a recording: `--- METHOD PATH`, the request's body if it has one, the answer, `[HTTP status …]`.
pub fn read(file: &Path) -> Vec<Exchange> {
    let text = std::fs::read_to_string(file).unwrap();
    let mut exchanges = Vec::new();
    for block in text.split("--- ").skip(1) {
        let mut lines = block.lines();
        let Some((method, path)) = lines.next().and_then(|line| line.split_once(' ')) else { continue };
        let rest: Vec<&str> = lines.collect();
        let Some(end) = rest.iter().position(|line| line.starts_with("[HTTP ")) else { continue };
        let Some(status) = rest[end].split([' ', ']']).nth(1).and_then(|status| status.parse().ok()) else { continue };
        let (body, answer) = match rest[..end] {
            [] => ("", ""),
            [answer] => ("", answer),
            [body, .., answer] => (body, answer),
        };
        let owned = str::to_owned;
        exchanges.push(Exchange {
            method: owned(method),
            path: owned(path),
            body: owned(body),
            status,
            answer: owned(answer),
        });
    }
    exchanges
}
