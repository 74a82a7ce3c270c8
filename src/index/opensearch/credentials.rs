//! Who the client is to OpenSearch: a user, a token, a certificate of its own, or whoever AWS says.
//!
//! Invariant: a secret goes into a header that is marked as sensitive, or into a key, and nowhere else.

use crate::config;
use anyhow::{Context, bail};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use opensearch::auth::{ClientCertificate, Credentials};
use opensearch::http::headers::{AUTHORIZATION, HeaderValue};
use opensearch::http::transport::TransportBuilder;
use openssl::pkcs12::Pkcs12;
use openssl::pkey::PKey;
use openssl::stack::Stack;
use openssl::x509::X509;
use std::path::Path;

/// Of the certificate and key between two libraries of this process.
const BETWEEN: &str = "outlier";

/// Gives the connection what the configuration names.
///
/// # Errors
/// The certificate or the key cannot be used.
pub fn give(mut builder: TransportBuilder, config: &config::OpenSearch) -> anyhow::Result<TransportBuilder> {
    let authorization = match (&config.username, &config.password, &config.token) {
        (Some(user), Some(password), _) => {
            Some(format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{}", password.expose()))))
        }
        (_, _, Some(token)) => Some(format!("Bearer {}", token.expose())),
        _ => None,
    };
    if let Some(authorization) = authorization {
        let value = HeaderValue::try_from(authorization);
        let mut value = value.ok().context("opensearch.token holds a character that no header may hold")?;
        value.set_sensitive(true);
        builder = builder.header(AUTHORIZATION, value);
    }
    if let (Some(certificate), Some(key)) = (&config.client_cert_file, &config.client_key_file) {
        builder = builder.auth(Credentials::Certificate(ClientCertificate::Pkcs12(
            bundle(certificate, key)?,
            Some(BETWEEN.to_owned()),
        )));
    }
    #[cfg(feature = "aws")]
    if let Some(aws) = &config.aws {
        builder = super::aws::sign(builder, aws);
    }
    Ok(builder)
}

/// A certificate with its chain and its key, as the HTTP client takes them.
fn bundle(certificate: &Path, key: &Path) -> anyhow::Result<Vec<u8>> {
    let read = |name: &str, path: &Path| {
        std::fs::read(path).with_context(|| format!("opensearch.{name} {} cannot be read", path.display()))
    };
    let chain = X509::stack_from_pem(&read("client_cert_file", certificate)?).unwrap_or_default();
    let mut chain = chain.into_iter();
    let Some(own) = chain.next() else {
        bail!("opensearch.client_cert_file {} holds no PEM certificate", certificate.display());
    };
    let private = PKey::private_key_from_pem_callback(&read("client_key_file", key)?, |_| Ok(0));
    let private = private.ok().with_context(|| {
        format!("opensearch.client_key_file {} holds no PEM key, or an encrypted one: decrypt it", key.display())
    })?;
    if !own.public_key().is_ok_and(|public| public.public_eq(&private)) {
        bail!(
            "opensearch.client_key_file {} is not the key of the certificate in opensearch.client_cert_file {}",
            key.display(),
            certificate.display()
        );
    }
    let mut others = Stack::new()?;
    for certificate in chain {
        others.push(certificate)?;
    }
    let bundle = Pkcs12::builder().name("client").pkey(&private).cert(&own).ca(others).build2(BETWEEN);
    Ok(bundle.context("the client's certificate cannot be used")?.to_der()?)
}
