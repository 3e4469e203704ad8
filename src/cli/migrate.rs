//! `customerd migrate`: brings the database up to date and ends.

use crate::app;
use crate::clock::Clock;
use crate::config::Common;

/// Migrates.
///
/// # Errors
///
/// The database cannot be opened or migrated.
pub(super) async fn run(common: &Common) -> anyhow::Result<()> {
    let store = app::open_store(common, app::made_if_named(common)).await?;
    app::seal_chains(&store, &Clock::system()).await?;
    store.close().await?;
    super::print(&format!("{} is up to date", common.database.shown()))
}
