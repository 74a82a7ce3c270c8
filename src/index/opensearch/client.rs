//! Requests to OpenSearch: which node, whose credentials, and what an answer that is no answer means.
//!
//! Invariant: an error names what the operator can change; credentials never appear in one.

use super::credentials;
use super::nodes::Nodes;
use super::words::{self, Server};
use crate::config::Config;
use crate::index::Unavailable;
use anyhow::{Context, bail};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use opensearch::cert::{Certificate, CertificateValidation};
use opensearch::http::headers::{ACCEPT_ENCODING, CONTENT_ENCODING, HeaderMap, HeaderValue};
use opensearch::http::request::Body;
use opensearch::http::transport::{SingleNodeConnectionPool, Transport, TransportBuilder};
use opensearch::http::{Method, Url};
use serde_json::Value;
use std::error::Error;
use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

/// How often a request that was not sent is tried again at once.
const UNSENT: u32 = 3;

/// A connection to the cluster. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    /// Each with what it is called in errors.
    nodes: Arc<Nodes<(Transport, Server)>>,
    /// Bulk requests are compressed.
    gzip: bool,
    /// OpenSearch Dashboards, where the setup knows it.
    dashboards: Option<Arc<Client>>,
}

/// An answer, whatever its status.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: Bytes,
}

struct Raw(Bytes);

impl Body for Raw {
    fn bytes(&self) -> Option<Bytes> {
        Some(self.0.clone())
    }

    fn write(&self, bytes: &mut bytes::BytesMut) -> Result<(), opensearch::Error> {
        bytes.extend_from_slice(&self.0);
        Ok(())
    }
}

impl Client {
    /// Prepares the connection; nothing is sent.
    ///
    /// # Errors
    /// No usable address, or a certificate or key cannot be used.
    pub fn new(config: &Config) -> anyhow::Result<Self> {
        Self::to("OpenSearch", "opensearch.urls", &config.opensearch.urls, config)
    }

    /// To the addresses that the configuration has under this key.
    fn to(name: &'static str, key: &'static str, urls: &[String], config: &Config) -> anyhow::Result<Self> {
        if urls.is_empty() {
            bail!("{key} is empty: name at least one node");
        }
        let node = |url: &String| {
            let server = Server { name, url: url.clone(), key };
            anyhow::Ok((transport(&server, config)?, server))
        };
        let nodes = Nodes::new(urls.iter().map(node).collect::<anyhow::Result<Vec<_>>>()?);
        Ok(Self { nodes: Arc::new(nodes), gzip: config.opensearch.gzip, dashboards: None })
    }

    /// As [`Client::new`], with OpenSearch Dashboards beside it if that is configured. It takes the same credentials.
    ///
    /// # Errors
    /// As [`Client::new`].
    pub fn with_dashboards(config: &Config) -> anyhow::Result<Self> {
        let mut client = Self::new(config)?;
        if let Some(url) = &config.opensearch.dashboards_url {
            let urls = [url.clone()];
            client.dashboards =
                Some(Arc::new(Self::to("OpenSearch Dashboards", "opensearch.dashboards_url", &urls, config)?));
        }
        Ok(client)
    }

    /// OpenSearch Dashboards, if it is configured and this client was made for it.
    pub fn dashboards(&self) -> Option<&Client> {
        self.dashboards.as_deref()
    }

    /// Sends a request with a JSON body, or without one, to the node whose turn it is; to the next ones if that does not
    /// answer, or says that it reaches no cluster, and nothing can be done twice by asking again.
    ///
    /// # Errors
    /// No answer came, or the credentials were refused.
    pub async fn send(&self, method: Method, path: &str, body: Option<Bytes>) -> Result<Answer, Unavailable> {
        self.send_with(method, path, HeaderMap::new(), body).await
    }

    /// Sends the lines of a bulk request, compressed if that is configured. Each of its documents has an id, so it may go to
    /// another node when one closes the connection or reaches no cluster.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn bulk(&self, path: &str, lines: Bytes) -> Result<Answer, Unavailable> {
        // The server would spend more on compressing its short answer than the way costs.
        let mut headers = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static("identity"))]);
        if !self.gzip {
            return self.deliver(Method::Post, path, headers, Some(lines), true).await;
        }
        // Some tens of milliseconds for a large request, which others must not wait for.
        let compressed = tokio::task::spawn_blocking(move || compress(&lines)).await;
        let body = compressed.map_err(|error| Unavailable::new(format!("compression failed: {error}")))?;
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        self.deliver(Method::Post, path, headers, Some(body.into()), true).await
    }

    /// As [`Client::send`], with headers of its own.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn send_with(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Option<Bytes>,
    ) -> Result<Answer, Unavailable> {
        self.deliver(method, path, headers, body, false).await
    }

    /// `repeatable`: nothing comes of it when the request is done twice.
    async fn deliver(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Option<Bytes>,
        repeatable: bool,
    ) -> Result<Answer, Unavailable> {
        let mut last = Err(Unavailable::new(String::new()));
        let question = is_question(method, path);
        for node in self.nodes.in_turn(Instant::now(), !question && !repeatable) {
            let (transport, server) = &node.value;
            let timed_out;
            let told = match ask(transport, method, path, &headers, &body).await {
                Ok(Answer { status: 401, .. }) => return Err(Unavailable::new(words::unauthorised(server))),
                Ok(answer) if !answer.is_nobodys() => {
                    node.answered();
                    return Ok(answer);
                }
                Ok(answer) => {
                    timed_out = answer.status == 504;
                    Ok(answer)
                }
                Err(error) => {
                    timed_out = error.is_timeout();
                    Err(Unavailable::new(words::no_answer(server, &why(&error), timed_out)))
                }
            };
            node.failed(Instant::now());
            // What a node says tells more than that another one is silent.
            if told.is_ok() || last.is_err() {
                last = told;
            }
            // A cluster that is too slow for a request gets no more of it at once, but questions.
            if !question && (timed_out || !repeatable) {
                break;
            }
        }
        last
    }
}

