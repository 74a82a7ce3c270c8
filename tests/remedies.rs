//! What can be wrong between outlier and OpenSearch: `outlier setup` ends with one sentence that names the remedy, and
//! `outlier sink` waits with the same on `/health`, however long it takes.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod support;

use outlier::index::opensearch::Client;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::BaseRecord;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use support::cluster::Cluster;
use support::kafka::Kafka;
use support::outlier::Outlier;
use support::proxy::{Plan, Proxy};
use support::standin::{self, Reply, Request};
use support::tls::Certificate;
use support::{Workplace, read, wait};

/// What is wrong, and what must be said.
struct Case {
    name: &'static str,
    /// Lines of `[opensearch]`.
    opensearch: String,
    /// Parts of the sentence, of the setup and of the sink.
    told: Vec<&'static str>,
    /// `outlier setup` ends with it.
    setup: bool,
}

fn case(name: &'static str, opensearch: String, told: &[&'static str]) -> Case {
    Case { name, opensearch, told: told.to_vec(), setup: true }
}

fn url(url: &str) -> String {
    format!("urls = [{url:?}]")
}

fn configuration(place: &Workplace, kafka: &Kafka, name: &str, opensearch: &str) -> PathBuf {
    let (servers, prefix) = (&kafka.bootstrap, &place.prefix);
    let head = format!(
        "[kafka]\nbootstrap_servers = {servers:?}\ntopic_prefix = \"{prefix}\"\nreplication_factor = 1\n\
         [sink]\nflush_interval = \"20ms\"\nrequest_timeout = \"2s\"\n[telemetry]\nlisten = \"127.0.0.1:0\"\n\
         [opensearch]\nreplicas = 0\n{opensearch}"
    );
    place.file(&format!("{name}.toml"), &support::text(&head, "p"))
}

/// What the components that wait say on `/health`.
fn waiting(sink: &Outlier) -> Vec<String> {
    let health = support::opensearch::get(&sink.telemetry(), "/health").unwrap_or_default();
    let health: Value = serde_json::from_str(&health).unwrap_or_default();
    let components = health.as_object().into_iter().flatten();
    let waiting = components.filter(|(name, own)| name.ends_with("index") && own["state"] == "waiting");
    waiting.map(|(_, own)| own["reason"].as_str().unwrap_or_default().to_owned()).collect()
}

/// The setup says it, and so does a sink, which goes on waiting.
fn waits(place: &Workplace, kafka: &Kafka, case: &Case) -> Outlier {
    let name = case.name;
    let config = configuration(place, kafka, name, &case.opensearch);
    let tells = |text: &str| case.told.iter().all(|part| text.contains(part));
    let log = format!("{name}-setup");
    let status = Outlier::run_to_end(&config, &log, &["setup", "--only-index"]);
    let said = read(&place.dir.join(format!("{log}.log")));
    assert_eq!(status.code(), Some(i32::from(case.setup)), "{name}: {said}");
    let last = said.lines().last().unwrap_or_default();
    println!("{name}: {last}");
    assert!(!case.setup || tells(last), "{name}: {:?} is not in: {said}", case.told);
    let mut sink = Outlier::start(&config, name, &["sink"]);
    let mut said = Vec::new();
    wait(&format!("{name}: what the sink waits for"), Duration::from_secs(30), || {
        assert!(sink.ended().is_none(), "{name}: the sink ended");
        said = waiting(&sink);
        said.iter().any(|reason| tells(reason))
    });
    sink
}

fn check(place: &Workplace, kafka: &Kafka, case: &Case) {
    let sink = waits(place, kafka, case);
    assert!(sink.stop().success(), "{}: the sink can be stopped while it waits", case.name);
}

fn is_well(sink: &Outlier) -> bool {
    let health = support::opensearch::get(&sink.telemetry(), "/health").unwrap_or_default();
    let health: Value = serde_json::from_str(&health).unwrap_or_default();
    health["sink.p.index"]["state"] == "ready"
}

/// Answers `GET /` like OpenSearch, everything else as told.
async fn refusing(status: u16, kind: &str, reason: &str) -> String {
    let body = format!(r#"{{"error":{{"type":"{kind}","reason":"{reason}"}},"status":{status}}}"#);
    standin::serve(move |request: Request| match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/") => version("opensearch", "3.4.0"),
        _ => Reply::Json(status, body.clone()),
    })
    .await
}

