//! Both indices take every kind of document, once.

use super::*;

/// Raw records that have no place in OpenSearch's mapping; SQLite has none.
const MISFITS: [&str; 4] = ["duplicate", "text-for-object", "long", "no-name"];

/// Records of every kind, and whether an index without a mapping must take them.
fn all_kinds() -> Vec<(Document<'static>, bool)> {
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let long = format!("{{\"obj\":{{\"long\":\"{}\"}}}}", "y".repeat(40_000));
    let raw: Vec<(&str, Option<&[u8]>)> = vec![
        ("object", Some(br#"{"a":1,"b":{"c":[{"d":true}]},"clientIp":"10.1.2.3"}"#)),
        ("spaces", Some(b" \n{\n \"a\" : 2,\r\n \"s\": \"x\\ny\"\n}\n ")),
        ("empty", Some(b"{ }")),
        ("string", Some(br#""{\"a\":3,\"t\":\"\\u00e9\"}""#)),
        ("own-time", Some(br#"{"@timestamp":"2026-01-01T00:00:00Z","a":4}"#)),
        ("text", Some("Jan 1 host sshd[1]: \"hé\"\nx".as_bytes())),
        ("broken", Some(br#"{"a":1,"#)),
        ("array", Some(b"[1,2]")),
        ("not-utf8", Some(b"{\"a\":\"\xff\"}")),
        ("tombstone", None),
        ("nothing", Some(b"")),
        ("deep", Some(deep.as_bytes())),
        ("duplicate", Some(br#"{"a":1,"a":2}"#)),
        ("conflict", Some(br#"{"a":{"not":"a number"}}"#)),
        ("text-for-object", Some(br#"{"httpRequest":"text"}"#)),
        ("long", Some(long.as_bytes())),
        ("no-name", Some(br#"{"":1}"#)),
    ];
    let mut all: Vec<_> = raw.into_iter().map(|(id, body)| (document(Stage::Raw, id, body), true)).collect();
    let enriched = br#"{"a":"x","good":0,"bad":1,"outlier":{"pipeline":"p","event_time":11000}}"#;
    all.push((document(Stage::Enriched, "good", Some(enriched)), true));
    all.push((document(Stage::Enriched, "tombstone", None), false));
    all.push((document(Stage::Scores, "action/sum(bad)/1000", Some(SCORE.as_bytes())), true));
    all.push((document(Stage::Alerts, "0123456789abcdef-1", Some(ALERT.as_bytes())), true));
    all
}

async fn check_outcomes(index: &dyn Index, expected: impl Fn(&Document<'_>, bool) -> Option<Outcome>) {
    let (documents, fit): (Vec<Document<'_>>, Vec<bool>) = all_kinds().into_iter().unzip();
    let outcomes = write(index, &documents).await.unwrap();
    for ((document, fit), outcome) in documents.iter().zip(fit).zip(outcomes) {
        let name = format!("{:?} {}", document.stage, document.id);
        match expected(document, fit) {
            Some(expected) => assert_eq!(outcome, expected, "{name}"),
            None => assert!(matches!(outcome, Outcome::Reject(_)), "{name}: {outcome:?}"),
        }
    }
}

#[tokio::test]
async fn sqlite_takes_everything_once_and_bounds_itself() {
    let folder = Folder::new();
    let path = folder.0.join("index.sqlite");
    let head = format!("[sink]\nindex = \"sqlite\"\n[sqlite]\npath = {path:?}\nmax_rows = 1000");
    let config = support::config(&head, "p");
    let index = Sqlite::open(&config).unwrap();
    check_outcomes(&index, |_, fit| fit.then_some(Outcome::Created)).await;
    // Opened again, as after a restart.
    let index = Sqlite::open(&config).unwrap();
    check_outcomes(&index, |_, fit| fit.then_some(Outcome::AlreadyThere)).await;
    let reader = Reader::open(&config.sqlite).unwrap();
    let anomalies = reader.anomalies("p", 10).unwrap();
    assert_eq!(anomalies.len(), 1);
    assert_eq!((anomalies[0].series.as_str(), anomalies[0].value, anomalies[0].score), ("sum(bad)", 7.0, 88.5));
    assert_eq!(reader.scores("p", 11_000, 11_001, 10).unwrap(), anomalies);
    assert_eq!(reader.scores("p", 0, 11_000, 10).unwrap(), []);
    for batch in 0..3 {
        let documents: Vec<Document<'_>> =
            (0..700).map(|i| document(Stage::Enriched, &format!("{batch}-{i}"), Some(b"{}"))).collect();
        assert!(write(&index, &documents).await.unwrap().iter().all(|outcome| *outcome == Outcome::Created));
    }
    assert_eq!(reader.count("p", Stage::Enriched).unwrap(), 1000);
    assert_eq!(reader.count("p", Stage::Raw).unwrap(), 17);
    let newest = write(&index, &[document(Stage::Enriched, "2-699", Some(b"{}"))]).await.unwrap();
    assert_eq!(newest, [Outcome::AlreadyThere]);
}

#[tokio::test]
async fn credentials_are_sent() {
    for (credentials, want) in [
        ("", None),
        ("username = \"u\"\npassword = \"p\"", Some("Basic dTpw")),
        ("token = \"t0k3n\"", Some("Bearer t0k3n")),
    ] {
        let answer = move |request: Request| match request.authorization.as_deref() == want {
            true => Reply::Json(200, r#"{"items":[{"create":{"status":201}}]}"#.to_owned()),
            false => Reply::Json(401, "Unauthorized".to_owned()),
        };
        let url = standin::serve(answer).await;
        let config = support::config(&format!("[opensearch]\nurls = [{url:?}]\n{credentials}"), "p");
        let index = OpenSearch::new(&config).unwrap();
        let one = [document(Stage::Raw, "1", Some(b"{}"))];
        assert_eq!(write(&index, &one).await, Ok(vec![Outcome::Created]), "{credentials}");
    }
    let url = standin::serve(|_| Reply::Json(401, "Unauthorized".to_owned())).await;
    let config = support::config(&format!("[opensearch]\nurls = [{url:?}]\ntoken = \"wrong\""), "p");
    let refused = write(&OpenSearch::new(&config).unwrap(), &[document(Stage::Raw, "1", None)]).await.unwrap_err();
    assert!(refused.reason.contains("check opensearch.username") && !refused.reason.contains("wrong"), "{refused}");
}

#[tokio::test]
async fn opensearch_takes_everything_once() {
    let Some(url) = support::opensearch() else { return };
    let prefix = support::Name::new("kinds");
    let head = format!("[opensearch]\nurls = [{url:?}]\nindex_prefix = \"{prefix}\"\nreplicas = 0");
    let config = support::config(&head, "p");
    setup::apply_index(&config).await.unwrap();
    let index = OpenSearch::new(&config).unwrap();
    let fits = |document: &Document<'_>, fit: bool| fit && !MISFITS.contains(&&*document.id);
    check_outcomes(&index, |document, fit| fits(document, fit).then_some(Outcome::Created)).await;
    let compressed = OpenSearch::new(&support::config(&format!("{head}\ngzip = true"), "p")).unwrap();
    check_outcomes(&compressed, |document, fit| fits(document, fit).then_some(Outcome::AlreadyThere)).await;
    let bad = [
        document(Stage::Enriched, "duplicate", Some(br#"{"a":1,"a":2}"#)),
        document(Stage::Enriched, "deep", Some(format!("{}1{}", r#"{"a":"#.repeat(500), "}".repeat(500)).as_bytes())),
        document(Stage::Enriched, "after", Some(br#"{"a":"z"}"#)),
    ];
    let outcomes = write(&index, &bad).await.unwrap();
    let reason = "mapper_parsing_exception: failed to parse: Duplicate field 'a' (status 400)";
    assert_eq!(outcomes[0], Outcome::Reject(reason.to_owned()));
    assert!(matches!(&outcomes[1], Outcome::Reject(why) if why.contains("128 levels")), "{:?}", outcomes[1]);
    assert_eq!(outcomes[2], Outcome::Created);

    let client = Client::new(&config).unwrap();
    for (stage, query, want) in [
        ("raw", "a:2", 1),
        ("raw", "a:>=1", 4),
        ("raw", "b.c.d:true", 1),
        ("raw", r#"clientIp.ip:"10.1.0.0/16""#, 1),
        ("raw", "original_timestamp:2026*", 1),
        ("raw", "raw:Jan*", 1),
        ("raw", "_exists_:raw_base64", 0),
        ("raw", "@timestamp:11000", 17 - MISFITS.len()),
        ("enriched", "bad:1 AND outlier.event_time:11000", 1),
        ("scores", "anomaly:true AND score:>88", 1),
    ] {
        let found = search(&client, &format!("{prefix}p-{stage}"), query).await;
        assert_eq!(found.len(), want, "{stage} {query}: {found:?}");
    }
    let raw: BTreeMap<String, Value> = search(&client, &format!("{prefix}p-raw"), "*").await.into_iter().collect();
    for (id, want) in [
        ("text", r#"{"@timestamp":11000,"raw":"Jan 1 host sshd[1]: \"hé\"\nx"}"#),
        ("tombstone", r#"{"@timestamp":11000,"raw":null}"#),
        ("not-utf8", r#"{"@timestamp":11000,"raw_base64":"eyJhIjoi/yJ9"}"#),
        ("string", r#"{"@timestamp":11000,"a":3,"t":"é"}"#),
        ("own-time", r#"{"@timestamp":11000,"original_timestamp":"2026-01-01T00:00:00Z","a":4}"#),
        ("empty", r#"{"@timestamp":11000}"#),
        ("spaces", r#"{"@timestamp":11000,"a":2,"s":"x\ny"}"#),
    ] {
        assert_eq!(raw[id], serde_json::from_str::<Value>(want).unwrap(), "{id}");
    }
}

/// Logs of a pipeline `p`, raw and enriched: OpenSearch takes all, and each query finds so many of both. The mapping of raw
/// ones.
async fn check_searchable(url: &str, pipeline: &str, logs: &[String], queries: &[(&str, usize)]) -> Value {
    let prefix = support::Name::new("logs");
    let text = format!("[opensearch]\nurls = [{url:?}]\nindex_prefix = \"{prefix}\"\nreplicas = 0\n{pipeline}");
    let config = support::parse(&text);
    setup::apply_index(&config).await.unwrap();
    let transform = Transform::new(&config.pipelines[0]);
    let mut scratch = Scratch::default();
    let mut documents = Vec::new();
    for (i, line) in logs.iter().enumerate() {
        let enriched = transform.apply(Some(line.as_bytes()), -1, &Anomalies::default(), &mut scratch).unwrap();
        documents.push(document(Stage::Enriched, &i.to_string(), Some(enriched.bytes)));
        documents.push(document(Stage::Raw, &i.to_string(), Some(line.as_bytes())));
    }
    let outcomes = write(&OpenSearch::new(&config).unwrap(), &documents).await.unwrap();
    for (document, outcome) in documents.iter().zip(outcomes) {
        assert_eq!(outcome, Outcome::Created, "{:?} {:?}", document.stage, document.body);
    }
    let client = Client::new(&config).unwrap();
    for (query, want) in queries {
        for stage in ["raw", "enriched"] {
            assert_eq!(search(&client, &format!("{prefix}p-{stage}"), query).await.len(), *want, "{stage} {query}");
        }
    }
    let name = format!("{prefix}p-raw");
    let answer = client.send(opensearch::http::Method::Get, &format!("/{name}/_mapping"), None).await.unwrap();
    answer.json().unwrap()[&name]["mappings"]["properties"].clone()
}

/// The text of a sample, or `None` with a line that says why.
fn sample(path: &str) -> Option<String> {
    let file = std::fs::File::open(support::shared()?.join("samples").join(path)).unwrap();
    let mut text = String::new();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
    Some(text)
}

/// Real logs of the preset are found by their fields.
#[tokio::test]
async fn real_aws_waf_logs_are_searchable() {
    let path = "aws_waf/aws-waf-security-automations-test_waf_log.gz";
    let (Some(url), Some(logs)) = (support::opensearch(), sample(path)) else { return };
    let logs: Vec<String> = logs.lines().map(str::to_owned).collect();
    let count = |part: &str| logs.iter().filter(|line| line.contains(part)).count();
    let queries = [
        ("action:BLOCK", count(r#""action":"BLOCK""#)),
        ("httpRequest.country:TR", count(r#""country":"TR""#)),
        ("ruleGroupList.ruleGroupId:AWS*", count("\"ruleGroupId\":\"AWS")),
        ("httpRequest.headers.name:Cookie", count(r#""name":"Cookie""#)),
        ("_exists_:raw", 0),
        ("@timestamp:11000", logs.len()),
    ];
    check_searchable(&url, "[[pipeline]]\npreset = \"aws-waf\"\nname = \"p\"", &logs, &queries).await;
}

/// Each call of AWS has parameters of its own: they are searched by their paths, and add no field to the index.
#[tokio::test]
async fn real_cloudtrail_logs_grow_no_mapping() {
    let path = "cloudtrail/lambda-promtail-cloudtrail-log-file.json.gz";
    let (Some(url), Some(text)) = (support::opensearch(), sample(path)) else { return };
    let file: Value = serde_json::from_str(&text).unwrap();
    let mut records = file["Records"].as_array().unwrap().clone();
    for i in 0..3_000 {
        let mut record = records[0].clone();
        let value = match i % 4 {
            0 => serde_json::json!(i),
            1 => serde_json::json!([{"nested": {"deep": true}}, "x"]),
            2 => serde_json::json!({"a": {"b": {"c": i}}}),
            _ => serde_json::json!("text"),
        };
        record["requestParameters"] = serde_json::json!({format!("parameter{i}"): value, "same": i.to_string()});
        record["responseElements"] = serde_json::json!({format!("element{i}"): i});
        records.push(record);
    }
    let logs: Vec<String> = records.iter().map(Value::to_string).collect();
    let pipeline = r#"
        [[pipeline]]
        name = "p"
        [pipeline.timestamp]
        field = "eventTime"
        format = "iso8601"
        [[pipeline.flags]]
        name = "access"
        field = "readOnly"
        good = { name = "reads", match = [true] }
        bad = { name = "writes", match = [false] }
    "#;
    let queries = [
        ("requestParameters.roleSessionName:roleSessionName", 1),
        ("requestParameters.parameter2.a.b.c:2", 1),
        ("requestParameters.same:2999", 1),
        ("eventName:BatchGetImage", 1),
    ];
    let fields = check_searchable(&url, pipeline, &logs, &queries).await;
    for free in ["requestParameters", "responseElements"] {
        assert_eq!(fields[free]["type"], "flat_object", "{fields}");
    }
    assert!(!fields.to_string().contains("parameter1") && fields.as_object().unwrap().len() < 50, "{fields}");
}

/// OpenSearch answers for what an ingest pipeline refused in another order than asked, and for some of it with 500.
#[tokio::test]
async fn what_an_ingest_pipeline_refuses_is_known_by_its_id() {
    let Some(url) = support::opensearch() else { return };
    let prefix = support::Name::new("ingest");
    let config = support::config(&format!("[opensearch]\nurls = [{url:?}]\nindex_prefix = \"{prefix}\""), "p");
    let client = Client::new(&config).unwrap();
    let put = async |path: String, body: Value| {
        let answer = client.send(opensearch::http::Method::Put, &path, Some(body.to_string().into())).await.unwrap();
        assert!(answer.good(), "{}", answer.reason());
    };
    let processors = serde_json::json!([
        {"fail": {"if": "ctx.fail != null", "message": "no"}},
        {"dissect": {"field": "dissect", "pattern": "%{a} %{b}", "ignore_missing": true}},
        {"grok": {"field": "grok", "patterns": ["%{NUMBER:x}"], "ignore_missing": true}},
    ]);
    put(format!("/_ingest/pipeline/{prefix}"), serde_json::json!({ "processors": processors })).await;
    let index = format!("{prefix}p-enriched");
    let mappings = serde_json::json!({"properties": {"number": {"type": "integer"}}});
    let settings = serde_json::json!({"index.default_pipeline": *prefix, "number_of_replicas": 0});
    put(format!("/{index}"), serde_json::json!({"settings": settings, "mappings": mappings})).await;

    let bodies = ["fail", "good", "grok", "number", "dissect", "good", "fail", "grok", "dissect"];
    let documents: Vec<Document<'_>> = (0..)
        .zip(bodies)
        .map(|(n, name)| document(Stage::Enriched, &format!("{n}"), Some(format!(r#"{{"{name}":"x"}}"#).as_bytes())))
        .collect();
    let outcomes = write(&OpenSearch::new(&config).unwrap(), &documents).await.unwrap();
    for (name, outcome) in bodies.iter().zip(&outcomes) {
        let want = match *name {
            "fail" => "fail_processor_exception: no (status 500)",
            "dissect" => "Unable to find match for dissect pattern",
            "grok" => "Grok expressions do not match",
            "number" => "failed to parse field [number]",
            _ => "",
        };
        let found = match outcome {
            Outcome::Created => want.is_empty(),
            Outcome::Reject(why) => !want.is_empty() && why.contains(want),
            _ => false,
        };
        assert!(found, "{name}: {outcome:?} of {outcomes:?}");
    }
}
