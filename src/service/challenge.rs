//! Ownership challenges as the services issue and check them: the text is `domain::challenge`'s, the order of refusals is
//! the contract's (§6).

use super::Api;
use crate::domain::chain::ChainAccount;
use crate::domain::challenge::{self, Issuer, ProofError};
use crate::domain::customer::Customer;
use crate::domain::{Code, Error, Timestamp};
use crate::store::customers::Challenge;

/// What the owner of a customer's account signs.
pub(super) const CUSTOMER: &str = "Prove that you own this account to open your customer profile.";

/// What the owner of an account's customer signs.
pub(super) const ACCOUNT: &str = "Prove that you own this account to open a card account.";

/// Characters of a nonce: 142 bits.
const NONCE: usize = 24;

/// A new challenge for the owner of `account`, issued by the first public URL.
pub(super) fn issue(api: &Api, account: ChainAccount, statement: &str, now: Timestamp) -> Result<Challenge, Error> {
    let origin = api.settings.origins.primary();
    let domain = origin.authority().to_owned();
    let issuer = Issuer { uri: format!("{}://{domain}", origin.scheme()), domain };
    let nonce = api.clock.nonce(NONCE);
    // The text shows whole seconds: it must not die at another moment than it says.
    let issued = Timestamp::from_micros(now.micros() - now.micros().rem_euclid(1_000_000));
    let wanted = challenge::Challenge { issuer: &issuer, account, statement, nonce: &nonce, issued, resources: &[] };
    let text = wanted.text().map_err(|error| {
        tracing::error!(%error, "a challenge cannot be written");
        Error::internal()
    })?;
    Ok(Challenge { text: text.into_bytes(), expires_at: wanted.expires() })
}

/// The blockchain account of a stored customer.
pub(super) fn account(customer: &Customer) -> Result<ChainAccount, Error> {
    customer.chain_id.parse().map_err(|error| {
        tracing::error!(customer = %customer.id, %error, "a stored chain id cannot be read");
        Error::internal()
    })
}

/// Checks that both fields of a signed challenge are there.
pub(super) fn given(challenge: &[u8], signature: &str) -> Result<(), Error> {
    let missing = [("challenge", challenge.is_empty()), ("signature", signature.is_empty())];
    let errors = missing
        .into_iter()
        .filter(|(_, missing)| *missing)
        .map(|(field, _)| Error::invalid(field, "REQUIRED", "Must be given."));
    let violations: Vec<_> = errors.flat_map(|error| error.violations).collect();
    if violations.is_empty() { Ok(()) } else { Err(Error::violations(violations)) }
}

/// A challenge and its signature as a caller sends them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Proof<'a> {
    /// Whose key must have signed.
    pub(super) account: ChainAccount,
    /// The text that was signed.
    pub(super) challenge: &'a [u8],
    /// The signature, encoded.
    pub(super) signature: &'a str,
}

impl Proof<'_> {
    /// Checks that the signature can be read as one: where it cannot, that is a slip, which voids nothing.
    pub(super) fn readable(self) -> Result<(), Error> {
        match challenge::verify(&self.account, self.challenge, self.signature) {
            Err(ProofError::Malformed(why)) => Err(Error::invalid("signature", "INVALID_VALUE", sentence(&why))),
            Err(ProofError::Invalid(_)) | Ok(()) => Ok(()),
        }
    }

    /// Checks the proof against the live challenge. `CHALLENGE_SIGNATURE_INVALID` asks the caller to void it and issue
    /// another.
    pub(super) fn check(self, live: Option<&Challenge>, now: Timestamp) -> Result<(), Error> {
        let proven = challenge::verify(&self.account, self.challenge, self.signature);
        if let Err(ProofError::Malformed(why)) = proven {
            return Err(Error::invalid("signature", "INVALID_VALUE", sentence(&why)));
        }
        let Some(live) = live.filter(|live| live.text == self.challenge) else {
            let detail = "This is not the live challenge, byte for byte: it was altered, used, voided or replaced, or is another's. \
                          Get the live one, and sign that.";
            return Err(Error::new(Code::ChallengeMismatch, detail));
        };
        if now >= live.expires_at {
            let detail = format!("The challenge ended at {}. Get a new one, and sign that.", live.expires_at);
            return Err(Error::new(Code::ChallengeExpired, detail));
        }
        let Err(why) = proven else { return Ok(()) };
        let detail = format!("The signature is refused: {why}. The challenge is void. Get the new one, and sign that.");
        Err(Error::new(Code::ChallengeSignatureInvalid, detail))
    }
}

/// A reason as a sentence.
fn sentence(why: &str) -> String {
    let mut letters = why.chars();
    let first = letters.next().map(|first| first.to_uppercase().collect::<String>()).unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}
