//! A table of texts and every mistake that they hold, with line and column.

use super::{MINIMAL, check};

#[test]
fn sections() {
    let after = |text: &str| format!("{MINIMAL}{text}");
    for (text, want) in [
        ("[kafk]\nx = 1", &["3:2 unknown key `kafk` in the top level; did you mean `kafka`?"][..]),
        (
            "[kafka]\nbootstrap_server = \"a:1\"",
            &["4:1 unknown key `bootstrap_server` in [kafka]; did you mean `bootstrap_servers`?"],
        ),
        ("[kafka]\nzzz = 1", &["4:1 unknown key `zzz` in [kafka]; it is one of bootstrap_servers, topic_prefix"]),
        ("[kafka]\nbootstrap_servers = \"a:b\"", &["4:21 `bootstrap_servers` must be host:port"]),
        (
            "[kafka]\nraw_partitions = \"4\"\ntopic_prefix = 4\nreplication_factor = 0",
            &[
                "4:18 `raw_partitions` must be a whole number, not a text: write it without quotes",
                "5:16 `topic_prefix` must be a text, not a whole number: write it in double quotes",
                "6:22 `replication_factor` cannot be 0",
            ],
        ),
        (
            "[kafka]\nraw_partitions = 0\ntopic_prefix = \"a b\"",
            &[
                "4:18 `raw_partitions` must be a whole number from 1 to 1024, not 0",
                "5:16 `topic_prefix` must be 1 to 100 of A-Z, a-z, 0-9 and ._-, not \"a b\"",
            ],
        ),
        (
            "[kafka.properties]\n\"group.id\" = \"x\"\nlinger = { ms = [1] }",
            &[
                "4:14 the property `group.id` is set by outlier…topic_prefix",
                "5:17 the property `linger.ms` must be a text, not a list",
            ],
        ),
        (
            "[kafka.properties]\nmetadata.broker.list = \"a:1\"\nauto.commit.enable = true\nretries = []\ngroup.instance.id = \"a\"",
            &[
                "4:24 the property `metadata.broker.list` is set by outlier: set `bootstrap_servers`",
                "5:22 the property `auto.commit.enable` is set by outlier: offsets are committed with the results",
                "6:11 the property `retries` must be a text, not a list",
                "7:21 the property `group.instance.id` is set by outlier: it stays empty…fence each other",
            ],
        ),
        (
            "[process]\ncommit_interval = 5\nidle_timeout = \"soon\"\nguarantee = \"exactly-once\"",
            &[
                "4:19 `commit_interval` needs a unit: write `\"5s\"`",
                "5:16 `idle_timeout` is no duration: \"soon\"",
                "6:13 `guarantee` cannot be \"exactly-once\"; did you mean `exactly_once`?",
            ],
        ),
        (
            "[process]\ncommit_interval = \"1m\"\ndata_dir = \"\"",
            &["4:19 `commit_interval` must be from 10ms to 5s, not \"1m\"", "5:12 `data_dir` must be a path"],
        ),
        ("[process]\nproducer_queue_bytes = \"1MiB\"", &["4:24 `producer_queue_bytes` must be at least 2176KiB"]),
        (
            "[sink]\nindex = \"elastic\"\nwhat = []\nbulk_bytes = \"much\"",
            &[
                "4:9 `index` cannot be \"elastic\"; it is one of opensearch, sqlite",
                "5:8 `what` is empty",
                "6:14 `bulk_bytes` must be a size from 64KiB to 100MiB",
            ],
        ),
        (
            "[sink]\nwhat = [\"raw\", \"raw\", \"score\"]",
            &["4:16 `what` names this twice", "4:23 `what` cannot be \"score\"; did you mean `scores`?"],
        ),
        (
            "[opensearch]\nurls = [\"localhost:9200\", \"http://u:hunter2@h:1\"]\nusername = \"u\"\nindex_prefix = \"A\"",
            &[
                "3:1 `username` needs a `password`",
                "4:9 `urls` must begin with http://",
                "4:27 `urls` must not hold a user or a password",
                "6:16 `index_prefix` must be lower case",
            ],
        ),
        (
            "[opensearch]\ntoken = \"t\"\nusername = \"u\"\npassword = \"p\"",
            &["4:9 a `token` stands for a user: keep it, or `username` and `password`"],
        ),
        (
            "[opensearch]\nclient_cert_file = \"c.pem\"",
            &["3:1 `client_cert_file` needs a `client_key_file`: add it, such as"],
        ),
        #[cfg(not(feature = "aws"))]
        (
            "[opensearch]\naws = { region = \"eu-central-1\" }",
            &["4:7 `aws` is not built into this outlier: build it with `cargo build --release --features aws`"],
        ),
        #[cfg(feature = "aws")]
        (
            "[opensearch]\naws = { region = \"Frankfurt\", service = \"s3\" }\ntoken = \"t\"",
            &[
                "4:7 `aws` signs requests in place of a user or a token",
                "4:18 `region` must be that of the cluster",
                "4:41 `service` cannot be \"s3\"; it is one of es, aoss",
            ],
        ),
        ("[opensearch]\nretention = \"7d\"", &["4:13 `retention` deletes whole indices: set `indices` to"]),
        ("[opensearch]\nindices = \"daily\"\nretention = \"2h\"", &["5:13 `retention` must be at least a day"]),
        ("[[alerting.channels]]\nname = \"x\"", &["3:1 [[alerting.channels]] lacks `type`"]),
        ("[[alerting.channels]]\nname = \"x\"\ntype = \"hook\"", &["5:8 `type` cannot be \"hook\""]),
        (
            "[[alerting.channels]]\nname = \"x\"\ntype = \"webhook\"\nurl = \"ftp://secret\"",
            &["6:7 `url` must begin with http:// or https://"],
        ),
        (
            "[[alerting.channels]]\nname = \"x\"\ntype = \"slack\"\nurl = \"https://example.com/x\"",
            &["6:7 `url` must begin with https://hooks.slack.com/services/ or"],
        ),
        (
            "[[alerting.channels]]\nname = \"x\"\ntype = \"email\"\nhost = \"h\"\nsecurity = \"none\"\nca_file = \"c\"\nusername = \"u\"\npassword = \"p\"\nfrom = \"me\"\nto = []",
            &[
                "7:12 `security` = \"none\" would send the password",
                "8:11 `ca_file` is for TLS",
                "11:8 `from` must be an address",
                "12:6 `to` must name 1 to 100",
            ],
        ),
        (
            "[alerting]\nowner = \"outlier\"\n[[alerting.channels]]\nname = \"x\"\ntype = \"sns\"\ntopic_arn = \"a\"\nrole_arn = \"arn:aws:iam::012345678912:role/sns\"",
            &["7:8 `type`: with `owner = \"outlier\"` there is no SES or SNS", "8:13 `topic_arn` must be an ARN"],
        ),
        (
            "[serve]\nlisten = \"0.0.0.0:8080\"\n[telemetry]\nlisten = \"[::]:80\"\nlevel = \"verbose\"",
            &[
                "4:10 `listen` 0.0.0.0:8080 can be reached from other machines…allow_unauthenticated = true",
                "6:10 `listen` [::]:80 can be reached",
                "7:9 `level` cannot be \"verbose\"; it is one of error",
            ],
        ),
        (
            "[serve]\nlisten = \":8080\"\nallow_unauthenticated = \"yes\"",
            &[
                "4:10 `listen` must be an IP address and a port",
                "5:25 `allow_unauthenticated` must be true or false, not a text: write it without quotes",
            ],
        ),
        ("[serve]\nlisten = \"127.0.0.1:9600\"", &["4:10 [serve] and [telemetry] both listen on port 9600"]),
        (
            "[sqlite]\nmax_rows = 1.5\npath = false",
            &[
                "4:12 `max_rows` must be a whole number, not a number with a fraction",
                "5:8 `path` must be a text, not true or false",
            ],
        ),
    ] {
        check(&after(text), &[], want);
    }
    check(
        "kafka = 1\nprocess = []\n[[pipeline]]\npreset = \"waf\"",
        &[],
        &["1:9 `kafka` must be a table, not a whole number", "2:11 `process` must be a table, not a list"],
    );
}

