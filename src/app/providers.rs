//! The partners who screen and verify, as the flags say.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;

use crate::config;
use crate::kyc::{Kyc, Sandbox, Sumsub, SumsubConfig};
use crate::screening::{self, Chainalysis, ListFile, Lists, Screening};
use crate::store::{Store, programmes};

/// How long a screening provider may take to answer. Shorter than the worker's own deadline.
const SCREENING_DEADLINE: Duration = Duration::from_secs(8);
/// How long the verification partner may take: a person waits for the page.
const KYC_DEADLINE: Duration = Duration::from_secs(8);
/// How long a link to the partner may be opened. Ours makes a new one at every visit.
const LINK_TTL: Duration = Duration::from_secs(1800);

/// The screening of this installation.
///
/// # Errors
///
/// The list cannot be used, or the API's address or key is unfit.
pub(super) fn screening(config: &config::Screening) -> anyhow::Result<Screening> {
    let mut sandbox = screening::Sandbox::default();
    for text in &config.screening_test_addresses {
        sandbox = sandbox.reject(text).map_err(|text| anyhow::anyhow!("--screening-test-addresses: {text} is none"))?;
    }
    let mut screening = Screening::new(sandbox);
    let open = |path: &PathBuf| ListFile::open(path).with_context(|| format!("--screening-list {}", path.display()));
    let lists = config.screening_list.iter().map(open).collect::<anyhow::Result<_>>()?;
    screening = screening.with_lists(Lists::new(lists).check().context("--screening-list")?);
    if let Some(key) = config.chainalysis_key()? {
        let chainalysis = Chainalysis::new(&config.chainalysis_url, &key, SCREENING_DEADLINE).context("Chainalysis")?;
        screening = screening.with_chainalysis(chainalysis);
    }
    Ok(screening)
}

/// The identity verification of this installation.
///
/// # Errors
///
/// Sumsub is configured in part, or its address or a credential is unfit.
pub(super) fn kyc(config: &config::Kyc) -> anyhow::Result<Kyc> {
    let Some(sumsub) = config.sumsub()? else { return Ok(Kyc::Sandbox(Sandbox)) };
    let config = SumsubConfig {
        base: sumsub.url,
        app_token: sumsub.app_token,
        secret: sumsub.secret,
        webhook_secret: sumsub.webhook_secret,
        level: sumsub.level,
        link_ttl: LINK_TTL,
        deadline: KYC_DEADLINE,
    };
    Ok(Kyc::Sumsub(Box::new(Sumsub::new(config).context("Sumsub")?)))
}

/// Says what customers of live programmes wait for, where a provider is missing: a warning where there is a live programme.
///
/// # Errors
///
/// The store cannot be asked.
pub(super) async fn announce(store: &Store, missing: Missing) -> anyhow::Result<()> {
    let live = programmes::any_live(&mut store.reader().await?).await?;
    match (missing, live) {
        (Missing::Screening, true) => tracing::warn!(
            "no screening provider: customers of live programmes stay in screening until a node that runs the worker has \
             --screening-list or --chainalysis-key"
        ),
        (Missing::Screening, false) => tracing::info!(
            "no screening provider: sandbox programmes' customers are cleared, those of live programmes would stay in \
             screening; set --screening-list or --chainalysis-key before they come"
        ),
        (Missing::Kyc, true) => tracing::warn!(
            "no verification provider: customers of live programmes wait for an operator's decision; set the --sumsub flags"
        ),
        (Missing::Kyc, false) => tracing::info!(
            "no verification provider: sandbox programmes have the portal, customers of live ones would wait for an \
             operator's decision; set the --sumsub flags before they come"
        ),
    }
    Ok(())
}

/// Says what customers of live programmes wait for, where nobody verifies them.
///
/// # Errors
///
/// The store cannot be asked.
pub(super) async fn announce_kyc(store: &Store, kyc: &Kyc) -> anyhow::Result<()> {
    if matches!(kyc, Kyc::Sandbox(_)) {
        announce(store, Missing::Kyc).await?;
    }
    Ok(())
}

/// What is not configured.
#[derive(Debug, Clone, Copy)]
pub(super) enum Missing {
    /// Nobody screens.
    Screening,
    /// Nobody verifies.
    Kyc,
}
