//! Tests of `produce` as a whole: the stream, the loops on a clock that is advanced, and the ways out.

mod kafka;
mod loops;
mod outputs;
mod stream;

use super::clock::Clock;
use super::control::{Control, Progress};
use super::generator::{Generator, Mode, Rhythm, Settings};
use super::run::{Mock, Run};
use super::sink::{Files, Sink};
use super::stamp::Written;
use crate::telemetry::Telemetry;
use outlier_core::pipeline::Millis;
use prometheus_client::metrics::counter::Counter;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// 2026-11-23T02:07:44.758Z.
const NOW: Millis = 1_795_399_664_758;

fn settings() -> Settings {
    Settings { seed: 42, start: NOW, rate: 5.0, rhythm: Rhythm::Flat, mode: Mode::Usual, written: Written::Millis }
}

/// A folder that is removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("outlier-produce-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// The name of every file, hidden ones too, sorted.
    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// Name and unpacked content of every file, by name.
    fn files(&self) -> Vec<(String, String)> {
        let with_content = |name: String| {
            let text = content(&self.0.join(&name));
            (name, text)
        };
        self.names().into_iter().map(with_content).collect()
    }

    /// Every line of every file, in the order of the files' names.
    fn lines(&self) -> Vec<String> {
        self.files().iter().flat_map(|(_, text)| text.lines()).map(str::to_owned).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn content(path: &Path) -> String {
    let bytes = std::fs::read(path).unwrap();
    let mut text = String::new();
    match bytes.starts_with(&[0x1f, 0x8b]) {
        true => flate2::bufread::MultiGzDecoder::new(&*bytes).read_to_string(&mut text).unwrap(),
        false => bytes.as_slice().read_to_string(&mut text).unwrap(),
    };
    text
}

fn files(folder: &Folder, per_minute: u32, gzip: bool) -> Sink {
    Sink::Files(Box::new(Files::new(&folder.0, "waf", per_minute, gzip, Counter::default()).unwrap()))
}

/// A run's surroundings, with tokio's clock stopped at [`NOW`].
struct Bench {
    clock: Clock,
    control: Control,
    stop: CancellationToken,
    count: Option<u64>,
    duration: Option<Duration>,
}

impl Bench {
    fn new() -> Self {
        Self {
            clock: Clock::Manual(NOW, Instant::now()),
            control: Control::default(),
            stop: CancellationToken::new(),
            count: None,
            duration: None,
        }
    }

    fn run<'a>(&'a self, sink: &'a mut Sink) -> Run<'a> {
        Run {
            sink,
            clock: self.clock,
            control: &self.control,
            stop: &self.stop,
            key: None,
            count: self.count,
            duration: self.duration,
            progress: Progress::default(),
        }
    }

    /// Mock logs into the sink, to the end.
    async fn mock(&self, settings: &Settings, mock: &Mock, mut sink: Sink) -> u64 {
        let mut generator = Generator::new(settings);
        self.run(&mut sink).mock(&mut generator, mock).await.unwrap();
        sink.finish(Duration::from_secs(1)).await.unwrap().written
    }
}

/// A record's event time.
fn time_of(line: &str) -> Millis {
    let record: serde_json::Value = serde_json::from_str(line).unwrap();
    record["timestamp"].as_i64().unwrap()
}

fn telemetry() -> Telemetry {
    Telemetry::default()
}
