//! KYC providers: where a customer is sent to be verified, and what comes back.

mod sandbox;
mod sumsub;

use http::HeaderMap;
use uuid::Uuid;

pub use crate::domain::kyc::{Callback, Decision};
pub use crate::domain::outage::Outage;
pub use sandbox::{Choice, Sandbox};
pub use sumsub::{Sumsub, SumsubConfig};

/// The longest callback that is read, in bytes.
pub const CALLBACK_MAX: usize = 64 * 1024;

/// A customer who opened the verification link.
#[derive(Clone, Copy)]
pub struct Session<'a> {
    /// Our id of the customer; the same id resumes the same verification.
    pub customer_id: Uuid,
    /// The unguessable token of the verification link.
    pub token: &'a str,
    /// Our page to which the customer comes back: absolute.
    pub return_url: &'a str,
    /// The present time, in seconds since the Unix epoch; requests are signed with it.
    pub now_s: i64,
}

/// Where to send the browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// Absolute `https` address at the partner, or a path of ours.
    pub url: String,
}

/// Why a callback was refused. Says nothing that helps a forger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// This provider sends no callbacks.
    #[error("this provider sends no callbacks")]
    Unexpected,
    /// The digest or its algorithm is missing, doubled, or not one that is accepted. SHA-1 is not.
    #[error("the digest is missing or its algorithm is not accepted")]
    Digest,
    /// The digest is not that of this body under our secret.
    #[error("the digest does not match")]
    Forged,
    /// Authentic, but not understood.
    #[error("the callback is malformed: {0}")]
    Malformed(&'static str),
}

/// Somebody who verifies customers.
pub trait KycProvider {
    /// Creates the partner's session for this customer, or resumes it.
    ///
    /// # Errors
    /// [`Outage`] when the partner cannot be reached or refuses us; the customer may try again.
    fn start_or_resume(&self, session: Session<'_>) -> impl Future<Output = Result<Redirect, Outage>> + Send;

    /// Checks that a callback is authentic, and only then reads it. `None`: authentic, but says nothing about where
    /// a customer's verification stands; acknowledge it and be done.
    ///
    /// # Errors
    /// [`Refused`] when it is not authentic or not understood.
    fn parse_callback(&self, headers: &HeaderMap, raw_body: &[u8]) -> Result<Option<Callback>, Refused>;
}

/// The KYC provider of this installation.
#[derive(Debug)]
pub enum Kyc {
    /// The embedded portal.
    Sandbox(Sandbox),
    /// Sumsub.
    Sumsub(Box<Sumsub>),
}

impl Kyc {
    /// The name under which it calls back, as in the address of its callbacks.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Sandbox(_) => "sandbox",
            Self::Sumsub(_) => "sumsub",
        }
    }
}

impl KycProvider for Kyc {
    async fn start_or_resume(&self, session: Session<'_>) -> Result<Redirect, Outage> {
        match self {
            Self::Sandbox(provider) => provider.start_or_resume(session).await,
            Self::Sumsub(provider) => provider.start_or_resume(session).await,
        }
    }

    fn parse_callback(&self, headers: &HeaderMap, raw_body: &[u8]) -> Result<Option<Callback>, Refused> {
        match self {
            Self::Sandbox(provider) => provider.parse_callback(headers, raw_body),
            Self::Sumsub(provider) => provider.parse_callback(headers, raw_body),
        }
    }
}

impl std::fmt::Debug for Session<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("customer_id", &self.customer_id).finish_non_exhaustive()
    }
}
