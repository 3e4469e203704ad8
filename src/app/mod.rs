//! Wiring: puts the rooms together into the running service, and nothing else.

mod backend;
pub(crate) mod encryption;
mod files;
mod front;
mod gauges;
mod health;
mod key_watch;
mod profile;
mod providers;
mod sandbox;
mod seals;
mod serve;
mod start;
mod upstream;
mod work;

pub use backend::Backend;
pub use profile::{NewPartner, Profile, create_programme, enrol, local};
pub use seals::seal_chains;
pub use serve::{Running, start};
pub use work::work;

use anyhow::Context as _;
use secrecy::ExposeSecret as _;

use crate::clock::Clock;
use crate::config::{Common, Pooler};
use crate::store::{Migrations, Store, StoreOptions};

/// What a command that may make the database does about it: it makes one only where somebody said where, and migrates none.
pub fn made_if_named(common: &Common) -> Migrations {
    if common.database.is_named() { Migrations::Create } else { Migrations::Check }
}

/// Opens the store that the flags name for a command, migrating it if `migrations` says so, with the encryption key that they
/// name.
///
/// # Errors
///
/// What is wrong with it, and what to do.
pub async fn open_store(common: &Common, migrations: Migrations) -> anyhow::Result<Store> {
    let store = open_to_seal(common, migrations).await?;
    encryption::refuse_clear(&store).await?;
    Ok(store)
}

/// Brings the database up to date: its tables, its audit chains and, with an encryption key, what is kept in the clear.
///
/// # Errors
///
/// The database cannot be opened or migrated.
pub async fn migrate(common: &Common, clock: &Clock) -> anyhow::Result<()> {
    let migrations = if common.database.is_named() { Migrations::Run } else { Migrations::Existing };
    let store = open_to_seal(common, migrations).await?;
    if store.sealer().has_key() {
        encryption::seal(&store, common, clock, encryption::NewKey::Never).await?;
    }
    seal_chains(&store, clock).await?;
    Ok(store.close().await?)
}

/// Opens the store for those that go on to seal what is kept in the clear there.
async fn open_to_seal(common: &Common, migrations: Migrations) -> anyhow::Result<Store> {
    let store = open_locked(common, migrations).await?;
    encryption::unlock(&store, common).await?;
    Ok(store)
}

/// Opens it without the encryption key, for what neither reads nor writes sealed values.
///
/// # Errors
///
/// What is wrong with the database, and what to do.
pub(crate) async fn open_locked(common: &Common, migrations: Migrations) -> anyhow::Result<Store> {
    let database = &common.database;
    let options = StoreOptions {
        migrations,
        max_connections: database.database_pool_size,
        transaction_pooler: database.database_pooler == Some(Pooler::Transaction),
        statement_timeout: database.statement_timeout.0,
        acquire_timeout: database.statement_timeout.0,
        ..StoreOptions::default()
    };
    let url = database.url();
    Store::open(url.expose_secret(), options).await.with_context(|| format!("database {}", database.shown()))
}
