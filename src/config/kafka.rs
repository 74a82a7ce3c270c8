//! `[kafka]`: how to reach Kafka, and how topics are created.

use super::mistake::shown;
use super::names;
use super::reader::Reader;
use super::secret::Secret;
use super::text::quote;
use super::tree::{Node, Value};
use super::writer::Writer;
use std::collections::BTreeMap;

/// Properties that the services set themselves, and what to do instead.
const OWN: [(&str, &str); 9] = [
    ("bootstrap.servers", "set `bootstrap_servers` in [kafka]"),
    ("group.id", "groups are named after pipeline and service; `topic_prefix` comes before them"),
    ("group.instance.id", "it stays empty, as instances with one configuration would fence each other; remove it"),
    ("transactional.id", "set `instance_id` in [kafka], from which it is made"),
    ("isolation.level", "readers always use read_committed; remove it"),
    ("enable.auto.commit", "offsets are committed with the results; remove it"),
    ("enable.auto.offset.store", "offsets are committed with the results; remove it"),
    ("partition.assignment.strategy", "groups always use cooperative-sticky; remove it"),
    ("enable.idempotence", "set `guarantee` in [process]"),
];

/// What else librdkafka calls a property, and its name here. The client is given properties in any order: of one that
/// it gets under both names, either value could count.
const ALIASES: [(&str, &str); 12] = [
    ("metadata.broker.list", "bootstrap.servers"),
    ("auto.commit.enable", "enable.auto.commit"),
    ("request.required.acks", "acks"),
    ("queue.buffering.max.ms", "linger.ms"),
    ("compression.type", "compression.codec"),
    ("retries", "message.send.max.retries"),
    ("delivery.timeout.ms", "message.timeout.ms"),
    ("max.in.flight", "max.in.flight.requests.per.connection"),
    ("max.partition.fetch.bytes", "fetch.message.max.bytes"),
    ("sasl.mechanisms", "sasl.mechanism"),
    ("sasl.oauthbearer.client.credentials.client.id", "sasl.oauthbearer.client.id"),
    ("sasl.oauthbearer.client.credentials.client.secret", "sasl.oauthbearer.client.secret"),
];

/// The broker and the topics.
#[derive(Debug, Clone, PartialEq)]
pub struct Kafka {
    /// `host:port`, more of them with commas.
    pub bootstrap_servers: String,
    /// Comes before the default names of topics and groups; may be empty.
    pub topic_prefix: String,
    /// Part of the transactional id; empty: a locked slot of the data directory, else random.
    pub instance_id: String,
    /// Of created topics; -1: the broker's default.
    pub replication_factor: i32,
    /// Partitions of a created raw topic.
    pub raw_partitions: i32,
    /// librdkafka properties, passed through as they are; each under one name.
    pub properties: BTreeMap<String, Property>,
}

/// The value of a librdkafka property.
#[derive(Debug, Clone, PartialEq)]
pub enum Property {
    /// May be seen.
    Plain(String),
    /// A password, key or token.
    Secret(Secret),
}

impl Property {
    /// The value for librdkafka.
    pub fn expose(&self) -> &str {
        match self {
            Property::Plain(text) => text,
            Property::Secret(secret) => secret.expose(),
        }
    }
}

impl Kafka {
    pub(super) fn read(mut r: Reader<'_>) -> Self {
        let kafka = Self {
            bootstrap_servers: r.checked("bootstrap_servers", "localhost:9092", check_servers),
            topic_prefix: r.checked("topic_prefix", "", names::check_prefix),
            instance_id: r.checked("instance_id", "", names::check_prefix),
            replication_factor: r.int("replication_factor", -1, -1..=100),
            raw_partitions: r.int("raw_partitions", 4, 1..=1024),
            properties: properties(r.table("properties", "[kafka.properties]")),
        };
        if kafka.replication_factor == 0 {
            let text = "`replication_factor` cannot be 0: write -1 for the broker's default";
            r.mistake(r.at("replication_factor"), text.to_owned());
        }
        r.finish();
        kafka
    }

    pub(super) fn write(&self, w: &mut Writer) {
        w.table("[kafka]");
        w.text("bootstrap_servers", &self.bootstrap_servers);
        w.text("topic_prefix", &self.topic_prefix);
        w.text("instance_id", &self.instance_id);
        w.plain("replication_factor", self.replication_factor);
        w.plain("raw_partitions", self.raw_partitions);
        w.table("[kafka.properties]");
        for (name, value) in &self.properties {
            match value {
                Property::Plain(text) => w.text(&quote(name), text),
                Property::Secret(secret) => w.secret(&quote(name), Some(secret)),
            }
        }
    }
}

fn check_servers(text: &str) -> Result<(), String> {
    for server in text.split(',') {
        let server = server.trim();
        let (host, port) = match server.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') && !port.starts_with("//") => (host, Some(port)),
            _ => (server, None),
        };
        let port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
        if host.is_empty() || host.contains(char::is_whitespace) || !port {
            let not = shown(server);
            return Err(format!("must be host:port, more of them with commas, not {not}"));
        }
    }
    Ok(())
}

/// `security.protocol` is one property whether or not its dots are quoted.
fn properties(reader: Reader<'_>) -> BTreeMap<String, Property> {
    let mut flat = BTreeMap::new();
    for (key, node) in reader.all() {
        flatten(key.clone(), node, &mut flat);
    }
    flat.into_iter()
        .filter_map(|(name, (written, node))| Some((property(&reader, &name, &written, node)?, name)))
        .map(|(value, name)| (name, value))
        .collect()
}

/// Joins the keys of nested tables by dots; under its name here, a property keeps the name that was written. The last
/// one counts, and an environment variable wins over the file.
fn flatten<'a>(written: String, node: &'a Node, flat: &mut BTreeMap<String, (String, &'a Node)>) {
    if let Value::Table(table) = &node.value {
        for (key, entry) in table {
            flatten(format!("{written}.{key}"), &entry.node, flat);
        }
        return;
    }
    let name = ALIASES.iter().find(|(alias, _)| *alias == written).map_or(written.as_str(), |(_, name)| name);
    if flat.get(name).is_none_or(|(_, before)| before.at < node.at) {
        flat.insert(name.to_owned(), (written, node));
    }
}

fn property(r: &Reader<'_>, name: &str, written: &str, node: &Node) -> Option<Property> {
    let what = format!("the property {}", shown(written).replace('"', "`"));
    if let Some((_, instead)) = OWN.iter().find(|(own, _)| *own == name) {
        r.mistake(node.at.clone(), format!("{what} is set by outlier: {instead}"));
        return None;
    }
    let unquoted = match &node.value {
        Value::Integer(text) | Value::Float(text) => Some(text.clone()),
        Value::Bool(value) => Some(value.to_string()),
        _ => None,
    };
    // A password of digits is one, too.
    if is_secret(name) {
        unquoted.map(Secret::new).or_else(|| r.secret_of(&what, node)).map(Property::Secret)
    } else {
        unquoted.or_else(|| r.text_of(&what, node)).map(Property::Plain)
    }
}

/// Passwords, keys and whatever else carries credentials.
fn is_secret(name: &str) -> bool {
    let marks = ["password", "secret", "token", "credential", "jaas", "sasl.oauthbearer.config"];
    let key = name.ends_with("key.pem") || name.ends_with("passphrase");
    key || marks.iter().any(|mark| name.contains(mark)) && !name.ends_with("token.endpoint.url")
}
