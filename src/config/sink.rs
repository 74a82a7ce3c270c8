//! `[sink]`, `[opensearch]` and `[sqlite]`: what is indexed, and where.

use super::mistake::shown;
use super::names;
use super::process::check_path;
use super::reader::{Names, Reader};
use super::secret::Secret;
use super::text::quote;
use super::writer::Writer;
use std::path::PathBuf;
use std::time::Duration;

const MIB: usize = 1 << 20;

/// What the sink indexes and how it groups requests.
#[derive(Debug, Clone, PartialEq)]
pub struct Sink {
    /// Which index.
    pub index: IndexKind,
    /// Which topics; not empty, each once.
    pub what: Vec<Stage>,
    /// A request is sent when it has this many bytes, or fewer while the index is slow.
    pub bulk_bytes: usize,
    /// A request is sent when it has this many documents.
    pub bulk_records: usize,
    /// Requests that may be on the way at once, or fewer while the index is slow.
    pub bulk_requests: usize,
    /// A request is sent when its first document waited this long.
    pub flush_interval: Duration,
    /// A request without an answer is given up and sent again after this long.
    pub request_timeout: Duration,
}

/// Which index the sink writes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexKind {
    /// `[opensearch]`.
    OpenSearch,
    /// `[sqlite]`.
    Sqlite,
}

/// A topic that can be indexed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Logs as they came.
    Raw,
    /// Logs with flags.
    Enriched,
    /// Scores of windows.
    Scores,
}

const INDICES: &Names<IndexKind> = &[("opensearch", IndexKind::OpenSearch), ("sqlite", IndexKind::Sqlite)];
const STAGES: &Names<Stage> = &[("raw", Stage::Raw), ("enriched", Stage::Enriched), ("scores", Stage::Scores)];

impl Sink {
    pub(super) fn read(mut r: Reader<'_>) -> Self {
        let millis = Duration::from_millis;
        let sink = Self {
            index: r.choice("index", IndexKind::OpenSearch, INDICES),
            what: read_what(&mut r),
            bulk_bytes: r.size("bulk_bytes", 5 * MIB, 64 * 1024..=100 * MIB),
            bulk_records: r.int("bulk_records", 10_000, 1..=100_000),
            bulk_requests: r.int("bulk_requests", 4, 1..=64),
            flush_interval: r.duration("flush_interval", millis(1_000), millis(10)..=millis(60_000)),
            request_timeout: r.duration("request_timeout", millis(30_000), millis(1_000)..=millis(600_000)),
        };
        r.finish();
        sink
    }

    pub(super) fn write(&self, w: &mut Writer) {
        w.table("[sink]");
        w.choice("index", self.index, INDICES);
        let what = STAGES.iter().filter(|(_, stage)| self.what.contains(stage));
        w.list("what", what.map(|(name, _)| name));
        w.size("bulk_bytes", self.bulk_bytes);
        w.plain("bulk_records", self.bulk_records);
        w.plain("bulk_requests", self.bulk_requests);
        w.duration("flush_interval", self.flush_interval);
        w.duration("request_timeout", self.request_timeout);
    }
}

/// The stages in the order of the path, whatever the order they are written in.
fn read_what(r: &mut Reader<'_>) -> Vec<Stage> {
    let all = || STAGES.iter().map(|(_, stage)| *stage).collect::<Vec<_>>();
    let Some(nodes) = r.list("what") else {
        return all();
    };
    if nodes.is_empty() {
        let text = "`what` is empty, so nothing would be indexed: name some of raw, enriched, scores";
        r.mistake(r.at("what"), text.to_owned());
    }
    let mut what = Vec::new();
    for node in &nodes {
        match r.choice_of("`what`", node, STAGES) {
            Some(stage) if what.contains(&stage) => {
                r.mistake(node.at.clone(), "`what` names this twice: keep one".to_owned());
            }
            Some(stage) => what.push(stage),
            None => {}
        }
    }
    what.sort();
    what
}

