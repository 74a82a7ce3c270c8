//! Environment variables: overrides, defaults under other tools' names, `${VAR}`.

use super::{MINIMAL, check, valid};
use crate::config::{IndexKind, Property, Stage, effective};

#[test]
fn variables_override_keys() {
    let config = valid(
        "[kafka]\nraw_partitions = 3\n[kafka.properties]\nlinger.ms = 1\n[[pipeline]]\npreset = \"aws-waf\"",
        &[
            ("OUTLIER__KAFKA__BOOTSTRAP_SERVERS", "k:1"),
            ("KAFKA_BOOTSTRAP_SERVERS", "other:1"),
            ("outlier__kafka__raw_partitions", "8"),
            ("OUTLIER__KAFKA__PROPERTIES__LINGER_MS", "7"),
            ("OUTLIER__KAFKA__PROPERTIES__ENABLE_SSL_CERTIFICATE_VERIFICATION", "false"),
            ("OUTLIER__SINK__WHAT", "scores, raw"),
            ("OUTLIER__SINK__INDEX", "sqlite"),
            ("OUTLIER__SINK__BULK_BYTES", "1MiB"),
            ("OUTLIER__OPENSEARCH__URLS", "[\"http://a:1\", \"http://b:1\"]"),
            ("OUTLIER__ALERTING__REPEAT_INTERVAL", "2h"),
            ("OUTLIER__SERVE__ALLOW_UNAUTHENTICATED", "true"),
            ("OUTLIER__SERVE__LISTEN", "0.0.0.0:80"),
            ("OUTLIER__PIPELINE__AWS_WAF__WINDOW", "5m"),
            ("OUTLIER__PIPELINE__0__TIMESTAMP__MAX_SKEW", "2h"),
            ("OUTLIER__PIPELINE__AWS_WAF__FLAGS__SOURCE__OTHER", "neither"),
            ("OUTLIER__PIPELINE__AWS_WAF__DETECTORS__ACTION__THRESHOLD", "95.5"),
            ("OUTLIER_SHARED", "not ours"),
        ],
    );
    assert_eq!(config.kafka.bootstrap_servers, "k:1");
    assert_eq!(config.kafka.raw_partitions, 8);
    let property = |name: &str| config.kafka.properties.get(name).map(Property::expose);
    assert_eq!(property("linger.ms"), Some("7"));
    assert_eq!(property("enable.ssl.certificate.verification"), Some("false"));
    assert_eq!(config.sink.what, [Stage::Raw, Stage::Scores]);
    assert_eq!(config.sink.index, IndexKind::Sqlite);
    assert_eq!(config.sink.bulk_bytes, 1 << 20);
    assert_eq!(config.opensearch.urls, ["http://a:1", "http://b:1"]);
    assert_eq!(config.alerting.repeat_interval.as_secs(), 7_200);
    assert_eq!(config.serve.listen.address.port(), 80);
    let pipeline = &config.pipelines[0];
    assert!(pipeline.detectors.iter().all(|detector| detector.window == 300_000));
    assert_eq!(pipeline.timestamp.max_skew, 7_200_000);
    let detector = |name| pipeline.detectors.iter().find(|d| d.name == name).unwrap();
    assert_eq!((detector("action").threshold, detector("method").threshold), (95.5, 90.0));
}

/// Two names of one property are one key: of both values the client would take either.
#[test]
fn properties_have_one_name() {
    for (alias, name, value) in [
        ("request.required.acks", "acks", "-1"),
        ("queue.buffering.max.ms", "linger.ms", "7"),
        ("compression.type", "compression.codec", "zstd"),
        ("retries", "message.send.max.retries", "7"),
        ("delivery.timeout.ms", "message.timeout.ms", "7000"),
        ("max.in.flight", "max.in.flight.requests.per.connection", "7"),
        ("max.partition.fetch.bytes", "fetch.message.max.bytes", "7000"),
        ("sasl.mechanisms", "sasl.mechanism", "PLAIN"),
        ("sasl.oauthbearer.client.credentials.client.id", "sasl.oauthbearer.client.id", "me"),
        ("sasl.oauthbearer.client.credentials.client.secret", "sasl.oauthbearer.client.secret", "me"),
    ] {
        let properties = |text: &str, env: &[(&str, &str)]| {
            let config = valid(&format!("{MINIMAL}[kafka.properties]\n{text}"), env);
            let shown = config.kafka.properties.iter().map(|(name, value)| (name.clone(), value.expose().to_owned()));
            shown.collect::<Vec<_>>()
        };
        let want = [(name.to_owned(), value.to_owned())];
        assert_eq!(properties(&format!("{alias:?} = {value:?}"), &[]), want);
        assert_eq!(properties(&format!("{name:?} = \"1\"\n{alias:?} = {value:?}"), &[]), want, "the last one counts");
        assert_eq!(properties(&format!("{alias:?} = \"1\"\n{name:?} = {value:?}"), &[]), want, "the last one counts");
        let variable = format!("OUTLIER__KAFKA__PROPERTIES__{}", alias.to_uppercase().replace('.', "_"));
        assert_eq!(properties(&format!("{name:?} = \"1\""), &[(&variable, value)]), want);
        // The client, too, takes the one for the other; it names a property that is not built in.
        match rdkafka::ClientConfig::new().set(alias, value).create_native_config() {
            Ok(native) => assert_eq!(native.get(name).unwrap(), value, "{alias}"),
            Err(refused) => assert!(refused.to_string().contains(&format!("{name:?} not supported")), "{refused}"),
        }
    }
}

