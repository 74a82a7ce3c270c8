//! The effective configuration loads again as the same, whatever is set.

use super::valid;
use crate::config::effective;
use proptest::prelude::*;

/// No key has its default, so that one that is not written would be noticed.
const EVERYTHING: &str = r#"
[kafka]
bootstrap_servers = "a:1,b:2"
topic_prefix = "pre."
instance_id = "me"
replication_factor = 3
raw_partitions = 12
[kafka.properties]
"linger.ms" = 5
enable.ssl.certificate.verification = false
sasl.password = "***"
[process]
commit_interval = "1s"
guarantee = "at_least_once"
idle_timeout = "1m"
align = "1h"
data_dir = "/d\\\"x"
max_batch_records = 5
consumer_queue_bytes = 20000000
producer_queue_bytes = "64MiB"
[sink]
index = "sqlite"
what = ["scores", "raw"]
bulk_bytes = "1MiB"
bulk_records = 7
bulk_requests = 9
flush_interval = "3s"
request_timeout = "4s"
[opensearch]
urls = ["https://a", "http://b:1/path"]
username = "u"
password = "***"
ca_file = "ca.pem"
client_cert_file = "c.pem"
client_key_file = "c.key"
gzip = true
index_prefix = "x-"
indices = "data_stream"
retention = "30d"
rollover_age = "2d"
rollover_size = "5GiB"
shards = 3
replicas = 0
dashboards_url = "http://d:5601"
detectors = false
[sqlite]
path = "p"
max_rows = 1001
[alerting]
owner = "opensearch"
repeat_interval = "2h"
critical = 99.5
resolve_after = 7
group_wait = "3s"
max_age = "2h"
quiet = "9m"
[[alerting.channels]]
name = "a"
severity = "critical"
type = "webhook"
url = "https://***"
[[alerting.channels]]
name = "b"
type = "slack"
url = "https://***"
[[alerting.channels]]
name = "c"
type = "teams"
url = "https://***"
[[alerting.channels]]
name = "d"
type = "email"
host = "h"
port = 26
security = "tls"
ca_file = "ca.pem"
username = "u"
password = "***"
from = "a@b.c"
to = ["c@d.e", "e@f.g"]
[[alerting.channels]]
name = "e"
type = "ses"
region = "r"
role_arn = "arn:aws:iam::012345678912:role/ses"
from = "a@b.c"
to = ["c@d.e"]
[[alerting.channels]]
name = "f"
type = "sns"
topic_arn = "arn:aws:sns:eu-central-1:012345678912:waf"
role_arn = "arn:aws:iam::012345678912:role/sns"
[serve]
listen = "0.0.0.0:1"
token = "***"
allow_unauthenticated = true
[telemetry]
level = "trace"
format = "json"
listen = "[::1]:2"
token = "***"
allow_unauthenticated = true
shutdown_deadline = "11s"
[[pipeline]]
name = "p"
max_record_bytes = "2MiB"
max_depth = 9
windows_partitions = 3
[pipeline.topics]
raw = "t1"
enriched = "t2"
windows = "t3"
scores = "t4"
state = "t5"
anomalies = "t6"
alerts = "t8"
rejected = "t7"
[pipeline.timestamp]
field = 'a\.b.c'
format = "iso8601"
max_skew = "5m"
[[pipeline.flags]]
name = "g"
field = "x.y"
good = { name = "G1", match = ["=4xx", "5xx", "1..2.5", "Rate*", "==x", "${", 7, true, "é\"\\"] }
bad = { name = "B1" }
other = "bad"
missing = "neither"
ignore_case = true
[[pipeline.detectors]]
name = "d"
measures = ["count", "sum(G1)", "ratio(B1)", "sum(other.path)", 'sum(\G2abc)', 'sum(\ x)', "silence", "mean(a)", "p99.9(a.b)", "p5(a)", "distinct(c)", "new(c)", "rare(c)"]
window = "2m"
hop = "1m"
by = ["x.y", 'a\.b', "c", "d", "e"]
explain = ["c"]
why_values = 99
emit = "changed"
model = "full"
max_series = 12
forget = "7d"
lateness = "0s"
threshold = 12.5
[[pipeline]]
name = "q"
"#;

#[test]
fn everything_survives() {
    let text = EVERYTHING.replace("\"${\"", "\"$${\"").replace("G1", "G1abc");
    let config = valid(&text, &[]);
    let shown = effective(&config);
    assert_eq!(valid(&shown, &[]), config, "{shown}");
    let defaults = effective(&valid("[[pipeline]]\nname = \"q\"", &[]));
    for line in defaults.lines().take_while(|line| *line != "[[pipeline]]") {
        let same = line.contains('=') && shown.contains(&format!("\n{line}\n"));
        assert!(
            !same || matches!(line, "allow_unauthenticated = false" | "owner = \"opensearch\""),
            "has its default: {line}"
        );
    }
}

proptest! {
    #[test]
    fn any_text_survives(
        texts in prop::collection::vec("\\PC{1,12}", 1..4),
        path in "\\PC{1,8}",
        field in "[a-zé]{1,4}(\\.[a-z ]{1,3}){0,2}",
        millis in 10u64..5_000,
        bytes in 1usize << 20..1 << 25,
    ) {
        let config = {
            let mut config = valid(EVERYTHING.replace("\"${\"", "\"x\"").as_str(), &[]);
            config.process.data_dir = path.into();
            config.process.commit_interval = std::time::Duration::from_millis(millis);
            config.process.producer_queue_bytes = bytes + (1 << 24);
            config.pipelines[0].timestamp.field = field.parse().unwrap();
            let mut literals: Vec<_> = texts;
            literals.sort();
            literals.dedup();
            config.pipelines[0].flags[0].good.matchers = literals
                .into_iter()
                .map(outlier_core::pipeline::Matcher::Literal)
                .collect();
            config
        };
        let shown = effective(&config);
        prop_assert_eq!(valid(&shown, &[]), config, "{}", shown);
    }
}
