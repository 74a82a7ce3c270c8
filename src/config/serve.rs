//! `[serve]` and `[telemetry]`: what listens, and what is logged.
//!
//! Invariant: an address that other machines can reach has a token, or the operator said that it needs none.

use super::mistake::{At, Kind, shown};
use super::reader::{Names, Reader};
use super::secret::Secret;
use super::writer::Writer;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// An address to listen on, and who may ask.
#[derive(Debug, Clone, PartialEq)]
pub struct Listen {
    /// Port 0: any free one, named in the log at start.
    pub address: SocketAddr,
    /// Requests must carry it as `Authorization: Bearer …`.
    pub token: Option<Secret>,
    /// Other machines may ask without a token.
    pub allow_unauthenticated: bool,
}

impl Listen {
    fn read(r: &mut Reader<'_>, default: SocketAddr) -> Self {
        let listen = Self {
            address: read_address(r, default),
            token: r.secret("token"),
            allow_unauthenticated: r.bool("allow_unauthenticated", false),
        };
        let open = !listen.address.ip().is_loopback();
        if open && !r.has("token") && !listen.allow_unauthenticated {
            let text = format!(
                "`listen` {} can be reached from other machines, and nobody is asked who they are: add `token = \"file:/path\"`, or listen on 127.0.0.1, or write `allow_unauthenticated = true`",
                listen.address
            );
            let at = r.at("listen");
            r.context.found.borrow_mut().push(at, Kind::Missing, text);
        }
        listen
    }

    fn write(&self, w: &mut Writer) {
        w.text("listen", &self.address.to_string());
        w.secret("token", self.token.as_ref());
        w.plain("allow_unauthenticated", self.allow_unauthenticated);
    }
}

fn read_address(r: &mut Reader<'_>, default: SocketAddr) -> SocketAddr {
    let Some(text) = r.optional("listen") else {
        return default;
    };
    let numeric = match text.strip_prefix("localhost:") {
        Some(port) => format!("{}:{port}", Ipv4Addr::LOCALHOST),
        None => text.clone(),
    };
    numeric.parse().unwrap_or_else(|_| {
        let text = format!("`listen` must be an IP address and a port, such as \"{default}\", not {}", shown(&text));
        r.mistake(r.at("listen"), text);
        default
    })
}

/// The dashboard and its API.
#[derive(Debug, Clone, PartialEq)]
pub struct Serve {
    /// Where it listens.
    pub listen: Listen,
}

impl Serve {
    /// Reads the table; also answers where its address is, for [`check_addresses`].
    pub(super) fn read(mut r: Reader<'_>) -> (Self, At) {
        let listen = Listen::read(&mut r, (Ipv4Addr::LOCALHOST, 8080).into());
        let at = r.at("listen");
        r.finish();
        (Self { listen }, at)
    }

    pub(super) fn write(&self, w: &mut Writer) {
        w.table("[serve]");
        self.listen.write(w);
    }
}

/// Logs, health and metrics of every service.
#[derive(Debug, Clone, PartialEq)]
pub struct Telemetry {
    /// What is logged at least.
    pub level: Level,
    /// How a line of the log is written.
    pub format: LogFormat,
    /// `/health`, `/ready` and `/metrics`.
    pub listen: Listen,
    /// After a stop signal, a service that is not done by then is ended.
    pub shutdown_deadline: Duration,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the levels of the tracing crate")]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// How a line of the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

const LEVELS: &Names<Level> = &[
    ("error", Level::Error),
    ("warn", Level::Warn),
    ("info", Level::Info),
    ("debug", Level::Debug),
    ("trace", Level::Trace),
];
const FORMATS: &Names<LogFormat> = &[("text", LogFormat::Text), ("json", LogFormat::Json)];

impl Telemetry {
    pub(super) fn read(mut r: Reader<'_>) -> Self {
        let telemetry = Self {
            level: r.choice("level", Level::Info, LEVELS),
            format: r.choice("format", LogFormat::Text, FORMATS),
            listen: Listen::read(&mut r, (Ipv4Addr::LOCALHOST, 9600).into()),
            shutdown_deadline: r.duration(
                "shutdown_deadline",
                Duration::from_secs(10),
                Duration::from_secs(1)..=Duration::from_secs(300),
            ),
        };
        r.finish();
        telemetry
    }

    pub(super) fn write(&self, w: &mut Writer) {
        w.table("[telemetry]");
        w.choice("level", self.level, LEVELS);
        w.choice("format", self.format, FORMATS);
        self.listen.write(w);
        w.duration("shutdown_deadline", self.shutdown_deadline);
    }
}

/// The dashboard and the metrics cannot share one address.
pub(super) fn check_addresses(r: &Reader<'_>, serve: &Serve, at: At, telemetry: &Telemetry) {
    let (a, b) = (serve.listen.address, telemetry.listen.address);
    let same_ip = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
    if a.port() != 0 && a.port() == b.port() && same_ip {
        let text = format!("[serve] and [telemetry] both listen on port {}: give one of them another", a.port());
        r.mistake(at, text);
    }
}
