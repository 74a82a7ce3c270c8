//! The command line: one subcommand a service.

use crate::config::{self, Config};
use crate::telemetry::Telemetry;
use crate::{
    alert, backtest, bootstrap, demo, process, produce, rejected, serve, setup, shutdown, sink, state, telemetry,
};
use anyhow::Context;
use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use std::io::stdout;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Real-time anomaly detection for logs, on Kafka and OpenSearch.
#[derive(Debug, Parser)]
#[command(name = "outlier", version, max_term_width = 100)]
struct Cli {
    /// Configuration file [default: ./outlier.toml if it exists, else the built-in waf pipeline].
    #[arg(short, long, global = true, env = "OUTLIER_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write mock logs, or real log files, into the raw topic, into files or to standard output.
    Produce(Box<produce::Options>),
    /// Flag records, count windows and score them: raw topic in, enriched and scores out.
    ///
    /// Start as many as you like, up to the raw topic's partitions: they share the work as a consumer group.
    Process,
    /// Turn anomalies into alerts, and tell people of each once where OpenSearch does not.
    ///
    /// Start several, if you like: they share the work as a consumer group.
    Alert {
        #[command(subcommand)]
        what: Option<alert::list::Command>,
    },
    /// Index raw records, enriched records, scores and alerts in OpenSearch or SQLite.
    Sink {
        /// Do not apply index templates, channels, detectors and monitors at the start, nor look after OpenSearch's
        /// detectors and old indices
        #[arg(long)]
        no_setup: bool,
    },
    /// Serve the dashboard, its JSON API and metrics.
    Serve,
    /// Create topics, index templates, notification channels, detectors and monitors; running it again changes nothing.
    Setup {
        /// Change nothing; print what would be changed, and the rights needed in Kafka
        #[arg(long)]
        dry_run: bool,
        /// The topics alone
        #[arg(long, conflicts_with = "only_index")]
        only_topics: bool,
        /// Index templates, channels, detectors and monitors alone
        #[arg(long)]
        only_index: bool,
        /// Overwrite what was changed by hand, and make again what was deleted by hand
        #[arg(long)]
        force: bool,
        /// Take away from OpenSearch what a setup made; topics and indices stay, they hold your data
        #[arg(long, conflicts_with = "only_topics")]
        remove: bool,
        /// Send one message by this notification channel, as whoever tells of alerts does, and do nothing else
        #[arg(long, value_name = "CHANNEL", conflicts_with_all = ["dry_run", "only_topics", "only_index", "force", "remove"])]
        test: Option<String>,
        /// Write the dashboards as a file for the import of OpenSearch Dashboards (`-`: standard output), and do nothing else
        #[arg(long, value_name = "FILE", conflicts_with_all = ["dry_run", "only_topics", "only_index", "force", "remove", "test"])]
        export_dashboards: Option<PathBuf>,
        /// Let OpenSearch's detector of this flag group go over the data that is indexed already, and sum up what it finds
        #[arg(long, value_name = "GROUP", conflicts_with_all = ["dry_run", "only_topics", "only_index", "force", "remove", "test", "export_dashboards"])]
        historical: Option<String>,
        /// How far back the historical analysis looks
        #[arg(long, value_name = "TIME", default_value = "7d", value_parser = produce::duration, requires = "historical")]
        last: Duration,
    },
    /// Let the models learn from history, before `process` runs for the first time.
    Bootstrap(Box<bootstrap::Options>),
    /// Look at what the models know.
    #[command(subcommand)]
    State(state::State),
    /// Look at rejected records, and send them back after a fix.
    #[command(subcommand)]
    Rejected(rejected::Rejected),
    /// Run everything in this process, on an embedded broker and index, with mock logs and two days of history.
    Demo(demo::Options),
    /// Score log files or a range of the raw topic at full speed, and report what would have alerted.
    Backtest(Box<backtest::Options>),
    /// Check the configuration: print every mistake, or the complete effective configuration.
    Check,
    /// Print a completion script for your shell.
    Completions {
        /// bash, zsh, fish, elvish or powershell.
        shell: Shell,
    },
}

/// Runs the command line; the exit code is 0 for success, 1 for a failure, 2 for a wrong call or configuration.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match &cli.command {
        Command::Check => match config::check(cli.config.as_deref(), &mut stdout()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::from(2),
        },
        Command::Completions { shell } => {
            clap_complete::generate(*shell, &mut Cli::command(), "outlier", &mut stdout());
            ExitCode::SUCCESS
        }
        _ => run_service(cli),
    }
}

