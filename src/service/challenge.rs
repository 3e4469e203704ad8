//! Ownership challenges as the services issue them.

use std::time::Duration;

use super::Api;
use crate::domain::Timestamp;
use crate::domain::chain::ChainAccount;
use crate::store::customers::Challenge;

/// How long a challenge lives.
const LIFE: Duration = Duration::from_secs(3600);

/// What the owner of a customer's account signs.
pub(super) const CUSTOMER: &str = "Prove that you own this account to open your customer profile.";

/// A new challenge for the owner of `account`.
pub(super) fn issue(api: &Api, account: &ChainAccount, statement: &str, now: Timestamp) -> Challenge {
    let text = format!("{account}{statement}{}", api.clock.nonce(24));
    Challenge { text: text.into_bytes(), expires_at: now + LIFE }
}
