//! Sumsub: a signed request for a link to its hosted verification, and callbacks with a digest.

mod callback;
mod digest;
mod instant;
mod link;
mod reasons;

use std::fmt;
use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::{CALLBACK_MAX, Callback, KycProvider, Outage, Redirect, Refused, Session};
use crate::partner::{Partner, SetupError};

/// What is needed to work with Sumsub.
#[derive(Debug, Clone)]
pub struct SumsubConfig {
    /// Where its API is; [`Sumsub::BASE`] unless a test stands in.
    pub base: Url,
    /// The app token (`X-App-Token`).
    pub app_token: SecretString,
    /// The app token's secret; requests are signed with it.
    pub secret: SecretString,
    /// The webhook's own secret; callbacks are signed with it.
    pub webhook_secret: SecretString,
    /// The verification level that a customer has to pass.
    pub level: String,
    /// How long a link may be opened; it is asked for anew at every visit. Whole seconds.
    pub link_ttl: Duration,
    /// For one exchange, body included.
    pub deadline: Duration,
}

/// The Sumsub provider.
pub struct Sumsub {
    partner: Partner,
    app_token: HeaderValue,
    secret: SecretString,
    webhook_secret: SecretString,
    level: String,
    link_ttl: Duration,
}

impl Sumsub {
    /// The public service.
    pub const BASE: &str = "https://api.sumsub.com";

    /// A client.
    ///
    /// # Errors
    /// When the base address or a credential is unfit.
    pub fn new(config: SumsubConfig) -> Result<Self, SetupError> {
        let mut app_token = HeaderValue::from_str(config.app_token.expose_secret())
            .map_err(|_| SetupError::Credential("the Sumsub app token"))?;
        app_token.set_sensitive(true);
        for (what, secret) in
            [("the Sumsub secret", &config.secret), ("the Sumsub webhook secret", &config.webhook_secret)]
        {
            // Anybody can compute the digest of an empty key.
            if secret.expose_secret().is_empty() {
                return Err(SetupError::Empty(what));
            }
        }
        Ok(Self {
            partner: Partner::new("Sumsub", &config.base, config.deadline)?,
            app_token,
            secret: config.secret,
            webhook_secret: config.webhook_secret,
            level: config.level,
            link_ttl: config.link_ttl,
        })
    }
}

impl KycProvider for Sumsub {
    async fn start_or_resume(&self, session: Session<'_>) -> Result<Redirect, Outage> {
        self.link(session).await
    }

    fn parse_callback(&self, headers: &HeaderMap, raw_body: &[u8]) -> Result<Option<Callback>, Refused> {
        if raw_body.len() > CALLBACK_MAX {
            return Err(Refused::Malformed("longer than 64 KiB"));
        }
        digest::verify(headers, raw_body, &self.webhook_secret)?;
        callback::read(raw_body, &self.level)
    }
}

impl fmt::Debug for Sumsub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sumsub").field("partner", &self.partner).field("level", &self.level).finish_non_exhaustive()
    }
}
