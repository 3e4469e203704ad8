//! Wallets: keys of our own on two families of chains, signing as wallets do.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use customerd::domain::chain::keccak256;
use secp256k1::ecdsa::RecoverableSignature;
use secp256k1::{Message, PublicKey, SecretKey};

/// An Ethereum key.
pub struct Evm(SecretKey);

impl Evm {
    /// The same key for the same number.
    pub fn new(number: u8) -> Self {
        Self(SecretKey::from_secret_bytes([number; 32]).unwrap())
    }

    /// The key of these bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(SecretKey::from_secret_bytes(bytes).unwrap())
    }

    /// The same key for the same name.
    pub fn named(name: &str) -> Self {
        use sha2::Digest as _;
        Self(SecretKey::from_secret_bytes(sha2::Sha256::digest(name).into()).unwrap())
    }

    /// Its account on Ethereum, all lower case.
    pub fn account(&self) -> String {
        let key = PublicKey::from_secret_key(&self.0).serialize_uncompressed();
        format!("eip155:1:0x{}", hex::encode(&keccak256(&[&key[1..]])[12..]))
    }

    /// The 65 bytes of `personal_sign` (EIP-191), v 27 or 28.
    pub fn sign(&self, text: &[u8]) -> [u8; 65] {
        let length = text.len().to_string();
        let digest = keccak256(&[b"\x19Ethereum Signed Message:\n", length.as_bytes(), text]);
        let signature = RecoverableSignature::sign_ecdsa_recoverable(Message::from_digest(digest), &self.0);
        let (id, compact) = signature.serialize_compact();
        let mut bytes = [0; 65];
        bytes[..64].copy_from_slice(&compact);
        bytes[64] = 27 + id.to_u8();
        bytes
    }

    /// The same as wallets show it: 0x and hex.
    pub fn sign_hex(&self, text: &[u8]) -> String {
        format!("0x{}", hex::encode(self.sign(text)))
    }
}

/// A Solana key.
pub struct Solana(Ed25519KeyPair);

impl Solana {
    /// The same key for the same number.
    pub fn new(number: u8) -> Self {
        Self(Ed25519KeyPair::from_seed_unchecked(&[number; 32]).unwrap())
    }

    /// Its account on the main network.
    pub fn account(&self) -> String {
        let key = bs58::encode(self.0.public_key().as_ref()).into_string();
        format!("solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp:{key}")
    }

    /// The 64 bytes of the signature.
    pub fn sign(&self, text: &[u8]) -> Vec<u8> {
        self.0.sign(text).as_ref().to_vec()
    }
}

/// Bytes as JSON carries them.
pub fn b64(bytes: impl AsRef<[u8]>) -> String {
    STANDARD.encode(bytes)
}

/// And back.
pub fn unb64(text: &serde_json::Value) -> Vec<u8> {
    STANDARD.decode(text.as_str().unwrap()).unwrap()
}
