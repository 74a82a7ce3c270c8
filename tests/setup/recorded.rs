//! What real servers answered, in the place of the stand-in's answers; what monitors run, on a real server; dashboards.

use super::plugins::{DETECTORS, DRY, MONITORS, REMOVE, TEMPLATES, channel, config, lines, serve};
use super::support::cluster::Cluster;
use super::support::standin::{Reply, Request};
use super::support::{self, recorded};
use super::{INDEX, run};
use outlier::index::opensearch::{Answer, Client};
use outlier::setup::{self, Options};
use serde_json::{Value, json};
use std::collections::HashMap;

/// Every error that a real server was seen to answer is known for one, whatever its status, and told in its own words.
#[test]
fn recorded_errors_are_errors() {
    let Some(shared) = support::shared() else { return };
    let mut seen = (0, 0);
    for file in ["ad-err.txt", "ad-create.txt", "ad-start.txt", "ad-restart10s.txt", "mon.txt", "noti.txt", "rest2.txt"]
    {
        for exchange in recorded::read(&shared.join("opensearch").join(file)) {
            let Ok(json) = serde_json::from_str::<Value>(&exchange.answer) else { continue };
            let answer = Answer { status: exchange.status, body: exchange.answer.clone().into() };
            let bad = exchange.answer.starts_with("{\"error\":") || exchange.status >= 400;
            let what = format!("{file}: {} {} {}", exchange.method, exchange.path, exchange.answer);
            assert_eq!(setup::index::thing::refused(&answer).unwrap(), bad, "{what}");
            if bad {
                let reason = json["error"]["reason"].as_str().or(json["error"].as_str()).unwrap();
                assert!(answer.reason().contains(reason), "{what}");
            }
            seen = (seen.0 + 1, seen.1 + usize::from(bad));
        }
    }
    assert!(seen.0 > 60 && seen.1 > 20, "{seen:?}");
}

/// Answers of real servers in the place of good ones: the rest is made, and the reason is told.
#[tokio::test]
async fn recorded_refusals_are_told_with_their_reason() {
    let Some(shared) = support::shared() else { return };
    let all = |file: &str| recorded::read(&shared.join("opensearch").join(file));
    let refusals = all("ad-err.txt").into_iter().chain(all("mon.txt")).chain(all("noti.txt"));
    let mut tried = 0;
    for exchange in refusals.filter(|exchange| exchange.method == "POST" && exchange.answer.contains("\"error\":")) {
        let base = exchange.path.trim_end_matches('/').to_owned();
        let creates = ["/detectors", "/monitors", "/configs"].iter().any(|end| base.ends_with(end));
        if !creates {
            continue;
        }
        let json: Value = serde_json::from_str(&exchange.answer).unwrap();
        let (cluster, url) = serve(Cluster::default()).await;
        let refusal = Reply::Json(exchange.status, exchange.answer.clone());
        cluster.lock().unwrap().instead.push(("POST", base, refusal));
        let (found, result) = run(&config(&url, &channel("https://a")), INDEX).await;
        let error = result.unwrap_err();
        assert!(error.contains(json["error"]["reason"].as_str().unwrap()), "{error}\n{found:#?}");
        assert!(lines(&found, "create") >= 10, "{found:#?}");
        tried += 1;
    }
    assert!(tried > 15, "{tried}");
}

/// Parts of paths that outlier never asks for, or asks in another form.
const NOT_ASKED: &str = "_validate _suggest _preview _topAnomalies stats match? _acknowledge channels config_type= \
                         config_id_list _search findings historical=true _profile/ test/";

fn creates(exchange: &recorded::Exchange) -> bool {
    let ends = ["/detectors", "/monitors", "/configs"];
    exchange.method == "POST" && ends.iter().any(|end| exchange.path.trim_end_matches('/').ends_with(end))
}

