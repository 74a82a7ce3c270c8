//! `[[alerting.channels]]`: a place that messages go to.
//!
//! Invariant: an address that whoever knows it can post to is a secret.

use super::Owner;
use crate::config::mistake::shown;
use crate::config::names::{self, Unique};
use crate::config::opensearch::check_url;
use crate::config::reader::{Names, Reader};
use crate::config::secret::{MASK, Secret};
use crate::config::writer::Writer;
use std::path::PathBuf;

pub(super) const TITLE: &str = "[[alerting.channels]]";

/// The most recipients of an e-mail.
const MAX_RECIPIENTS: usize = 100;

/// A place that messages go to.
#[derive(Debug, Clone, PartialEq)]
pub struct Channel {
    /// Its name; in OpenSearch's notifications it has the indices' prefix before it, and so has its id.
    pub name: String,
    /// Of which alerts it is told.
    pub severity: Severity,
    /// What is there.
    pub recipient: Recipient,
}

/// Of which alerts a channel is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Of every one.
    All,
    /// Of those whose score reached `alerting.critical`.
    Critical,
}

/// What receives the messages.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the fields are those of the services' own pages")]
pub enum Recipient {
    /// An address that takes a POST: JSON of the service `alert`, text of OpenSearch.
    Webhook { url: Secret },
    /// Slack's incoming webhook.
    Slack { url: Secret },
    /// A webhook of Microsoft Teams.
    Teams { url: Secret },
    /// A mail server.
    Email(Email),
    /// Amazon's mail service, by a role.
    Ses { region: String, role_arn: String, from: String, to: Vec<String> },
    /// An Amazon SNS topic, by a role.
    Sns { topic_arn: String, role_arn: String },
}

/// A mail server, who writes, and to whom.
#[derive(Debug, Clone, PartialEq)]
pub struct Email {
    /// The server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is protected.
    pub security: Security,
    /// The certificate of an authority to trust beside the system's, PEM.
    pub ca_file: Option<PathBuf>,
    /// With a password, or neither.
    pub username: Option<String>,
    /// With a user name, or neither.
    pub password: Option<Secret>,
    /// The sender's address.
    pub from: String,
    /// The recipients' addresses; not empty.
    pub to: Vec<String>,
}

/// How a connection to a mail server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// Begins in plain text and must switch to TLS.
    StartTls,
    /// TLS from the first byte.
    Tls,
    /// Plain text, for a server on the same machine.
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Webhook,
    Slack,
    Teams,
    Email,
    Ses,
    Sns,
}

const KINDS: &Names<Kind> = &[
    ("webhook", Kind::Webhook),
    ("slack", Kind::Slack),
    ("teams", Kind::Teams),
    ("email", Kind::Email),
    ("ses", Kind::Ses),
    ("sns", Kind::Sns),
];
const SEVERITIES: &Names<Severity> = &[("all", Severity::All), ("critical", Severity::Critical)];
const SECURITIES: &Names<Security> =
    &[("start_tls", Security::StartTls), ("tls", Security::Tls), ("none", Security::None)];

/// Reads one channel; `None` after a mistake.
pub(super) fn read(mut r: Reader<'_>, owner: Owner, unique: &mut Unique) -> Option<Channel> {
    let name = r.name("\"team\"", names::check_channel);
    unique.add(&r, r.at("name"), &name);
    let severity = r.choice("severity", Severity::All, SEVERITIES);
    let Some(node) = r.node("type") else {
        let text =
            "lacks `type`: add it, such as `type = \"webhook\"`; it is one of webhook, slack, teams, email, ses, sns";
        r.missing(format!("{TITLE} {text}"));
        return None;
    };
    let kind = r.choice_of("`type`", node, KINDS)?;
    if owner == Owner::Outlier && matches!(kind, Kind::Ses | Kind::Sns) {
        let text = "`type`: with `owner = \"outlier\"` there is no SES or SNS: for SES use \"email\" with its SMTP address, for SNS a webhook";
        r.mistake(r.at("type"), text.to_owned());
    }
    let recipient = match kind {
        Kind::Webhook => Recipient::Webhook { url: read_url(&mut r, &[])? },
        // The hosts that OpenSearch takes.
        Kind::Slack => Recipient::Slack {
            url: read_url(&mut r, &["https://hooks.slack.com/services/", "https://hooks.gov-slack.com/services/"])?,
        },
        Kind::Teams => Recipient::Teams { url: read_url(&mut r, &["https://"])? },
        Kind::Email => Recipient::Email(read_email(&mut r, owner)?),
        Kind::Ses => Recipient::Ses {
            region: r.required("region", "\"eu-central-1\"")?,
            role_arn: read_arn(&mut r, "role_arn", "arn:aws:iam::012345678912:role/ses")?,
            from: read_from(&mut r, owner)?,
            to: read_to(&mut r, owner)?,
        },
        Kind::Sns => Recipient::Sns {
            topic_arn: read_arn(&mut r, "topic_arn", "arn:aws:sns:eu-central-1:012345678912:alerts")?,
            role_arn: read_arn(&mut r, "role_arn", "arn:aws:iam::012345678912:role/sns")?,
        },
    };
    r.finish();
    Some(Channel { name, severity, recipient })
}