#[test]
fn other_tools_variables_are_defaults() {
    let env = [("KAFKA_BOOTSTRAP_SERVERS", "k:1"), ("OPENSEARCH_URL", "http://o:1")];
    let config = valid(MINIMAL, &env);
    assert_eq!(config.kafka.bootstrap_servers, "k:1");
    assert_eq!(config.opensearch.urls, ["http://o:1"]);
    let text = format!("{MINIMAL}[kafka]\nbootstrap_servers = \"f:1\"\n[opensearch]\nurls = [\"http://f:1\"]");
    let config = valid(&text, &env);
    assert_eq!(config.kafka.bootstrap_servers, "f:1");
    assert_eq!(config.opensearch.urls, ["http://f:1"]);
    check(MINIMAL, &[("OPENSEARCH_URL", "o")], &["environment variable OPENSEARCH_URL `urls` must begin with"]);
}

#[test]
fn mistakes_in_variables_name_the_variable() {
    for (name, value, want) in [
        ("OUTLIER__KAFKA__RAW_PARTITIONS", "many", "`raw_partitions` must be a whole number from 1 to 1024, not many"),
        ("OUTLIER__KAFK__RAW_PARTITIONS", "1", "unknown key `kafk` in the top level; did you mean `kafka`?"),
        (
            "OUTLIER__KAFKA__RAW_PARTITION",
            "1",
            "unknown key `raw_partition` in [kafka]; did you mean `raw_partitions`?",
        ),
        ("OUTLIER__KAFKA", "x", "`kafka` must be a table"),
        ("OUTLIER__KAFKA____X", "x", "this is no path to a key"),
        ("OUTLIER__", "x", "this is no path to a key"),
        ("OUTLIER__PIPELINE__Q__NAME", "x", "`pipeline` has no element `q`"),
        ("OUTLIER__PIPELINE__0__NAME__X", "x", "`name` is a single value"),
        ("OUTLIER__PIPELINE__P__WINDOW", "7s", "`window` must divide a day"),
        ("OUTLIER__SINK__WHAT", "raw,score", "`what` cannot be \"score\"; did you mean `scores`?"),
        ("OUTLIER__SERVE__LISTEN", "0.0.0.0:1", "`listen` 0.0.0.0:1 can be reached"),
        ("OUTLIER__SERVE__ALLOW_UNAUTHENTICATED", "1", "`allow_unauthenticated` must be true or false"),
    ] {
        check(MINIMAL, &[(name, value)], &[&format!("environment variable {name} {want}")]);
    }
}

#[test]
fn texts_may_hold_variables() {
    let text = format!(
        "{MINIMAL}[kafka]\nbootstrap_servers = \"${{HOST}}:9092\"\n[opensearch]\nusername = \"$${{HOST}}\"\npassword = \"${{PW}}\"\n[kafka.properties]\na = \"${{HOST}}\""
    );
    let config = valid(&text, &[("HOST", "h"), ("PW", "${HOST}")]);
    assert_eq!(config.kafka.bootstrap_servers, "h:9092");
    assert_eq!(config.kafka.properties["a"].expose(), "h");
    assert_eq!(config.opensearch.username.as_deref(), Some("${HOST}"));
    assert_eq!(config.opensearch.password.as_ref().map(|s| s.expose()), Some("${HOST}"));
    assert_eq!(valid(&effective(&config), &[]).opensearch.username.as_deref(), Some("${HOST}"));
    check(&text, &[("HOST", "h")], &["7:12 `password`: the environment variable `PW` is not set"]);
    check(
        &text,
        &[("PW", "x")],
        &[
            "4:21 `bootstrap_servers`: the environment variable `HOST` is not set",
            "9:5 the property `a`: the environment variable `HOST` is not set",
        ],
    );
    check(
        &format!("{MINIMAL}[kafka]\ninstance_id = \"${{X\""),
        &[("X", "")],
        &["4:15 `instance_id`: `${` is not closed"],
    );
}
