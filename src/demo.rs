//! `demo`: everything in one process, on the embedded broker and the embedded index.
//!
//! The services are the same as in production and speak the Kafka protocol to the broker; only the configuration
//! differs. Nothing is kept: broker and index are gone at the end.

use crate::config::{Config, Environment, IndexKind, Mistakes};
use crate::produce::{self, Control, Field, Rhythm};
use crate::serve::Trigger;
use crate::telemetry::Telemetry;
use crate::{alert, process, serve, setup, sink};
use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use outlier_broker::Broker;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const CONFIG: &str = include_str!("../config/demo.toml");
/// How long an anomaly of the demo lasts.
const LASTS: Duration = Duration::from_secs(40);

/// What the demo can be told.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Where the dashboard listens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Where the embedded broker listens, for kcat and other clients; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    broker: SocketAddr,
    /// Mock records a second, on average over the day
    #[arg(long, value_name = "NUMBER", default_value_t = 5.0)]
    rate: f64,
    /// History before the live records, such as 2d or 6h
    #[arg(long, value_name = "TIME", default_value = "2d", value_parser = time)]
    history: Duration,
    /// When the first anomaly comes, after the live records began
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time)]
    anomaly_after: Duration,
    /// Seed of the mock records [default: random]
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
}

fn time(text: &str) -> Result<Duration, String> {
    crate::config::text::duration(text).ok_or_else(|| "write a time such as 30s, 6h or 2d".to_owned())
}

/// A folder that is removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("outlier-demo-{}", std::process::id()));
        std::fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The demo's configuration: its built-in file and the environment's overrides.
///
/// # Errors
/// Mistakes in the overrides.
pub fn config() -> Result<Config, Mistakes> {
    Config::parse(CONFIG, "config/demo.toml", &Environment::of_process())
}

/// Mock logs reach nothing that is real, whatever the configuration names.
fn keep_inside(config: &mut Config, folder: &Path, servers: &str) {
    config.kafka.bootstrap_servers = servers.to_owned();
    config.kafka.properties.clear();
    // Of one broker.
    config.kafka.replication_factor = -1;
    config.process.data_dir = folder.join("data");
    config.sqlite.path = folder.join("index.sqlite");
    if config.sink.index != IndexKind::Sqlite || !config.alerting.channels.is_empty() {
        tracing::info!("the demo writes to its own index and tells nobody, whatever is configured");
    }
    config.sink.index = IndexKind::Sqlite;
    config.alerting.channels.clear();
}

/// Runs the demo until `stop`.
///
/// # Errors
/// A port is taken, or a service failed.
pub async fn run(mut config: Config, options: Options, stop: CancellationToken) -> anyhow::Result<()> {
    anyhow::ensure!(
        options.listen.ip().is_loopback() && options.broker.ip().is_loopback(),
        "the demo has no authentication and listens on loopback addresses only, such as 127.0.0.1"
    );
    // The dashboard's port is looked at first: the likeliest thing to be taken.
    drop(crate::telemetry::http::bind(options.listen, "--listen").await?);
    let folder = Folder::new()?;
    let broker = Broker::start(outlier_broker::Config { listen: options.broker, ..Default::default() }).await;
    let broker = broker.with_context(|| format!("the embedded broker cannot listen on {}", options.broker))?;
    keep_inside(&mut config, &folder.0, &broker.address().to_string());
    config.serve.listen.address = options.listen;
    let config = Arc::new(config);
    setup::ensure_topics(&config).await?;

    let telemetry = Telemetry::default();
    let control = Control::default();
    let pipeline = config.pipelines.first().context("the demo's configuration has no pipeline")?.name.clone();
    println!("outlier demo: everything runs in this process and is gone when it ends (ctrl-C)");
    println!("  dashboard  http://{}", options.listen);
    println!("  broker     kcat -b {} -t {pipeline}.enriched -C", broker.address());
    println!("  index      {}", config.sqlite.path.display());

    let (requests, button) = mpsc::channel(4);
    let fields = Field::ALL.iter().map(ToString::to_string).collect();
    let trigger = Trigger::new(fields, requests);
    let mut services: JoinSet<anyhow::Result<()>> = JoinSet::new();
    services.spawn(serve::run(config.clone(), Some(trigger), telemetry.clone(), stop.clone()));
    services.spawn(process::run(config.clone(), telemetry.clone(), stop.clone()));
    services.spawn(sink::run(config.clone(), telemetry.clone(), stop.clone()));
    services.spawn(alert::run(config.clone(), telemetry.clone(), stop.clone()));
    services.spawn(write_logs(config.clone(), options.clone(), telemetry.clone(), control.clone(), stop.clone()));
    services.spawn(anomalies(control.clone(), options.anomaly_after, button, stop.clone()));
    services.spawn(show(control, telemetry, pipeline, stop.clone()));

    let mut result = Ok(());
    while let Some(ended) = services.join_next().await {
        if let Err(error) = ended.context("a service of the demo was cut off").flatten() {
            stop.cancel();
            result = result.and(Err(error));
        }
    }
    broker.shutdown().await;
    result
}

