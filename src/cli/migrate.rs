//! `customerd migrate`: brings the database up to date and ends.

use crate::app;
use crate::config::Common;
use crate::store::Migrations;

/// Migrates.
///
/// # Errors
///
/// The database cannot be opened or migrated.
pub(super) async fn run(common: &Common) -> anyhow::Result<()> {
    let store = app::open_store(common, Migrations::Run).await?;
    app::seal_chains(&store).await?;
    store.close().await?;
    super::print(&format!("{} is up to date", common.database.shown()))
}
