//! Messages as mails, over SMTP.
//!
//! Invariants: the Message-ID is made from the message's key, so that a repeat can be told; a password goes over TLS only;
//! an address that the server refuses keeps the mail from no other.

use super::{Failure, text};
use crate::config::{Email, Security};
use anyhow::Context;
use lettre::address::Envelope;
use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message as Mail, Tokio1Executor};
use outlier_core::alert::Message;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A mail server, who writes, and to whom.
pub struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    to: Vec<Mailbox>,
    /// Who has a message already that others could not get yet, by its key.
    apart: Mutex<(String, Vec<Mailbox>)>,
}

impl Mailer {
    /// Prepares the connection; nothing is sent.
    ///
    /// # Errors
    /// An address is none, or TLS cannot be set up.
    pub fn new(email: &Email, timeout: Duration) -> anyhow::Result<Self> {
        let tls = match email.security {
            Security::StartTls => Tls::Required(parameters(email)?),
            Security::Tls => Tls::Wrapper(parameters(email)?),
            Security::None => Tls::None,
        };
        let builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&email.host).tls(tls);
        let mut builder = builder.port(email.port).timeout(Some(timeout));
        if let (Some(user), Some(password)) = (&email.username, &email.password) {
            builder = builder.credentials(Credentials::new(user.clone(), password.expose().to_owned()));
        }
        let mailbox = |address: &String| address.parse().with_context(|| format!("{address} is not a mail address"));
        let to = email.to.iter().map(mailbox).collect::<anyhow::Result<_>>()?;
        Ok(Self { transport: builder.build(), from: mailbox(&email.from)?, to, apart: Mutex::default() })
    }

    /// One attempt.
    ///
    /// # Errors
    /// It was not taken.
    pub async fn send(&self, pipeline: &str, message: &Message) -> Result<(), Failure> {
        let mail = self.mail(pipeline, message).map_err(|error| Failure::Never(error.to_string()))?;
        let bytes = mail.formatted();
        if self.have(&message.key).is_empty() {
            match self.transport.send_raw(mail.envelope(), &bytes).await {
                Ok(_) => return Ok(()),
                // One address that it refuses, and the server takes the mail for nobody.
                Err(error) if error.is_permanent() && self.to.len() > 1 => {}
                Err(error) => return Err(later(&why(error))),
            }
        }
        self.send_apart(&message.key, &bytes).await
    }

    /// To each by itself who does not have it.
    async fn send_apart(&self, key: &str, bytes: &[u8]) -> Result<(), Failure> {
        let (mut refused, mut failed) = (Vec::new(), None);
        let have = self.have(key);
        for to in self.to.iter().filter(|to| !have.contains(to)) {
            let from = Some(self.from.email.clone());
            let envelope =
                Envelope::new(from, vec![to.email.clone()]).map_err(|error| Failure::Never(error.to_string()))?;
            match self.transport.send_raw(&envelope, bytes).await {
                Ok(_) => self.note(key, to),
                Err(error) if error.is_permanent() => refused.push(format!("{to}: {}", why(error))),
                Err(error) => failed = Some(why(error)),
            }
        }
        let refused = refused.join("; ");
        match failed {
            Some(why) => Err(later(&why)),
            // Also what a server calls permanent can be mended, such as addresses it does not know yet.
            None if self.have(key).is_empty() => Err(later(&refused)),
            None => {
                tracing::warn!(refused, "a mail was taken for the others of a channel");
                Ok(())
            }
        }
    }

    fn have(&self, key: &str) -> Vec<Mailbox> {
        let apart = self.apart.lock().unwrap_or_else(PoisonError::into_inner);
        if apart.0 == key { apart.1.clone() } else { Vec::new() }
    }

    fn note(&self, key: &str, to: &Mailbox) {
        let mut apart = self.apart.lock().unwrap_or_else(PoisonError::into_inner);
        if apart.0 != key {
            *apart = (key.to_owned(), Vec::new());
        }
        apart.1.push(to.clone());
    }

    fn mail(&self, pipeline: &str, message: &Message) -> Result<Mail, lettre::error::Error> {
        let host = self.from.email.domain();
        let mut mail = Mail::builder()
            .from(self.from.clone())
            .message_id(Some(format!("<{}@{host}>", message.key)))
            .subject(text::subject(pipeline, message))
            .header(ContentType::TEXT_PLAIN);
        for to in &self.to {
            mail = mail.to(to.clone());
        }
        mail.body(text::body(message))
    }
}

fn later(why: &str) -> Failure {
    Failure::Later(format!("the mail server did not take it: {why}"))
}

/// The error with its causes, and what to do where that is known.
fn why(error: lettre::transport::smtp::Error) -> String {
    let mut why = format!("{:#}", anyhow::Error::new(error));
    let other = ["expired", "not yet valid", "mismatch"].iter().any(|part| why.contains(part));
    if why.contains("certificate verify failed") && !other {
        why.push_str("; the channel's `ca_file` names the certificate of an authority to trust");
    }
    why
}

fn parameters(email: &Email) -> anyhow::Result<TlsParameters> {
    let mut builder = TlsParameters::builder(email.host.clone());
    if let Some(path) = &email.ca_file {
        let shown = path.display();
        let pem = std::fs::read(path).with_context(|| format!("ca_file {shown} cannot be read"))?;
        let certificate = Certificate::from_pem(&pem).with_context(|| format!("ca_file {shown} is no certificate"))?;
        builder = builder.add_root_certificate(certificate);
    }
    builder.build().context("cannot prepare TLS for mails")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::notify::text::tests::message;
    use outlier_core::alert::Occasion;

    #[test]
    fn a_mail_has_a_stable_id_and_a_short_subject() {
        let email = Email {
            host: "localhost".to_owned(),
            port: 25,
            security: Security::None,
            ca_file: None,
            username: None,
            password: None,
            from: "outlier@example.com".to_owned(),
            to: vec!["a@example.com".to_owned(), "b@example.com".to_owned()],
        };
        let mailer = Mailer::new(&email, Duration::from_secs(1)).unwrap();
        let mail = String::from_utf8(mailer.mail("waf", &message(Occasion::Began, 1)).unwrap().formatted()).unwrap();
        assert!(mail.contains("\r\nMessage-ID: <0123456789abcdef@example.com>\r\n"), "{mail}");
        assert!(mail.contains("\r\nSubject: Critical anomaly: waf: action sum(B_action), score 100\r\n"), "{mail}");
        assert!(mail.contains("To: a@example.com, b@example.com"), "{mail}");
    }
}
