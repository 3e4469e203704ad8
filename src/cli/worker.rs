//! `customerd worker`: the worker alone, until it is told to stop.

use crate::app;
use crate::clock::Clock;
use crate::config::{Common, WorkAlone};
use crate::serve::{Shutdown, on_signals};
use crate::telemetry;

/// Works.
///
/// # Errors
///
/// The worker cannot start, or the store not be closed in order.
pub(super) async fn run(args: &WorkAlone, common: &Common) -> anyhow::Result<()> {
    let clock = Clock::system();
    telemetry::init(&common.log, &clock)?;
    if let Some(warning) = super::environment::warning() {
        tracing::warn!("{warning}");
    }
    super::environment::warn_of_unused(&args.unused);
    let shutdown = Shutdown::new();
    on_signals(shutdown.clone(), clock.clone())?;
    app::work(common, args, clock, shutdown).await?;
    tracing::info!("stopped");
    Ok(())
}