/// Whether the stand-in has an answer of its own: not to what outlier never asks, nor where a server refused what outlier
/// never sends. That the detector runs came with time.
fn played(exchange: &recorded::Exchange) -> bool {
    let (path, answer) = (&exchange.path, &exchange.answer);
    let plugin = path.starts_with("/_plugins/") || path.starts_with("/_index_template");
    let asked = plugin
        && !NOT_ASKED.split(' ').any(|part| path.contains(&format!("/{part}")) || path.contains(&format!("?{part}")));
    let conflict = exchange.status == 409 && creates(exchange);
    let never_sent = creates(exchange) || path.contains("if_seq_no") || answer.contains("No available task slot");
    let refused = exchange.status >= 400 && never_sent && !conflict && !answer.contains("no handler found");
    asked && !refused && !(path.ends_with("/_profile") && answer.contains("RUNNING"))
}

/// The stand-in's answer to a request of a recording.
fn answered(cluster: &mut Cluster, exchange: &recorded::Exchange, own: &HashMap<String, String>) -> (u16, Value) {
    let (path, query) = exchange.path.split_once('?').unwrap_or((&exchange.path, ""));
    let mut path = path.trim_end_matches('/').to_owned();
    own.iter().for_each(|(theirs, ours)| path = path.replace(theirs, ours));
    if query.contains("task=true") {
        path += "?task=true";
    }
    let mut body: Value = serde_json::from_str(&exchange.body).unwrap_or_default();
    // outlier sends searches in the form in which the server stores them.
    let answer: Value = serde_json::from_str(&exchange.answer).unwrap_or_default();
    for (thing, searches) in [("monitor", "inputs"), ("anomaly_detector", "feature_attributes")] {
        if let Some(stored) = answer[thing].get(searches) {
            body[searches] = stored.clone();
        }
    }
    let body = body.to_string().into_bytes();
    let method = exchange.method.clone();
    let request = Request { method, path, head: String::new(), authorization: None, body, digest: None };
    match cluster.answer(&request) {
        Reply::Json(status, body) => (status, serde_json::from_str(&body).unwrap()),
        _ => panic!("{}", exchange.path),
    }
}

/// Whether all of `ours` is in `theirs`: names, kinds of values, and the words of errors.
fn within(ours: &Value, theirs: &Value) -> Result<(), String> {
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => ours.iter().try_for_each(|(name, value)| {
            let other = theirs.get(name).ok_or_else(|| format!("no {name}"))?;
            let words = matches!(name.as_str(), "error" | "reason" | "type" | "result") && value.is_string();
            if words && value != other {
                return Err(format!("{name}: {value} is not {other}"));
            }
            within(value, other).map_err(|why| format!("{name}: {why}"))
        }),
        (Value::Array(ours), Value::Array(theirs)) => ours.iter().try_for_each(|value| {
            let mut tried = theirs.iter().map(|other| within(value, other));
            if theirs.is_empty() || tried.any(|found| found.is_ok()) { Ok(()) } else { Err(format!("none is {value}")) }
        }),
        (Value::Null, _) | (_, Value::Null) => Ok(()),
        _ if std::mem::discriminant(ours) == std::mem::discriminant(theirs) => Ok(()),
        _ => Err(format!("{ours} and {theirs}")),
    }
}

