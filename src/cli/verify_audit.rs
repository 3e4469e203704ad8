//! `customerd verify-audit`: whether anybody has altered what the audit trail says.

use std::process::ExitCode;
use std::time::Duration;

use crate::app;
use crate::clock::Clock;
use crate::config::Common;
use crate::store::Migrations;
use crate::store::audit::{self, Found};

/// How often a long run says how far it is.
const PROGRESS: Duration = Duration::from_secs(5);

/// Verifies; prints each fault on a line. Exit code 1 when there is one.
///
/// # Errors
///
/// The database cannot be opened or read.
pub(super) async fn run(common: &Common) -> anyhow::Result<ExitCode> {
    let clock = Clock::system();
    let store = app::open_store(common, Migrations::Check).await?;
    let (mut faults, mut told, mut failed) = (0_u64, clock.monotonic(), None);
    let read = audit::verify(&store, |found| match found {
        Found::Fault(fault) => {
            faults += 1;
            failed = failed.take().or_else(|| super::print(&fault.to_string()).err());
        }
        Found::Progress(read) if clock.monotonic() - told >= PROGRESS => {
            told = clock.monotonic();
            super::note(&format!("so far customers: {}, events: {}, faults: {faults}", read.customers, read.events));
        }
        Found::Progress(_) => {}
    })
    .await?;
    store.close().await?;
    if let Some(error) = failed {
        return Err(error);
    }
    let (customers, events) = (read.customers, read.events);
    if faults == 0 {
        super::print(&format!("customers: {customers}, events: {events}; the audit trail is whole"))?;
        return Ok(ExitCode::SUCCESS);
    }
    super::print(&format!("customers: {customers}, events: {events}, faults: {faults}"))?;
    Ok(ExitCode::FAILURE)
}
