//! `customerd serve`: the service, until it is told to stop.

use std::path::Path;

use crate::app;
use crate::clock::Clock;
use crate::config::{Common, Serve};
use crate::serve::{Shutdown, on_signals};
use crate::telemetry;

/// Serves.
///
/// # Errors
///
/// The service cannot start, or not stop in order.
pub(super) async fn run(args: Serve, common: &Common) -> anyhow::Result<()> {
    let clock = Clock::system();
    telemetry::init(&common.log, &clock)?;
    if let Some(warning) = super::environment::warning() {
        tracing::warn!("{warning}");
    }
    super::environment::warn_of_unused(&args.unused);
    let shutdown = Shutdown::new();
    on_signals(shutdown.clone(), clock.clone())?;
    let running = tokio::select! {
        running = app::start(common, &args, clock, shutdown.clone()) => running?,
        () = shutdown.started() => {
            tracing::info!("stopped before it had started");
            return Ok(());
        }
    };
    announce(&running, &args, common);
    running.finish().await?;
    tracing::info!("stopped");
    Ok(())
}

/// Says where everything is, and what to do first.
fn announce(running: &app::Running, args: &Serve, common: &Common) {
    if running.store.is_some() {
        tracing::info!(database = common.database.shown(), "store open");
    }
    if let Some(grpc) = running.grpc {
        tracing::info!(%grpc, tls = args.tls.grpc().is_some(), "gRPC is ready");
    }
    if let Some(http) = running.http {
        tracing::info!(%http, tls = args.tls.http().is_some(), "REST is ready, its reference at /docs");
    }
    if let (Some(profile), Some(_)) = (&running.profile, running.http) {
        let shown = profile.display();
        // What `customerd call` finds by itself need not be named.
        let named =
            if profile == Path::new("data/sandbox.json") { String::new() } else { format!(" --profile {shown}") };
        let first = "POST /v1/customers \
                     -d '{\"chainId\": \"eip155:1:0xab16a96D359eC26a11e2C2b3d8f8B8942d5Bfcdb\", \"externalId\": \"u-1\"}'";
        tracing::info!(profile = %shown, "a first call: customerd call{named} {first}");
    }
}
