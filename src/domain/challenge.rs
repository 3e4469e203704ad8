//! Proof that a customer holds an account: the text to sign (EIP-4361, CAIP-122), and the check of its signature.
//!
//! The signature is checked over the bytes that were issued. No text that comes back is ever parsed: a reader that
//! understands a text in its own way can be made to see another one.

mod evm;
mod solana;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::time::Duration;

pub use evm::recover;

use super::Timestamp;
use super::chain::{Address, ChainAccount, Namespace};

/// How long a challenge lives (contract §6).
pub const LIFE: Duration = Duration::from_secs(3600);
/// Fewest characters of a nonce: 95 bits of letters and digits.
pub const NONCE_LEN: usize = 16;

/// Who asks for the signature: the service as its public URL names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// `host` or `host:port`.
    pub domain: String,
    /// `scheme://host[:port]`.
    pub uri: String,
}

/// Why a challenge cannot be written down.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// The public URL is not `http(s)://host[:port]`.
    #[error("the public URL must be http(s)://host[:port]")]
    Issuer,
    /// Fewer than 16 characters, or others than letters and digits.
    #[error("a nonce has at least 16 letters and digits")]
    Nonce,
    /// The statement is empty or has characters outside EIP-4361's grammar, a line end foremost.
    #[error("a statement has one line of RFC 3986's characters and spaces")]
    Statement,
    /// A resource is no URI.
    #[error("a resource is an absolute URI")]
    Resource,
}

impl Issuer {
    /// Reads a public URL.
    ///
    /// # Errors
    /// [`TextError::Issuer`].
    pub fn parse(public_url: &str) -> Result<Self, TextError> {
        let uri = public_url.strip_suffix('/').unwrap_or(public_url);
        let domain = uri.strip_prefix("https://").or_else(|| uri.strip_prefix("http://")).ok_or(TextError::Issuer)?;
        let fits = |c: u8| c.is_ascii_alphanumeric() || b"-._~:[]".contains(&c);
        if domain.is_empty() || !domain.bytes().all(fits) {
            return Err(TextError::Issuer);
        }
        Ok(Self { domain: domain.to_owned(), uri: uri.to_owned() })
    }
}

/// What a challenge says.
#[derive(Clone, Copy, Debug)]
pub struct Challenge<'a> {
    /// The service.
    pub issuer: &'a Issuer,
    /// Whose key must sign.
    pub account: ChainAccount,
    /// What the customer agrees to, in words.
    pub statement: &'a str,
    /// Unguessable, from the clock's randomness.
    pub nonce: &'a str,
    /// When; shown to the second.
    pub issued: Timestamp,
    /// URIs that the statement is about; mostly none.
    pub resources: &'a [&'a str],
}

impl Challenge<'_> {
    /// When it dies.
    #[must_use]
    pub fn expires(&self) -> Timestamp {
        self.issued + LIFE
    }

    /// The text to be shown by the wallet and signed: EIP-4361 for `eip155`; for `solana` the same lines with the
    /// account's family named, as CAIP-122 says.
    ///
    /// # Errors
    /// [`TextError`] when a part does not fit the grammar.
    pub fn text(&self) -> Result<String, TextError> {
        self.check()?;
        let chain = self.account.chain();
        let family = match chain.namespace() {
            Namespace::Eip155 => "Ethereum",
            Namespace::Solana => "Solana",
        };
        let mut text = format!(
            "{domain} wants you to sign in with your {family} account:\n{address}\n\n{statement}\n\nURI: {uri}\nVersion: 1\n\
             Chain ID: {reference}\nNonce: {nonce}\nIssued At: {issued}\nExpiration Time: {expires}",
            domain = self.issuer.domain,
            address = self.account.address(),
            statement = self.statement,
            uri = self.issuer.uri,
            reference = chain.reference(),
            nonce = self.nonce,
            issued = to_the_second(self.issued),
            expires = to_the_second(self.expires()),
        );
        if !self.resources.is_empty() {
            text.push_str("\nResources:");
        }
        for resource in self.resources {
            let _ = write!(text, "\n- {resource}");
        }
        Ok(text)
    }

    fn check(&self) -> Result<(), TextError> {
        if self.nonce.len() < NONCE_LEN || !self.nonce.bytes().all(|c| c.is_ascii_alphanumeric()) {
            return Err(TextError::Nonce);
        }
        if self.statement.is_empty() || !self.statement.bytes().all(|c| c == b' ' || in_uri(c)) {
            return Err(TextError::Statement);
        }
        let uri = |text: &&str| {
            let scheme = text.split_once(':').map_or("", |(scheme, _)| scheme);
            scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && text.bytes().all(|c| in_uri(c) || c == b'%')
        };
        if self.resources.iter().all(uri) { Ok(()) } else { Err(TextError::Resource) }
    }
}

/// RFC 3986's reserved and unreserved characters.
fn in_uri(c: u8) -> bool {
    c.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=".contains(&c)
}

fn to_the_second(at: Timestamp) -> String {
    let text = at.to_string();
    format!("{}Z", text.split_once('.').map_or(text.as_str(), |(seconds, _)| seconds))
}

/// Why a signature does not prove the account.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// It cannot be read as a signature: a slip of the caller, which voids nothing.
    #[error("{0}")]
    Malformed(String),
    /// It is a signature, and not this account's over this text: `CHALLENGE_SIGNATURE_INVALID`, which voids the challenge.
    #[error("{0}")]
    Invalid(String),
}

/// Checks that `signature` is `account`'s over `issued`, the very bytes of the challenge's text.
///
/// `eip155`: 65 bytes (r, s, v) of an EIP-191 `personal_sign`, as hex with or without `0x`, or as base64 of the bytes or
/// of that hex text; v is 0, 1, 27 or 28; s in the lower half. Only keys can sign: contract wallets (EIP-1271) would need
/// a call to their chain and are not supported. `solana`: 64 bytes of Ed25519, as base64 or base58.
///
/// # Errors
/// [`ProofError`], which tells what voids the challenge from what does not.
pub fn verify(account: &ChainAccount, issued: &[u8], signature: &str) -> Result<(), ProofError> {
    match account.address() {
        Address::Evm(address) => evm::verify(&address, issued, signature),
        Address::Solana(key) => solana::verify(&key, issued, signature),
    }
}

/// Longest signature text that is looked at: base64 of hex of 65 bytes has 176 characters.
const MAX_TEXT: usize = 1024;

/// Base64 in either alphabet, padded or not.
fn base64(text: &str) -> Option<Vec<u8>> {
    use ::base64::Engine as _;
    use ::base64::engine::general_purpose::{STANDARD_PAD_INDIFFERENT, URL_SAFE_PAD_INDIFFERENT};
    STANDARD_PAD_INDIFFERENT.decode(text).or_else(|_| URL_SAFE_PAD_INDIFFERENT.decode(text)).ok()
}
