//! The monitors of values by flags, as a real OpenSearch finds and decides.

use super::support::{self, Name};
use super::{INDEX, run};
use outlier::index::opensearch::Client;
use outlier::setup::monitors::{self, Parts};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Documents of one kind: country, method, status, and how many.
const DOCUMENTS: &[(&str, &str, u32, usize)] = &[
    // Most of what comes from there fails.
    ("US", "GET", 200, 60),
    ("US", "GET", 500, 80),
    // Half is not most.
    ("UK", "POST", 200, 90),
    ("UK", "POST", 500, 90),
    // Too few to tell.
    ("IN", "HEAD", 500, 99),
    // Bad by the country itself, which is an alert of its own.
    ("XX", "GET", 200, 150),
    ("XX", "POST", 500, 10),
];

#[tokio::test]
async fn values_most_of_whose_records_are_bad_are_told_by_a_real_server() {
    let Some(url) = support::opensearch() else { return };
    let prefix = Name::new("values");
    let config = support::parse(&format!(
        "[opensearch]\nurls = [{url:?}]\nindex_prefix = \"{prefix}\"\nreplicas = 0\n[[pipeline]]\npreset = \"waf\"\n"
    ));
    run(&config, INDEX).await.1.unwrap();
    let client = Client::new(&config).unwrap();
    let send = async |path: &str, body: String| {
        let answer = client.send(opensearch::http::Method::Post, path, Some(body.into())).await.unwrap();
        assert!(answer.good(), "{path}: {}", answer.reason());
        answer.json().unwrap()
    };
    let now = 1_795_400_000_000_i64;
    let mut lines = String::new();
    for (country, method, status, count) in DOCUMENTS {
        let flags = json!({
            "@timestamp": now - 60_000, "httpStatus": status, "httpRequest": {"country": country, "httpMethod": method},
            "B_httpstatus": u8::from(*status >= 400), "UNK_country": u8::from(*country == "XX"), "B_action": 0,
            "UNK_source": 0, "uncommon_method": 0,
        });
        lines.extend((0..*count).map(|_| format!("{{\"create\":{{}}}}\n{flags}\n")));
    }
    let stored = send(&format!("/{prefix}waf-enriched/_bulk?refresh=true"), lines).await;
    assert_eq!(stored["errors"], false, "{stored}");

    // All alerts of a cluster go to one index, with a mapping that grows by their buckets: as it was recorded, and of series.
    let mapping = json!({"settings": {"number_of_replicas": 0}, "mappings": {"dynamic": "strict", "properties": {
        "agg_alert_content": {"dynamic": true, "properties": {}},
    }}});
    let put = opensearch::http::Method::Put;
    let made = client.send(put, &format!("/{prefix}alerts"), Some(mapping.to_string().into())).await.unwrap();
    assert!(made.good(), "{}", made.reason());
    let alerts_index = format!("/{prefix}alerts/_doc");
    let alert = |bucket: &Value| json!({"agg_alert_content": {"bucket": bucket}}).to_string();
    send(&alerts_index, alert(&json!({"key": {"country": "BR"}, "doc_count": 432}))).await;
    send(&alerts_index, alert(&json!({"key": {"detector": "d", "series": "s"}, "doc_count": 1}))).await;

    let mut alerts = BTreeSet::new();
    let all = monitors::wanted(&config, &config.pipelines[0], Parts { channels: true, detectors: false });
    let all: Vec<_> = all.into_iter().filter(|(name, _)| name.contains("(flags by ")).collect();
    assert_eq!(all.len(), config.pipelines[0].flags.len());
    for (name, body) in &all {
        let search = &body["inputs"][0]["search"];
        for trigger in body["triggers"].as_array().unwrap() {
            let trigger = &trigger["bucket_level_trigger"];
            assert_eq!(trigger["actions"], json!([]));
            // The plugin's own selector stands beside the buckets and names them; this one leaves the same of them.
            let condition = &trigger["condition"];
            let mut query = search["query"].clone();
            query["aggregations"]["by_series"]["aggregations"]["fires"] = json!({"bucket_selector": {
                "buckets_path": condition["buckets_path"], "script": condition["script"], "gap_policy": "skip",
            }});
            let query = query.to_string().replace("{{period_end}}", &now.to_string());
            let found = send(&format!("/{}/_search", search["indices"][0].as_str().unwrap()), query).await;
            for bucket in found["aggregations"]["by_series"]["buckets"].as_array().unwrap() {
                let key = &bucket["key"]["value"];
                send(&alerts_index, alert(bucket)).await;
                let of = name.split("(flags ").nth(1).unwrap().trim_end_matches(')');
                alerts.insert(format!("{of} {key}: {}", trigger["name"].as_str().unwrap()));
            }
        }
    }
    let expected = [
        "by httpRequest.country \"US\": most are B_httpstatus",
        // 150 of 290; and of 300 with the status 200, which is not most.
        "by httpRequest.httpMethod \"GET\": most are UNK_country",
        // 100 of 190, of two countries.
        "by httpRequest.httpMethod \"POST\": most are B_httpstatus",
    ];
    assert_eq!(alerts, expected.map(str::to_owned).into());
}