/// Whether a request only reads.
fn is_question(method: Method, path: &str) -> bool {
    matches!(method, Method::Get | Method::Head) || path.ends_with("/_search") || path == "/_mget"
}

fn transport(server: &Server, config: &Config) -> anyhow::Result<Transport> {
    let Server { name, url, key } = server;
    let parsed = Url::parse(url).with_context(|| format!("{key}: {url} is not a URL"))?;
    let pool = SingleNodeConnectionPool::new(parsed);
    let mut builder = TransportBuilder::new(pool).timeout(config.sink.request_timeout);
    builder = credentials::give(builder, &config.opensearch)?;
    if let Some(path) = &config.opensearch.ca_file {
        let shown = path.display();
        let pem = std::fs::read(path).with_context(|| format!("opensearch.ca_file {shown} cannot be read"))?;
        let certificate = Certificate::from_pem(&pem)
            .with_context(|| format!("opensearch.ca_file {shown} holds no PEM certificate"))?;
        builder = builder.cert_validation(CertificateValidation::Full(certificate));
    }
    builder.build().with_context(|| format!("the connection to {name} cannot be prepared"))
}

async fn ask(
    transport: &Transport,
    method: Method,
    path: &str,
    headers: &HeaderMap,
    body: &Option<Bytes>,
) -> Result<Answer, opensearch::Error> {
    let nothing: Option<&()> = None;
    let mut unsent = 0;
    loop {
        match transport.send(method, path, headers.clone(), nothing, body.clone().map(Raw), None).await {
            // The connection was closed before the request went out. So it is when the server refuses a certificate in
            // TLS 1.3, and mostly the reason is told instead.
            Err(error) if unsent < UNSENT && why(&error) == "connection was not ready" => unsent += 1,
            sent => {
                let response = sent?;
                let status = response.status_code().as_u16();
                return Ok(Answer { status, body: response.bytes().await? });
            }
        }
    }
}

/// The innermost cause.
fn why(error: &opensearch::Error) -> String {
    let mut why = String::new();
    let mut cause: Option<&dyn Error> = Some(error);
    while let Some(inner) = cause {
        let text = inner.to_string();
        // Some errors repeat their cause and add to it.
        if !why.contains(&text) {
            why = text;
        }
        cause = inner.source();
    }
    why
}

/// Gzip at its fastest, which is enough for logs.
fn compress(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), Compression::fast());
    // Writing to a Vec cannot fail.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}

impl Answer {
    /// True when a proxy reached no node, or the node no cluster: another one may do better.
    fn is_nobodys(&self) -> bool {
        matches!(self.status, 502..=504)
    }

    /// True for 200 to 299.
    pub fn good(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// It is not JSON: whatever answered is not OpenSearch, or the answer was cut off.
    pub fn json(&self) -> Result<Value, Unavailable> {
        serde_json::from_slice(&self.body).map_err(|_| self.not_opensearch())
    }

    /// The error that the body tells of, with the status, and what to do where it is about rights, blocks or load.
    pub fn reason(&self) -> String {
        let json: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let text = match &json["error"] {
            Value::String(text) => text.clone(),
            Value::Object(error) => {
                let part = |name| error.get(name).and_then(Value::as_str).unwrap_or_default();
                format!("{}: {}", part("type"), part("reason"))
            }
            // What stands before a managed cluster, as AWS's access policies do.
            _ => match json["Message"].as_str().or(json["message"].as_str()) {
                Some(text) => return format!("{text} (HTTP {}); {}", self.status, words::remedy(self.status, text)),
                None => return self.not_opensearch().reason,
            },
        };
        let status = self.status;
        match status {
            400 if !text.contains("no handler found") => format!("{text} (HTTP {status})"),
            400 | 403 | 429 | 503 => format!("{text} (HTTP {status}); {}", words::remedy(status, &text)),
            _ => format!("{text} (HTTP {status})"),
        }
    }

    /// What to say of a body that is not OpenSearch's.
    pub fn not_opensearch(&self) -> Unavailable {
        let start: String = String::from_utf8_lossy(&self.body).chars().filter(|c| !c.is_control()).take(80).collect();
        Unavailable::new(format!(
            "the answer (HTTP {}) is not OpenSearch's or was cut off: {start:?}; is there a proxy in between? Check opensearch.urls",
            self.status
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_says_why_and_what_to_do() {
        for (status, body, want) in [
            (
                403,
                r#"{"error":{"type":"security_exception","reason":"no permissions"}}"#,
                ["no permissions", "this right"],
            ),
            (
                403,
                r#"{"Message":"User: a is not authorized to perform: es:ESHttpPut"}"#,
                ["es:ESHttpPut", "this right"],
            ),
            (429, r#"{"message":"Too Many Requests"}"#, ["Too Many Requests", "overloaded"]),
            (502, "<html>bad gateway", ["<html>bad gateway", "a proxy in between"]),
            (200, "{}", ["is not OpenSearch's", "opensearch.urls"]),
        ] {
            let reason = Answer { status, body: body.into() }.reason();
            assert!(want.iter().all(|part| reason.contains(part)), "{reason}");
        }
    }
}
