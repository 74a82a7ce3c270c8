//! Messages as HTTP requests: outlier's own JSON, Slack's and Teams'.
//!
//! Invariant: the address is a secret and in no error.

use super::{Failure, text};
use crate::config::Secret;
use anyhow::Context;
use outlier_core::alert::{Alert, Message, Telling};
use outlier_core::pipeline::Millis;
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use std::time::Duration;

/// The header that names a message whenever it is sent.
const KEY: &str = "Idempotency-Key";

/// How a receiver wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Outlier,
    Slack,
    Teams,
}

/// An address that takes a POST.
pub struct Webhook {
    client: Client,
    url: Secret,
    format: Format,
}

impl Webhook {
    /// Gets outlier's own JSON (`docs/topics.md`).
    ///
    /// # Errors
    /// The client cannot be built.
    pub fn plain(url: &Secret, timeout: Duration) -> anyhow::Result<Self> {
        Self::new(url, timeout, Format::Outlier)
    }

    /// Slack's incoming webhook.
    ///
    /// # Errors
    /// As [`Webhook::plain`].
    pub fn slack(url: &Secret, timeout: Duration) -> anyhow::Result<Self> {
        Self::new(url, timeout, Format::Slack)
    }

    /// A webhook of Teams, which takes an adaptive card.
    ///
    /// # Errors
    /// As [`Webhook::plain`].
    pub fn teams(url: &Secret, timeout: Duration) -> anyhow::Result<Self> {
        Self::new(url, timeout, Format::Teams)
    }

    fn new(url: &Secret, timeout: Duration, format: Format) -> anyhow::Result<Self> {
        let agent = concat!("outlier/", env!("CARGO_PKG_VERSION"));
        // A redirection would turn the POST into a GET without a body.
        let client = Client::builder().timeout(timeout).user_agent(agent).redirect(Policy::none()).build();
        Ok(Self { client: client.context("cannot prepare webhooks")?, url: url.clone(), format })
    }

    /// One attempt.
    ///
    /// # Errors
    /// It was not taken.
    pub async fn send(&self, pipeline: &str, message: &Message) -> Result<(), Failure> {
        let body = body(self.format, pipeline, message).to_string();
        let request = self.client.post(self.url.expose()).header(CONTENT_TYPE, "application/json");
        let sent = request.header(KEY, &message.key).body(body).send().await;
        let response = sent.map_err(|error| Failure::Later(explain(error)))?;
        let status = response.status();
        let later = response.headers().get(RETRY_AFTER).is_some();
        judge(status, later)
    }
}

/// What a status means for the message.
fn judge(status: StatusCode, later: bool) -> Result<(), Failure> {
    if status.is_success() {
        return Ok(());
    }
    let code = status.as_u16();
    match code {
        // The address or the credentials in it are wrong, which can be mended.
        401 | 403 | 404 | 410 => Err(Failure::Later(format!("the receiver answers {code}: check the channel's url"))),
        300..=399 => Err(Failure::Later(format!(
            "the receiver answers {code}, a redirection: give the channel the url behind it"
        ))),
        408 | 425 | 429 => Err(Failure::Later(format!("the receiver answers {code}"))),
        400..=499 if !later => Err(Failure::Never(format!("the receiver refused it with {code}"))),
        _ => Err(Failure::Later(format!("the receiver answers {code}"))),
    }
}

/// Why no answer came, without the address.
fn explain(error: reqwest::Error) -> String {
    let timeout = error.is_timeout();
    let error = error.without_url();
    let mut why = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        why = inner.to_string();
        cause = inner.source();
    }
    if timeout {
        "the receiver did not answer in time".to_owned()
    } else {
        format!("the receiver does not answer ({why})")
    }
}