/// Where OpenSearch is, and how indices are created.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenSearch {
    /// `http://` or `https://`, without credentials; not empty.
    pub urls: Vec<String>,
    /// With a password, or neither.
    pub username: Option<String>,
    /// With a user name, or neither.
    pub password: Option<Secret>,
    /// A bearer token, instead of a user.
    pub token: Option<Secret>,
    /// PEM certificates to trust beside the system's.
    pub ca_file: Option<PathBuf>,
    /// The client's certificate in PEM, with a key, or neither.
    pub client_cert_file: Option<PathBuf>,
    /// The key of that certificate in PEM, not encrypted.
    pub client_key_file: Option<PathBuf>,
    /// Requests are signed for Amazon OpenSearch, instead of a user or a token; only where the feature `aws` is built in.
    pub aws: Option<Aws>,
    /// Bulk requests are compressed.
    pub gzip: bool,
    /// Comes before the names of indices; lower case, may be empty.
    pub index_prefix: String,
    /// Shards of a created index.
    pub shards: u32,
    /// Copies of each shard beside the first.
    pub replicas: u32,
}

impl OpenSearch {
    pub(super) fn read(mut r: Reader<'_>) -> Self {
        let opensearch = Self {
            urls: read_urls(&mut r),
            username: r.optional("username"),
            password: r.secret("password"),
            token: r.secret("token"),
            ca_file: r.optional("ca_file").map(PathBuf::from),
            client_cert_file: r.optional("client_cert_file").map(PathBuf::from),
            client_key_file: r.optional("client_key_file").map(PathBuf::from),
            aws: Aws::read(&mut r),
            gzip: r.bool("gzip", false),
            index_prefix: r.checked("index_prefix", "", check_index_prefix),
            shards: r.int("shards", 1, 1..=1024),
            replicas: r.int("replicas", 1, 0..=10),
        };
        for (one, other, such_as) in [
            ("username", "password", ", such as `password = \"${OPENSEARCH_PASSWORD}\"`"),
            ("password", "username", ""),
            ("client_cert_file", "client_key_file", ", such as `client_key_file = \"/etc/outlier/client.key\"`"),
            ("client_key_file", "client_cert_file", ", such as `client_cert_file = \"/etc/outlier/client.pem\"`"),
        ] {
            if r.has(one) && !r.has(other) {
                r.missing(format!("`{one}` needs a `{other}`: add it{such_as}"));
            }
        }
        let user = r.has("username") || r.has("password");
        if r.has("token") && user {
            r.mistake(r.at("token"), "a `token` stands for a user: keep it, or `username` and `password`".to_owned());
        }
        if r.has("aws") && (user || r.has("token")) {
            let text = "`aws` signs requests in place of a user or a token: keep it, or them";
            r.mistake(r.at("aws"), text.to_owned());
        }
        if r.has("aws") && r.has("client_cert_file") {
            let text = "`aws` signs requests: a client certificate cannot be used with it";
            r.mistake(r.at("client_cert_file"), text.to_owned());
        }
        r.finish();
        opensearch
    }

    pub(super) fn write(&self, w: &mut Writer) {
        w.table("[opensearch]");
        w.list("urls", &self.urls);
        w.optional("username", self.username.as_deref());
        w.secret("password", self.password.as_ref());
        w.secret("token", self.token.as_ref());
        for (key, path) in [
            ("ca_file", &self.ca_file),
            ("client_cert_file", &self.client_cert_file),
            ("client_key_file", &self.client_key_file),
        ] {
            w.optional(key, path.as_ref().map(|path| path.to_string_lossy()).as_deref());
        }
        if let Some(aws) = &self.aws {
            let service = SERVICES.iter().find(|(_, service)| *service == aws.service).map_or("es", |(name, _)| name);
            w.plain("aws", format!("{{ region = {}, service = {} }}", quote(&aws.region), quote(service)));
        }
        w.plain("gzip", self.gzip);
        w.text("index_prefix", &self.index_prefix);
        w.plain("shards", self.shards);
        w.plain("replicas", self.replicas);
    }
}

