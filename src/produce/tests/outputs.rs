//! Log files as an exporter leaves them, and the whole run with options.

use super::{Bench, Folder, NOW, content, files, settings, telemetry};
use crate::config::{Config, Environment};
use crate::produce::run::Mock;
use crate::produce::sink::{Files, Outgoing};
use crate::produce::{Anomaly, Control, Options, Times, run};
use prometheus_client::metrics::counter::Counter;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

async fn write(files: &mut Files, at: i64, text: &str) {
    files.write(Outgoing { at, stamped: true, key: None, bytes: text.as_bytes() }).await.unwrap();
}

#[tokio::test]
async fn a_file_appears_when_its_slot_is_over() {
    for (gzip, end) in [(false, "log"), (true, "log.gz")] {
        let folder = Folder::new();
        let mut files = Files::new(&folder.0, "waf", 4, gzip, Counter::default()).unwrap();
        write(&mut files, NOW, "a").await;
        write(&mut files, NOW + 200, "b").await;
        assert_eq!(files.due(), Some(1_795_399_665_000));
        files.rest(NOW + 241).await.unwrap();
        assert_eq!(folder.names(), [format!(".waf_20261123T020730Z_000000.{end}.part")]);
        write(&mut files, NOW + 242, "c").await;
        files.rest(NOW + 15_242).await.unwrap();
        assert_eq!(files.due(), None);
        write(&mut files, NOW + 60_000, "d").await;
        assert_eq!(files.finish().await.unwrap().written, 4);
        let expected = [
            (format!("waf_20261123T020730Z_000000.{end}"), "a\nb\n"),
            (format!("waf_20261123T020745Z_000001.{end}"), "c\n"),
            (format!("waf_20261123T020830Z_000002.{end}"), "d\n"),
        ];
        let expected: Vec<_> = expected.into_iter().map(|(name, text)| (name, text.to_owned())).collect();
        assert_eq!(folder.files(), expected);
    }
}

#[tokio::test]
async fn nothing_is_overwritten() {
    let folder = Folder::new();
    let mut both: Vec<Files> =
        (0..2).map(|_| Files::new(&folder.0, "waf", 1, false, Counter::default()).unwrap()).collect();
    for files in &mut both {
        write(files, NOW, "x").await;
    }
    for files in both {
        files.finish().await.unwrap();
    }
    let mut again = Files::new(&folder.0, "waf", 1, false, Counter::default()).unwrap();
    write(&mut again, NOW, "x").await;
    again.finish().await.unwrap();
    let files = folder.files();
    assert_eq!(files.len(), 3);
    assert!(files.iter().all(|(name, text)| text == "x\n" && !name.starts_with('.')), "{files:?}");
}

#[tokio::test(start_paused = true)]
async fn as_many_files_a_minute_as_asked() {
    for (per_minute, expected) in [(4, 4), (7, 7), (1, 1)] {
        let folder = Folder::new();
        // Ten whole minutes.
        let start = NOW - NOW % 60_000 - 600_000;
        let mock = Mock { start, history_only: true, anomaly: None };
        let settings = crate::produce::generator::Settings { start, ..settings() };
        let mut bench = Bench::new();
        bench.clock = crate::produce::clock::Clock::Manual(start + 600_000, tokio::time::Instant::now());
        bench.mock(&settings, &mock, files(&folder, per_minute, false)).await;
        assert_eq!(folder.files().len(), expected * 10, "{per_minute}");
    }
}

fn config() -> Arc<Config> {
    Arc::new(Config::parse("[[pipeline]]\npreset = \"waf\"", "test", &Environment::default()).unwrap())
}

async fn whole(options: Options) -> anyhow::Result<crate::produce::Summary> {
    run(config(), options, telemetry(), Control::default(), CancellationToken::new()).await
}

/// What was exported can be replayed into the same bytes.
#[tokio::test]
async fn exported_replayed_exported() {
    let (first, second) = (Folder::new(), Folder::new());
    let mock = Options {
        dir: Some(first.0.clone()),
        gzip: true,
        seed: Some(1),
        start: Some(NOW - 600_000),
        count: Some(1000),
        anomaly: Anomaly::None,
        ..Options::default()
    };
    assert_eq!(whole(mock).await.unwrap().sent, 1000);
    let inputs: Vec<_> = first.files().into_iter().map(|(name, _)| first.0.join(name)).collect();
    assert!(inputs.len() > 5);
    let replay =
        Options { dir: Some(second.0.clone()), input: inputs.clone(), time: Times::Keep, ..Options::default() };
    assert_eq!(whole(replay).await.unwrap().sent, 1000);
    let expected: String = inputs.iter().map(|path| content(path)).collect();
    let got: String = second.files().into_iter().map(|(_, text)| text).collect();
    assert!(got == expected);
}

#[tokio::test]
async fn mistakes_say_what_to_do() {
    let nowhere = Options { pipeline: Some("web".to_owned()), ..Options::default() };
    let missing = Options { input: vec!["/missing/file.log".into()], ..Options::default() };
    let file = Folder::new();
    let taken = file.0.join("taken");
    std::fs::write(&taken, "").unwrap();
    let no_folder = Options { dir: Some(taken), duration: Some(Duration::ZERO), ..Options::default() };
    for (options, words) in [
        (nowhere, "the configured ones are waf"),
        (missing, "/missing/file.log cannot be read"),
        (no_folder, "choose another --dir"),
    ] {
        let error = format!("{:#}", whole(options).await.unwrap_err());
        assert!(error.contains(words), "{error}");
    }
}
