//! What OpenSearch keeps as JSON is JSON, and what it refuses costs no other document: of enriched records the sink only
//! glances at most, and OpenSearch's parser takes more than JSON.
//!
//! More courses with `OUTLIER_MALFORMED=50`, others with `OUTLIER_SEED=7`.

use super::*;
use outlier_core::record::Objects;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use support::from_env;

/// Of each kind of index.
const DOCUMENTS: usize = 900;

const WHOLE: [&str; 6] = [
    r#"{"n":10,"o":{"list":[{"yes":true},null,-1.5e2],"empty":{}},"s":"a/b, {c}","clientIp":"10.1.2.3"}"#,
    r#"{"k":"v","l":["x","y"],"m":{"p":{"q":[[1],[2,3]]}}}"#,
    r#"{"a":1,"b":false,"c":"[","d":[],"e":0.25}"#,
    r#"{"outer":{"inner":{"deep":{"x":"1"}},"next":"z"},"last":[{"u":1},{"u":2}]}"#,
    r#"{"text":"say \"no\" \u00e9","tail":7}"#,
    r#"{"spaced": [1, 2], "utf8":"é"}"#,
];

/// What somebody might write instead of JSON, each to stand where a value stands.
const ODD: [&str; 34] = [
    "1/*x*/",
    "1//x",
    "1 #x",
    "1}{\"b\":2",
    "1},\"b\":{\"c\":2",
    "1,",
    "1,,\"b\":2",
    "1 \"b\":2",
    "1,b:2",
    "'x'",
    "NaN",
    "Infinity",
    "-Infinity",
    "01",
    "+1",
    ".5",
    "1.",
    "0x1",
    "nul",
    "truex",
    "[1",
    "[1}]",
    "1}}",
    "1,\"a\":2",
    ":1",
    "",
    "[{\"b\":1},]",
    "-",
    "1e",
    "1 2",
    "1\"b\"",
    "undefined",
    "[1,,2]",
    "{1:1}",
];

/// Where it stands: in a field without a mapping, in numbers, an address and a time; last, and before another one.
const AROUND: [(&str, &str); 7] = [
    ("{\"a\":", "}"),
    ("{\"a\":", ",\"z\":1}"),
    ("{\"good\":", ",\"z\":1}"),
    ("{\"count\":", ",\"z\":1}"),
    ("{\"score\":", ",\"z\":1}"),
    ("{\"clientIp\":", ",\"z\":1}"),
    ("{\"outlier\":{\"event_time\":", "},\"z\":1}"),
];

fn mutated(rng: &mut StdRng) -> Vec<u8> {
    let mut bytes = WHOLE.choose(rng).unwrap().as_bytes().to_vec();
    for _ in 0..rng.random_range(0..4) {
        let at = rng.random_range(0..bytes.len());
        let byte = *b"{}[]\":,/*0+-.eEtn #'\\_y\x7f\xc3\t".choose(rng).unwrap();
        match rng.random_range(0..4) {
            0 => drop(bytes.remove(at)),
            1 => bytes.insert(at, byte),
            2 => bytes[at] = byte,
            _ => bytes.extend_from_within(at..),
        }
    }
    bytes
}

fn bodies(rng: &mut StdRng) -> Vec<Vec<u8>> {
    let odd = |(before, after): &(&str, &str)| {
        let (before, after) = (before.to_string(), after.to_string());
        ODD.iter().map(move |value| format!("{before}{value}{after}").into_bytes())
    };
    let mut bodies: Vec<Vec<u8>> = AROUND.iter().flat_map(odd).collect();
    bodies.resize_with(DOCUMENTS, || mutated(rng));
    bodies
}

/// The record as a value, if it is valid.
fn json(body: &[u8]) -> Option<Value> {
    let valid = Objects::new(128, "@timestamp").find(body).is_ok();
    valid.then(|| serde_json::from_slice(body).unwrap())
}

/// An ingest pipeline reads the number -0 and writes 0.
fn without_sign_of_zero(value: &mut Value) {
    match value {
        Value::Number(number) if number.as_f64().is_some_and(|n| n == 0.0 && n.is_sign_negative()) => *value = 0.into(),
        Value::Array(items) => items.iter_mut().for_each(without_sign_of_zero),
        Value::Object(members) => members.values_mut().for_each(without_sign_of_zero),
        _ => {}
    }
}