/// The recordings are played to the stand-in: it answers with the status of the real servers, and nothing that they did
/// not say.
#[test]
fn the_stand_in_answers_as_recorded() {
    let Some(shared) = support::shared() else { return };
    let plugins: &[&str] = &["_anomaly_detection", "_alerting", "_notifications", "_ism"];
    let mut seen = 0;
    for (files, absent) in [(&recorded::WITH_PLUGINS[..], &[][..]), (&[recorded::PLAIN], plugins)] {
        let mut cluster =
            Cluster { absent: absent.iter().copied().collect(), task: (2, json!(null)), ..Cluster::default() };
        let mut own = HashMap::new();
        for (file, exchange) in files.iter().flat_map(|file| {
            recorded::read(&shared.join("opensearch").join(file)).into_iter().map(move |exchange| (file, exchange))
        }) {
            if !played(&exchange) {
                continue;
            }
            let (status, ours) = answered(&mut cluster, &exchange, &own);
            let mut theirs = exchange.answer.clone();
            own.iter().for_each(|(id, own)| theirs = theirs.replace(id, own));
            let theirs: Value = serde_json::from_str(&theirs).unwrap();
            let what = format!("{file}: {} {}: {ours}\nrecorded: {theirs}", exchange.method, exchange.path);
            assert_eq!(status, exchange.status, "{what}");
            within(&ours, &theirs).unwrap_or_else(|why| panic!("{why}\n{what}"));
            if let (true, Some(theirs), Some(ours)) = (creates(&exchange), theirs["_id"].as_str(), ours["_id"].as_str())
            {
                own.insert(theirs.to_owned(), ours.to_owned());
            }
            seen += 1;
        }
    }
    assert!(seen > 50, "{seen}");
}

/// The value with what each configuration words in its own way left out: searches, the names of what they find, headers,
/// and the description, which all kinds of things may have.
fn form(value: &Value) -> Value {
    match value {
        Value::Object(object) => object
            .iter()
            .filter(|(name, _)| *name != "description")
            .map(|(name, value)| {
                let own = matches!(name.as_str(), "query" | "aggregation_query" | "buckets_path" | "header_params");
                (name.clone(), if own { Value::Null } else { form(value) })
            })
            .collect(),
        Value::Array(array) => array.iter().map(form).collect(),
        other => other.clone(),
    }
}

/// Detectors, monitors and channels have no member that no recorded one has that a real server took, nor one of another kind.
#[tokio::test]
async fn what_is_made_has_the_form_of_recorded_things() {
    let Some(shared) = support::shared() else { return };
    let channels = r#"
        [[alerting.channels]]
        name = "hook"
        type = "webhook"
        url = "https://a"
        [[alerting.channels]]
        name = "slack"
        type = "slack"
        url = "https://hooks.slack.com/services/T000/B000/XXXX"
        [[alerting.channels]]
        name = "teams"
        type = "teams"
        url = "https://example.webhook.office.com/webhookb2/x"
        [[alerting.channels]]
        name = "mail"
        type = "email"
        host = "mail.example.com"
        from = "a@b.c"
        to = ["c@d.e"]
        [[alerting.channels]]
        name = "ses"
        type = "ses"
        region = "eu-central-1"
        role_arn = "arn:aws:iam::012345678912:role/ses"
        from = "a@b.c"
        to = ["c@d.e"]
        [[alerting.channels]]
        name = "sns"
        type = "sns"
        topic_arn = "arn:aws:sns:eu-central-1:012345678912:waf"
        role_arn = "arn:aws:iam::012345678912:role/sns"
    "#;
    let (cluster, url) = serve(Cluster::default()).await;
    run(&config(&url, channels), INDEX).await.1.unwrap();
    let waf = format!("[opensearch]\nurls = [{url:?}]\n[[pipeline]]\npreset = \"waf\"\n");
    run(&support::parse(&waf), INDEX).await.1.unwrap();
    let mut recorded: Vec<Value> = Vec::new();
    for file in ["ad-create.txt", "ad-err.txt", "mon.txt", "noti.txt", "rest2.txt", "rest3.txt"] {
        let taken = recorded::read(&shared.join("opensearch").join(file)).into_iter().filter(|e| e.status < 300);
        for exchange in taken {
            let read = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
            let (body, answer) = (read(&exchange.body), read(&exchange.answer));
            let things = [&answer["anomaly_detector"], &answer["monitor"], &body["config"]];
            recorded.extend(things.into_iter().filter(|thing| thing.is_object()).map(form));
        }
    }
    let cluster = cluster.lock().unwrap();
    let made =
        cluster.stored.iter().filter(|(id, _)| ["detector", "monitor", "channel"].iter().any(|k| id.starts_with(k)));
    let mut seen = 0;
    for (id, thing) in made {
        let thing = form(thing);
        let why: Vec<String> = recorded.iter().map_while(|theirs| within(&thing, theirs).err()).collect();
        assert!(why.len() < recorded.len(), "{id}: {thing}\n{}", why.join("\n"));
        seen += 1;
    }
    assert!(seen > 10, "{seen}");
}

