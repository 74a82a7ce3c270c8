//! Channels, detectors and monitors: made once, changed with the configuration, never against a person's hand.

use super::support;
use super::support::cluster::Cluster;
use super::support::standin::{self, Reply};
use super::{INDEX, run};
use outlier::alert;
use outlier::config::Config;
use outlier::setup::detectors::historical::Analysis;
use outlier::setup::{self, Options};
use outlier::sink;
use outlier::telemetry::Telemetry;
use outlier::telemetry::health::State;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

pub const DRY: Options = Options { dry_run: true, ..INDEX };
pub const FORCE: Options = Options { force: true, ..INDEX };
pub const REMOVE: Options = Options { remove: true, ..INDEX };

/// A cluster and its address.
pub async fn serve(cluster: Cluster) -> (Arc<Mutex<Cluster>>, String) {
    let cluster = Arc::new(Mutex::new(cluster));
    let served = Arc::clone(&cluster);
    let url = standin::serve(move |request| served.lock().unwrap().answer(&request)).await;
    (cluster, url)
}

/// The pipeline `p` with these tables before it.
pub fn config(url: &str, more: &str) -> Config {
    support::config(&format!("[opensearch]\nurls = [{url:?}]\n{more}"), "p")
}

pub fn channel(url: &str) -> String {
    format!("[[alerting.channels]]\nname = \"team\"\ntype = \"webhook\"\nurl = {url:?}\n")
}

/// The same, told again after two hours.
pub fn rarely(channels: &str) -> String {
    format!("[alerting]\nrepeat_interval = \"2h\"\n{channels}")
}

pub fn lines(all: &[String], start: &str) -> usize {
    all.iter().filter(|line| line.starts_with(start)).count()
}

/// What the pipeline `p` wants: four templates and indices, a detector, and monitors on its scores, series, flags, detectors.
pub const TEMPLATES: usize = 8;
pub const DETECTORS: usize = 1;
pub const MONITORS: usize = 4;