/// True if the record names something twice, which only a lenient reader takes.
fn repeats(body: &[u8], value: &Value) -> bool {
    let colons = |text: &[u8]| text.iter().filter(|byte| **byte == b':').count();
    colons(body) != colons(value.to_string().as_bytes())
}

/// An index whose ingest pipeline reads each document before the index does, to the end of the first value.
async fn put_ingesting(client: &Client, name: &str) {
    let put = async |path: String, body: Value| {
        let answer = client.send(opensearch::http::Method::Put, &path, Some(body.to_string().into())).await.unwrap();
        assert!(answer.good(), "{}", answer.reason());
    };
    let processors = serde_json::json!([{"set": {"field": "ingested", "value": true}}]);
    put(format!("/_ingest/pipeline/{name}"), serde_json::json!({ "processors": processors })).await;
    client.send(opensearch::http::Method::Delete, &format!("/{name}"), None).await.unwrap();
    let settings = serde_json::json!({"index.default_pipeline": name, "number_of_replicas": 0});
    put(format!("/{name}"), serde_json::json!({"settings": settings, "mappings": {"dynamic": false}})).await;
}

/// Within an array of objects, in a field that has no mapping or a `flat_object`, OpenSearch 3.4 takes almost anything.
fn may_be_taken_unread(body: &[u8]) -> bool {
    let place = |byte| body.iter().position(|found| *found == byte);
    place(b'[').is_some_and(|list| body[list..].contains(&b'{'))
}

/// One course: how many records OpenSearch kept as JSON, and how many that are none were left to it.
async fn course(url: &str, seed: u64) -> (usize, usize) {
    let prefix = support::Name::new("malformed");
    let head = format!("[opensearch]\nurls = [{url:?}]\nindex_prefix = \"{prefix}\"\nreplicas = 0");
    let config = support::config(&head, "p");
    setup::apply_index(&config).await.unwrap();
    let client = Client::new(&config).unwrap();
    let index = OpenSearch::new(&config).unwrap();
    let objects = Objects::new(128, "@timestamp");
    let mut rng = StdRng::seed_from_u64(seed);
    let (mut kept, mut left_to_it, mut refused) = (0, 0, 0);
    for (stage, name, ingesting) in
        [(Stage::Raw, "raw", false), (Stage::Enriched, "enriched", false), (Stage::Enriched, "enriched", true)]
    {
        let name = format!("{prefix}p-{name}");
        if ingesting {
            put_ingesting(&client, &name).await;
        }
        let bodies = bodies(&mut rng);
        let documents: Vec<Document<'_>> =
            (0..).zip(&bodies).map(|(n, body)| document(stage, &format!("{n}"), Some(body))).collect();
        let outcomes = write(&index, &documents).await.unwrap();
        // An answer with what was taken unread cannot be read here either.
        let read = stage == Stage::Raw || ingesting;
        let there = if read { search(&client, &name, "*").await } else { Vec::new() };
        let there: BTreeMap<String, Value> = there.into_iter().collect();
        for (n, (body, outcome)) in bodies.iter().zip(outcomes).enumerate() {
            let what = || format!("seed {seed}, {name}: {} ({outcome:?})", String::from_utf8_lossy(body));
            let (mut want, created) = (json(body), outcome == Outcome::Created);
            // A raw record that is no JSON is text.
            assert!(created || stage != Stage::Raw || want.is_some(), "{}", what());
            if stage == Stage::Enriched {
                left_to_it += usize::from(want.is_none() && objects.glance(body).is_some());
                assert!(!created || want.is_some() || (!ingesting && may_be_taken_unread(body)), "{}", what());
            }
            if !read {
                continue;
            }
            // Without a mapping nothing but an odd name is a reason.
            let sound = want.as_ref().is_some_and(|want| !repeats(body, want));
            refused += usize::from(ingesting && !created && sound);
            let found = there.get(&n.to_string()).cloned();
            assert_eq!(found.is_some(), created, "{}", what());
            let Some(Value::Object(mut members)) = found else { continue };
            members.remove("ingested");
            assert_eq!(members.remove("@timestamp"), Some(11_000.into()), "{}", what());
            if members.contains_key("raw") || members.contains_key("raw_base64") {
                assert_eq!(stage, Stage::Raw);
                continue;
            }
            kept += 1;
            want.iter_mut().filter(|_| ingesting).for_each(without_sign_of_zero);
            assert_eq!(Some(Value::Object(members)), want, "{}", what());
        }
    }
    assert!(refused < DOCUMENTS / 50, "{refused} sound ones were refused for others");
    (kept, left_to_it)
}