/// The scripts of the triggers, run by a real OpenSearch on what monitors would see.
#[tokio::test]
async fn scripts_run_on_a_real_server() {
    let Some(url) = support::opensearch() else { return };
    let (cluster, stand_in) = serve(Cluster::default()).await;
    run(&config(&stand_in, "[alerting]\nquiet = \"15m\"\n"), INDEX).await.1.unwrap();
    let scripts: Vec<String> = {
        let cluster = cluster.lock().unwrap();
        let triggers =
            cluster.stored.values().flat_map(|body| body["triggers"].as_array().cloned().unwrap_or_default());
        let scripts = triggers.map(|trigger| trigger["query_level_trigger"]["condition"]["script"]["source"].clone());
        scripts.filter_map(|script| script.as_str().map(str::to_owned)).collect()
    };
    let client = Client::new(&config(&url, "")).unwrap();
    let seen = |score: Option<f64>, records: u32, bad: f64| {
        let hits: Vec<Value> = score.iter().map(|score| json!({"_source": {"score": score}})).collect();
        json!({"results": [{
            "hits": {"total": {"value": hits.len()}, "hits": hits},
            "aggregations": {
                "records": {"value": records}, "recent": {"doc_count": records}, "flag bad": {"value": bad},
                "near": {"doc_count": hits.len(), "highest": {"value": score}, "first": {"value": 5}},
                "before": {"doc_count": 0, "highest": {"value": null}, "last": {"value": null}},
            },
        }]})
    };
    for (ctx, want) in [
        (seen(None, 500, 3.0), 0),
        // The detectors' monitor has one script: is there a hit.
        (seen(Some(100.0), 500, 3.0), 2),
        (seen(Some(92.5), 500, 3.0), 2),
        (seen(None, 0, 0.0), 1),
        (seen(None, 100, 51.0), 1),
        (seen(None, 99, 99.0), 0),
        // A search that failed: a script that fails would ring.
        (json!({"results": []}), 0),
    ] {
        let mut fired = Vec::new();
        for script in &scripts {
            let body =
                json!({"script": {"source": format!("def ctx = params.ctx; return {script}"), "params": {"ctx": ctx}}});
            let path = "/_scripts/painless/_execute";
            let sent = client.send(opensearch::http::Method::Post, path, Some(body.to_string().into())).await.unwrap();
            let result = sent.json().unwrap();
            assert!(sent.good(), "{script}: {result}");
            if result["result"] == "true" {
                fired.push(script);
            }
        }
        assert_eq!(fired.len(), want, "{ctx}: {fired:#?}");
    }
    assert_eq!(scripts.len(), 5, "{scripts:#?}");
}

