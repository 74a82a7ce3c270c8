//! The configuration: one strict TOML file, environment overrides, and every mistake at once.
//!
//! Stands before all services: [`Config::load`] makes valid values from the file in one step, and nothing
//! behind it checks again. The way of a value: text → `tree` (with places) → `pipeline::preset` and
//! `environment` complete it → the readers of each section → [`Config`]; `writer` is the way back.
//!
//! Invariants:
//! - An unknown key is refused everywhere, and each mistake says where it is and what to do.
//! - [`effective`] loads again as the same configuration, apart from its secrets, which it never shows.

mod alerting;
mod check;
mod environment;
mod kafka;
mod mistake;
mod names;
mod opensearch;
mod pipeline;
mod process;
mod reader;
mod secret;
mod serve;
mod sink;
#[cfg(test)]
mod tests;
pub(crate) mod text;
mod tree;
mod writer;

pub use alerting::{Alerting, Channel, Email, Owner, Recipient, Security, Severity};
pub use check::{CheckFailed, check};
pub use environment::{Environment, OVERRIDE};
pub use kafka::{Kafka, Property};
pub use mistake::{Mistake, Mistakes, Place};
pub use opensearch::{Aws, AwsService, Indices, OpenSearch};
pub use process::{Guarantee, Process};
pub use secret::{MASK, Secret};
pub use serve::{Level, Listen, LogFormat, Serve, Telemetry};
pub use sink::{IndexKind, Sink, Sqlite, Stage};

pub(crate) use mistake::suggestion;
use mistake::{Found, Sources};
use outlier_core::pipeline::Pipeline;
use reader::{Context, Reader};
use std::cell::RefCell;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;
use writer::Writer;

/// The file that is read when none is named.
pub const DEFAULT_FILE: &str = "./outlier.toml";

/// The largest configuration file; bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// A valid configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The broker and the topics.
    pub kafka: Kafka,
    /// Transactions and memory of the two stages.
    pub process: Process,
    /// What is indexed.
    pub sink: Sink,
    /// Where to, in production.
    pub opensearch: OpenSearch,
    /// Where to, on a laptop.
    pub sqlite: Sqlite,
    /// Who tells people about anomalies, and where.
    pub alerting: Alerting,
    /// The dashboard.
    pub serve: Serve,
    /// Logs, health and metrics.
    pub telemetry: Telemetry,
    /// The streams of logs; at least one, of different names and topics.
    pub pipelines: Vec<Pipeline>,
}

impl Config {
    /// Loads the named file, else `./outlier.toml` if it is there, else the built-in `waf` pipeline, with the
    /// environment of this process.
    ///
    /// # Errors
    /// Every mistake of the file and of the environment's overrides, or why the file cannot be read.
    pub fn load(path: Option<&Path>) -> Result<Self, Mistakes> {
        let (name, text) = open(path)?;
        Self::parse(&text, &name, &Environment::of_process())
    }

    /// Reads a configuration from a text; `name` stands for it in mistakes.
    ///
    /// # Errors
    /// Every mistake of the text and of the environment's overrides.
    pub fn parse(text: &str, name: &str, environment: &Environment) -> Result<Self, Mistakes> {
        let mut sources = Sources::default();
        let mut found = Found::default();
        let source = sources.add(name, text);
        let mut root = tree::parse(source, text, &mut found);
        pipeline::preset::complete(&mut root, &mut sources, &mut found);
        environment.apply(&mut root, &mut found);
        let context = Context { environment, found: RefCell::new(found) };
        let config = Self::read(Reader::top(&context, &root, source));
        match context.found.into_inner().into_mistakes(&sources) {
            Some(mistakes) => Err(mistakes),
            None => Ok(config),
        }
    }

    fn read(mut top: Reader<'_>) -> Self {
        let kafka = Kafka::read(top.table("kafka", "[kafka]"));
        let process = Process::read(top.table("process", "[process]"));
        let (serve, serve_at) = Serve::read(top.table("serve", "[serve]"));
        let telemetry = Telemetry::read(top.table("telemetry", "[telemetry]"));
        serve::check_addresses(&top, &serve, serve_at, &telemetry);
        let pipelines = pipeline::read_all(&mut top, &kafka.topic_prefix);
        process.check_queues(&top, &pipelines);
        let config = Self {
            sink: Sink::read(top.table("sink", "[sink]")),
            opensearch: OpenSearch::read(top.table("opensearch", "[opensearch]")),
            sqlite: Sqlite::read(top.table("sqlite", "[sqlite]")),
            alerting: Alerting::read(top.table("alerting", "[alerting]")),
            kafka,
            process,
            serve,
            telemetry,
            pipelines,
        };
        top.finish();
        config
    }
}

/// The complete configuration as TOML, defaults included and secrets masked. It loads again as the same.
pub fn effective(config: &Config) -> String {
    let mut w = Writer::default();
    config.kafka.write(&mut w);
    config.process.write(&mut w);
    config.sink.write(&mut w);
    config.opensearch.write(&mut w);
    config.sqlite.write(&mut w);
    config.alerting.write(&mut w);
    config.serve.write(&mut w);
    config.telemetry.write(&mut w);
    for pipeline in &config.pipelines {
        pipeline::write(pipeline, &mut w);
    }
    w.into_text()
}

/// The name and the text of the file to read.
fn open(path: Option<&Path>) -> Result<(String, String), Mistakes> {
    let named = path.unwrap_or(Path::new(DEFAULT_FILE));
    let name = named.display().to_string();
    let mut bytes = Vec::new();
    let read = File::open(named).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes));
    match read {
        Err(error) if path.is_none() && error.kind() == ErrorKind::NotFound => {
            let (file, text) = pipeline::preset::shipped();
            return Ok((file.to_owned(), text.to_owned()));
        }
        Err(error) => {
            let text = format!("the file cannot be read: {error}; correct the path or its rights");
            return Err(Mistakes::whole(name, text));
        }
        Ok(_) if bytes.len() as u64 > MAX_FILE_BYTES => {
            let text = format!("the file has more than {MAX_FILE_BYTES} bytes: is it a configuration?");
            return Err(Mistakes::whole(name, text));
        }
        Ok(_) => {}
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok((name, text)),
        Err(error) => {
            let offset = error.utf8_error().valid_up_to();
            let sound = String::from_utf8_lossy(&error.as_bytes()[..offset]);
            let mut sources = Sources::default();
            let source = sources.add(&name, &sound);
            let place = sources.place(&mistake::At::File { source, offset });
            Err(Mistakes::one(place, "this is not UTF-8: save the file as UTF-8"))
        }
    }
}
