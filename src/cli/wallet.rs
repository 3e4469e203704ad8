//! `customerd wallet …`: a throw-away wallet, to try the service without one. Keys that hold value do not belong here.

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Subcommand;
use secp256k1::ecdsa::RecoverableSignature;
use secp256k1::{Message, PublicKey, SecretKey};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;

use crate::clock::Clock;
use crate::domain::chain::{Address, keccak256};

/// What to do with the wallet.
#[derive(Debug, Subcommand)]
pub enum Wallet {
    /// Make a key; prints its account on Ethereum and the key as JSON
    New,
    /// Sign a challenge as wallets do (EIP-191), and print the signature
    Sign {
        /// The private key: 32 bytes of hex
        #[arg(long, env = "CUSTOMERD_WALLET_KEY", hide_env_values = true, value_name = "HEX")]
        private_key: SecretString,
        /// The challenge, base64, as the API gives it
        challenge: String,
    },
}

/// Does it.
///
/// # Errors
///
/// The key or the challenge cannot be read.
pub(super) fn run(command: Wallet) -> anyhow::Result<()> {
    match command {
        Wallet::New => {
            let bytes: [u8; 32] = Clock::system().random();
            let key = SecretKey::from_secret_bytes(bytes).context("try again: not every number is a key")?;
            let public = PublicKey::from_secret_key(&key).serialize_uncompressed();
            let mut address = [0; 20];
            address.copy_from_slice(&keccak256(&[&public[1..]])[12..]);
            let account = format!("eip155:1:{}", Address::Evm(address));
            super::print(&json!({"account": account, "privateKey": format!("0x{}", hex::encode(bytes))}).to_string())
        }
        Wallet::Sign { private_key, challenge } => {
            let text = STANDARD.decode(challenge).context("the challenge is no base64")?;
            let hex = private_key.expose_secret();
            let bytes = hex::decode(hex.strip_prefix("0x").unwrap_or(hex)).ok();
            let bytes: [u8; 32] =
                bytes.and_then(|bytes| bytes.try_into().ok()).context("the key is no 32 bytes of hex")?;
            let key = SecretKey::from_secret_bytes(bytes).context("the key is none of secp256k1's")?;
            super::print(&sign(&key, &text))
        }
    }
}

/// `0x` and the hex of r, s and v (27 or 28).
fn sign(key: &SecretKey, text: &[u8]) -> String {
    let length = text.len().to_string();
    let digest = keccak256(&[b"\x19Ethereum Signed Message:\n", length.as_bytes(), text]);
    let (id, compact) =
        RecoverableSignature::sign_ecdsa_recoverable(Message::from_digest(digest), key).serialize_compact();
    format!("0x{}{:02x}", hex::encode(compact), 27 + id.to_u8())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::challenge;

    #[test]
    fn what_it_signs_verifies() {
        let key = SecretKey::from_secret_bytes([1; 32]).unwrap();
        let account = "eip155:1:0x1a642f0E3c3aF545E7AcBD38b07251B3990914F1".parse().unwrap();
        assert_eq!(challenge::verify(&account, b"text", &sign(&key, b"text")), Ok(()));
        assert!(challenge::verify(&account, b"test", &sign(&key, b"text")).is_err());
    }
}
