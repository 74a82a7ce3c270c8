//! `[opensearch]`: where it is, who asks, and how its indices are made.

use super::mistake::shown;
use super::names;
use super::reader::{Names, Reader};
use super::secret::Secret;
use super::text::quote;
use super::writer::Writer;
use std::path::PathBuf;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);

/// How a stage's documents are spread over indices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Indices {
    /// One index for ever.
    Single,
    /// One a day; an alias has the name of the single one.
    Daily,
    /// One a month; an alias has the name of the single one.
    Monthly,
    /// A data stream of that name.
    DataStream,
}

const INDICES: &Names<Indices> = &[
    ("single", Indices::Single),
    ("daily", Indices::Daily),
    ("monthly", Indices::Monthly),
    ("data_stream", Indices::DataStream),
];

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
    /// How documents are spread over indices.
    pub indices: Indices,
    /// Documents are deleted when they are older; zero: never.
    pub retention: Duration,
    /// A data stream begins a new index after this long.
    pub rollover_age: Duration,
    /// A data stream begins a new index when a shard of it has so many bytes.
    pub rollover_size: usize,
    /// Shards of a created index.
    pub shards: u32,
    /// Copies of each shard beside the first.
    pub replicas: u32,
    /// Where OpenSearch Dashboards is, if the setup is to import dashboards there.
    pub dashboards_url: Option<String>,
    /// Anomaly detectors of OpenSearch's own are made for each flag group, where that plugin is.
    pub detectors: bool,
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
            indices: r.choice("indices", Indices::Single, INDICES),
            retention: r.duration("retention", Duration::ZERO, Duration::ZERO..=3_660 * DAY),
            rollover_age: r.duration("rollover_age", DAY, DAY / 24..=366 * DAY),
            rollover_size: r.size("rollover_size", 30 << 30, 1 << 20..=1 << 40),
            shards: r.int("shards", 1, 1..=1024),
            replicas: r.int("replicas", 1, 0..=10),
            dashboards_url: read_dashboards(&mut r),
            detectors: r.bool("detectors", true),
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
        if !opensearch.retention.is_zero() && opensearch.retention < DAY {
            r.mistake(r.at("retention"), "`retention` must be at least a day, or \"0s\" for ever".to_owned());
        }
        if !opensearch.retention.is_zero() && opensearch.indices == Indices::Single {
            let text = "`retention` deletes whole indices: set `indices` to \"daily\", \"monthly\" or \"data_stream\"";
            r.mistake(r.at("retention"), text.to_owned());
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
        w.choice("indices", self.indices, INDICES);
        w.duration("retention", self.retention);
        w.duration("rollover_age", self.rollover_age);
        w.size("rollover_size", self.rollover_size);
        w.plain("shards", self.shards);
        w.plain("replicas", self.replicas);
        w.optional("dashboards_url", self.dashboards_url.as_deref());
        w.plain("detectors", self.detectors);
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

fn read_dashboards(r: &mut Reader<'_>) -> Option<String> {
    let url = r.optional("dashboards_url")?;
    if let Err(wrong) = check_url(&url) {
        r.mistake(r.at("dashboards_url"), format!("`dashboards_url` {wrong}"));
    }
    Some(url)
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
