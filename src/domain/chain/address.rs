//! Addresses and their canonical spelling.

use std::fmt;

use sha3::{Digest as _, Keccak256};

/// An address, whatever the spelling it came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// `eip155`: the last 20 bytes of the hash of a key, or a contract.
    Evm([u8; 20]),
    /// `solana`: an Ed25519 public key, or a programme-derived address that no key owns.
    Solana([u8; 32]),
}

impl Address {
    /// Reads `0x` and 40 hexadecimal digits; mixed case must satisfy EIP-55.
    pub(in crate::domain) fn evm(text: &str) -> Result<Self, &'static str> {
        let digits = text.strip_prefix("0x").ok_or("an eip155 address begins with 0x")?;
        let mut bytes = [0; 20];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| "an eip155 address has 40 hexadecimal digits after 0x")?;
        let mixed = digits.bytes().any(|c| c.is_ascii_lowercase()) && digits.bytes().any(|c| c.is_ascii_uppercase());
        if mixed && digits != eip55(&bytes) {
            return Err("the address is in mixed case but its EIP-55 checksum is wrong: a character may be mistyped");
        }
        Ok(Self::Evm(bytes))
    }

    /// Reads base58 of exactly 32 bytes; of those there is one spelling only.
    pub(super) fn solana(text: &str) -> Result<Self, &'static str> {
        const WRONG: &str = "a solana address is base58 of 32 bytes";
        let mut bytes = [0; 32];
        match bs58::decode(text).onto(&mut bytes) {
            Ok(32) => Ok(Self::Solana(bytes)),
            _ => Err(WRONG),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Evm(bytes) => write!(f, "0x{}", eip55(bytes)),
            Self::Solana(bytes) => f.write_str(&bs58::encode(bytes).into_string()),
        }
    }
}

/// EIP-55: a digit is upper-case where the hash of the lower-case text has a nibble of 8 or more.
fn eip55(bytes: &[u8; 20]) -> String {
    let lower = hex::encode(bytes);
    let hash = keccak256(&[lower.as_bytes()]);
    let nibble = |at: usize| hash[at / 2] >> (4 * (1 - at % 2)) & 0xf;
    lower.char_indices().map(|(at, c)| if nibble(at) >= 8 { c.to_ascii_uppercase() } else { c }).collect()
}

/// Keccak-256 (Ethereum's, not SHA3-256) over the parts in a row.
#[must_use]
pub fn keccak256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Keccak256::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}