#[test]
fn pipelines() {
    for (text, want) in [
        ("", &["1:1 there is no pipeline: add [[pipeline]] with `preset…one of waf, aws-waf"][..]),
        ("pipeline = []", &["1:12 there must be 1 to 64 pipelines, not 0"]),
        ("pipeline = [1]", &["1:12 there must be 1 to 64 pipelines, not 0", "1:13 each of `pipeline` must be a table"]),
        (
            "[pipeline]\nname = \"p\"",
            &["1:1 `pipeline` must be a list of tables: write [[pipeline]]", "1:1 there must be"],
        ),
        ("[[pipeline]]", &["1:1 [[pipeline]] lacks `name`: add it, such as `name = \"web\"`"]),
        (
            "[[pipeline]]\nname = \"_web\"\n[[pipeline]]\nname = \"-web\"\n[[pipeline]]\nname = \".web\"",
            &[
                "2:8 `name` must begin with a letter or a digit, as an index does, not \"_web\"",
                "4:8 `name` must begin with a letter or a digit, as an index does, not \"-web\"",
                "6:8 `name` must begin with a letter or a digit, as an index does, not \".web\"",
            ],
        ),
        ("[[pipeline]]\npreset = \"wav\"\nname = \"x\"", &["2:10 there is no preset \"wav\"; did you mean `waf`?"]),
        ("[[pipeline]]\npreset = 1\nname = \"x\"", &["2:10 `preset` must be a text"]),
        (
            "[[pipeline]]\nname = \"a/b\"\nformat = \"xml\"",
            &["2:8 `name` must be 1 to 100 of", "3:10 `format` cannot be \"xml\"; it is one of json"],
        ),
        ("[[pipeline]]\nname = \"a\"\n[[pipeline]]\nname = \"A\"", &["4:8 two pipelines have the name \"A\""]),
        (
            "[[pipeline]]\nname = \"a\"\n[pipeline.topics]\nraw = \"a_enriched\"\nscores = \"ä\"\nstat = \"x\"",
            &[
                "2:8 two topics have the name \"a.enriched\"",
                "5:10 `scores` must be 1 to 249 of",
                "6:1 unknown key `stat` in [pipeline.topics]; did you mean `state`?",
            ],
        ),
        (
            "[[pipeline]]\nname = \"a\"\nmax_depth = 0\nmax_record_bytes = \"1GiB\"\n[pipeline.timestamp]\nfield = \"a..b\"\nformat = \"epoch\"\nmax_skew = \"-1s\"",
            &[
                "3:13 `max_depth` must be a whole number from 1 to 1000",
                "4:20 `max_record_bytes` must be a size from 1KiB to 16MiB",
                "6:9 `field`: a field path is",
                "7:10 `format` cannot be \"epoch\"",
                "8:12 `max_skew` is no duration",
            ],
        ),
    ] {
        check(text, &[], want);
    }
}

