//! A cluster with the anomaly detection, alerting and notifications plugins, as far as outlier looks.
//!
//! It answers in the shapes in which OpenSearch 3.4 was seen to answer: ids, defaults and versions of its own, errors
//! with a good status, "Job is running", the race of a start right after a stop. It counts what is written.

use super::standin::{Reply, Request};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

const DETECTORS: &str = "/_plugins/_anomaly_detection/detectors";
const MONITORS: &str = "/_plugins/_alerting/monitors";
const CONFIGS: &str = "/_plugins/_notifications/configs";

#[derive(Default)]
pub struct Cluster {
    /// Plugins that are not installed: `_anomaly_detection`, `_alerting`, `_notifications`.
    pub absent: BTreeSet<&'static str>,
    /// Plugins that this user may not use.
    pub forbidden: BTreeSet<&'static str>,
    /// Answers to the next request of this method and path, once each.
    pub instead: Vec<(&'static str, String, Reply)>,
    /// Templates, channels, detectors and monitors, by path or id.
    pub stored: BTreeMap<String, Value>,
    /// Requests that changed something, apart from the ledger's.
    pub writes: Vec<String>,
    /// Documents of the ledger by id, with their sequence number.
    pub ledger: BTreeMap<String, (u64, Value)>,
    /// Detectors that run, and how.
    pub profiles: BTreeMap<String, Value>,
    /// Intervals with data.
    pub intervals: usize,
    /// Detectors stopped just now: their next start fails.
    pub racing: BTreeSet<String>,
    /// Indices that hold data, with their policy and whether somebody took one from them.
    pub managed: BTreeMap<String, (Option<String>, bool)>,
    /// The historical analysis: how often it is looked at before it is done, and its results.
    pub task: (u32, Value),
    /// Sequence numbers of monitors.
    pub seqs: BTreeMap<String, u64>,
    /// The next id.
    pub next: u64,
}

fn json(status: u16, value: &Value) -> Reply {
    Reply::Json(status, value.to_string())
}

/// An error as OpenSearch writes it.
fn error(status: u16, kind: &str, reason: &str) -> Reply {
    json(
        status,
        &json!({"error": {"root_cause": [{"type": kind, "reason": reason}], "type": kind, "reason": reason}, "status": status}),
    )
}

impl Cluster {
    /// Without any plugin.
    pub fn bare() -> Self {
        let absent = ["_ism", "_anomaly_detection", "_alerting", "_notifications"];
        Self { absent: absent.into(), ..Self::default() }
    }

    pub fn answer(&mut self, request: &Request) -> Reply {
        let (method, path) = (request.method.as_str(), request.path.as_str());
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        if let Some(i) = self.instead.iter().position(|(m, exact, _)| *m == method && path == exact) {
            return self.instead.remove(i).2;
        }
        if let Some(plugin) = path.strip_prefix("/_plugins/").and_then(|rest| rest.split('/').next()) {
            if self.absent.contains(plugin) {
                return json(
                    400,
                    &json!({"error": format!("no handler found for uri [{path}] and method [{method}]")}),
                );
            }
            if self.forbidden.contains(plugin) {
                return error(403, "security_exception", "no permissions for [cluster:admin/x] and User [name=waf]");
            }
        }
        let reading = matches!(method, "GET" | "HEAD") || path.contains("/_search") || path.starts_with("/_mget");
        if !reading && !path.starts_with("/_bulk") && !path.contains("outlier-setup") {
            self.writes.push(format!("{method} {}", path.split('?').next().unwrap_or_default()));
        }
        let known = [DETECTORS, MONITORS, CONFIGS].into_iter().find_map(|base| Some((base, path.strip_prefix(base)?)));
        match known {
            Some((DETECTORS, rest)) => self.detectors(method, rest, body),
            Some((MONITORS, rest)) => self.monitors(method, rest, body),
            Some((_, rest)) => self.channels(method, rest, body),
            None => self.core(method, path, &request.body, body),
        }
    }

    /// Names of what was written since the last call.
    pub fn written(&mut self) -> Vec<String> {
        std::mem::take(&mut self.writes)
    }

    fn id(&mut self, kind: &str) -> String {
        self.next += 1;
        format!("{kind}-{}", self.next)
    }

