//! The partners who screen and verify, as the flags say.

use std::time::Duration;

use anyhow::Context as _;

use crate::config;
use crate::kyc::{Kyc, Sandbox, Sumsub, SumsubConfig};
use crate::screening::{self, Chainalysis, ListFile, Screening};

/// How long a screening provider may take to answer. Shorter than the worker's own deadline.
const SCREENING_DEADLINE: Duration = Duration::from_secs(8);
/// How long the verification partner may take: a person waits for the page.
const KYC_DEADLINE: Duration = Duration::from_secs(8);
/// How long a link to the partner may be opened. Ours makes a new one at every visit.
const LINK_TTL: Duration = Duration::from_secs(1800);

/// The screening of this installation. Warns where nobody would be screened.
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
    if let Some(path) = &config.screening_list {
        let list = ListFile::open(path).with_context(|| format!("--screening-list {}", path.display()))?;
        screening = screening.with_list(list);
    }
    if let Some(key) = config.chainalysis_key()? {
        let chainalysis = Chainalysis::new(&config.chainalysis_url, &key, SCREENING_DEADLINE).context("Chainalysis")?;
        screening = screening.with_chainalysis(chainalysis);
    }
    if !screening.is_configured() {
        tracing::warn!(
            "screening clears everybody but the test addresses of sandbox programmes: set --screening-list or \
             --chainalysis-key before live customers come"
        );
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
