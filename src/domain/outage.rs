//! A provider that could not answer.

use std::time::Duration;

/// A screening or KYC provider gave no usable answer. Nothing may be concluded about the customer: whoever asked
/// leaves everything as it is and tries again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Outage {
    /// What an operator needs to know. Carries no secret, no customer data and nothing copied unchecked from a
    /// response body, so that it may be logged.
    pub message: String,
    /// How long the provider asked to be left alone, at most one hour.
    pub retry_after: Option<Duration>,
}

impl Outage {
    /// An outage without a wish about when to come back.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), retry_after: None }
    }
}