/// What the monitor of a detector finds, decides and says, by a real OpenSearch: each incident rings once, as what it was at
/// its worst.
#[tokio::test]
async fn an_incident_is_told_by_one_trigger_on_a_real_server() {
    let Some(url) = support::opensearch() else { return };
    let prefix = support::Name::new("monitor");
    let own = |url: &str| config(url, &format!("index_prefix = \"{prefix}\"\nreplicas = 0\n"));
    let (cluster, stand_in) = serve(Cluster::default()).await;
    run(&own(&stand_in), INDEX).await.1.unwrap();
    run(&own(&url), INDEX).await.1.unwrap();
    let name = format!("outlier {prefix}p: action");
    let monitor = cluster.lock().unwrap().stored.values().find(|body| body["name"] == name.as_str()).unwrap().clone();
    let client = Client::new(&own(&url)).unwrap();
    let send = async |path: &str, body: String| {
        let answer = client.send(opensearch::http::Method::Post, path, Some(body.into())).await.unwrap();
        assert!(answer.good(), "{path}: {}", answer.reason());
        answer.json().unwrap()
    };
    let (now, minute) = (1_795_400_000_000_i64, 60_000);
    let mut lines = String::new();
    for (ago, score) in [(100, 100.0), (99, 92.5), (42, 91.0), (41, 90.0), (-23, 99.0), (-87, 91.0)] {
        let end = now - ago * minute;
        let mut row = support::score_row("sum(bad)", end - minute, minute, score);
        row["@timestamp"] = json!(end);
        lines += &format!("{}\n{row}\n", json!({"create": {"_id": ago.to_string()}}));
    }
    send(&format!("/{prefix}p-scores/_bulk?refresh=true"), lines).await;
    let search = &monitor["inputs"][0]["search"];
    let index = search["indices"][0].as_str().unwrap();
    // After minutes: the hits, and what is told.
    for (later, hits, told) in [
        (-101, 0, ""),
        (-100, 1, "critical anomaly"),
        (-60, 2, "critical anomaly"),
        // The first two are over for longer than `repeat_interval`; the others begin within two of them.
        (-37, 2, "critical anomaly"),
        (17, 2, "critical anomaly"),
        (21, 0, ""),
        (23, 1, "critical anomaly"),
        (85, 0, ""),
        // That was over before this one began.
        (87, 1, "anomaly"),
        (149, 0, ""),
    ] {
        let end = now + later * minute;
        let query = search["query"].to_string().replace("{{period_end}}", &end.to_string());
        let found = send(&format!("/{index}/_search"), query).await;
        assert_eq!(found["hits"]["total"]["value"], hits, "after {later}: {found}");
        let ctx = json!({"results": [found], "monitor": {"name": name}, "trigger": {"name": told}});
        let mut fired = Vec::new();
        for trigger in monitor["triggers"].as_array().unwrap() {
            let trigger = &trigger["query_level_trigger"];
            let script = trigger["condition"]["script"]["source"].as_str().unwrap();
            let source = format!("def ctx = params.ctx; return {script}");
            let body = json!({"script": {"source": source, "params": {"ctx": ctx}}}).to_string();
            if send("/_scripts/painless/_execute", body).await["result"] == "true" {
                fired.push(trigger["name"].as_str().unwrap());
            }
        }
        assert_eq!(fired.join(", "), told, "after {later}: {ctx}");
        if later == 17 {
            let source = format!("{{\"text\": {}}}", json!(setup::monitors::ANOMALIES));
            let body = json!({"source": source, "params": {"ctx": ctx}}).to_string();
            let rendered = send("/_render/template", body).await;
            let said = rendered["template_output"]["text"].as_str().unwrap();
            assert!(said.contains("- sum(bad) was 91.0, expected 1.0 (0.0 to 7.0), score 91.0, "), "{said}");
            assert!(said.contains("; httpRequest.country = XX: 100.0 % of it"), "{said}");
            assert!(said.contains("window end 2026-"), "{said}");
        }
    }
    // The message about a result of OpenSearch's own detectors.
    let feature = |id: &str, name: &str, data: f64| json!({"feature_id": id, "feature_name": name, "data": data});
    let result = json!({
        "anomaly_grade": 1.0, "confidence": 0.5, "feature_data": [feature("g", "good", 3.0), feature("b", "bad", 464.0)],
        "relevant_attribution": [{"feature_id": "g", "data": 0.25}, {"feature_id": "b", "data": 0.75}],
        "expected_values": [{"likelihood": 1.0, "value_list": [
            {"feature_id": "g", "data": 2.5}, {"feature_id": "b", "data": 1.9},
        ]}],
    });
    let hits = json!({"results": [{"hits": {"hits": [{"_source": result}]}}], "monitor": {"name": "m"}});
    let source = format!("{{\"text\": {}}}", json!(setup::monitors::GRADES));
    let rendered = send("/_render/template", json!({"source": source, "params": {"ctx": hits}}).to_string()).await;
    let line = "- grade 1.0, confidence 0.5; good was 3.0; bad was 464.0; expected 2.5 1.9; of the anomaly 0.25 0.75 is theirs";
    assert_eq!(rendered["template_output"]["text"], format!("m:\n{line}\n"));
    // The searches of all monitors, and the condition of the one on buckets, as the plugin adds it to the search.
    let monitors: Vec<Value> =
        cluster.lock().unwrap().stored.values().filter(|body| body["type"] == "monitor").cloned().collect();
    assert_eq!(monitors.len(), MONITORS);
    let mut series = Vec::new();
    for monitor in &monitors {
        let search = &monitor["inputs"][0]["search"];
        let (index, mut query) = (search["indices"][0].as_str().unwrap(), search["query"].clone());
        let condition = &monitor["triggers"][0]["bucket_level_trigger"]["condition"];
        if condition.is_object() {
            query["aggregations"]["by_series"]["aggregations"]["fires"] = json!({"bucket_selector": {
                "buckets_path": condition["buckets_path"], "script": condition["script"], "gap_policy": "skip",
            }});
        }
        for later in [-100, 200] {
            let end = (now + later * minute).to_string();
            let query = query.to_string().replace("{{period_end}}", &end);
            assert!(!query.contains("{{"), "{query}");
            let found = send(&format!("/{index}/_search?ignore_unavailable=true"), query).await;
            if condition.is_object() {
                series.push(found["aggregations"]["by_series"]["buckets"].as_array().unwrap().len());
            }
        }
    }
    assert_eq!(series, [1, 0], "one series is anomalous, and later none");
}