/// Where requests are signed for; the credentials are those of the environment, of a profile or of the machine's role.
#[derive(Debug, Clone, PartialEq)]
pub struct Aws {
    /// Such as `eu-central-1`.
    pub region: String,
    /// Which of Amazon's services.
    pub service: AwsService,
}

/// Which of Amazon's services the cluster is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AwsService {
    /// Amazon OpenSearch Service: a domain.
    Es,
    /// Amazon OpenSearch Serverless: a collection.
    Aoss,
}

const SERVICES: &Names<AwsService> = &[("es", AwsService::Es), ("aoss", AwsService::Aoss)];

impl Aws {
    fn read(r: &mut Reader<'_>) -> Option<Self> {
        r.node("aws")?;
        let at = r.at("aws");
        let mut own = r.table("aws", "[opensearch.aws]");
        let region = own.required("region", "\"eu-central-1\"");
        let service = own.choice("service", AwsService::Es, SERVICES);
        let region_at = own.at("region");
        own.finish();
        if !cfg!(feature = "aws") {
            let text = "`aws` is not built into this outlier: build it with `cargo build --release --features aws`";
            r.mistake(at, text.to_owned());
        }
        let sound = |region: &str| {
            !region.is_empty() && region.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        };
        if region.as_deref().is_some_and(|region| !sound(region)) {
            let text = "`region` must be that of the cluster, such as \"eu-central-1\"";
            r.mistake(region_at, text.to_owned());
        }
        Some(Self { region: region?, service })
    }
}

fn read_urls(r: &mut Reader<'_>) -> Vec<String> {
    let Some(nodes) = r.list("urls") else {
        return vec!["http://localhost:9200".to_owned()];
    };
    if nodes.is_empty() {
        let text = "`urls` is empty: name at least one, such as \"http://localhost:9200\"";
        r.mistake(r.at("urls"), text.to_owned());
    }
    let mut urls = Vec::new();
    for node in &nodes {
        if let Some(url) = r.text_of("`urls`", node) {
            match check_url(&url) {
                Ok(()) => urls.push(url),
                Err(wrong) => r.mistake(node.at.clone(), format!("`urls` {wrong}")),
            }
        }
    }
    urls
}

/// `http://host:9200`. What is not that may hold a password and is not repeated.
pub(super) fn check_url(url: &str) -> Result<(), String> {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let Some(rest) = rest else {
        return Err("must begin with http:// or https://".to_owned());
    };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if host.contains('@') {
        return Err("must not hold a user or a password: OpenSearch's belong in `username` and `password`".to_owned());
    }
    let port = match host.rsplit_once(':') {
        Some((_, port)) if !port.ends_with(']') => port.parse::<u16>().is_ok_and(|port| port > 0),
        _ => true,
    };
    let named = !host.is_empty() && !host.starts_with(':');
    if !named || !port || url.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err("must be a URL such as http://localhost:9200".to_owned());
    }
    Ok(())
}

/// OpenSearch's rules for the beginning of an index name.
fn check_index_prefix(text: &str) -> Result<(), String> {
    names::check_prefix(text)?;
    if text.starts_with(['-', '_', '.']) || text.contains(|c: char| c.is_ascii_uppercase()) {
        let not = shown(text);
        return Err(format!("must be lower case and begin with a letter or a digit, not {not}"));
    }
    Ok(())
}

/// The embedded index.
#[derive(Debug, Clone, PartialEq)]
pub struct Sqlite {
    /// The database file; relative to the working directory.
    pub path: PathBuf,
    /// The oldest rows of a table are deleted beyond this many.
    pub max_rows: u64,
}

impl Sqlite {
    pub(super) fn read(mut r: Reader<'_>) -> Self {
        let sqlite = Self {
            path: r.checked("path", "outlier.sqlite", check_path).into(),
            max_rows: r.int("max_rows", 1_000_000, 1_000..=1_000_000_000),
        };
        r.finish();
        sqlite
    }

    pub(super) fn write(&self, w: &mut Writer) {
        w.table("[sqlite]");
        w.text("path", &self.path.to_string_lossy());
        w.plain("max_rows", self.max_rows);
    }
}
