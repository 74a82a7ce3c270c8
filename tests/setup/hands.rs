//! What a person did by hand to what a setup made, and what the server refused: neither is undone unasked.

use super::plugins::{DETECTORS, DRY, FORCE, MONITORS, REMOVE, channel, config, lines, rarely, serve};
use super::support::standin::Reply;
use super::support::{self, cluster::Cluster};
use super::{INDEX, run};
use outlier::config::Config;
use serde_json::json;

const POLICY: &str = "/_plugins/_ism/policies/outlier-p";

#[tokio::test]
async fn a_policy_goes_to_the_indices_that_have_none_or_it() {
    let held = |policy: &str, left: bool| (Some(policy.to_owned()).filter(|policy| !policy.is_empty()), left);
    let managed = [
        ("p-raw-2026.11.01", held("legal-hold", false)),
        ("p-raw-2026.11.02", held("", true)),
        ("p-raw-2026.11.03", held("", false)),
        ("p-scores-2026.11.01", held("outlier-p", false)),
        ("other-2026.11.01", held("", false)),
    ];
    let managed = managed.map(|(name, state)| (name.to_owned(), state)).into();
    let (cluster, url) = serve(Cluster { managed, ..Cluster::default() }).await;
    let of = |retention: &str| config(&url, &format!("indices = \"daily\"\nretention = {retention:?}\n"));
    let policies = || {
        let cluster = cluster.lock().unwrap();
        cluster.managed.values().map(|(policy, _)| policy.clone().unwrap_or_default()).collect::<Vec<_>>()
    };
    // In the order of the names.
    let kept = ["", "legal-hold", "", "outlier-p", "outlier-p"];
    for (retention, states) in [("30d", 2), ("30d", 2), ("7d", 2), ("0s", 1)] {
        run(&of(retention), INDEX).await.1.unwrap();
        assert_eq!(policies(), kept, "{retention}");
        let stored = cluster.lock().unwrap().stored[POLICY]["policy"]["states"].clone();
        assert_eq!(stored.as_array().unwrap().len(), states, "{retention}");
    }
    let changes =
        |cluster: &mut Cluster| cluster.written().iter().filter(|write| write.contains("/change_policy/")).count();
    assert_eq!(changes(&mut cluster.lock().unwrap()), 3, "each time that it was written, and not otherwise");
    run(&of("0s"), REMOVE).await.1.unwrap();
    assert_eq!(policies(), ["", "legal-hold", "", "", ""], "or they would be deleted");
    assert!(!cluster.lock().unwrap().stored.contains_key(POLICY));
    // What the removal took is given again, not what a person took.
    run(&of("30d"), INDEX).await.1.unwrap();
    assert_eq!(policies(), kept);
}

/// A policy that was written and could not be given is given by the next run.
#[tokio::test]
async fn a_policy_that_was_not_given_is_given_later() {
    let managed = [("p-raw-2026.11.03".to_owned(), (None, false))].into();
    let (cluster, url) = serve(Cluster { managed, ..Cluster::default() }).await;
    let daily = config(&url, "indices = \"daily\"\nretention = \"30d\"\n");
    let refused = r#"{"error":{"type":"security_exception","reason":"no permissions for [x]"},"status":403}"#;
    let add = "/_plugins/_ism/add/p-raw-2026.11.03".to_owned();
    cluster.lock().unwrap().instead.push(("POST", add, Reply::Json(403, refused.to_owned())));
    let error = run(&daily, INDEX).await.1.unwrap_err();
    assert!(error.contains("p-raw-2026.11.03") && error.contains("no permissions"), "{error}");
    run(&daily, INDEX).await.1.unwrap();
    assert_eq!(cluster.lock().unwrap().managed["p-raw-2026.11.03"].0.as_deref(), Some("outlier-p"));
}