#[test]
fn flags() {
    let group = |rest: &str| format!("{MINIMAL}[[pipeline.flags]]\nname = \"g\"\nfield = \"f\"\n{rest}");
    let good = "good = { name = \"G\", match = [\"2xx\"] }\n";
    for (text, want) in [
        ("", &["3:1 [[pipeline.flags]] lacks `bad`", "3:1 [[pipeline.flags]] lacks `good`"][..]),
        (&format!("{good}bad = {{ name = \"G\", match = [\"4xx\"] }}"), &["7:16 two flags have the name \"G\""]),
        (&format!("{good}bad = {{ name = \"outlier\", match = [\"4xx\"] }}"), &["7:16 `name` cannot be \"outlier\""]),
        (&format!("{good}bad = {{ name = \"f\", match = [\"4xx\"] }}"), &["3:1 the flag `f` has the name of a member"]),
        (
            &format!("{good}bad = {{ name = \"B\", match = [\"4xx\", 404, 204, true, 404] }}"),
            &["7:7 \"204\" would be good by \"2xx\" and bad by \"204\"", "7:53 `match` has \"404\" twice"],
        ),
        (&format!("{good}bad = {{ name = \"B\", match = [] }}"), &["7:7 `match` has no values"]),
        (&format!("{good}bad = {{ name = \"B\" }}"), &["7:7 `match` has no values"]),
        (&format!("{good}bad = {{ name = \"B\" }}\nother = \"bad\""), &[]),
        (
            &format!("{good}bad = {{ nam = \"B\", match = \"4xx\" }}\nignore-case = true"),
            &[
                "7:7 [pipeline.flags.bad] lacks `name`",
                "7:9 unknown key `nam` in [pipeline.flags.bad]; did you mean `name`?",
                "7:28 `match` must be a list in square brackets, not a text",
                "8:1 unknown key `ignore-case` in [[pipeline.flags]]; did you mean `ignore_case`?",
            ],
        ),
        (
            &format!(
                "{good}bad = {{ name = \"B\", match = [\"*\", \"9..1\", \"400..\", [1]] }}\nother = \"good\"\nmissing = 1"
            ),
            &[
                "7:30 `match` `\"*\"` would match every text",
                "7:35 `match` \"9..1\" is empty",
                "7:43 `match` \"400..\" has only one end",
                "7:52 `match` must be a text, not a list",
                "8:9 `other` cannot be \"good\"; it is one of bad, neither",
                "9:11 `missing` must be a text",
            ],
        ),
    ] {
        check(&group(text), &[], want);
    }
    let two = "[[pipeline.flags]]\nname = \"g\"\nfield = \"f\"\ngood = { name = \"A\", match = [\"a\"] }\nbad = { name = \"B\", match = [\"b\"] }\n";
    check(
        &format!("{MINIMAL}{two}{two}"),
        &[],
        &[
            "9:8 two flag groups have the name \"g\"",
            "11:17 two flags have the name \"A\"",
            "12:16 two flags have the name \"B\"",
        ],
    );
}

