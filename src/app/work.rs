//! The worker: beside the service, or alone.

use secrecy::ExposeSecret as _;

use super::{open_store, providers};
use crate::clock::Clock;
use crate::config::{Common, Work};
use crate::outbound;
use crate::outbound::signed::Signer;
use crate::serve::Shutdown;
use crate::signature::{Algorithm, PrivateKey};
use crate::store::{Migrations, Store, service_key};
use crate::worker::{WebhookOptions, Webhooks, Worker};

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
    let key = webhook_key(store, &clock).await?;
    let key_id = key.public_key().thumbprint();
    let sender = (client, Signer::new(key, key_id));
    let options = WebhookOptions { private_callbacks: work.allow_private_callbacks, rate: work.webhook_rate };
    let webhooks = Webhooks::new(store.clone(), clock.clone(), sender, options);
    Ok(Worker::new(store.clone(), clock, providers::screening(&work.screening)?, webhooks))
}

/// The service's own key for webhooks, made when it is first asked for: the same on every node of a database.
///
/// # Errors
///
/// The store cannot, or holds no key under that name.
pub(super) async fn webhook_key(store: &Store, clock: &Clock) -> anyhow::Result<PrivateKey> {
    let fresh = PrivateKey::generate(Algorithm::Ed25519)?.to_pem();
    let mut tx = store.begin().await?;
    let pem = service_key(&mut tx, "webhooks", fresh.expose_secret().as_bytes(), clock.now()).await?;
    tx.commit().await?;
    Ok(PrivateKey::parse(std::str::from_utf8(pem.expose_secret())?)?)
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