fn version(distribution: &str, number: &str) -> Reply {
    Reply::Json(200, format!(r#"{{"version":{{"distribution":"{distribution}","number":"{number}"}}}}"#))
}

/// A setup without a fault, then bulk requests of which each document is answered with that error. `asked`: the setup's
/// question is, too.
async fn refusing_documents(status: u16, kind: &'static str, reason: &'static str, asked: bool) -> String {
    let mut cluster = Cluster::bare();
    standin::serve(move |request: Request| match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/") => version("opensearch", "2.19.0"),
        ("POST", path) if path.starts_with("/_bulk?filter_path") && (asked || !path.ends_with("&timeout=5s")) => {
            let count = request.body.split(|byte| *byte == b'\n').count() / 2;
            let item = format!(r#"{{"create":{{"status":{status},"error":{{"type":"{kind}","reason":"{reason}"}}}}}}"#);
            Reply::Json(200, format!(r#"{{"items":[{}]}}"#, vec![item; count].join(",")))
        }
        _ => cluster.answer(&request),
    })
    .await
}

async fn page() -> String {
    standin::serve(|_| Reply::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n<html>welcome</html>")).await
}

async fn cases(place: &Workplace) -> Vec<Case> {
    let plan = || Plan { seed: 1, faults: Vec::new(), most: 0, stall: Duration::ZERO, largest: usize::MAX };
    let index = refusing(503, "x", "not reached").await;
    let authority = Certificate::authority("remedies");
    let ca = place.file("ca.pem", &authority.pem());
    let other = place.file("other.pem", &Certificate::authority("another").pem());
    let plain = standin::serve(|_| Reply::Bytes(b"")).await;
    let tls = Proxy::start(&index, plan(), Some(authority.issue("localhost").acceptor(None))).await;
    let expired = Proxy::start(&index, plan(), Some(authority.issue_expired("localhost").acceptor(None))).await;
    let (tls, expired) = (Box::leak(Box::new(tls)), Box::leak(Box::new(expired)));
    let with_ca = |url: &str, ca: &Path| format!("urls = [{url:?}]\nca_file = {ca:?}");
    let not_tls = raw(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
    let password = standin::serve(|_| {
        Reply::Bytes(b"HTTP/1.1 401 Unauthorized\r\ncontent-type: text/plain\r\ncontent-length: 12\r\n\r\nUnauthorized")
    })
    .await;
    let elastic = standin::serve(|_| version("", "8.15.0")).await;
    let old = standin::serve(|_| version("opensearch", "1.3.20")).await;
    let read_only =
        refusing(403, "cluster_block_exception", "blocked by: [FORBIDDEN/10/cluster create-index blocked (api)]");
    let rights = refusing(403, "security_exception", "no permissions for [indices:admin/index_template/get]").await;
    let missing = standin::serve(|request: Request| match request.path.as_str() {
        "/" => version("opensearch", "3.4.0"),
        path => Reply::Json(400, format!(r#"{{"error":"no handler found for uri [{path}] and method [GET]"}}"#)),
    })
    .await;
    let one_index =
        refusing_documents(403, "security_exception", "no permissions for [indices:data/write/bulk[s]]", true).await;
    let watermark = refusing_documents(
        429,
        "cluster_block_exception",
        "blocked by: [TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage watermark]",
        true,
    )
    .await;
    let full = refusing_documents(
        400,
        "illegal_argument_exception",
        "Number of documents in the index can't exceed [2147483519]",
        // The version that is asked for is missed before documents are counted.
        false,
    )
    .await;
    let pipeline =
        refusing_documents(400, "illegal_argument_exception", "pipeline with id [x] does not exist", true).await;
    let name =
        refusing_documents(400, "invalid_index_name_exception", "Invalid index name [P-raw], must be lowercase", true)
            .await;
    let mut cases = vec![
        case("no-listener", url("http://127.0.0.1:1"), &["does not answer", "check that it runs, and opensearch.urls"]),
        case("no-such-host", url("http://nowhere.invalid:9200"), &["nowhere.invalid", "is not known", "DNS"]),
        case("no-opensearch", url(&page().await), &["is not OpenSearch's", "<html>welcome", "Check opensearch.urls"]),
        case("closed", url(&plain), &["closed the connection without an answer"]),
        case("http-to-tls", url(&tls.url.replace("https", "http")), &["write https://", "opensearch.urls"]),
        case("tls-to-http", url(&not_tls.replace("http", "https")), &["does not speak TLS", "write http://"]),
        case("unknown-authority", url(&tls.url), &["is not trusted", "set opensearch.ca_file"]),
        case("another-authority", with_ca(&tls.url, &other), &["is not trusted", "set opensearch.ca_file"]),
        case("expired", with_ca(&expired.url, &ca), &["has expired", "renew it on the server"]),
        case(
            "password",
            format!("{}\nusername = \"u\"\npassword = \"wrong-secret\"", url(&password)),
            &["refused the credentials (401)", "check opensearch.username and opensearch.password"],
        ),
        case(
            "elasticsearch",
            url(&elastic),
            &["Elasticsearch 8.15.0", "needs OpenSearch 2.7 or later", "opensearch.urls"],
        ),
        case("old", url(&old), &["OpenSearch 1.3.20", "upgrade it"]),
        case("starting", url(&index), &["not reached", "if it lasts, see its log"]),
        case("no-room", url(&read_only.await), &["create-index blocked", "free disk space"]),
        case("no-right", url(&rights), &["cannot be read", "no permissions", "give the user", "this right"]),
        case("no-endpoint", url(&missing), &["cannot be read", "no handler found", "check its version"]),
    ];
    for (name, server, told) in [
        (
            "one-index",
            one_index,
            ["OpenSearch does not allow the write", "no permissions for [indices:data/write/bulk[s]]", "this right"],
        ),
        ("watermark", watermark, ["OpenSearch does not take it now", "flood-stage watermark", "free disk space"]),
        ("full", full, ["cannot be written to", "can't exceed [2147483519]", "opensearch.indices = \"daily\""]),
        ("ingest-pipeline", pipeline, ["cannot be written to", "pipeline with id [x]", "restore the pipeline"]),
        // That a configuration may say it is refused before: see below.
        ("index-name", name, ["cannot be written to", "Invalid index name [P-raw]", "run `outlier setup`"]),
    ] {
        cases.push(Case { setup: name != "full", ..case(name, url(&server), &told) });
    }
    cases
}

/// A server that says these bytes to whoever connects.
async fn raw(bytes: &'static [u8]) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, bytes).await;
        }
    });
    format!("http://{address}")
}

/// Topics with a record each, so that there is something to write.
fn fill(place: &Workplace, kafka: &Kafka) {
    let setup = configuration(place, kafka, "topics", "urls = [\"http://127.0.0.1:1\"]");
    let status = Outlier::run_to_end(&setup, "topics", &["setup", "--only-topics"]);
    assert!(status.success());
    let producer = kafka.producer();
    // An older one would be deleted at the broker's next look, as the setup keeps raw records for seven days.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    support::kafka::send(&producer, &format!("{}p.raw", place.prefix), 0, Some(b"{}"), now);
    support::kafka::flush(&producer);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_said_with_its_remedy() {
    let (place, kafka) = (Workplace::new("remedies"), Kafka::start());
    let cases = cases(&place).await;
    let all = tokio::task::spawn_blocking(move || {
        fill(&place, &kafka);
        for case in &cases {
            check(&place, &kafka, case);
            let log = read(&place.dir.join(format!("{}.log", case.name)));
            assert!(!log.contains("wrong-secret"), "a secret is in the log of {}", case.name);
        }
    });
    all.await.unwrap();
}

/// All plugins, of which one lacks the endpoint that creates a detector: the setup ends with it, and the sink goes on, shows it
/// and tries again.
#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_lacks_an_endpoint_is_told() {
    let (place, kafka) = (Workplace::new("lacking"), Kafka::start());
    let mut cluster = Cluster::default();
    let lacking = standin::serve(move |request: Request| match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/") => version("opensearch", "3.4.0"),
        ("POST", path @ "/_plugins/_anomaly_detection/detectors") => {
            Reply::Json(400, format!(r#"{{"error":"no handler found for uri [{path}] and method [POST]"}}"#))
        }
        _ => cluster.answer(&request),
    })
    .await;
    let told = [
        "the anomaly detector p-action cannot be written",
        "no handler found",
        "its version (2.7 or later) and its plugins",
    ];
    let look = tokio::task::spawn_blocking(move || {
        fill(&place, &kafka);
        let config = configuration(&place, &kafka, "lacking", &url(&lacking));
        let status = Outlier::run_to_end(&config, "lacking-setup", &["setup", "--only-index"]);
        let said = read(&place.dir.join("lacking-setup.log"));
        assert_eq!(status.code(), Some(1), "{said}");
        let error = said.lines().find(|line| line.starts_with("outlier: ")).unwrap_or_default();
        assert!(told.iter().all(|part| error.contains(part)), "{said}");
        let mut sink = Outlier::start(&config, "lacking", &["sink"]);
        let shown = |health: &Value, name: &str, parts: &[&str]| {
            let reason = health[name]["reason"].as_str().unwrap_or_default();
            health[name]["state"] == "learning" && parts.iter().all(|part| reason.contains(part))
        };
        wait("both are shown", Duration::from_secs(30), || {
            assert!(sink.ended().is_none(), "the sink ended");
            let health = support::opensearch::get(&sink.telemetry(), "/health").unwrap_or_default();
            let health: Value = serde_json::from_str(&health).unwrap_or_default();
            shown(&health, "sink.setup", &told)
                && shown(&health, "sink.setup", &["will be tried again"])
                && shown(&health, "opensearch.detector.p-action", &["it is not there"])
        });
        assert!(sink.stop().success());
    });
    look.await.unwrap();
}

/// A mistake of the configuration ends both, with its place in the file.
#[test]
fn an_illegal_index_name_is_said_with_its_place() {
    let place = Workplace::new("names");
    let head = "[opensearch]\nurls = [\"http://127.0.0.1:1\"]\nindex_prefix = \"Bad*\"\n";
    let config = place.file("names.toml", &support::text(head, "p"));
    for command in [&["setup", "--only-index"][..], &["sink"]] {
        let status = Outlier::run_to_end(&config, "names", command);
        let said = read(&place.dir.join("names.log"));
        assert_eq!(status.code(), Some(2), "{command:?}: {said}");
        assert!(said.contains("names.toml:3:16: `index_prefix` must be 1 to 100 of "), "{command:?}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_index_is_waited_for() {
    let Some(server) = support::opensearch() else { return };
    let (place, kafka) = (Workplace::new("readonly"), Kafka::start());
    let prefix = support::Name::new("readonly");
    let opensearch = format!("{}\nindex_prefix = \"{prefix}\"", url(&server));
    let path = configuration(&place, &kafka, "block", &opensearch);
    let config = support::parse(&read(&path));
    let client = Client::new(&config).unwrap();
    outlier::setup::apply_index(&config).await.unwrap();
    let index = format!("{prefix}p-raw");
    let block = async |value: &str| {
        let body = format!(r#"{{"index.blocks.read_only_allow_delete":{value}}}"#);
        let put = opensearch::http::Method::Put;
        let answer = client.send(put, &format!("/{index}/_settings"), Some(body.into())).await.unwrap();
        assert!(answer.good(), "{}", answer.reason());
    };
    block("true").await;
    let blocked = case("block", opensearch, &["read-only", "index.blocks.read_only_allow_delete"]);
    let waiting = tokio::task::spawn_blocking(move || {
        fill(&place, &kafka);
        let sink = waits(&place, &kafka, &blocked);
        (sink, place, kafka)
    });
    let (sink, place, kafka) = waiting.await.unwrap();
    block("null").await;
    let address = support::opensearch::address(&server).to_owned();
    let ended = tokio::task::spawn_blocking(move || {
        wait("the document", Duration::from_secs(60), || support::opensearch::documents(&address, &index) == 1);
        wait("all is well", Duration::from_secs(10), || is_well(&sink));
        assert!(sink.stop().success());
        drop((place, kafka));
    });
    ended.await.unwrap();
}

/// A right to one index of a pipeline is missing: its name is told, the others' documents are taken, and the same sink goes
/// on when it is given.
#[tokio::test(flavor = "multi_thread")]
async fn a_right_to_one_index_that_is_missing_holds_up_no_other() {
    let (place, kafka) = (Workplace::new("one-index"), Kafka::start());
    let (given, taken) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
    let (allows, takes) = (Arc::clone(&given), Arc::clone(&taken));
    let mut cluster = Cluster::bare();
    let server = standin::serve(move |request: Request| match (request.method.as_str(), request.path.as_str()) {
        ("POST", path) if path.starts_with("/_bulk?filter_path") => {
            let lines = request.body.split(|byte| *byte == b'\n').step_by(2).filter(|line| !line.is_empty());
            let item = |action: &[u8]| {
                let action: Value = serde_json::from_slice(action).unwrap();
                let (name, of) = action.as_object().unwrap().iter().next().unwrap();
                let index = of["_index"].as_str().unwrap();
                let reason = "no permissions for [indices:data/write/bulk[s]]";
                if index == "p-raw" && !allows.load(Ordering::Relaxed) {
                    return json!({name: {"status": 403, "error": {"type": "security_exception", "reason": reason}}});
                }
                if name == "create" {
                    takes.lock().unwrap().push(index.to_owned());
                    return json!({name: {"status": 201}});
                }
                json!({name: {"status": 409, "error": {"type": "version_conflict_engine_exception"}}})
            };
            Reply::Json(200, json!({"items": lines.map(item).collect::<Vec<_>>()}).to_string())
        }
        _ => cluster.answer(&request),
    })
    .await;
    let one = case("one", url(&server), &["raw", "no permissions for [indices:data/write/bulk[s]]", "this right"]);
    let ended = tokio::task::spawn_blocking(move || {
        fill(&place, &kafka);
        let producer = kafka.producer();
        let source = OwnedHeaders::new().insert(Header { key: "outlier-source", value: Some("r/0/0") });
        let enriched = format!("{}p.enriched", place.prefix);
        let record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(&enriched)
            .partition(0)
            .payload(br#"{"outlier":{"event_time":1}}"#.as_slice())
            .headers(source);
        producer.send(record).unwrap();
        support::kafka::flush(&producer);
        let sink = waits(&place, &kafka, &one);
        let said = read(&place.dir.join("one-setup.log"));
        assert!(said.contains("p-raw takes no documents") && !said.contains("p-enriched takes"), "{said}");
        wait("the other's document", Duration::from_secs(30), || *taken.lock().unwrap() == ["p-enriched"]);
        assert!(waiting(&sink).iter().any(|reason| reason.contains("documents wait (raw): ")), "{:?}", waiting(&sink));
        given.store(true, Ordering::Relaxed);
        wait("the document", Duration::from_secs(60), || *taken.lock().unwrap() == ["p-enriched", "p-raw"]);
        wait("all is well", Duration::from_secs(10), || is_well(&sink));
        assert!(sink.stop().success());
    });
    ended.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_setup_documents_are_sent_and_nothing_else() {
    let (place, kafka) = (Workplace::new("no-setup"), Kafka::start());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let served = Arc::clone(&seen);
    let server = standin::serve(move |request: Request| {
        let bulk = request.path.starts_with("/_bulk?");
        served.lock().unwrap().push(format!("{} {}", request.method, request.path));
        if bulk {
            Reply::Json(200, r#"{"items":[{"create":{"status":201}}]}"#.to_owned())
        } else {
            Reply::Json(500, String::new())
        }
    })
    .await;
    let ended = tokio::task::spawn_blocking(move || {
        fill(&place, &kafka);
        let config = configuration(&place, &kafka, "none", &url(&server));
        let sink = Outlier::start(&config, "none", &["sink", "--no-setup"]);
        wait("the document", Duration::from_secs(30), || !seen.lock().unwrap().is_empty());
        assert!(sink.stop().success());
        let seen = seen.lock().unwrap();
        assert!(seen.len() == 1 && seen[0].starts_with("POST /_bulk?"), "{seen:?}");
    });
    ended.await.unwrap();
}