#[test]
fn detectors() {
    let start = format!(
        "{MINIMAL}[[pipeline.flags]]\nname = \"g\"\nfield = \"f\"\ngood = {{ name = \"K_action\", match = [\"a\"] }}\nbad = {{ name = \"B_action\", match = [\"b\"] }}\n[[pipeline.detectors]]\nname = \"d\"\n"
    );
    for (text, want) in [
        ("", &["8:1 a detector needs measures"][..]),
        ("measures = []", &["8:1 a detector needs measures"]),
        ("measures = [\"count\", \"sum(B_action)\", \"ratio(K_action)\", \"sum(a.b)\", 'sum(\\B_actoin)']", &[]),
        (
            "measures = [\"counts\", \"sum(B_actoin)\", \"ratio(b_action)\", \"ratio(bytes)\", \"mode(x)\", \"sum()\", \"count\", \"count\", 1]",
            &[
                "10:13 `measures`: \"counts\" is no measure: write count, silence, sum(X)",
                "10:23 `measures`: there is no flag \"B_actoin\"; did you mean `B_action`? If it is a field, write sum(\\B_actoin)",
                "10:40 `measures`: there is no flag \"b_action\"; did you mean `B_action`?",
                "10:59 `measures`: there is no flag \"bytes\"; a ratio needs one of K_action, B_action",
                "10:75 `measures`: there is no measure \"mode\"",
                "10:86 `measures`: a field path is",
                "10:104 `measures` has \"count\" twice",
                "10:113 `measures` must be a text",
            ],
        ),
        (
            "measures = [\"count\"]\nwindow = \"7s\"\nlateness = \"2d\"\nthreshold = 101",
            &[
                "11:10 `window` must divide a day",
                "12:12 `lateness` must be from 0s to 1d",
                "13:13 `threshold` must be a number from 0 to 100, not 101",
            ],
        ),
        (
            "measures = [\"count\"]\nwindow = \"90s\"\nthreshold = nan",
            &["11:10 `window` must divide a day, and be whole minutes", "12:13 `threshold` must be a number"],
        ),
        (
            "measures = [\"count\"]\nwindow = \"0s\"\nthresold = 1",
            &[
                "11:10 `window` must be from 1s to 1d",
                "12:1 unknown key `thresold` in [[pipeline.detectors]]; did you mean `threshold`?",
            ],
        ),
        (
            "measures = [\"p95(a)\", \"p100(a)\", \"p0(a)\"]\nhop = \"7s\"\nby = [\"a\", \"a\", \".\"]\nemit = \"none\"",
            &[
                "10:23 `measures`: there is no measure \"p100\"",
                "10:34 `measures`: there is no measure \"p0\"",
                "11:7 `hop` must divide the window",
                "12:12 `by` has \"a\" twice",
                "12:17 `by`: a field path is",
                "13:8 `emit` cannot be",
            ],
        ),
        (
            "measures = [\"count\"]\nby = [\"a\", \"b\", \"c\", \"d\", \"e\", \"f\"]",
            &["11:6 `by` has 6 values, at most 5 are possible"],
        ),
        ("measures = [\"new(a)\"]\nwindow = \"6h\"\nforget = \"2h\"", &["12:10 `forget` must be at least the window"]),
        (
            "measures = [\"count\", \"sum(B_action)\"]\nwindow = \"1h\"\nhop = \"1m\"\nexplain = [\"a\", \"b\", \"c\", \"d\", \"e\", \"f\", \"g\", \"h\", \"i\", \"j\", \"k\", \"l\", \"m\", \"n\", \"o\", \"p\"]",
            &[
                "13:11 what a group needs does not fit into a Kafka record of 4 MiB: take fewer fields in `explain` (16 of 2 kinds of records)",
            ],
        ),
        (
            "measures = [\"count\"]\n[[pipeline.detectors]]\nname = \"D\"\nmeasures = [\"count\"]",
            &["12:8 two detectors have the name \"D\""],
        ),
    ] {
        check(&format!("{start}{text}"), &[], want);
    }
    let sums: Vec<String> = (0..33).map(|n| format!("\"sum(f{n})\"")).collect();
    for (measures, want) in
        [(33, &["11:9 a detector with more than 32 measures cannot have large models"][..]), (32, &[])]
    {
        let text = format!("{start}measures = [{}]\nmodel = \"both\"", sums[..measures].join(", "));
        check(&text, &[], want);
    }
}