fn run_service(cli: Cli) -> ExitCode {
    let loaded = match &cli.command {
        // The demo brings its own configuration, whatever lies around.
        Command::Demo(_) if cli.config.is_none() => demo::config(),
        _ => Config::load(cli.config.as_deref()),
    };
    let config = match loaded {
        Ok(config) => Arc::new(config),
        Err(mistakes) => {
            eprintln!("{mistakes}");
            return ExitCode::from(2);
        }
    };
    telemetry::log::start(&config.telemetry);
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(service(cli.command, config));
    // Threads that still wait for a broker must not hold the process.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("outlier: {error:#}");
            error.downcast_ref().map_or(ExitCode::FAILURE, |ended: &backtest::Ended| ExitCode::from(ended.code))
        }
    }
}

async fn service(command: Command, config: Arc<Config>) -> anyhow::Result<()> {
    let stop = shutdown::on_signals(config.telemetry.shutdown_deadline)?;
    match command {
        Command::Demo(options) => return demo::run(Config::clone(&config), options, stop).await,
        Command::Backtest(options) => return backtest::run(config, *options, stop).await,
        Command::Setup { test: Some(channel), .. } => {
            println!("{}", alert::test_channel(&config, &channel).await?);
            return Ok(());
        }
        Command::Setup { export_dashboards: Some(path), .. } => {
            let text = setup::dashboards::ndjson(&config);
            if path.as_os_str() == "-" {
                print!("{text}");
            } else {
                std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
            }
            return Ok(());
        }
        Command::Setup { historical: Some(flag), last, .. } => {
            let analysis = setup::detectors::historical::Analysis { flag, last };
            print!("{}", setup::analyse(&config, &analysis).await?);
            return Ok(());
        }
        Command::Setup { dry_run, only_topics, only_index, force, remove, .. } => {
            let options = setup::Options { dry_run, topics: !only_index, index: !only_topics, force, remove };
            return setup::run(&config, options, &mut stdout()).await;
        }
        Command::State(what) => {
            return tokio::task::spawn_blocking(move || state::run(&config, &what, &mut stdout())).await?;
        }
        Command::Alert { what: Some(what) } => {
            return tokio::task::spawn_blocking(move || alert::list::run(&config, &what, &mut stdout())).await?;
        }
        Command::Rejected(what) => {
            return tokio::task::spawn_blocking(move || rejected::run(&config, &what, &mut stdout())).await?;
        }
        _ => {}
    }
    let telemetry = Telemetry::default();
    // The dashboard answers for itself; mock logs on standard output are no service.
    let beside = match &command {
        Command::Serve => None,
        Command::Produce(options) if options.stdout || options.dir.is_some() => None,
        // A task that ends; another service on this machine may have the port.
        Command::Bootstrap(_) => telemetry_server(&config, &telemetry, &stop)
            .await
            .inspect_err(|error| tracing::warn!("no /health during the bootstrap: {error:#}"))
            .ok(),
        _ => Some(telemetry_server(&config, &telemetry, &stop).await?),
    };
    let result = match command {
        Command::Produce(options) => {
            let summary = produce::run(config, *options, telemetry, produce::Control::default(), stop.clone()).await;
            summary.and_then(|summary| {
                anyhow::ensure!(summary.failed == 0, "{} records were not delivered", summary.failed);
                Ok(())
            })
        }
        Command::Bootstrap(options) => bootstrap::run(config, *options, telemetry, stop.clone()).await,
        Command::Process => process::run(config, telemetry, stop.clone()).await,
        Command::Alert { .. } => alert::run(config, telemetry, stop.clone()).await,
        Command::Sink { no_setup } => {
            sink::run_with(config, sink::Options { setup: !no_setup }, telemetry, stop.clone()).await
        }
        Command::Serve => serve::run(config, None, telemetry, stop.clone()).await,
        Command::Demo(_)
        | Command::Backtest(_)
        | Command::Setup { .. }
        | Command::State(_)
        | Command::Rejected(_)
        | Command::Check
        | Command::Completions { .. } => Ok(()),
    };
    stop.cancel();
    if let Some(beside) = beside {
        beside.await??;
    }
    result
}

/// Serves `/health`, `/ready` and `/metrics` beside a service.
async fn telemetry_server(
    config: &Config,
    telemetry: &Telemetry,
    stop: &CancellationToken,
) -> anyhow::Result<tokio::task::JoinHandle<anyhow::Result<()>>> {
    let listen = &config.telemetry.listen;
    let listener = telemetry::http::bind(listen.address, "telemetry.listen").await?;
    tracing::info!(address = %listener.local_addr()?, "health and metrics");
    let (telemetry, token, stop) = (telemetry.clone(), listen.token.clone(), stop.clone());
    Ok(tokio::spawn(telemetry::http::serve(listener, telemetry, token, stop)))
}
