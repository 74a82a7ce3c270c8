//! The files in `config/` load, and say what the design says.

use super::{mistakes, valid};
use crate::config::{Config, IndexKind, check as check_file, effective};
use std::path::{Path, PathBuf};

fn shipped(name: &str) -> (PathBuf, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name);
    let text = std::fs::read_to_string(&path).unwrap();
    (path, text)
}

#[test]
fn every_shipped_file_loads() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let mut names: Vec<_> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["aws-waf.toml", "demo.toml", "outlier.toml", "waf.toml"]);
    for name in names {
        let config = valid(&shipped(&name).1, &[]);
        let shown = effective(&config);
        assert_eq!(valid(&shown, &[]), config, "{name}");
    }
}

#[test]
fn waf_is_the_design_s_table() {
    let config = valid(&shipped("waf.toml").1, &[]);
    let waf = &config.pipelines[0];
    let flags: Vec<&str> = waf.flag_names().collect();
    assert_eq!(
        flags,
        [
            "K_action",
            "B_action",
            "K_source",
            "UNK_source",
            "G_httpstatus",
            "B_httpstatus",
            "K_country",
            "UNK_country",
            "common_method",
            "uncommon_method",
        ]
    );
    for (detector, group) in waf.detectors.iter().zip(&waf.flags) {
        assert_eq!(detector.name, group.name);
        let measures: Vec<String> = detector.measures.iter().map(ToString::to_string).collect();
        assert_eq!(measures, [format!("sum({})", group.good.name), format!("sum({})", group.bad.name)]);
        assert_eq!((detector.window, detector.lateness, detector.threshold), (60_000, 10_000, 90.0));
    }
    assert_eq!((waf.detectors.len(), waf.flags.len()), (5, 5));
    assert_eq!(waf.topics.raw, "waf.raw");
    assert_eq!(waf.topics.rejected, "waf.rejected");
}

#[test]
fn the_demo_is_waf_in_quick_windows() {
    let mut waf = valid(&shipped("waf.toml").1, &[]);
    let demo = valid(&shipped("demo.toml").1, &[]);
    for detector in &mut waf.pipelines[0].detectors {
        (detector.window, detector.hop, detector.lateness) = (10_000, 10_000, 2_000);
    }
    assert_eq!(demo.pipelines, waf.pipelines);
    assert_eq!(demo.sink.index, IndexKind::Sqlite);
    assert_eq!(demo.process.idle_timeout.as_secs(), 3);
}

/// Taking away the `#` before each key changes nothing, so the defaults in the reference are the real ones;
/// and the reference has every key that there is.
#[test]
fn the_reference_tells_the_truth() {
    let text = shipped("outlier.toml").1;
    let is_key = |line: &str| line.starts_with('#') && !line.starts_with("# ") && line.len() > 1;
    let full: String =
        text.lines().map(|line| if is_key(line) { &line[1..] } else { line }).map(|line| format!("{line}\n")).collect();
    let config = valid(&text, &[]);
    let mut full_config = valid(&full, &[]);
    let own = full_config.pipelines.pop().unwrap();
    assert_eq!(full_config, config);
    let built_in = valid(&shipped("waf.toml").1, &[]);
    assert_eq!(config, built_in);

    let short = "[[pipeline]]\nname = \"web\"";
    let defaults = valid(short, &[]).pipelines.remove(0);
    assert_eq!((own.topics, own.timestamp), (defaults.topics, defaults.timestamp));
    assert_eq!(own.max_record_bytes, defaults.max_record_bytes);
    assert_eq!(own.max_depth, defaults.max_depth);
    assert_eq!(own.windows_partitions, defaults.windows_partitions);

    let secret = "[kafka.properties]\n[opensearch]\nusername=\"u\"\npassword=\"p\"\nca_file=\"c\"\nclient_cert_file=\"c\"\nclient_key_file=\"k\"\ndashboards_url=\"http://d\"\n[[alerting.channels]]\nname=\"w\"\ntype=\"webhook\"\nurl=\"https://w\"\n[[alerting.channels]]\nname=\"m\"\ntype=\"email\"\nhost=\"h\"\nusername=\"u\"\npassword=\"p\"\nfrom=\"a@b.c\"\nto=[\"c@d.e\"]\n[serve]\ntoken=\"t\"\n[telemetry]\ntoken=\"t\"\n[[pipeline]]\npreset=\"waf\"";
    let shown = effective(&valid(secret, &[]));
    let keys = shown.lines().filter_map(|line| Some(line.split_once(" = ")?.0));
    for key in keys.chain(["preset", "window", "lateness", "threshold"]) {
        assert!(text.contains(&format!("{key} = ")), "the reference lacks {key}");
    }
}

#[test]
fn a_mistake_in_a_preset_names_it() {
    let text = "[[pipeline]]\npreset = \"aws-waf\"\nflags = []\n";
    let got = mistakes(text, &[]).join("\n");
    assert!(got.contains("built-in aws-waf.toml:") && got.contains("this pipeline has none"), "{got}");
}

#[test]
fn check_prints_mistakes_or_what_is_in_force() {
    let (path, _) = shipped("demo.toml");
    let mut out = Vec::new();
    check_file(Some(&path), &mut out).unwrap();
    let shown = String::from_utf8(out).unwrap();
    assert!(shown.starts_with("# Effective configuration from ") && shown.contains("window = \"10s\""));
    valid(&shown, &[]);

    let mut out = Vec::new();
    let failed = check_file(Some(Path::new("/nowhere/x.toml")), &mut out).unwrap_err();
    assert_eq!(failed.to_string(), "1 mistake(s) in the configuration");
    let shown = String::from_utf8(out).unwrap();
    assert!(shown.starts_with("/nowhere/x.toml: the file cannot be read: No such file"), "{shown}");
}

#[test]
fn without_a_file_the_built_in_pipeline_is_used() {
    // The tests' working directory is the package's, where there is no outlier.toml.
    let config = Config::load(None).unwrap();
    assert_eq!(config.pipelines[0].name, "waf");
}