fn body(format: Format, pipeline: &str, message: &Message) -> Value {
    let (subject, text) = (text::subject(pipeline, message), text::body(message));
    match format {
        Format::Outlier => json!({
            "version": 1,
            "key": message.key,
            "kind": kind(message),
            "pipeline": pipeline,
            "subject": subject,
            "text": text,
            "total": message.total,
            "alerts": message.alerts.iter().map(alert).collect::<Vec<_>>(),
        }),
        // Slack takes three characters for its own.
        Format::Slack => {
            let text = format!("*{subject}*\n{text}").replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            json!({"text": text})
        }
        Format::Teams => {
            // Not a TextBlock, in which what a log holds would be Markdown: a link, an image.
            let line = |text: &str, weight: &str, spacing: &str| {
                let run = json!({"type": "TextRun", "text": text, "weight": weight});
                json!({"type": "RichTextBlock", "inlines": [run], "spacing": spacing})
            };
            let mut blocks = vec![line(&subject, "bolder", "default")];
            for paragraph in text.trim_end().split("\n\n") {
                let spacing = std::iter::once("default").chain(std::iter::repeat("none"));
                blocks.extend(paragraph.lines().zip(spacing).map(|(text, spacing)| line(text, "default", spacing)));
            }
            json!({
                "type": "message",
                "attachments": [{
                    "contentType": "application/vnd.microsoft.card.adaptive",
                    "contentUrl": null,
                    "content": {
                        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                        "type": "AdaptiveCard",
                        "version": "1.4",
                        "body": blocks,
                    },
                }],
            })
        }
    }
}

fn kind(message: &Message) -> &'static str {
    match message {
        Message { alerts, .. } if alerts.is_empty() => "test",
        Message { over: true, .. } => "resolved",
        _ => "firing",
    }
}

/// An alert as a receiver needs it: without what only the service's own book-keeping needs.
fn alert(Telling { occasion, alert }: &Telling) -> Value {
    let Alert { id, state, severity, name, by, start, end, windows, peak, .. } = alert;
    let lasted: Millis = end - start;
    let mut value = json!({
        "id": id, "occasion": occasion, "state": state, "severity": severity, "detector": name.detector,
        "series": name.series, "start": start, "end": end, "lasted": lasted, "windows": windows, "peak": peak,
    });
    if !by.is_empty() {
        value["by"] = json!(by);
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::notify::text::tests::message;
    use outlier_core::alert::Occasion;

    #[test]
    fn what_statuses_mean() {
        let check = |code: u16, later: bool, want: &str| {
            let got = match judge(StatusCode::from_u16(code).unwrap(), later) {
                Ok(()) => "done",
                Err(Failure::Later(_)) => "later",
                Err(Failure::Never(_)) => "never",
            };
            assert_eq!(got, want, "{code}");
        };
        for (code, want) in [
            (200, "done"),
            (204, "done"),
            (302, "later"),
            (400, "never"),
            (404, "later"),
            (413, "never"),
            (429, "later"),
            (500, "later"),
        ] {
            check(code, false, want);
        }
        check(422, true, "later");
    }

    #[test]
    fn bodies() {
        let own = body(Format::Outlier, "waf", &message(Occasion::Over, 1));
        assert_eq!((&own["kind"], &own["alerts"][0]["lasted"]), (&json!("resolved"), &json!(120_000)));
        assert_eq!(own["alerts"][0]["occasion"], "over");
        let slack = body(Format::Slack, "a&<b>", &message(Occasion::Began, 1));
        assert!(slack["text"].as_str().unwrap().starts_with("*Critical anomaly: a&amp;&lt;b&gt;: action"), "{slack}");
        let mut sent = message(Occasion::Began, 2);
        sent.alerts.push(sent.alerts[0].clone());
        let teams = body(Format::Teams, "waf", &sent);
        let blocks = teams["attachments"][0]["content"]["body"].as_array().unwrap();
        let lines: Vec<&str> = blocks.iter().filter_map(|block| block["inlines"][0]["text"].as_str()).collect();
        let (subject, text) = (text::subject("waf", &sent), text::body(&sent));
        assert_eq!(lines.join("\n"), format!("{subject}\n{}", text.trim_end().replace("\n\n", "\n")));
        let paragraphs = blocks.iter().filter(|block| block["spacing"] == "default").count();
        assert_eq!((paragraphs, text.matches("\n\n").count()), (3, 1), "the subject and two alerts: {teams}");
        // No Markdown: what a log holds stays text.
        assert!(blocks.iter().all(|block| block["type"] == "RichTextBlock"), "{teams}");
    }
}