async fn write_logs(
    config: Arc<Config>,
    options: Options,
    telemetry: Telemetry,
    control: Control,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let options = produce::Options {
        rate: Some(options.rate),
        seed: options.seed,
        rhythm: Rhythm::Daily,
        backfill: Some(options.history),
        no_progress: true,
        ..Default::default()
    };
    produce::run(config, options, telemetry, control, stop).await?;
    Ok(())
}

/// Enforces the first anomaly by the clock, the others by the page's button.
async fn anomalies(
    control: Control,
    after: Duration,
    mut button: mpsc::Receiver<String>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut progress = control.progress();
    let first = async {
        progress.wait_for(|progress| progress.live).await?;
        tokio::time::sleep(after).await;
        anyhow::Ok(())
    };
    tokio::pin!(first);
    let mut waiting = true;
    loop {
        let field = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            result = &mut first, if waiting => {
                waiting = false;
                result?;
                "action".to_owned()
            }
            Some(field) = button.recv() => field,
        };
        if let Ok(field) = field.parse::<Field>() {
            control.trigger(field, None, LASTS);
            say(&format!("an anomaly of {field} begins now and lasts {} s", LASTS.as_secs()));
        }
    }
}

/// A line that does not break a progress bar.
fn say(line: &str) {
    if std::io::stderr().is_terminal() {
        eprintln!("\r\x1b[2K{line}");
    } else {
        eprintln!("{line}");
    }
}

/// Shows the history's progress, then live counts; on a terminal in one line, else now and then.
async fn show(control: Control, telemetry: Telemetry, pipeline: String, stop: CancellationToken) -> anyhow::Result<()> {
    let count = |service, outcome| telemetry.metrics.records(service, &pipeline, outcome, "");
    let counts = [
        ("produced", count("produce", "out")),
        ("enriched", count("process", "out")),
        ("scores", count("score", "scores")),
        ("anomalies", count("score", "anomalies")),
        ("alerts", count("alert", "began")),
        ("indexed", count("sink", "out")),
    ];
    let terminal = std::io::stderr().is_terminal();
    let bar = ProgressBar::new(1_000);
    bar.set_style(ProgressStyle::with_template("  history    {bar:32} {percent:>3} %  {msg}")?);
    let progress = control.progress();
    let started = std::time::Instant::now();
    let mut told = 0;
    let mut was_live = false;
    loop {
        let now = *progress.borrow();
        let line = counts.iter().map(|(name, count)| format!("{name} {}", count.get())).collect::<Vec<_>>().join("  ");
        if now.live && !was_live {
            was_live = true;
            bar.finish_and_clear();
            say(&format!("  history    written in {:.0} s, live records follow", started.elapsed().as_secs_f64()));
            bar.reset();
            bar.set_style(ProgressStyle::with_template("  live       {msg}")?);
        }
        if terminal {
            if !was_live {
                bar.set_position((now.share() * 1_000.0) as u64);
            }
            bar.set_message(line);
            bar.tick();
        } else if started.elapsed().as_secs() / 10 > told {
            told = started.elapsed().as_secs() / 10;
            eprintln!("  {:>3.0} % of the history  {line}", now.share() * 100.0);
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(Duration::from_millis(500)) => {}
        }
    }
    bar.finish_and_clear();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mock_logs_reach_nothing_that_is_real() {
        let text = "[kafka]\nbootstrap_servers = \"real:9092\"\nreplication_factor = 3\n[kafka.properties]\n\"sasl.username\" = \"u\"\n\
                    [sink]\nindex = \"opensearch\"\n[alerting]\nowner = \"outlier\"\n\
                    [[alerting.channels]]\nname = \"team\"\ntype = \"webhook\"\nurl = \"http://real:1\"\n\
                    [[pipeline]]\npreset = \"waf\"\n";
        let mut config = Config::parse(text, "test", &Environment::default()).unwrap();
        keep_inside(&mut config, Path::new("folder"), "embedded:1");
        assert_eq!((config.sink.index, config.alerting.channels.len()), (IndexKind::Sqlite, 0));
        assert_eq!((config.kafka.bootstrap_servers.as_str(), config.kafka.properties.len()), ("embedded:1", 0));
        assert_eq!(config.kafka.replication_factor, -1);
        assert!(config.sqlite.path.starts_with("folder") && config.process.data_dir.starts_with("folder"));
    }
}