    fn core(&mut self, method: &str, path: &str, bytes: &[u8], body: Value) -> Reply {
        match (method, path) {
            ("POST", "/_bulk?refresh=true") => self.bulk(bytes),
            // Documents that are to replace others: there are none.
            ("POST", path) if path.starts_with("/_bulk?") && path.ends_with("&timeout=5s") => {
                let missing = json!({"index": {"status": 409, "error": {"type": "version_conflict_engine_exception"}}});
                json(200, &json!({"items": vec![missing; bytes.split(|byte| *byte == b'\n').count() / 2]}))
            }
            ("GET", path) if path.contains("/_settings/index.uuid,index.blocks") => {
                let name = path.split('/').nth(1).unwrap();
                match self.stored.contains_key(&format!("/{name}")) {
                    true => json(200, &json!({name: {"settings": {"index.uuid": "u"}}})),
                    false => error(404, "index_not_found_exception", "none"),
                }
            }
            ("POST", "/_mget") => {
                let id = body["docs"][0]["_id"].as_str().unwrap();
                let found = self.ledger.get(id).map_or(
                    json!({"_id": id, "found": false}),
                    |(seq, source)| json!({"_id": id, "found": true, "_seq_no": seq, "_primary_term": 1, "_source": source}),
                );
                json(200, &json!({"docs": [found]}))
            }
            ("GET", "/_plugins/_notifications/features") => {
                json(200, &json!({"allowed_config_type_list": ["webhook"]}))
            }
            ("POST", path) if path.starts_with("/_plugins/_notifications/feature/test/") => {
                let id = path.rsplit('/').next().unwrap();
                json(
                    200,
                    &json!({"event_source": {"severity": "info"}, "status_list": [
                    {"config_id": id, "delivery_status": {"status_code": "200", "status_text": "ok"}}]}),
                )
            }
            ("POST", path) if path.ends_with("outlier-setup/_search") => {
                let hits: Vec<Value> = self
                    .ledger
                    .iter()
                    .filter(|(_, (_, source))| source["kind"].is_string())
                    .map(|(id, (_, source))| json!({"_id": id, "_source": source}))
                    .collect();
                json(200, &json!({"hits": {"hits": hits}}))
            }
            ("POST", path) if path.ends_with("/_search") => {
                let buckets = vec![json!({"doc_count": 1}); self.intervals];
                json(
                    200,
                    &json!({"hits": {"total": {"value": 1}}, "aggregations": {"intervals": {"buckets": buckets}}}),
                )
            }
            ("GET", "/_plugins/_ism/policies?size=1") => json(200, &json!({"policies": [], "total_policies": 0})),
            (_, path) if path.starts_with("/_plugins/_ism/policies/") => self.policies(method, path, &body),
            (_, path) if path.starts_with("/_plugins/_ism/") => self.manage(path, &body),
            ("GET", path) if path.contains("/_settings/") && path.contains("index_state_management.auto_manage") => {
                let start = path[1..].split(['*', '/']).next().unwrap();
                let of = |(name, (_, left)): (&String, &(_, bool))| {
                    let mut settings = serde_json::Map::new();
                    if path.contains("index.uuid") {
                        settings.insert("index.uuid".into(), name.as_str().into());
                    }
                    if *left {
                        settings.insert("index.plugins.index_state_management.auto_manage".into(), "false".into());
                    }
                    // As OpenSearch does, an index that has none of the settings is left out.
                    let told = name.starts_with(start) && !settings.is_empty();
                    told.then(|| (name.clone(), json!({"settings": settings})))
                };
                let found: serde_json::Map<_, _> = self.managed.iter().filter_map(of).collect();
                if found.is_empty() {
                    return error(404, "index_not_found_exception", "no such index");
                }
                json(200, &Value::Object(found))
            }
            ("GET", "/api/status") => json(200, &json!({"version": {"number": "3.4.0"}})),
            ("POST", "/api/saved_objects/_import?overwrite=true") => self.import(bytes),
            ("GET", path) if path.starts_with("/api/saved_objects/") => match self.stored.get(path) {
                Some(object) => json(200, object),
                None => {
                    json(404, &json!({"statusCode": 404, "error": "Not Found", "message": "Saved object not found"}))
                }
            },
            ("PUT", path) if path.contains("/_settings?expand_wildcards=all") => {
                assert_eq!(body, json!({"index.plugins.index_state_management.auto_manage": null}));
                for name in path[1..].split('/').next().unwrap().split(',') {
                    self.managed.get_mut(name).unwrap().1 = false;
                }
                json(200, &json!({"acknowledged": true}))
            }
            ("PUT", path) => {
                self.stored.insert(path.to_owned(), body);
                json(200, &json!({"acknowledged": true}))
            }
            ("DELETE", path) => {
                self.stored.remove(path);
                if path.contains("outlier-setup") {
                    self.ledger.clear();
                }
                json(200, &json!({"acknowledged": true}))
            }
            (_, path) if path.starts_with("/_data_stream") => error(404, "index_not_found_exception", "none"),
            (_, path) => match self.stored.get(path) {
                Some(template) => json(200, &json!({"index_templates": [{"name": "x", "index_template": template}]})),
                None => error(404, "resource_not_found_exception", "none"),
            },
        }
    }