/// A secret URL; it must begin with one of `starts`, where there are any.
fn read_url(r: &mut Reader<'_>, starts: &[&str]) -> Option<Secret> {
    if !r.has("url") {
        r.missing(format!("{TITLE} lacks `url`: add it, such as `url = \"${{WEBHOOK_URL}}\"`"));
    }
    let url = r.secret("url")?;
    let masked = url.expose().strip_prefix("https://").or(url.expose().strip_prefix("http://")) == Some(MASK);
    if let Err(wrong) = check_url(url.expose()) {
        r.mistake(r.at("url"), format!("`url` {wrong}"));
    } else if !masked && !starts.is_empty() && !starts.iter().any(|start| url.expose().starts_with(start)) {
        r.mistake(r.at("url"), format!("`url` must begin with {}", starts.join(" or ")));
    }
    Some(url)
}

fn read_email(r: &mut Reader<'_>, owner: Owner) -> Option<Email> {
    let host = r.required("host", "\"smtp.example.com\"");
    let security = r.choice("security", Security::StartTls, SECURITIES);
    let usual = match security {
        Security::StartTls => 587,
        Security::Tls => 465,
        Security::None => 25,
    };
    let port = r.int("port", usual, 1..=u16::MAX);
    let ca_file = r.optional("ca_file").map(PathBuf::from);
    if security == Security::None && ca_file.is_some() {
        let text =
            "`ca_file` is for TLS, and `security` = \"none\" has none: use \"start_tls\" or \"tls\", or take it out";
        r.mistake(r.at("ca_file"), text.to_owned());
    }
    let (username, password) = (r.optional("username"), r.secret("password"));
    if r.has("username") != r.has("password") {
        r.missing("`username` and `password` belong together: add the other one, or take both out".to_owned());
    }
    if security == Security::None && password.is_some() {
        let text = "`security` = \"none\" would send the password in plain text: use \"start_tls\" or \"tls\"";
        r.mistake(r.at("security"), text.to_owned());
    }
    let (from, to) = (read_from(r, owner), read_to(r, owner));
    Some(Email { host: host?, port, security, ca_file, username, password, from: from?, to: to? })
}

fn read_from(r: &mut Reader<'_>, owner: Owner) -> Option<String> {
    let from = r.required("from", "\"outlier@example.com\"")?;
    if let Err(wrong) = check_address(&from, owner) {
        r.mistake(r.at("from"), format!("`from` {wrong}"));
    }
    Some(from)
}

fn read_to(r: &mut Reader<'_>, owner: Owner) -> Option<Vec<String>> {
    let nodes = r.list("to").unwrap_or_default();
    if nodes.is_empty() || nodes.len() > MAX_RECIPIENTS {
        let text = format!("`to` must name 1 to {MAX_RECIPIENTS} addresses, such as `to = [\"oncall@example.com\"]`");
        r.mistake(r.at("to"), text);
        return None;
    }
    let mut to = Vec::new();
    for node in &nodes {
        let address = r.text_of("`to`", node)?;
        if let Err(wrong) = check_address(&address, owner) {
            r.mistake(node.at.clone(), format!("`to` {wrong}"));
        }
        to.push(address);
    }
    Some(to)
}

/// `name@host`; what a mail server makes of it is its own affair. OpenSearch wants a dot in the host.
fn check_address(text: &str, owner: Owner) -> Result<(), String> {
    let odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '<' | '>' | ',' | ';' | '"');
    match text.split_once('@') {
        Some((name, host)) if !name.is_empty() && !host.is_empty() && !host.contains('@') && !text.contains(odd) => {
            if owner == Owner::OpenSearch && !host.contains('.') {
                return Err(format!("needs a dot behind the @, which OpenSearch asks for: {}", shown(text)));
            }
            Ok(())
        }
        _ => Err(format!("must be an address such as oncall@example.com, not {}", shown(text))),
    }
}

fn read_arn(r: &mut Reader<'_>, key: &'static str, such_as: &str) -> Option<String> {
    let arn = r.required(key, &format!("\"{such_as}\""))?;
    if !arn.starts_with("arn:") || arn.split(':').count() < 6 || arn.contains(char::is_whitespace) {
        r.mistake(r.at(key), format!("`{key}` must be an ARN such as {such_as}, not {}", shown(&arn)));
    }
    Some(arn)
}

pub(super) fn write(channel: &Channel, w: &mut Writer) {
    w.table(TITLE);
    w.text("name", &channel.name);
    w.choice("severity", channel.severity, SEVERITIES);
    let url = format!("https://{MASK}");
    match &channel.recipient {
        Recipient::Webhook { .. } => {
            w.choice("type", Kind::Webhook, KINDS);
            w.text("url", &url);
        }
        Recipient::Slack { .. } => {
            w.choice("type", Kind::Slack, KINDS);
            w.text("url", &url);
        }
        Recipient::Teams { .. } => {
            w.choice("type", Kind::Teams, KINDS);
            w.text("url", &url);
        }
        Recipient::Email(email) => {
            w.choice("type", Kind::Email, KINDS);
            w.text("host", &email.host);
            w.plain("port", email.port);
            w.choice("security", email.security, SECURITIES);
            w.optional("ca_file", email.ca_file.as_ref().and_then(|path| path.to_str()));
            w.optional("username", email.username.as_deref());
            w.secret("password", email.password.as_ref());
            w.text("from", &email.from);
            w.list("to", &email.to);
        }
        Recipient::Ses { region, role_arn, from, to } => {
            w.choice("type", Kind::Ses, KINDS);
            w.text("region", region);
            w.text("role_arn", role_arn);
            w.text("from", from);
            w.list("to", to);
        }
        Recipient::Sns { topic_arn, role_arn } => {
            w.choice("type", Kind::Sns, KINDS);
            w.text("topic_arn", topic_arn);
            w.text("role_arn", role_arn);
        }
    }
}