#[tokio::test]
async fn what_a_person_added_stays() {
    let (cluster, url) = serve(Cluster::default()).await;
    run(&config(&url, &channel("https://a")), INDEX).await.1.unwrap();
    {
        let mut cluster = cluster.lock().unwrap();
        let webhook = &mut cluster.stored.get_mut("channel-team").unwrap()["webhook"];
        webhook["header_params"]["Authorization"] = json!("Bearer x");
        let template = &mut cluster.stored.get_mut("/_index_template/p-raw").unwrap()["template"];
        template["settings"]["index"]["refresh_interval"] = json!("30s");
        let detectors = cluster.stored.iter_mut().filter(|(id, _)| id.starts_with("detector"));
        detectors.for_each(|(_, detector)| detector["rules"] = json!("mine"));
        let monitor = cluster.stored.values_mut().find(|body| body["name"] == "outlier p: action").unwrap();
        monitor["ui_metadata"] = json!("mine");
        monitor["triggers"][0]["query_level_trigger"]["actions"][0]["action_execution_policy"] = json!("mine");
    }
    let mut after = config(&url, &format!("shards = 2\n{}", channel("https://b")));
    // The anomaly detector waits longer, and so does the monitor of its scores.
    after.pipelines[0].detectors[0].lateness = 90_000;
    run(&after, INDEX).await.1.unwrap();
    let detector = || {
        let cluster = cluster.lock().unwrap();
        let found = cluster.stored.iter().find(|(id, _)| id.starts_with("detector")).unwrap().1;
        (found["window_delay"]["period"]["interval"].clone(), found["rules"].clone())
    };
    assert_eq!(detector(), (json!(120), json!("mine")));
    {
        let cluster = cluster.lock().unwrap();
        let monitor = cluster.stored.values().find(|body| body["name"] == "outlier p: action").unwrap();
        assert!(monitor["inputs"].to_string().contains("||-62m"), "{monitor}");
        assert_eq!(monitor["ui_metadata"], "mine");
        let action = &monitor["triggers"][0]["query_level_trigger"]["actions"][0];
        assert_eq!((&action["action_execution_policy"], action["id"].is_string()), (&json!("mine"), true));
    }
    let (headers, address, settings) = {
        let cluster = cluster.lock().unwrap();
        let webhook = &cluster.stored["channel-team"]["webhook"];
        let settings = cluster.stored["/_index_template/p-raw"]["template"]["settings"]["index"].clone();
        (webhook["header_params"].clone(), webhook["url"].clone(), settings)
    };
    assert_eq!((&headers["Authorization"], address), (&json!("Bearer x"), json!("https://b")));
    assert_eq!((&settings["refresh_interval"], &settings["number_of_shards"]), (&json!("30s"), &json!("2")));
    // Rules name features, and a frequency must be a multiple of the interval.
    let changes: [fn(&mut Config); 2] = [
        |config| config.pipelines[0].flags[0].good.name = "fine".into(),
        |config| config.pipelines[0].detectors[0].window = 300_000,
    ];
    for change in changes {
        change(&mut after);
        run(&after, INDEX).await.1.unwrap();
        assert_ne!(detector().1, json!("mine"));
        let mut cluster = cluster.lock().unwrap();
        let detectors = cluster.stored.iter_mut().filter(|(id, _)| id.starts_with("detector"));
        detectors.for_each(|(_, detector)| detector["rules"] = json!("mine"));
    }
    run(&after, FORCE).await.1.unwrap();
    let (found, result) = run(&after, INDEX).await;
    result.unwrap();
    assert_eq!((lines(&found, "change"), lines(&found, "keep")), (0, 0), "{found:#?}");
}

/// Somebody saves a monitor between the look at it and the change: that is seen at the next look.
#[tokio::test]
async fn what_changes_under_the_hands_is_not_overwritten() {
    let (cluster, url) = serve(Cluster::default()).await;
    let [before, after] = [channel("https://a"), rarely(&channel("https://a"))].map(|more| config(&url, &more));
    run(&before, INDEX).await.1.unwrap();
    let id = {
        let mut cluster = cluster.lock().unwrap();
        let seen = cluster.hits("monitor").to_string();
        // The first look at all of them, and the second one, under the lease, at the first.
        for _ in 0..=MONITORS {
            let path = "/_plugins/_alerting/monitors/_search".to_owned();
            cluster.instead.push(("POST", path, Reply::Json(200, seen.clone())));
        }
        let (id, body) = cluster.stored.iter_mut().find(|(_, body)| body["name"] == "outlier p: action").unwrap();
        let id = id.clone();
        body["enabled"] = json!(false);
        *cluster.seqs.get_mut(&id).unwrap() += 1;
        id
    };
    let (found, result) = run(&after, INDEX).await;
    let error = result.unwrap_err();
    assert!(error.contains("version conflict"), "{error}\n{found:#?}");
    assert_eq!(cluster.lock().unwrap().stored[&id]["enabled"], false);
    let (found, result) = run(&after, INDEX).await;
    result.unwrap();
    assert_eq!((lines(&found, "change"), lines(&found, "keep")), (0, 1), "{found:#?}");
    assert_eq!(cluster.lock().unwrap().stored[&id]["enabled"], false);
}

/// The server refused a change; then somebody changes the thing: that is a hand, not a crash of ours.
#[tokio::test]
async fn a_refused_change_leaves_things_as_they_were() {
    let (cluster, url) = serve(Cluster::default()).await;
    let [before, after] = [channel("https://a"), rarely(&channel("https://a"))].map(|more| config(&url, &more));
    run(&before, INDEX).await.1.unwrap();
    let monitor = {
        let mut cluster = cluster.lock().unwrap();
        let found = cluster.stored.iter().find(|(_, body)| body["name"] == "outlier p: action");
        let id = found.unwrap().0.clone();
        let refused = r#"{"error":{"type":"security_exception","reason":"no permissions for [x]"},"status":403}"#;
        let path = format!("/_plugins/_alerting/monitors/{id}?if_seq_no={}&if_primary_term=1", cluster.seqs[&id]);
        cluster.instead.push(("PUT", path, Reply::Json(403, refused.to_owned())));
        id
    };
    run(&after, INDEX).await.1.unwrap_err();
    cluster.lock().unwrap().stored.get_mut(&monitor).unwrap()["enabled"] = json!(false);
    let (found, result) = run(&after, INDEX).await;
    result.unwrap();
    assert_eq!(lines(&found, "keep   monitor outlier p: action"), 1, "{found:#?}");
    assert_eq!(cluster.lock().unwrap().stored[&monitor]["enabled"], json!(false));
}