    /// What manages indices, by their names.
    fn manage(&mut self, path: &str, body: &Value) -> Reply {
        let (verb, names) = path.trim_start_matches("/_plugins/_ism/").split_once('/').unwrap();
        let mut explained = json!({"total_managed_indices": 1});
        for name in names.split(',') {
            let (policy, left) = self.managed.get_mut(name).unwrap();
            match verb {
                "explain" => explained[name] = json!({"index": name, "policy_id": policy}),
                "remove" => (*policy, *left) = (None, true),
                "add" => assert!(policy.replace(body["policy_id"].as_str().unwrap().to_owned()).is_none(), "{name}"),
                // As the server does: it does not ask which policy the index has.
                "change_policy" => *policy = Some(body["policy_id"].as_str().unwrap().to_owned()),
                _ => panic!("{path}"),
            }
        }
        if verb == "explain" {
            return json(200, &explained);
        }
        json(200, &json!({"updated_indices": 1, "failures": false, "failed_indices": []}))
    }

    /// Policies of Index State Management, which are changed against their version.
    fn policies(&mut self, method: &str, path: &str, body: &Value) -> Reply {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let stored = self.stored.get(path).cloned();
        let version = stored.as_ref().map(|stored| stored["_seq_no"].as_u64().unwrap());
        match (method, stored) {
            ("GET", Some(stored)) => json(200, &stored),
            ("PUT", _) if version.is_some_and(|seq| query != format!("if_seq_no={seq}&if_primary_term=1")) => {
                error(409, "version_conflict_engine_exception", "the policy has changed")
            }
            ("PUT", _) => {
                self.next += 1;
                let mut policy = body["policy"].clone();
                policy["schema_version"] = json!(21);
                policy["states"][0]["actions"].as_array_mut().into_iter().flatten().for_each(|action| {
                    action["retry"] = json!({"count": 3, "backoff": "exponential", "delay": "1m"});
                });
                let stored = json!({"_id": path, "_seq_no": self.next, "_primary_term": 1, "policy": policy});
                self.stored.insert(path.to_owned(), stored);
                json(201, &json!({"_id": path}))
            }
            ("DELETE", Some(_)) => {
                self.stored.remove(path);
                json(200, &json!({"result": "deleted"}))
            }
            _ => error(404, "status_exception", "Policy not found"),
        }
    }

    /// The import of OpenSearch Dashboards: a form with one file; what is referred to must be there.
    fn import(&mut self, bytes: &[u8]) -> Reply {
        let text = String::from_utf8_lossy(bytes);
        let (head, rest) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("name=\"file\"; filename=\"outlier.ndjson\""), "{head}");
        let object: Value = serde_json::from_str(rest.lines().next().unwrap()).unwrap();
        let path = |kind: &Value, id: &Value| {
            format!("/api/saved_objects/{}/{}", kind.as_str().unwrap(), id.as_str().unwrap())
        };
        for reference in object["references"].as_array().unwrap() {
            if !self.stored.contains_key(&path(&reference["type"], &reference["id"])) {
                let error = json!({"id": object["id"], "error": {"type": "missing_references"}});
                return json(200, &json!({"successCount": 0, "success": false, "errors": [error]}));
            }
        }
        let at = path(&object["type"], &object["id"]);
        let mut stored = object;
        stored["version"] = json!("WzEsMV0=");
        self.stored.insert(at, stored);
        json(200, &json!({"successCount": 1, "success": true}))
    }

