//! The worker: beside the service, or alone.

use super::{open_store, providers};
use crate::clock::Clock;
use crate::config::{Common, Work};
use crate::outbound;
use crate::serve::Shutdown;
use crate::store::{Migrations, Store};
use crate::worker::{Webhooks, Worker};

/// A worker as the flags say.
///
/// # Errors
///
/// A provider is configured wrongly, or the store cannot.
pub(super) async fn worker(store: &Store, work: &Work, clock: Clock) -> anyhow::Result<Worker> {
    if work.allow_private_callbacks {
        tracing::warn!(
            "--allow-private-callbacks: webhooks of sandbox programmes may reach this machine and the network around it; \
             never where somebody else can make a sandbox programme"
        );
    }
    let client = outbound::Client::new(outbound::Options::new(clock.clone()))?;
    let webhooks = Webhooks::new(store.clone(), clock.clone(), client, work.allow_private_callbacks).await?;
    Ok(Worker::new(store.clone(), clock, providers::screening(&work.screening)?, webhooks))
}

/// Works on the database alone, until the shutdown starts: `customerd worker`.
///
/// # Errors
///
/// The database cannot be had, or a provider is configured wrongly.
pub async fn work(common: &Common, work: &Work, clock: Clock, shutdown: Shutdown) -> anyhow::Result<()> {
    let store = open_store(common, Migrations::Run).await?;
    let worker = worker(&store, work, clock).await?;
    tracing::info!(database = common.database.shown(), "the worker is ready");
    worker.run(async move { shutdown.started().await }).await;
    Ok(store.close().await?)
}