const REFUSED_TOGETHER: &str = concat!(
    r#"{"create":{"status":400,"error":{"type":"parse_exception","reason":"Failed to parse content to map","#,
    r#""caused_by":{"type":"x","reason":"one of them"}}}}"#
);

/// As an ingest pipeline of OpenSearch 3.4 does: one document that it cannot read makes it refuse the whole request.
#[tokio::test]
async fn what_cannot_be_read_costs_no_other_document() {
    // Documents, those of them whose fault the sink can see, those whose fault it cannot, and how often it may ask.
    for (count, seen, unseen, most_requests) in [
        (1, &[0][..], &[][..], 1),
        (1, &[], &[0], 1),
        (50, &[], &[], 1),
        (50, &[7, 31], &[], 3),
        (50, &[0, 1, 48, 49], &[], 3),
        (64, &[], &[40], 1 + 2 * 6),
        (64, &[0, 63], &[40], 1 + 2 * 6),
        (64, &[], &[0, 1, 62], 1 + 3 * 2 * 6),
        (3, &[], &[0, 1, 2], 5),
        (3, &[0, 1, 2], &[], 2),
    ] {
        for stage in [Stage::Enriched, Stage::Raw] {
            let requests = Arc::new(Mutex::new(0));
            let counted = Arc::clone(&requests);
            let url = standin::serve(move |request| {
                *counted.lock().unwrap() += 1;
                let text = String::from_utf8(request.body).unwrap();
                let refused = [r#","a":1,"a":2}"#, r#","a":01}"#, r#","a":"unseen"}"#].iter().any(|a| text.contains(a));
                let item = if refused { REFUSED_TOGETHER } else { r#"{"create":{"status":201}}"# };
                let items = vec![item; text.lines().count() / 2];
                Reply::Json(200, format!(r#"{{"items":[{}]}}"#, items.join(",")))
            })
            .await;
            let index = OpenSearch::new(&support::config(&format!("[opensearch]\nurls = [{url:?}]"), "p")).unwrap();
            let body = |n: usize| match (seen.contains(&n), unseen.contains(&n), n % 2) {
                (true, _, 0) => r#"{"a":1,"a":2}"#,
                (true, _, _) => r#"{"a":01}"#,
                (_, true, _) => r#"{"a":"unseen"}"#,
                // This one is text.
                _ if stage == Stage::Raw && n % 5 == 3 => "plain",
                _ => r#"{"a":1}"#,
            };
            let documents: Vec<Document<'_>> =
                (0..count).map(|n| document(stage, &format!("{n}"), Some(body(n).as_bytes()))).collect();
            let outcomes = write(&index, &documents).await.unwrap();
            for (n, outcome) in outcomes.iter().enumerate() {
                let what = format!("{n} of {count}, {seen:?} {unseen:?}: {outcome:?}");
                let reason = match body(n) {
                    r#"{"a":1}"# | "plain" => None,
                    // A raw record that is no JSON is text.
                    r#"{"a":01}"# if stage == Stage::Raw => None,
                    r#"{"a":1,"a":2}"# if count > 1 => Some("\"a\" stands twice"),
                    r#"{"a":01}"# => Some("not JSON at byte 6"),
                    _ => Some("one of them"),
                };
                match (reason, outcome) {
                    (None, outcome) => assert_eq!(*outcome, Outcome::Created, "{what}"),
                    (Some(reason), Outcome::Reject(why)) => assert!(why.contains(reason), "{what}"),
                    _ => panic!("{what}"),
                }
            }
            let requests = *requests.lock().unwrap();
            assert!(requests <= most_requests, "{requests} requests of {count}, {seen:?} {unseen:?}");
        }
    }
}

#[tokio::test]
async fn what_opensearch_keeps_as_json_is_json() {
    let Some(url) = support::opensearch() else { return };
    let (seed, courses): (u64, u64) = (from_env("OUTLIER_SEED", 1), from_env("OUTLIER_MALFORMED", 1));
    for seed in seed..seed + courses {
        let (kept, left_to_it) = course(&url, seed).await;
        println!("seed {seed}: {kept} kept, {left_to_it} left to OpenSearch that are no JSON");
        // With fewer it would prove little.
        assert!(kept > DOCUMENTS * 2 / 5 && left_to_it > DOCUMENTS / 8);
    }
}