    /// One action, as the ledger sends them.
    fn bulk(&mut self, bytes: &[u8]) -> Reply {
        let lines: Vec<Value> =
            bytes.split(|b| *b == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
        let (verb, action) = lines[0].as_object().unwrap().iter().next().unwrap();
        let id = action["_id"].as_str().unwrap().to_owned();
        let there = self.ledger.get(&id).map(|(seq, _)| *seq);
        let expected = action["if_seq_no"].as_u64();
        let conflict = (verb == "create" && there.is_some()) || (expected.is_some() && expected != there);
        let item = if conflict {
            json!({"status": 409, "error": {"type": "version_conflict_engine_exception", "reason": "exists"}})
        } else {
            self.next += 1;
            if verb == "delete" {
                self.ledger.remove(&id);
            } else {
                self.ledger.insert(id, (self.next, lines[1].clone()));
            }
            json!({"status": if there.is_some() { 200 } else { 201 }, "_seq_no": self.next, "_primary_term": 1})
        };
        json(200, &json!({"errors": conflict, "items": [{verb.clone(): item}]}))
    }

    /// Hits of the stored things whose id begins so.
    pub fn hits(&self, kind: &str) -> Value {
        let hits: Vec<Value> = self
            .stored
            .iter()
            .filter(|(id, _)| id.starts_with(kind))
            .map(|(id, source)| {
                let seq = self.seqs.get(id).unwrap_or(&0);
                json!({"_id": id, "_seq_no": seq, "_primary_term": 1, "_source": source})
            })
            .collect();
        json!({"hits": {"total": {"value": hits.len()}, "hits": hits}})
    }

    fn channels(&mut self, method: &str, rest: &str, body: Value) -> Reply {
        let id = body["config_id"].as_str().map_or_else(|| rest.trim_start_matches('/').to_owned(), str::to_owned);
        let key = format!("channel-{id}");
        match (method, self.stored.get(&key)) {
            ("GET", Some(config)) => {
                json(200, &json!({"total_hits": 1, "config_list": [{"config_id": id, "config": config}]}))
            }
            ("POST", Some(_)) => {
                let reason =
                    format!("Document version conflict putting {id} in index .opensearch-notifications-config");
                error(409, "status_exception", &reason)
            }
            ("DELETE", Some(_)) => {
                self.stored.remove(&key);
                json(200, &json!({"delete_response_list": {id: "OK"}}))
            }
            ("POST", None) | ("PUT", Some(_)) => {
                self.stored.insert(key, body["config"].clone());
                json(200, &json!({"config_id": id}))
            }
            _ => error(404, "status_exception", &format!("NotificationConfig {id} not found")),
        }
    }

    fn monitors(&mut self, method: &str, rest: &str, mut body: Value) -> Reply {
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let id = path.trim_start_matches('/').to_owned();
        match (method, rest) {
            ("GET", rest) if rest.starts_with("/alerts") => {
                return json(200, &json!({"alerts": [], "totalAlerts": 0}));
            }
            ("GET", _) => return error(404, "alerting_exception", "Monitor not found."),
            ("POST", "/_search") => return json(200, &self.hits("monitor")),
            ("DELETE", _) => {
                self.stored.remove(&id);
                return json(200, &json!({"_id": id, "_version": 2}));
            }
            ("PUT", _) => {
                let seq = self.seqs.get(&id).copied().unwrap_or(0);
                let required = query.strip_prefix("if_seq_no=").and_then(|rest| rest.split('&').next());
                if let Some(required) = required.filter(|required| **required != seq.to_string()) {
                    let reason = format!(
                        "[{id}]: version conflict, required seqNo [{required}], primary term [1]. current document has seqNo [{seq}] and primary term [1]"
                    );
                    return error(409, "alerting_exception", &reason);
                }
            }
            _ => {}
        }
        let id = if method == "POST" { self.id("monitor") } else { id };
        let seq = self.next;
        self.seqs.insert(id.clone(), seq);
        self.next += 1;
        self.monitor_defaults(&mut body, method == "PUT");
        self.stored.insert(id.clone(), body.clone());
        let status = if method == "POST" { 201 } else { 200 };
        json(status, &json!({"_id": id, "_version": 1, "_seq_no": seq, "_primary_term": 1, "monitor": body}))
    }

    /// What the server adds to a monitor.
    fn monitor_defaults(&mut self, monitor: &mut Value, update: bool) {
        // These come from the server alone.
        for name in ["schema_version", "enabled_time", "last_update_time", "owner", "data_sources"] {
            assert!(monitor[name].is_null(), "{name} is sent back: {monitor}");
        }
        monitor["last_update_time"] = json!(1_795_400_019_576_i64);
        monitor["data_sources"] = json!({"alerts_index": ".opendistro-alerting-alerts"});
        monitor["schema_version"] = json!(0);
        monitor["enabled_time"] = json!(1_795_400_019_548_i64);
        monitor["owner"] = json!("alerting");
        // The server would write these in another way than it got them, and each setup would find a difference.
        let text = monitor["inputs"].to_string();
        assert!(
            !["\"gte\"", "\"lte\"", "\"gt\"", "\"lt\"", "\"aggs\""].iter().any(|word| text.contains(word)),
            "{text}"
        );
        if let Some(query) = monitor.pointer_mut("/inputs/0/search/query/query/bool") {
            query["boost"] = json!(1.0);
            query["adjust_pure_negative"] = json!(true);
        }
        for trigger in monitor["triggers"].as_array_mut().unwrap() {
            let trigger = trigger.as_object_mut().unwrap().values_mut().next().unwrap();
            // A trigger whose id is not kept loses its alerts.
            assert!(!update || trigger["id"].is_string() || trigger["name"] == "silence", "{trigger}");
            if trigger["id"].is_null() {
                trigger["id"] = self.id("trigger").into();
            }
            for action in trigger["actions"].as_array_mut().unwrap() {
                if action["id"].is_null() {
                    action["id"] = self.id("action").into();
                }
            }
        }
    }

    fn detectors(&mut self, method: &str, rest: &str, mut body: Value) -> Reply {
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut parts = path.trim_start_matches('/').split('/');
        let (id, verb) = (parts.next().unwrap_or_default().to_owned(), parts.next().unwrap_or_default());
        let running = self.profiles.contains_key(&id);
        match (method, id.as_str(), verb) {
            ("GET", "count", _) => json(200, &json!({"count": 0, "match": false})),
            ("POST", "_search", _) => json(200, &self.hits("detector")),
            ("POST", "results", "_search") => json(200, &self.task.1),
            ("POST", "", _)
                if self.stored.iter().any(|(id, own)| id.starts_with("detector") && own["name"] == body["name"]) =>
            {
                let name = body["name"].as_str().unwrap();
                let reason = format!(
                    "Cannot create anomaly detector with name [{name}] as it's already used by another detector"
                );
                error(409, "status_exception", &reason)
            }
            ("POST", "", _) => {
                let id = self.id("detector");
                detector_defaults(&mut body);
                self.stored.insert(id.clone(), body.clone());
                json(
                    201,
                    &json!({"_id": id, "_version": 1, "_seq_no": 0, "anomaly_detector": body, "_primary_term": 1}),
                )
            }
            _ if !self.stored.contains_key(&id) => {
                error(404, "status_exception", &format!("Can't find config with id: {id}"))
            }
            ("PUT" | "DELETE", ..) if running => error(400, "status_exception", &format!("Job is running: {id}")),
            ("PUT", ..) => {
                detector_defaults(&mut body);
                self.stored.insert(id.clone(), body.clone());
                json(200, &json!({"_id": id, "_version": 2, "anomaly_detector": body}))
            }
            ("DELETE", ..) => {
                self.stored.remove(&id);
                json(200, &json!({"_id": id, "result": "deleted"}))
            }
            ("POST", _, "_start") if body["start_time"].is_i64() => json(200, &json!({"_id": "task-1"})),
            ("POST", _, "_start") if running => {
                error(200, "status_exception", &format!("Anomaly detector job is already running: {id}"))
            }
            ("POST", _, "_start") if self.racing.remove(&id) => {
                error(500, "status_exception", "Fail to start detector")
            }
            ("POST", _, "_start") => {
                let progress = json!({"percentage": "0%", "needed_shingles": 32});
                self.profiles.insert(id.clone(), json!({"state": "INIT", "error": "", "init_progress": progress}));
                json(200, &json!({"_id": id}))
            }
            ("POST", _, "_stop") => {
                if self.profiles.remove(&id).is_some() {
                    self.racing.insert(id.clone());
                }
                json(200, &json!({"_id": id}))
            }
            ("GET", _, "_profile") => {
                json(200, self.profiles.get(&id).unwrap_or(&json!({"state": "DISABLED", "error": ""})))
            }
            ("GET", _, _) if query == "task=true" => {
                self.task.0 = self.task.0.saturating_sub(1);
                let (state, progress) = if self.task.0 == 0 { ("FINISHED", 1.0) } else { ("RUNNING", 0.5) };
                json(
                    200,
                    &json!({"_id": id, "historical_analysis_task": {"task_id": "task-1", "state": state, "task_progress": progress}}),
                )
            }
            _ => panic!("{method} {rest}"),
        }
    }
}

/// What the server adds to a detector.
fn detector_defaults(detector: &mut Value) {
    detector["filter_query"] = json!({"match_all": {"boost": 1.0}});
    detector["schema_version"] = json!(0);
    detector["recency_emphasis"] = json!(2560);
    detector["history"] = json!(40);
    detector["detector_type"] = json!("SINGLE_ENTITY");
    let rules = || json!([{"action": "IGNORE_ANOMALY", "conditions": []}]);
    detector.as_object_mut().unwrap().entry("rules").or_insert_with(rules);
    for (i, feature) in detector["feature_attributes"].as_array_mut().unwrap().iter_mut().enumerate() {
        feature["feature_id"] = format!("f{i}").into();
    }
}
