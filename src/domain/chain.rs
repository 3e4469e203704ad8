//! Blockchain accounts: CAIP-10 ids of the chains we know, in one canonical spelling.

mod address;
pub mod create2;

use std::fmt;
use std::str::FromStr;

pub use address::{Address, keccak256};

/// A family of chains that share a form of address (CAIP-2's namespace).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Namespace {
    /// Ethereum and its kin (CAIP-3): 20-byte addresses.
    Eip155,
    /// Solana (CAIP-30): 32-byte Ed25519 keys.
    Solana,
}

impl Namespace {
    /// As in a CAIP-2 id.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Eip155 => "eip155",
            Self::Solana => "solana",
        }
    }
}

/// A chain we know. Shown as its CAIP-2 id, e.g. `eip155:1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Chain {
    namespace: Namespace,
    reference: &'static str,
}

impl Chain {
    /// Every chain we know: Ethereum, OP, BNB, Polygon, zkSync (main, test), Base, Arbitrum (main, test), Sepolia,
    /// Polygon Amoy; Solana main, dev and test by the first 32 characters of their genesis hash.
    pub const KNOWN: &'static [Self] = &[
        Self::eip155("1"),
        Self::eip155("10"),
        Self::eip155("56"),
        Self::eip155("137"),
        Self::eip155("324"),
        Self::eip155("300"),
        Self::eip155("8453"),
        Self::eip155("42161"),
        Self::eip155("421614"),
        Self::eip155("11155111"),
        Self::eip155("80002"),
        Self::solana("5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"),
        Self::solana("EtWTRABZaYq6iMfeYKouRu166VU2xqa1"),
        Self::solana("4uhcVJyU9pJkvQyS88uRDiswHXSCkY3z"),
    ];

    const fn eip155(reference: &'static str) -> Self {
        Self { namespace: Namespace::Eip155, reference }
    }

    const fn solana(reference: &'static str) -> Self {
        Self { namespace: Namespace::Solana, reference }
    }

    /// Its family.
    #[must_use]
    pub const fn namespace(self) -> Namespace {
        self.namespace
    }

    /// What tells it apart in its family: the EIP-155 chain id in decimal, or the genesis hash.
    #[must_use]
    pub const fn reference(self) -> &'static str {
        self.reference
    }

    fn known(namespace: &str, reference: &str) -> Option<Self> {
        Self::KNOWN.iter().copied().find(|c| c.namespace.name() == namespace && c.reference == reference)
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.namespace.name(), self.reference)
    }
}

/// The CAIP-2 id of a known chain.
impl FromStr for Chain {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (namespace, reference) = text
            .split_once(':')
            .ok_or(Error::Malformed("must be a CAIP-2 chain id, namespace:reference, e.g. eip155:1"))?;
        check_parts(namespace, reference)?;
        Self::known(namespace, reference).ok_or_else(|| ChainSet::default().lacks(text.to_owned()))
    }
}

/// Why a text is no account that a customer can have here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No CAIP-10 account id, or a wrong address.
    #[error("{0}")]
    Malformed(&'static str),
    /// Well formed, but of a chain that is unknown or not enabled; those that are.
    #[error("the chain {chain} is not supported; supported are {enabled}")]
    Unsupported {
        /// The chain that was named.
        chain: String,
        /// Those that may be named.
        enabled: ChainSet,
    },
}

impl Error {
    /// The violation's code (contract §2).
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "INVALID_CHAIN_ID",
            Self::Unsupported { .. } => "UNSUPPORTED_CHAIN",
        }
    }
}

const PARTS: &str = "must be a CAIP-10 account id, namespace:reference:address, e.g. eip155:1:0xab16a96D359eC26a11e2C2b3d8f8B8942d5Bfcdb";

/// An account on a known chain. Equal accounts are equal whatever the spelling they came in; shown in the canonical one:
/// EIP-55 for `eip155`, base58 for `solana`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChainAccount {
    chain: Chain,
    address: Address,
}

