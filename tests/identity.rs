//! Who the client is to OpenSearch: a certificate of its own, a user beside it, signatures for Amazon OpenSearch.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod support;

use outlier::index::opensearch::{Client, OpenSearch};
use outlier::index::{Document, Outcome, Stage};
use std::path::Path;
use std::time::Duration;
use support::proxy::{Plan, Proxy};
use support::standin::{self, Reply, Request};
use support::tls::Certificate;
use support::{Folder, Workplace};

const TAKEN: &str = r#"{"items":[{"create":{"status":201}}]}"#;

fn one() -> [Document<'static>; 1] {
    let body = Some(b"{}".as_slice().into());
    [Document { stage: Stage::Raw, id: "1".into(), timestamp_ms: 1, period_ms: 1, body }]
}

/// A server in TLS that demands a certificate of the authority and, behind that, a user.
async fn mutual(authority: &Certificate) -> Proxy {
    let index = standin::serve(|request: Request| match request.authorization.as_deref() {
        Some("Basic dTpw") => Reply::Json(200, TAKEN.to_owned()),
        _ => Reply::Json(401, "Unauthorized".to_owned()),
    });
    let plan = Plan { seed: 1, faults: Vec::new(), most: 0, stall: Duration::ZERO, largest: usize::MAX };
    Proxy::start(&index.await, plan, Some(authority.issue("localhost").acceptor(Some(authority)))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_is_shown_where_it_is_demanded() {
    let (folder, authority) = (Folder::new(), Certificate::authority("identity"));
    let write = |name: &str, text: &str| {
        let path = folder.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let client = authority.issue("outlier");
    let ca = write("ca.pem", &authority.pem());
    // A chain may follow; it is sent along.
    let good = write("client.pem", &(client.pem() + &authority.pem()));
    let key = write("client.key", &client.key_pem());
    let other = Certificate::authority("another");
    let unknown = other.issue("outlier");
    let (stranger, strange_key) = (write("other.pem", &unknown.pem()), write("other.key", &unknown.key_pem()));
    let empty = write("empty.pem", "");
    let proxy = mutual(&authority).await;
    let head = |certificate: Option<(&Path, &Path)>| {
        let files = certificate.map_or(String::new(), |(certificate, key)| {
            format!("client_cert_file = {certificate:?}\nclient_key_file = {key:?}\n")
        });
        format!("[opensearch]\nurls = [{:?}]\nca_file = {ca:?}\nusername = \"u\"\npassword = \"p\"\n{files}", proxy.url)
    };
    for (certificate, want) in [
        (Some((&*good, &*key)), Ok(())),
        (None, Err("asks for a client certificate")),
        (Some((&*stranger, &*strange_key)), Err("asks for a client certificate that it knows")),
    ] {
        let index = OpenSearch::new(&support::config(&head(certificate), "p")).unwrap();
        let written =
            support::sink::write(&index, &one()).await.map(|outcomes| assert_eq!(outcomes, [Outcome::Created]));
        match want {
            Ok(()) => assert_eq!(written, Ok(()), "{certificate:?}"),
            Err(part) => assert!(written.clone().unwrap_err().reason.contains(part), "{certificate:?}: {written:?}"),
        }
    }
    for (certificate, key, want) in [
        (&good, &strange_key, "is not the key of the certificate"),
        (&empty, &key, "holds no PEM certificate"),
        (&good, &empty, "holds no PEM key, or an encrypted one"),
        (&folder.0.join("none"), &key, "cannot be read"),
    ] {
        let refused = Client::new(&support::config(&head(Some((certificate, key))), "p")).map(|_| ());
        let refused = format!("{:#}", refused.unwrap_err());
        assert!(refused.contains(want) && refused.contains("opensearch.client_"), "{refused}");
    }
}

/// What [`support::outlier::Outlier`] does not do: with an environment of its own.
#[cfg(feature = "aws")]
fn setup(place: &Workplace, opensearch: &str, environment: &[(&str, &str)], more: &[&str]) -> (bool, String) {
    let config = place.file("aws.toml", &support::text(&format!("[opensearch]\n{opensearch}"), "p"));
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_outlier"));
    command.arg("--config").arg(config).args(["setup", "--only-index"]).args(more);
    let nobody = [("AWS_EC2_METADATA_DISABLED", "true"), ("AWS_CONFIG_FILE", "none"), ("HOME", "/nonexistent")];
    let done = command.envs(nobody).envs(environment.iter().copied()).output().unwrap();
    (done.status.success(), String::from_utf8_lossy(&done.stderr).into_owned())
}

#[cfg(feature = "aws")]
#[tokio::test(flavor = "multi_thread")]
async fn requests_are_signed_for_amazon_opensearch() {
    use std::sync::{Arc, Mutex};
    let place = Workplace::new("aws");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let served = Arc::clone(&seen);
    let url = standin::serve(move |request: Request| {
        served.lock().unwrap().push((request.authorization.unwrap_or_default(), request.digest.unwrap_or_default()));
        Reply::Json(404, r#"{"error":{"type":"x","reason":"none"},"status":404}"#.to_owned())
    })
    .await;
    let keys = [("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"), ("AWS_SECRET_ACCESS_KEY", "hidden-secret")];
    for service in ["es", "aoss"] {
        seen.lock().unwrap().clear();
        let aws = format!("urls = [{url:?}]\naws = {{ region = \"eu-central-1\", service = \"{service}\" }}");
        let (place, keys) = (&place, keys);
        let (good, said) = tokio::task::block_in_place(|| setup(place, &aws, &keys, &["--dry-run"]));
        assert!(good && !said.contains("hidden-secret"), "{said}");
        let seen = seen.lock().unwrap();
        assert!(seen.len() > 3, "{seen:?}");
        for (authorization, digest) in seen.iter() {
            let parts: Vec<&str> = authorization.split([' ', ',']).filter(|part| !part.is_empty()).collect();
            let [method, credential, headers, signature] = parts[..] else { panic!("{authorization}") };
            assert_eq!(method, "AWS4-HMAC-SHA256");
            let scope: Vec<&str> = credential.split('/').collect();
            assert_eq!(
                [scope[0], scope[2], scope[3], scope[4]],
                ["Credential=AKIDEXAMPLE", "eu-central-1", service, "aws4_request"]
            );
            for header in ["host", "x-amz-content-sha256", "x-amz-date"] {
                assert!(
                    headers.trim_start_matches("SignedHeaders=").split(';').any(|name| name == header),
                    "{headers}"
                );
            }
            let hex = |text: &str| text.len() == 64 && text.chars().all(|c| c.is_ascii_hexdigit());
            assert!(hex(signature.trim_start_matches("Signature=")) && hex(digest), "{authorization} {digest}");
        }
    }
    let aws = format!("urls = [{url:?}]\naws = {{ region = \"eu-central-1\" }}");
    let (good, said) = tokio::task::block_in_place(|| setup(&place, &aws, &[], &["--dry-run"]));
    assert!(!good && said.contains("cannot be signed") && said.contains("AWS_ACCESS_KEY_ID"), "{said}");
}

/// What is written is signed as it is sent, packed or not, and with the token of a role's session.
#[cfg(feature = "aws")]
#[tokio::test(flavor = "multi_thread")]
async fn what_is_signed_is_what_is_sent() {
    use std::sync::{Arc, Mutex};
    use support::cluster::Cluster;
    let place = Workplace::new("aws-writes");
    let keys = [
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "hidden-secret"),
        ("AWS_SESSION_TOKEN", "hidden-session"),
    ];
    for gzip in [false, true] {
        let mut cluster = Cluster::bare();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let served = Arc::clone(&seen);
        let url = standin::serve(move |mut request: Request| {
            let digest: String = openssl::sha::sha256(&request.body).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(request.digest.as_deref(), Some(&*digest), "{} {}", request.method, request.path);
            assert_eq!(request.header("x-amz-security-token"), Some("hidden-session"));
            let packed = request.header("content-encoding") == Some("gzip");
            served.lock().unwrap().push((request.method.clone(), request.path.clone(), packed));
            if packed {
                let mut body = Vec::new();
                std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&*request.body), &mut body).unwrap();
                request.body = body;
            }
            cluster.answer(&request)
        })
        .await;
        let aws = format!("urls = [{url:?}]\ngzip = {gzip}\naws = {{ region = \"eu-central-1\" }}");
        let (good, said) = tokio::task::block_in_place(|| setup(&place, &aws, &keys, &[]));
        assert!(good && !said.contains("hidden"), "{said}");
        let seen = seen.lock().unwrap();
        let any = |method: &str, part: &str, packed: bool| {
            seen.iter().any(|(m, path, p)| m == method && path.starts_with(part) && *p == packed)
        };
        assert!(any("PUT", "/_index_template/", false) && any("POST", "/_bulk?filter_path", gzip), "{seen:?}");
    }
}

#[cfg(not(feature = "aws"))]
#[test]
fn signing_is_refused_where_it_is_not_built_in() {
    let place = Workplace::new("aws");
    let text = support::text("[opensearch]\naws = { region = \"eu-central-1\" }", "p");
    let status = support::outlier::Outlier::run_to_end(&place.file("aws.toml", &text), "setup", &["setup"]);
    let said = support::read(&place.dir.join("setup.log"));
    assert_eq!(status.code(), Some(2), "{said}");
    assert!(said.contains("build it with `cargo build --release --features aws`"), "{said}");
}
