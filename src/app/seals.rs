//! Seals the audit chains whose event hashes are of version 1, once the database is migrated.

use crate::clock::Clock;
use crate::store::Store;
use crate::store::audit::seals::{self, Notice};

/// Chains between two lines of the log.
const PROGRESS: u64 = 10_000;

/// Seals what is not sealed; says so where there was something to seal.
///
/// # Errors
///
/// Those of the store.
pub async fn seal_chains(store: &Store, clock: &Clock) -> anyhow::Result<()> {
    let mut logged = 0;
    let sealed = seals::seal(store, clock, |it| match it {
        Notice::Broken(fault) => tracing::error!(%fault, "an audit chain does not verify: it is sealed as broken"),
        Notice::Progress(sealed) if sealed.chains >= logged + PROGRESS => {
            logged = sealed.chains;
            tracing::info!(
                chains = sealed.chains,
                broken = sealed.broken,
                "audit chains are being verified and sealed"
            );
        }
        Notice::Progress(_) => {}
    })
    .await?;
    if sealed.broken > 0 {
        tracing::error!(
            chains = sealed.chains,
            broken = sealed.broken,
            "audit chains are sealed, some of them as broken"
        );
    } else if sealed.chains > 0 {
        tracing::info!(chains = sealed.chains, "audit chains are verified and sealed");
    }
    Ok(())
}
