//! What the monitors ask, and whom they tell.

use super::*;
use crate::config::Environment;

#[test]
fn a_flag_may_be_called_as_another_count() {
    let text = r#"
        [alerting]
        quiet = "10m"
        [[pipeline]]
        name = "p"
        [[pipeline.flags]]
        name = "status"
        field = "status"
        good = { name = "recent", match = ["2xx"] }
        bad = { name = "records", match = ["5xx"] }
        other = "neither"
    "#;
    let config = Config::parse(text, "test", &Environment::default()).unwrap();
    let all = wanted(&config, &config.pipelines[0], Parts { channels: false, detectors: false });
    let (_, flags) = all.iter().find(|(name, _)| name.ends_with("(flags)")).unwrap();
    let counts = flags["inputs"][0]["search"]["query"]["aggregations"].as_object().unwrap();
    assert_eq!(counts.keys().collect::<Vec<_>>(), ["flag records", "recent", "records"]);
}

/// The names of the monitors of values, each with its triggers and what its records are not.
fn of_values(fields: &[&str]) -> Vec<(String, Vec<String>, usize)> {
    let group = |(i, field): (usize, &&str)| {
        format!(
            "[[pipeline.flags]]\nname = \"g{i}\"\nfield = {field:?}\ngood = {{ name = \"good{i}\", match = [\"a\"] }}\nbad = {{ name = \"bad{i}\", match = [\"b\"] }}\nother = \"bad\"\n"
        )
    };
    let groups: String = fields.iter().enumerate().map(group).collect();
    let config =
        Config::parse(&format!("[[pipeline]]\nname = \"p\"\n{groups}"), "test", &Environment::default()).unwrap();
    let all = wanted(&config, &config.pipelines[0], Parts { channels: true, detectors: true });
    let all = all.into_iter().filter(|(name, _)| name.contains(" by "));
    let trigger = |trigger: &Value| trigger["bucket_level_trigger"]["name"].as_str().unwrap().to_owned();
    let about = |(name, body): (String, Value)| {
        crate::setup::script::check(&body).unwrap();
        let not = body["inputs"][0]["search"]["query"]["query"]["bool"]["must_not"].as_array().unwrap().len();
        (name, body["triggers"].as_array().unwrap().iter().map(trigger).collect(), not)
    };
    all.map(about).collect()
}

#[test]
fn values_are_looked_at_by_the_flags_of_other_fields() {
    assert_eq!(of_values(&["a"]), []);
    assert_eq!(of_values(&["a", "a"]), []);
    let most = |flags: &[&str]| flags.iter().map(|flag| format!("most are {flag}")).collect::<Vec<_>>();
    assert_eq!(
        of_values(&["b.c", "a", "b.c"]),
        [
            ("outlier p (flags by b.c)".to_owned(), most(&["bad1"]), 2),
            ("outlier p (flags by a)".to_owned(), most(&["bad0", "bad2"]), 1),
        ]
    );
    // What has no mapping, means something in a search, or would be taken for an id of a detector.
    let odd = [r"a\.b", r"a\\b", "{{a", "id of x", "a 2"];
    assert_eq!(of_values(&odd), []);
}

#[test]
fn of_many_fields_the_first_are_looked_at_by_the_flags_of_all() {
    let fields: Vec<String> = (0..12).map(|i| format!("f{i}")).collect();
    let all = of_values(&fields.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(all.len(), 2 * FIELDS);
    for (i, parts) in all.chunks(2).enumerate() {
        let [(first, most, _), (second, rest, _)] = parts else { panic!() };
        assert_eq!((first.as_str(), most.len()), (format!("outlier p (flags by f{i})").as_str(), MAX_TRIGGERS));
        assert_eq!(
            (second.as_str(), rest),
            (format!("outlier p (flags 2 by f{i})").as_str(), &vec!["most are bad11".to_owned()])
        );
    }
}

#[test]
fn an_alert_goes_on_over_a_pause_of_a_repeat_interval_or_a_window() {
    for (window, lateness, pause, lasts) in [("1m", "0s", 60, 60), ("1m", "2h", 60, 180), ("1h", "15m", 64, 79)] {
        let text = format!("[[pipeline]]\npreset = \"waf\"\nwindow = {window:?}\nlateness = {lateness:?}\n");
        let config = Config::parse(&text, "test", &Environment::default()).unwrap();
        let all = wanted(&config, &config.pipelines[0], Parts { channels: true, detectors: false });
        let (_, body) = all.iter().find(|(name, _)| name.ends_with(": action")).unwrap();
        let script = body["triggers"][0]["query_level_trigger"]["condition"]["script"]["source"].to_string();
        assert!(script.contains(&format!("<= {})", pause * 60_000)), "{lateness}: {script}");
        let query = &body["inputs"][0]["search"]["query"];
        let from = |filter: &Value| filter["range"]["@timestamp"]["from"].clone();
        assert_eq!(from(&query["post_filter"]), format!("{{{{period_end}}}}||-{lasts}m"));
        let before = &query["aggregations"]["before"]["filter"];
        assert_eq!(from(before), format!("{{{{period_end}}}}||-{}m", lasts + pause));
    }
}

#[test]
fn what_tells_goes_on_over_a_pause() {
    for (what, looks_back) in [("\"enriched\", \"scores\"", "-2m"), ("\"enriched\"", "-60m")] {
        let text = format!("[sink]\nwhat = [{what}]\n[[pipeline]]\npreset = \"waf\"\n");
        let config = Config::parse(&text, "test", &Environment::default()).unwrap();
        let all = wanted(&config, &config.pipelines[0], Parts { channels: true, detectors: true });
        let (_, body) = all.iter().find(|(name, _)| name.ends_with("(detectors)")).unwrap();
        let query = body["inputs"][0]["search"]["query"]["query"].to_string();
        assert!(query.contains(&format!("{{{{period_end}}}}||{looks_back}")), "{what}: {query}");
    }
}

#[test]
fn who_tells_is_decided_for_each_pipeline() {
    let pipelines = r#"
        [[pipeline]]
        preset = "waf"
        name = "flags-and-detectors"

        [[pipeline]]
        name = "detectors"
        [[pipeline.detectors]]
        name = "all"
        measures = ["count"]

        [[pipeline]]
        name = "flags"
        [[pipeline.flags]]
        name = "status"
        field = "status"
        good = { name = "ok", match = ["2xx"] }
        bad = { name = "not_ok", match = ["5xx"] }
        other = "neither"

        [[alerting.channels]]
        name = "team"
        type = "webhook"
        url = "https://hooks.example.com/x"
    "#;
    let everything = Installed { alerting: true, notifications: true, detection: true };
    let silent = Installed { notifications: false, ..everything };
    for (what, there, want) in [
        ("\"enriched\", \"scores\"", everything, [true, true, true]),
        // Without scores only OpenSearch's own detectors know of anomalies, and they look at flags.
        ("\"enriched\"", everything, [true, false, true]),
        // Without a detector there is nothing to tell.
        ("\"enriched\", \"scores\"", silent, [false, false, true]),
    ] {
        let text = format!("[sink]\nwhat = [{what}]\n{pipelines}");
        let config = Config::parse(&text, "test", &Environment::default()).unwrap();
        let told: Vec<bool> = config.pipelines.iter().map(|pipeline| tell(&config, pipeline, there)).collect();
        assert_eq!(told, want, "{what} {there:?}");
    }
}