#[tokio::test]
async fn one_node_that_is_of_no_use_is_passed_over() {
    for (useless, first) in support::useless_nodes().await.iter().flat_map(|url| [(url, true), (url, false)]) {
        let (cluster, url) = serve(Cluster::default()).await;
        let urls = if first { [useless, &url] } else { [&url, useless] };
        let config = support::config(&format!("[opensearch]\nurls = {urls:?}"), "p");
        let (_, result) = run(&config, INDEX).await;
        assert_eq!(result, Ok(()), "{urls:?}");
        assert!(!cluster.lock().unwrap().writes.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_sink_could_not_set_up_is_on_health() {
    let kafka = support::kafka::Kafka::start();
    let (_, url) = serve(Cluster { forbidden: ["_alerting"].into(), ..Cluster::default() }).await;
    let servers = &kafka.bootstrap;
    let config = config(&url, &format!("[kafka]\nbootstrap_servers = {servers:?}\n"));
    let (telemetry, stop) = (Telemetry::default(), CancellationToken::new());
    let sink = tokio::spawn(sink::run(Arc::new(config), telemetry.clone(), stop.clone()));
    let told = |state: &State| matches!(state, State::Learning { reason } if reason.contains("will be tried again"));
    let begun = Instant::now();
    while !telemetry.health.components().get("sink.setup").is_some_and(told) {
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", telemetry.health.components());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stop.cancel();
    sink.await.unwrap().unwrap();
}

#[tokio::test]
async fn everything_is_made_once_and_follows_the_configuration() {
    let (cluster, url) = serve(Cluster::default()).await;
    let none = config(&url, "");
    let told = config(&url, &channel("https://hooks.example.com/secret"));
    let moved = config(&url, &channel("https://hooks.example.com/other"));
    let mail = config(
        &url,
        "[[alerting.channels]]\nname = \"team\"\ntype = \"email\"\nhost = \"h\"\nfrom = \"a@b.c\"\nto = [\"c@d.e\"]\n",
    );
    let all = TEMPLATES + DETECTORS + MONITORS;
    for (config, options, created, changed, written) in [
        (&none, DRY, all, 0, 0),
        (&none, INDEX, all, 0, all),
        (&none, INDEX, 0, 0, 0),
        (&told, DRY, 1, 1, 0),
        (&told, INDEX, 1, 1, 2),
        (&told, INDEX, 0, 0, 0),
        (&moved, INDEX, 0, 1, 1),
        (&moved, INDEX, 0, 0, 0),
        (&mail, INDEX, 1, 1, 2),
        (&mail, INDEX, 0, 0, 0),
    ] {
        let (found, result) = run(config, options).await;
        result.unwrap();
        assert_eq!((lines(&found, "create"), lines(&found, "change")), (created, changed), "{found:#?}");
        assert!(!found.iter().any(|line| line.contains("hooks.example.com")), "a secret: {found:#?}");
        let mut cluster = cluster.lock().unwrap();
        assert_eq!(cluster.written().len(), written, "{found:#?}");
        let ledger = format!("{:?}", cluster.ledger);
        assert!(!ledger.contains("hooks.example.com") && !ledger.contains("lease"), "{ledger}");
    }
}

/// Bodies are what the servers were seen to take; what they hold is looked at here once.
#[tokio::test]
async fn monitors_say_what_why_and_to_whom() {
    let (cluster, url) = serve(Cluster::default()).await;
    let both = "[[alerting.channels]]\nname = \"all\"\ntype = \"webhook\"\nurl = \"https://a\"\n[[alerting.channels]]\nname = \"pager\"\ntype = \"webhook\"\nurl = \"https://b\"\nseverity = \"critical\"\n";
    let (_, result) = run(&config(&url, &format!("[alerting]\nquiet = \"15m\"\n{both}")), INDEX).await;
    result.unwrap();
    let cluster = cluster.lock().unwrap();
    let detector = cluster.stored.iter().find(|(id, _)| id.starts_with("detector")).unwrap();
    let of = |name: &str| cluster.stored.values().find(|body| body["name"] == name).unwrap();
    let told = |trigger: &Value| -> Vec<String> {
        let actions = trigger["actions"].as_array().unwrap();
        actions.iter().map(|action| action["destination_id"].as_str().unwrap().to_owned()).collect()
    };

    let anomalies = of("outlier p: action");
    let triggers: Vec<&Value> =
        anomalies["triggers"].as_array().unwrap().iter().map(|t| &t["query_level_trigger"]).collect();
    let of_trigger: Vec<_> =
        triggers.iter().map(|t| (t["name"].as_str().unwrap(), t["severity"].as_str().unwrap(), told(t))).collect();
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(of_trigger, [("critical anomaly", "1", names(&["all", "pager"])), ("anomaly", "2", names(&["all"]))]);
    assert_eq!(anomalies["inputs"][0]["search"]["indices"], json!(["p-scores"]));
    let action = &triggers[0]["actions"][0];
    assert_eq!((&action["throttle"]["value"], &action["throttle_enabled"]), (&json!(120), &json!(true)));
    let message = action["message_template"]["source"].as_str().unwrap();
    for part in ["_source.series", "_source.value", "_source.expected", "_source.score", "#_source.why", "contribution"]
    {
        assert!(message.contains(&format!("{{{{{part}}}}}")), "{message}");
    }

    let series = &of("outlier p (series)")["triggers"][0]["bucket_level_trigger"];
    assert_eq!((&series["condition"]["parent_bucket_path"], told(series)), (&json!("by_series"), vec![]));
    let flags = of("outlier p (flags)")["triggers"].as_array().unwrap();
    let flags: Vec<_> =
        flags.iter().map(|t| (&t["query_level_trigger"]["name"], told(&t["query_level_trigger"]))).collect();
    assert_eq!(flags, [(&json!("silence"), names(&["all", "pager"])), (&json!("most are bad"), vec![])]);
    let results = of("outlier p (detectors)");
    assert_eq!(
        results["inputs"][0]["search"]["query"]["query"]["bool"]["filter"][1]["terms"]["detector_id"],
        json!([detector.0])
    );
    assert_eq!(told(&results["triggers"][0]["query_level_trigger"]), Vec::<String>::new());
}

#[tokio::test]
async fn only_the_owner_tells() {
    let (cluster, url) = serve(Cluster::default()).await;
    let (_, result) =
        run(&config(&url, &format!("[alerting]\nowner = \"outlier\"\n{}", channel("https://a"))), INDEX).await;
    result.unwrap();
    let cluster = cluster.lock().unwrap();
    assert!(!cluster.stored.keys().any(|id| id.starts_with("channel")));
    assert!(!format!("{:?}", cluster.stored).contains("destination_id"));
}

#[tokio::test]
async fn hands_are_respected_unless_forced() {
    let (cluster, url) = serve(Cluster::default()).await;
    let before = config(&url, &channel("https://a"));
    let after = config(&url, &format!("shards = 2\n{}", rarely(&channel("https://b"))));
    run(&before, INDEX).await.1.unwrap();
    let anomalies = {
        let mut cluster = cluster.lock().unwrap();
        let find = |cluster: &Cluster, name: &str| {
            cluster.stored.iter().find(|(_, body)| body["name"] == name).map(|(id, _)| id.clone()).unwrap()
        };
        // One monitor is switched off, another one deleted, a template's setting changed.
        let anomalies = find(&cluster, "outlier p: action");
        cluster.stored.get_mut(&anomalies).unwrap()["enabled"] = json!(false);
        let series = find(&cluster, "outlier p (series)");
        cluster.stored.remove(&series);
        cluster.stored.get_mut("/_index_template/p-raw").unwrap()["priority"] = json!(7);
        cluster.written();
        anomalies
    };
    for options in [DRY, INDEX, INDEX] {
        let (found, result) = run(&after, options).await;
        result.unwrap();
        assert_eq!((lines(&found, "keep"), lines(&found, "gone")), (2, 1), "{found:#?}");
        assert!(found.iter().any(|line| line == "         enabled: false → true"), "{found:#?}");
    }
    {
        let mut cluster = cluster.lock().unwrap();
        // Three templates, and the channel's address: the configuration changed, nobody else did.
        assert_eq!(
            cluster.written(),
            [
                "PUT /_index_template/p-enriched",
                "PUT /_index_template/p-scores",
                "PUT /_index_template/p-alerts",
                "PUT /_plugins/_notifications/configs/team",
            ]
        );
        assert_eq!(cluster.stored[&anomalies]["enabled"], json!(false));
    }
    let (found, result) = run(&after, FORCE).await;
    result.unwrap();
    assert_eq!((lines(&found, "keep"), lines(&found, "gone")), (0, 0), "{found:#?}");
    let cluster = cluster.lock().unwrap();
    assert_eq!(cluster.stored[&anomalies]["enabled"], json!(true));
    assert_eq!(cluster.stored["/_index_template/p-raw"]["priority"], json!(500));
    assert!(cluster.stored.values().any(|body| body["name"] == "outlier p (series)"));
}

#[tokio::test]
async fn what_was_made_is_taken_away_and_nothing_else() {
    let (cluster, url) = serve(Cluster::default()).await;
    let config = config(&url, &channel("https://a"));
    let theirs = json!({"name": "theirs", "triggers": []});
    {
        let mut cluster = cluster.lock().unwrap();
        cluster.stored.insert("monitor-theirs".to_owned(), theirs.clone());
        cluster.stored.insert("/_index_template/theirs".to_owned(), json!({}));
    }
    run(&config, INDEX).await.1.unwrap();
    let switched_off = {
        let mut cluster = cluster.lock().unwrap();
        let id = cluster.stored.iter().find(|(_, body)| body["name"] == "outlier p (flags)").unwrap().0.clone();
        cluster.stored.get_mut(&id).unwrap()["enabled"] = json!(false);
        // A detector that runs must be stopped before it can go.
        let detector = cluster.stored.keys().find(|id| id.starts_with("detector")).unwrap().clone();
        cluster.profiles.insert(detector, json!({"state": "RUNNING", "error": ""}));
        cluster.written();
        id
    };
    let (found, result) = run(&config, Options { dry_run: true, ..REMOVE }).await;
    result.unwrap();
    let made = 4 + 1 + DETECTORS + MONITORS - 1;
    assert_eq!((lines(&found, "delete"), lines(&found, "keep")), (made, 4 + 1), "{found:#?}");
    assert_eq!(cluster.lock().unwrap().written(), Vec::<String>::new());
    run(&config, REMOVE).await.1.unwrap();
    let left = |cluster: &Cluster| cluster.stored.keys().cloned().collect::<Vec<_>>();
    let indices = ["/p-alerts", "/p-enriched", "/p-raw", "/p-scores"];
    {
        let cluster = cluster.lock().unwrap();
        let mut want = vec!["/_index_template/theirs".to_owned(), "monitor-theirs".to_owned(), switched_off];
        want.extend(indices.map(str::to_owned));
        want.push("/outlier-setup".to_owned());
        want.sort();
        assert_eq!(left(&cluster), want);
        assert_eq!(cluster.stored["monitor-theirs"], theirs);
    }
    run(&config, Options { force: true, ..REMOVE }).await.1.unwrap();
    let mut want = vec!["/_index_template/theirs".to_owned(), "monitor-theirs".to_owned()];
    want.extend(indices.map(str::to_owned));
    want.sort();
    assert_eq!(left(&cluster.lock().unwrap()), want);
    let (found, result) = run(&config, REMOVE).await;
    result.unwrap();
    assert_eq!(lines(&found, "nothing was made by a setup"), 1, "{found:#?}");
}

#[tokio::test]
async fn what_a_cluster_lacks_or_refuses_takes_away_that_part_only() {
    let (detection, alerting, notifications) = ("_anomaly_detection", "_alerting", "_notifications");
    for (absent, forbidden, made, said, failed) in [
        (
            vec![detection, alerting, notifications],
            vec![],
            TEMPLATES,
            vec!["no notifications", "no anomaly detection", "no alerting: run `outlier alert`"],
            vec![],
        ),
        (vec![detection], vec![], TEMPLATES + 1 + MONITORS - 1, vec!["no anomaly detection"], vec![]),
        (vec![notifications], vec![], TEMPLATES + DETECTORS + MONITORS, vec!["no notifications"], vec![]),
        (vec![alerting], vec![], TEMPLATES + 1 + DETECTORS, vec!["no alerting"], vec![]),
        (
            vec![],
            vec![detection],
            TEMPLATES + 1 + MONITORS - 1,
            vec![],
            vec!["anomaly detection cannot be set up: security_exception: no permissions", "role anomaly_full_access"],
        ),
        (
            vec![],
            vec![detection, alerting, notifications],
            TEMPLATES,
            vec![],
            vec!["notifications cannot", "anomaly detection cannot", "alerting cannot"],
        ),
    ] {
        let cluster = Cluster {
            absent: absent.iter().copied().collect(),
            forbidden: forbidden.into_iter().collect(),
            ..Cluster::default()
        };
        let (_, url) = serve(cluster).await;
        let (found, result) = run(&config(&url, &channel("https://a")), INDEX).await;
        assert_eq!(lines(&found, "create"), made, "{found:#?}");
        for part in said {
            assert!(
                found.iter().any(|line| line.starts_with("note   OpenSearch has") && line.contains(part)),
                "{part}: {found:#?}"
            );
        }
        assert_eq!(result.is_err(), !failed.is_empty(), "{result:?}");
        for part in failed {
            assert!(result.as_ref().unwrap_err().contains(part), "{part}: {result:?}");
        }
    }
}

/// Two configurations of one cluster keep out of each other's way.
#[tokio::test]
async fn another_configurations_things_stay() {
    let (cluster, url) = serve(Cluster::default()).await;
    let head = format!("[opensearch]\nurls = [{url:?}]\n");
    let (one, two) = (support::config(&head, "p"), support::config(&head, "q"));
    run(&one, INDEX).await.1.unwrap();
    let (found, result) = run(&two, INDEX).await;
    result.unwrap();
    assert!(lines(&found, "note   monitor outlier p: action was made by a setup and is no part") == 1, "{found:#?}");
    run(&two, REMOVE).await.1.unwrap();
    let cluster = cluster.lock().unwrap();
    let named = |name: &str| cluster.stored.values().any(|body| body["name"] == name);
    assert!(named("outlier p: action") && named("p-action") && !named("outlier q: action") && !named("q-action"));
}

/// Channels of one name in two configurations of one cluster: each tells its own receiver.
#[tokio::test]
async fn a_channel_belongs_to_its_prefix() {
    let (cluster, url) = serve(Cluster::default()).await;
    let both = [("prod.", "https://a", "prod-team"), ("staging-", "https://b", "staging-team")];
    for (prefix, to, _) in both {
        let config = config(&url, &format!("index_prefix = {prefix:?}\n{}", channel(to)));
        run(&config, INDEX).await.1.unwrap();
        assert_eq!(alert::test_channel(&config, "team").await.unwrap(), "team: ok (200)");
    }
    let cluster = cluster.lock().unwrap();
    for (prefix, to, id) in both {
        assert_eq!(cluster.stored[&format!("channel-{id}")]["webhook"]["url"], to);
        let name = format!("outlier {prefix}p: action");
        let monitor = cluster.stored.values().find(|body| body["name"] == name.as_str()).unwrap();
        let action = &monitor["triggers"][0]["query_level_trigger"]["actions"][0];
        assert_eq!(action["destination_id"], id);
        let asked = format!("POST /_plugins/_notifications/feature/test/{id}");
        assert!(cluster.writes.contains(&asked), "{:?}", cluster.writes);
    }
}

/// A crash between the note and the thing, and one between the thing and the note that it is done.
#[tokio::test]
async fn a_crash_on_the_way_makes_nobody_elses_of_ours() {
    let (cluster, url) = serve(Cluster::default()).await;
    let before = config(&url, &channel("https://a"));
    run(&before, INDEX).await.1.unwrap();
    {
        let mut cluster = cluster.lock().unwrap();
        for (_, source) in cluster.ledger.values_mut() {
            source["pending"] = json!(true);
        }
        let series = cluster.stored.iter().find(|(_, body)| body["name"] == "outlier p (series)").unwrap().0.clone();
        cluster.stored.remove(&series);
        cluster.written();
    }
    let (found, result) = run(&before, INDEX).await;
    result.unwrap();
    assert_eq!((lines(&found, "create"), lines(&found, "keep"), lines(&found, "gone")), (1, 0, 0), "{found:#?}");
    let (found, result) = run(&config(&url, &channel("https://b")), INDEX).await;
    result.unwrap();
    assert_eq!((lines(&found, "change"), lines(&found, "keep")), (1, 0), "{found:#?}");
}

/// A detector that cannot be made takes its monitor with it, and no other.
#[tokio::test]
async fn a_monitor_waits_for_its_detector() {
    let (cluster, url) = serve(Cluster::default()).await;
    let refused = r#"{"error":{"type":"status_exception","reason":"no"},"status":500}"#;
    let create = "/_plugins/_anomaly_detection/detectors".to_owned();
    cluster.lock().unwrap().instead.push(("POST", create, Reply::Json(500, refused.to_owned())));
    let (_, result) = run(&config(&url, ""), INDEX).await;
    let error = result.unwrap_err();
    assert!(error.contains("lacks a detector"), "{error}");
    assert!(!format!("{:?}", cluster.lock().unwrap().stored).contains("id of"));
    run(&config(&url, ""), INDEX).await.1.unwrap();
    assert!(cluster.lock().unwrap().stored.values().any(|body| body["name"] == "outlier p (detectors)"));
}

/// Several instances that start at once: one makes everything, the others find it done.
#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_writes() {
    let (cluster, url) = serve(Cluster::default()).await;
    let config = config(&url, &channel("https://a"));
    let all = futures::future::join_all((0..5).map(|_| run(&config, INDEX))).await;
    assert!(all.iter().all(|(_, result)| result.is_ok()), "{all:#?}");
    let mut cluster = cluster.lock().unwrap();
    assert_eq!(cluster.written().len(), TEMPLATES + 1 + DETECTORS + MONITORS);
    assert!(!cluster.ledger.keys().any(|id| id.starts_with("lease")));
}

/// The index of the notes that another instance has just made has no shard for a moment.
#[tokio::test]
async fn notes_that_were_just_begun_are_waited_for() {
    let (cluster, url) = serve(Cluster::default()).await;
    let unready = r#"{"error":{"type":"search_phase_execution_exception","reason":"all shards failed"},"status":503}"#;
    for _ in 0..2 {
        let reply = Reply::Json(503, unready.to_owned());
        cluster.lock().unwrap().instead.push(("POST", "/outlier-setup/_search".to_owned(), reply));
    }
    run(&config(&url, ""), INDEX).await.1.unwrap();
    assert!(cluster.lock().unwrap().instead.is_empty());
}

/// Several that start at once on a real server, which has no plugins here.
#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_writes_to_a_real_server() {
    let Some(url) = support::opensearch() else { return };
    let prefix = support::Name::new("many");
    let config = config(&url, &format!("index_prefix = \"{prefix}\"\nreplicas = 0\n"));
    let all = futures::future::join_all((0..5).map(|_| run(&config, INDEX))).await;
    assert!(all.iter().all(|(_, result)| result.is_ok()), "{all:#?}");
    let created: usize = all.iter().map(|(told, _)| lines(told, "create")).sum();
    assert_eq!(created, TEMPLATES, "{all:#?}");
    let (told, result) = run(&config, INDEX).await;
    result.unwrap();
    assert_eq!(lines(&told, "create"), 0, "{told:#?}");
}

#[tokio::test]
async fn a_lease_that_a_crash_left_runs_out() {
    let (cluster, url) = serve(Cluster::default()).await;
    cluster.lock().unwrap().ledger.insert("lease-setup".to_owned(), (1, json!({"until": 1})));
    cluster.lock().unwrap().stored.insert("/outlier-setup".to_owned(), json!({}));
    run(&config(&url, ""), INDEX).await.1.unwrap();
}

#[tokio::test]
async fn a_channel_is_tried_and_a_refusal_told() {
    let (cluster, url) = serve(Cluster::default()).await;
    let config = config(&url, &channel("https://a"));
    let error = alert::test_channel(&config, "nobody").await.unwrap_err().to_string();
    assert!(error.contains("there is no channel \"nobody\"") && error.contains("team"), "{error}");
    let error = alert::test_channel(&config, "team").await.unwrap_err().to_string();
    assert!(error.contains("run `outlier setup` first"), "{error}");
    run(&config, INDEX).await.1.unwrap();
    assert_eq!(alert::test_channel(&config, "team").await.unwrap(), "team: ok (200)");
    let refused = r#"{"error":{"type":"status_exception","reason":"Failed to send notification"},"status":424}"#;
    cluster.lock().unwrap().instead.push((
        "POST",
        "/_plugins/_notifications/feature/test/team".to_owned(),
        Reply::Json(424, refused.to_owned()),
    ));
    let error = alert::test_channel(&config, "team").await.unwrap_err().to_string();
    assert!(error.contains("not delivered") && error.contains("Failed to send notification"), "{error}");
}

#[tokio::test]
async fn without_the_plugins_there_is_another_way() {
    let (_, url) =
        serve(Cluster { absent: ["_anomaly_detection", "_notifications"].into(), ..Cluster::default() }).await;
    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&told);
    let receiver = standin::serve(move |request| {
        let mut heard = heard.lock().unwrap();
        heard.push(serde_json::from_slice::<Value>(&request.body).unwrap());
        Reply::Json(if heard.len() < 3 { 200 } else { 404 }, String::new())
    })
    .await;
    let config = config(&url, &channel(&receiver));
    // A pipeline without detectors has nothing to tell, and OpenSearch nothing to tell it by.
    let mut both = config.clone();
    both.pipelines.push(config.pipelines[0].clone());
    both.pipelines[1].detectors.clear();
    for config in [&config, &both] {
        assert_eq!(alert::test_channel(config, "team").await.unwrap(), "team: delivered by outlier itself");
    }
    let error = alert::test_channel(&config, "team").await.unwrap_err().to_string();
    assert!(error.contains("check the channel's url"), "{error}");
    {
        let told = told.lock().unwrap();
        support::fits_schema("webhook", &told);
        assert_eq!((&told[0]["kind"], &told[0]["alerts"]), (&json!("test"), &json!([])));
        assert_ne!(told[0]["key"], told[1]["key"], "no repeat that a receiver would drop");
    }
    let analysis = Analysis { flag: "action".to_owned(), last: Duration::from_secs(86_400) };
    let error = setup::analyse(&config, &analysis).await.unwrap_err().to_string();
    assert!(error.contains("`outlier backtest`"), "{error}");
}
