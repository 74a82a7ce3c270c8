//! Starts the broker on the port given as the first argument and runs until ctrl-C: for kcat and other foreign clients.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};
use outlier_broker::{Broker, Config};

#[tokio::main]
async fn main() -> Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env();
    tracing_subscriber::fmt().with_env_filter(filter.unwrap_or_else(|_| "info".into())).init();
    let port = std::env::args().nth(1).unwrap_or_else(|| "9092".to_owned());
    let port: u16 = port.parse().context("the argument must be a port: 0 to 65535")?;
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let broker = Broker::start(Config { listen, ..Config::default() }).await?;
    println!("{}", broker.address());
    tokio::signal::ctrl_c().await.context("cannot wait for ctrl-C")?;
    broker.shutdown().await;
    Ok(())
}
