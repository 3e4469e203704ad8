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
    app::migrate(common, &Clock::system()).await?;
    super::print(&format!("{} is up to date", common.database.shown()))
}