/// The ledger goes last, and what went before it is told even if it has to stay.
#[tokio::test]
async fn a_ledger_that_cannot_be_deleted_hides_nothing() {
    let (cluster, url) = serve(Cluster::default()).await;
    let config = config(&url, "");
    run(&config, INDEX).await.1.unwrap();
    let reason = "no permissions for [indices:admin/delete]";
    let refused = json!({"error": {"type": "security_exception", "reason": reason}, "status": 403}).to_string();
    cluster.lock().unwrap().instead.push(("DELETE", "/outlier-setup".to_owned(), Reply::Json(403, refused)));
    let (found, result) = run(&config, REMOVE).await;
    assert_eq!(lines(&found, "delete"), 4 + DETECTORS + MONITORS, "{found:#?}");
    let error = result.unwrap_err();
    for part in ["outlier-setup", reason, "give the user", "by hand"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    let cluster = cluster.lock().unwrap();
    assert!(cluster.stored.contains_key("/outlier-setup") && cluster.ledger.is_empty(), "{:?}", cluster.ledger);
}

#[tokio::test]
async fn an_index_that_cannot_be_looked_at_has_the_remedy_of_its_status() {
    for (status, remedy) in [(403, "this right"), (503, "it is overloaded or starting")] {
        let (cluster, url) = serve(Cluster::default()).await;
        cluster.lock().unwrap().instead.push(("HEAD", "/p-raw".to_owned(), Reply::Json(status, String::new())));
        let error = run(&config(&url, ""), INDEX).await.1.unwrap_err();
        assert!(error.contains(&format!("p-raw cannot be looked at (HTTP {status})")), "{error}");
        assert!(error.contains(remedy), "{error}");
        assert_eq!(error.contains("give the user"), status == 403, "{error}");
    }
}

#[tokio::test]
async fn a_detector_that_was_deleted_is_left_out_of_its_monitor() {
    let (cluster, url) = serve(Cluster::default()).await;
    let config = config(&url, "");
    run(&config, INDEX).await.1.unwrap();
    {
        let mut cluster = cluster.lock().unwrap();
        let id = cluster.stored.keys().find(|id| id.starts_with("detector")).unwrap().clone();
        cluster.stored.remove(&id);
        cluster.written();
    }
    let (found, result) = run(&config, INDEX).await;
    result.unwrap();
    assert_eq!((lines(&found, "gone"), lines(&found, "change monitor outlier p (detectors)")), (1, 1), "{found:#?}");
    for options in [DRY, INDEX] {
        cluster.lock().unwrap().written();
        let (found, result) = run(&config, options).await;
        result.unwrap();
        assert_eq!((lines(&found, "change"), lines(&found, "create")), (0, 0), "{found:#?}");
        assert_eq!(cluster.lock().unwrap().written(), Vec::<String>::new());
    }
}

/// A change of the configuration stops a detector that runs, and the reconciler starts it again; not one that stood still.
#[tokio::test]
async fn a_detector_that_somebody_stopped_stays_stopped_through_a_change() {
    for by_hand in [true, false] {
        let (cluster, url) = serve(Cluster::default()).await;
        let before = config(&url, "");
        run(&before, INDEX).await.1.unwrap();
        {
            let mut cluster = cluster.lock().unwrap();
            let id = cluster.stored.keys().find(|id| id.starts_with("detector")).unwrap().clone();
            cluster.next += 1;
            let next = cluster.next;
            let source = json!({"kind": "started", "name": "p-action", "body": "null", "pending": false});
            cluster.ledger.insert("started:p-action".to_owned(), (next, source));
            if !by_hand {
                cluster.profiles.insert(id.clone(), json!({"state": "RUNNING", "error": ""}));
            }
        }
        let text = support::text(&format!("[opensearch]\nurls = [{url:?}]\n"), "p");
        let after = support::parse(&text.replace("lateness = \"2s\"", "lateness = \"3m\""));
        let (found, result) = run(&after, INDEX).await;
        result.unwrap();
        assert!(lines(&found, "change anomaly detector p-action") == 1, "{found:#?}");
        assert_eq!(cluster.lock().unwrap().ledger.contains_key("started:p-action"), by_hand, "{by_hand}");
    }
}
