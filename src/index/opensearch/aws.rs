//! Signed requests to Amazon OpenSearch; only with the feature `aws`.
//!
//! Credentials are found as every AWS tool finds them: environment, profile, web identity, container, machine. They are
//! kept until shortly before they expire. AWS's own client would bring a second TLS library; requests for credentials go
//! through the one that is there.

use crate::config::{Aws, AwsService};
use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, Result as Provided, SharedCredentialsProvider, future};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use opensearch::http::transport::TransportBuilder;
use std::time::{Duration, SystemTime};
use tokio::sync::{Mutex, OnceCell};

/// Credentials are renewed so long before they expire.
const MARGIN: Duration = Duration::from_secs(300);

/// Makes every request signed.
pub fn sign(builder: TransportBuilder, aws: &Aws) -> TransportBuilder {
    let region = Region::new(aws.region.clone());
    let kept = Kept { region: region.clone(), chain: OnceCell::new(), kept: Mutex::default() };
    let service = match aws.service {
        AwsService::Es => "es",
        AwsService::Aoss => "aoss",
    };
    let credentials = opensearch::auth::Credentials::AwsSigV4(SharedCredentialsProvider::new(kept), region);
    builder.auth(credentials).service_name(service)
}

/// The credentials that are in use.
#[derive(Debug)]
struct Kept {
    region: Region,
    /// Where they come from; looked for once.
    chain: OnceCell<Option<SharedCredentialsProvider>>,
    kept: Mutex<Option<Credentials>>,
}

impl Kept {
    async fn current(&self) -> Provided {
        let mut kept = self.kept.lock().await;
        let lasts = |found: &&Credentials| found.expiry().is_none_or(|at| at > SystemTime::now() + MARGIN);
        if let Some(found) = kept.as_ref().filter(lasts) {
            return Ok(found.clone());
        }
        let chain = self.chain.get_or_init(async || {
            let loader = aws_config::defaults(BehaviorVersion::latest()).region(self.region.clone());
            loader.http_client(Http::default()).load().await.credentials_provider()
        });
        let Some(chain) = chain.await else {
            return Err(aws_credential_types::provider::error::CredentialsError::not_loaded_no_source());
        };
        let found = chain.provide_credentials().await?;
        Ok(kept.insert(found).clone())
    }
}

impl ProvideCredentials for Kept {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.current())
    }
}

/// The HTTP client that asks for credentials.
#[derive(Debug, Clone, Default)]
struct Http {
    client: reqwest::Client,
    timeout: Option<Duration>,
}

impl HttpClient for Http {
    fn http_connector(&self, settings: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        let parts = [settings.connect_timeout(), settings.read_timeout()];
        let timeout = parts.into_iter().flatten().reduce(|one, other| one + other);
        SharedHttpConnector::new(Self { client: self.client.clone(), timeout })
    }
}

impl HttpConnector for Http {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let Self { client, timeout } = self.clone();
        HttpConnectorFuture::new(async move {
            let method = reqwest::Method::from_bytes(request.method().as_bytes());
            let method = method.map_err(|error| ConnectorError::user(error.into()))?;
            let mut sent = client.request(method, request.uri());
            for (name, value) in request.headers() {
                sent = sent.header(name, value);
            }
            if let Some(timeout) = timeout {
                sent = sent.timeout(timeout);
            }
            let body = request.body().bytes().unwrap_or_default().to_vec();
            let answer = sent.body(body).send().await.map_err(failed)?;
            let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
            let body = answer.bytes().await.map_err(failed)?;
            let status = status.try_into().map_err(|error| ConnectorError::other(Box::new(error), None))?;
            let mut response = HttpResponse::new(status, SdkBody::from(body));
            for (name, value) in &headers {
                if let Ok(value) = value.to_str() {
                    response.headers_mut().append(name.as_str().to_owned(), value.to_owned());
                }
            }
            Ok(response)
        })
    }
}

fn failed(error: reqwest::Error) -> ConnectorError {
    if error.is_timeout() { ConnectorError::timeout(error.into()) } else { ConnectorError::io(error.into()) }
}