/// Broken TOML is reported together with what can still be understood.
#[test]
fn syntax() {
    for (text, want) in [
        (
            "[kafka]\nraw_partitions = 0\ntopic_prefix = x\nraw_partitions = 2\nbootstrap = 1",
            &[
                "4:18 `raw_partitions` must be",
                "5:16 a value is missing or not quoted: write a text in double quotes",
                "6:1 this key or table is there twice",
                "7:1 unknown key `bootstrap`…bootstrap_servers",
            ][..],
        ),
        (
            "[kafka]\nraw_partitions = 0\n[sink\nindex = \"x\"\n[serve]\nx = 1",
            &["4:18 `raw_partitions` must be", "5:6 this is no TOML: unclosed table"],
        ),
        (
            "[kafka]\ntopic_prefix = \"ab\nraw_partitions = 0",
            &["4:19 invalid basic string", "5:18 `raw_partitions` must be"],
        ),
    ] {
        check(&format!("{MINIMAL}{text}"), &[], want);
    }
    check(
        "[[pipeline]]\nmax_depth = 0\nformat = \"xml\" x\nmax_dept = 0\nname\nmax_depht = 0\n",
        &[],
        &[
            "2:13 `max_depth` must be",
            "3:16 a line must be one `key = value`",
            "4:1 unknown key `max_dept`",
            "5:5 this is no TOML: key with no value",
        ],
    );
    check("[[pipeline]]\nname = waf\n", &[], &["2:8 a value is missing or not quoted"]);
}
