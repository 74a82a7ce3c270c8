//! An HTTP server of a few lines that answers as it is told, one request a connection.

use super::http::Head;
use std::sync::{Arc, Mutex};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

/// A request: method, path with query, headers as they came, credentials, body, and its digest as the client signed it.
pub struct Request {
    pub method: String,
    pub path: String,
    pub head: String,
    pub authorization: Option<String>,
    pub body: Vec<u8>,
    pub digest: Option<String>,
}

/// What goes over the wire.
pub enum Reply {
    /// An answer with this status.
    Json(u16, String),
    /// These bytes, then the connection is closed.
    Bytes(&'static [u8]),
    /// Nothing; the connection stays.
    Never,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }
}

fn header<'h>(head: &'h str, wanted: &str) -> Option<&'h str> {
    let mut headers = head.lines().filter_map(|line| line.split_once(':'));
    headers.find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.trim())
}

/// Serves until the runtime ends; answers the address.
pub async fn serve(answer: impl FnMut(Request) -> Reply + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = Arc::new(Mutex::new(answer));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = Arc::clone(&answer);
            tokio::spawn(async move { one(stream, &answer).await });
        }
    });
    url
}

async fn one(mut stream: TcpStream, answer: &Mutex<impl FnMut(Request) -> Reply>) -> Option<()> {
    let mut head = Head::read(&mut stream).await?;
    let body = head.body(&mut stream).await?;
    let head_only = head.method == "HEAD";
    let (authorization, digest) = (head.header("authorization"), head.header("x-amz-content-sha256"));
    let Head { method, path, lines, .. } = head;
    let reply = answer.lock().unwrap()(Request { method, path, head: lines, authorization, body, digest });
    match reply {
        Reply::Never => std::future::pending().await,
        Reply::Bytes(bytes) => stream.write_all(bytes).await.ok()?,
        Reply::Json(status, body) => {
            let head = format!(
                "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            stream.write_all(head.as_bytes()).await.ok()?;
            if !head_only {
                stream.write_all(body.as_bytes()).await.ok()?;
            }
        }
    }
    stream.shutdown().await.ok()
}