#[tokio::test]
async fn dashboards_are_imported_once_and_a_hand_is_respected() {
    let (cluster, url) = serve(Cluster::default()).await;
    let config = config(&url, &format!("dashboards_url = {url:?}\n"));
    let objects = setup::dashboards::wanted(&config, &config.pipelines[0]).len();
    assert!(objects > 10, "{objects}");
    let all = TEMPLATES + DETECTORS + MONITORS + objects;
    for (options, created, written) in [(DRY, all, 0), (INDEX, all, all), (INDEX, 0, 0)] {
        let (found, result) = run(&config, options).await;
        result.unwrap();
        assert_eq!(lines(&found, "create"), created, "{found:#?}");
        assert_eq!(cluster.lock().unwrap().written().len(), written);
    }
    let board = "/api/saved_objects/dashboard/outlier-p-analyst";
    cluster.lock().unwrap().stored.get_mut(board).unwrap()["attributes"]["title"] = json!("mine");
    let (found, result) = run(&config, INDEX).await;
    result.unwrap();
    assert_eq!((lines(&found, "keep"), cluster.lock().unwrap().written().len()), (1, 0), "{found:#?}");
    run(&config, Options { force: true, ..REMOVE }).await.1.unwrap();
    assert!(!cluster.lock().unwrap().stored.keys().any(|path| path.starts_with("/api")));
}

#[tokio::test]
async fn dashboards_that_are_not_there_hold_nothing_up() {
    let (_, url) = serve(Cluster::default()).await;
    let config = config(&url, "dashboards_url = \"http://127.0.0.1:1\"\n");
    let (found, result) = run(&config, INDEX).await;
    assert_eq!(lines(&found, "create"), TEMPLATES + DETECTORS + MONITORS, "{found:#?}");
    let error = result.unwrap_err();
    assert!(error.contains("dashboards were not imported") && error.contains("--export-dashboards"), "{error}");
    assert!(error.contains("OpenSearch Dashboards at") && !error.contains("opensearch.urls"), "{error}");
}
