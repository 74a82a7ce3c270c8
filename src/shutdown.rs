//! One way to stop: the first signal asks every service to drain and commit, the second ends the process at once.

use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Exit code after a second signal or a missed deadline.
const FORCED: i32 = 130;

/// A token that the first SIGINT or SIGTERM cancels. After it, the process ends at the second signal, or when
/// `deadline` has passed.
///
/// # Errors
/// The operating system refuses the signal handlers.
pub fn on_signals(deadline: Duration) -> std::io::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let mut signals = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let token = stop.clone();
    tokio::spawn(async move {
        next(&mut signals).await;
        tracing::info!("stopping: finishing what is under way (a second signal ends at once)");
        token.cancel();
        tokio::select! {
            () = next(&mut signals) => tracing::warn!("ended by a second signal"),
            () = tokio::time::sleep(deadline) => tracing::warn!(?deadline, "not done within telemetry.shutdown_deadline"),
        }
        std::process::exit(FORCED);
    });
    Ok(stop)
}

async fn next((interrupt, terminate): &mut (Signal, Signal)) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
