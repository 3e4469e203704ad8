//! The worker: beside the service, or alone.

use anyhow::Context as _;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::health::Health;
use super::providers::Missing;
use super::serve::{OVERTIME, until};
use super::start::store_check;
use super::{encryption, files, gauges, key_watch, open_to_seal, providers, seal_chains};
use crate::clock::Clock;
use crate::config::{Common, Work, WorkAlone};
use crate::outbound;
use crate::outbound::signed::Signer;
use crate::serve::Shutdown;
use crate::store::keyring::{self, Purpose};
use crate::store::{Migrations, Store};
use crate::telemetry::Metrics;
use crate::worker::{Partners, WebhookOptions, Webhooks, Worker};

/// Connections that a worker alone may have open at once, to receivers and for its health.
const CONNECTIONS: u64 = 1024;

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
    let keyring = keyring::ensure(store, &clock).await?;
    let key = keyring.iter().find(|key| key.purpose == Purpose::Webhook && key.signs()).context("no webhook key")?;
    let sender = (client, Signer::new(key.private_key()?, key.kid.clone()));
    let options = WebhookOptions { private_callbacks: work.allow_private_callbacks, rate: work.webhook_rate };
    let webhooks = Webhooks::new(clock.clone(), sender, options);
    let screening = providers::screening(&work.screening)?;
    if !screening.is_configured() {
        providers::announce(store, Missing::Screening).await?;
    }
    let partners = Partners { screening, factory: work.sandbox_factory };
    Ok(Worker::new(store.clone(), clock, partners, webhooks))
}

/// Works on the database alone, until the shutdown starts: `customerd worker`.
///
/// # Errors
///
/// The database or an address cannot be had, a provider is configured wrongly, or the worker stopped because it could not go on.
pub async fn work(common: &Common, args: &WorkAlone, clock: Clock, shutdown: Shutdown) -> anyhow::Result<()> {
    // Its connections go out, to as many receivers at once as attempts are in flight.
    files::raise(CONNECTIONS);
    let metrics = Metrics::install(clock.clone());
    let (mut tasks, (failed, mut failure)) = (JoinSet::new(), oneshot::channel());
    let health = Health::open(&args.health, &metrics, (&clock, &shutdown), &mut tasks).await?;
    let opened = async {
        let store = open_to_seal(common, Migrations::Check).await?;
        encryption::seal(&store, common, &clock, encryption::NewKey::Never).await?;
        seal_chains(&store, &clock).await?;
        anyhow::Ok(store)
    };
    let store = tokio::select! {
        store = opened => store?,
        () = shutdown.started() => return Ok(()),
    };
    let worker = worker(&store, &args.work, clock.clone()).await?;
    tasks.spawn(key_watch::run(store.clone(), common.clone(), (clock.clone(), shutdown.clone()), failed));
    health.started(store_check(store.clone(), Some(worker.heartbeat())));
    tasks.spawn(until(shutdown.clone(), gauges::run(store.clone(), clock.clone())));
    tasks.spawn(until(shutdown.clone(), metrics.upkeep()));
    tracing::info!(database = common.database.shown(), "the worker is ready");
    let (stop, started) = (shutdown.clone(), shutdown.clone());
    let ended = async {
        worker.run(async move { stop.started().await }).await;
        while tasks.join_next().await.is_some() {}
    };
    let late = async {
        started.started().await;
        clock.sleep(args.shutdown_grace.0 + OVERTIME).await;
    };
    tokio::select! {
        biased;
        () = ended => {}
        () = late => tracing::warn!("not everything that was in flight ended within the grace; leaving without it"),
    }
    tasks.shutdown().await;
    store.close().await?;
    failure.try_recv().map_or(Ok(()), Err)
}
