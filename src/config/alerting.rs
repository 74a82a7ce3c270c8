//! `[alerting]`: whom OpenSearch's monitor tells about anomalies.

use super::names;
use super::reader::Reader;
use super::secret::{MASK, Secret};
use super::sink::check_url;
use super::text::quote;
use super::tree::{Node, Value};
use super::writer::Writer;

/// The one monitor on anomalies.
#[derive(Debug, Clone, PartialEq)]
pub struct Alerting {
    /// Whom it tells.
    pub channel: Channel,
}

/// A notification channel.
#[derive(Debug, Clone, PartialEq)]
pub enum Channel {
    /// Nobody; anomalies are still in the index.
    None,
    /// A web hook, created in OpenSearch's notifications.
    Webhook {
        /// The channel's id and name there.
        name: String,
        /// Where messages are posted; whoever knows it can post, so it is a secret.
        url: Secret,
    },
}

impl Alerting {
    pub(super) fn read(mut r: Reader<'_>) -> Self {
        let channel = match r.node("channel") {
            Some(Node { value: Value::Table(_), .. }) => read_webhook(r.table("channel", "[alerting.channel]")),
            Some(node) => {
                let text = r.text_of("`channel`", node);
                if text.is_some_and(|text| text != "none") {
                    let text = "`channel` must be \"none\" or a table: write `channel = { name = \"outlier\", webhook_url = \"${WEBHOOK_URL}\" }`";
                    r.mistake(node.at.clone(), text.to_owned());
                }
                Channel::None
            }
            None => Channel::None,
        };
        r.finish();
        Self { channel }
    }

    pub(super) fn write(&self, w: &mut Writer) {
        w.table("[alerting]");
        match &self.channel {
            Channel::None => w.text("channel", "none"),
            Channel::Webhook { name, .. } => {
                let url = quote(&format!("https://{MASK}"));
                w.plain("channel", format!("{{ name = {}, webhook_url = {url} }}", quote(name)));
            }
        }
    }
}

fn read_webhook(mut r: Reader<'_>) -> Channel {
    let name = r.checked("name", "outlier", names::check_name);
    let url = r.secret("webhook_url");
    if !r.has("webhook_url") {
        let text = "[alerting.channel] lacks `webhook_url`: add it, such as `webhook_url = \"${WEBHOOK_URL}\"`";
        r.missing(text.to_owned());
    }
    if let Some(Err(wrong)) = url.as_ref().map(|url| check_url(url.expose())) {
        r.mistake(r.at("webhook_url"), format!("`webhook_url` {wrong}"));
    }
    r.finish();
    url.map_or(Channel::None, |url| Channel::Webhook { name, url })
}