impl ChainAccount {
    /// Reads a CAIP-10 id of an enabled chain.
    ///
    /// # Errors
    /// [`Error::Malformed`] for anything but CAIP-10 with a right address (a mixed-case `eip155` address must satisfy
    /// EIP-55), [`Error::Unsupported`] for chains that are unknown or not enabled.
    pub fn parse(text: &str, enabled: &ChainSet) -> Result<Self, Error> {
        let account: Self = text.parse().map_err(|error| match error {
            Error::Unsupported { chain, .. } => enabled.lacks(chain),
            malformed @ Error::Malformed(_) => malformed,
        })?;
        let supported = enabled.contains(account.chain);
        supported.then_some(account).ok_or_else(|| enabled.lacks(account.chain.to_string()))
    }

    /// Its chain.
    #[must_use]
    pub const fn chain(&self) -> Chain {
        self.chain
    }

    /// Its address.
    #[must_use]
    pub const fn address(&self) -> Address {
        self.address
    }
}

/// Reads a CAIP-10 id of any known chain, enabled or not: what is stored was enabled once.
impl FromStr for ChainAccount {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let mut parts = text.splitn(3, ':');
        let (Some(namespace), Some(reference), Some(address)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(Error::Malformed(PARTS));
        };
        check_parts(namespace, reference)?;
        if !of(address, 1..=128, |c| c.is_ascii_alphanumeric() || b"-.%".contains(&c)) {
            return Err(Error::Malformed(PARTS));
        }
        let address = match namespace {
            "eip155" => Address::evm(address),
            "solana" => Address::solana(address),
            _ => return Err(ChainSet::default().lacks(format!("{namespace}:{reference}"))),
        };
        let address = address.map_err(Error::Malformed)?;
        let chain = Chain::known(namespace, reference);
        Ok(Self { chain: chain.ok_or_else(|| ChainSet::default().lacks(format!("{namespace}:{reference}")))?, address })
    }
}

impl fmt::Display for ChainAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.chain, self.address)
    }
}

/// CAIP-2's syntax, and what the known namespaces add: an EIP-155 chain id is a decimal number without leading zeros.
fn check_parts(namespace: &str, reference: &str) -> Result<(), Error> {
    if !of(namespace, 3..=8, |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-') {
        return Err(Error::Malformed(
            "the namespace (before the first colon) must be 3 to 8 lower-case letters, digits or hyphens",
        ));
    }
    if !of(reference, 1..=32, |c| c.is_ascii_alphanumeric() || b"-_".contains(&c)) {
        return Err(Error::Malformed(
            "the chain reference (between the colons) must be 1 to 32 letters, digits, - or _",
        ));
    }
    if namespace == "eip155" && (reference.starts_with('0') || !reference.bytes().all(|c| c.is_ascii_digit())) {
        return Err(Error::Malformed("an eip155 chain reference must be a decimal number without leading zeros"));
    }
    Ok(())
}

fn of(text: &str, length: std::ops::RangeInclusive<usize>, allowed: impl Fn(u8) -> bool) -> bool {
    length.contains(&text.len()) && text.bytes().all(allowed)
}

/// The chains that are enabled: all we know unless configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainSet(Vec<Chain>);

impl Default for ChainSet {
    fn default() -> Self {
        Self(Chain::KNOWN.to_vec())
    }
}

impl ChainSet {
    /// Only these CAIP-2 ids, e.g. `eip155:1`.
    ///
    /// # Errors
    /// A malformed id, or a chain we do not know.
    pub fn parse<S: AsRef<str>>(ids: impl IntoIterator<Item = S>) -> Result<Self, Error> {
        ids.into_iter().map(|id| id.as_ref().parse()).collect::<Result<_, _>>().map(Self)
    }

    /// The error for a chain that is not among them.
    fn lacks(&self, chain: String) -> Error {
        Error::Unsupported { chain, enabled: self.clone() }
    }

    /// Whether the chain is enabled.
    #[must_use]
    pub fn contains(&self, chain: Chain) -> bool {
        self.0.contains(&chain)
    }
}

impl fmt::Display for ChainSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, chain) in self.0.iter().enumerate() {
            write!(f, "{}{chain}", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
