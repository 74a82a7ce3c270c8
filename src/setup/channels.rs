//! The channels of the configuration as OpenSearch's notifications store them, and a message by one of them.
//!
//! Invariant: bodies are written as the server writes them back, so that comparing finds no difference in what it
//! stored. What a channel needs (a mail account) comes before it.

use crate::config::{Config, Recipient, Security};
use crate::index::opensearch::Client;
use crate::setup::index::thing::CHANNELS;
use anyhow::bail;
use opensearch::http::Method;
use serde_json::{Value, json};

/// What is stored under an id that we choose.
#[derive(Debug, Clone, PartialEq)]
pub struct Channel {
    /// Its id, which monitors name as their destination.
    pub id: String,
    /// The body `config` of the request. A URL in it is a secret.
    pub body: Value,
}

/// The accounts and channels of the configuration, in the order in which they must be created.
pub fn wanted(config: &Config) -> Vec<Channel> {
    let mut all = Vec::new();
    for channel in &config.alerting.channels {
        let name = &id(config, &channel.name);
        let account = format!("{name}-account");
        let (kind, own) = match &channel.recipient {
            Recipient::Webhook { url } => (
                "webhook",
                json!({"url": url.expose(), "header_params": {"Content-Type": "text/plain"}, "method": "POST"}),
            ),
            Recipient::Slack { url } => ("slack", json!({"url": url.expose()})),
            Recipient::Teams { url } => ("microsoft_teams", json!({"url": url.expose()})),
            Recipient::Sns { topic_arn, role_arn } => ("sns", json!({"topic_arn": topic_arn, "role_arn": role_arn})),
            Recipient::Email(email) => {
                let method = match email.security {
                    Security::StartTls => "start_tls",
                    Security::Tls => "ssl",
                    Security::None => "none",
                };
                let smtp =
                    json!({"host": email.host, "port": email.port, "method": method, "from_address": email.from});
                all.push(one(&account, "smtp_account", smtp));
                ("email", mail(&account, &email.to))
            }
            Recipient::Ses { region, role_arn, from, to } => {
                let ses = json!({"region": region, "role_arn": role_arn, "from_address": from});
                all.push(one(&account, "ses_account", ses));
                ("email", mail(&account, to))
            }
        };
        all.push(one(name, kind, own));
    }
    all
}

/// The id of a channel, and its name: another outlier on the cluster, with another prefix, may have one of the same name.
pub fn id(config: &Config, channel: &str) -> String {
    // Such ids have no dots.
    format!("{}{channel}", config.opensearch.index_prefix.replace('.', "-"))
}

fn one(id: &str, kind: &str, own: Value) -> Channel {
    let body = json!({
        "name": id,
        "description": "Told by outlier's monitors",
        "config_type": kind,
        "is_enabled": true,
        kind: own,
    });
    Channel { id: id.to_owned(), body }
}

fn mail(account: &str, to: &[String]) -> Value {
    let to: Vec<Value> = to.iter().map(|address| json!({"recipient": address})).collect();
    json!({"email_account_id": account, "recipient_list": to, "email_group_id_list": []})
}

/// Where a test message is asked for.
const TEST: &str = "/_plugins/_notifications/feature/test";

/// Lets OpenSearch send a message by a channel of the configuration; answers what came of it.
///
/// # Errors
/// The channel is not made yet, or the other side refused the message.
pub async fn test(config: &Config, client: &Client, channel: &str) -> anyhow::Result<String> {
    let id = id(config, channel);
    let there = client.send(Method::Get, &format!("{CHANNELS}/{id}"), None).await?;
    if there.status == 404 {
        bail!("OpenSearch has no channel {channel} yet: run `outlier setup` first");
    }
    let answer = client.send(Method::Post, &format!("{TEST}/{id}"), None).await?;
    if !answer.good() {
        bail!("the message by {channel} was not delivered: {}", answer.reason());
    }
    let body = answer.json()?;
    let mut lines = Vec::new();
    for status in body["status_list"].as_array().into_iter().flatten() {
        let delivery = &status["delivery_status"];
        let text = |name: &str| delivery[name].as_str().unwrap_or_default();
        lines.push(format!("{channel}: {} ({})", text("status_text"), text("status_code")));
    }
    Ok(lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;

    #[test]
    fn two_outliers_on_one_cluster_have_channels_of_their_own() {
        for (prefix, want) in [("", ["team-account", "team"]), ("prod.eu-", ["prod-eu-team-account", "prod-eu-team"])] {
            let text = format!(
                "[opensearch]\nindex_prefix = {prefix:?}\n[[pipeline]]\npreset = \"waf\"\n[[alerting.channels]]\n\
                 name = \"team\"\ntype = \"email\"\nhost = \"h\"\nfrom = \"a@b.c\"\nto = [\"c@d.e\"]\n"
            );
            let config = Config::parse(&text, "test", &Environment::default()).unwrap();
            let all = wanted(&config);
            assert_eq!(all.iter().map(|channel| channel.id.as_str()).collect::<Vec<_>>(), want);
            assert_eq!(all[1].body["email"]["email_account_id"], want[0]);
            assert_eq!(id(&config, "team"), want[1]);
        }
    }
}
