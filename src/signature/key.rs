//! Public keys: what a programme registers, and the check of one signature with it.

use std::fmt;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey, RSA_PSS_2048_8192_SHA512,
    VerificationAlgorithm,
};

use super::{KeyError, der, pem};

/// The algorithms of RFC 9421 §3.3 that are accepted. The key's type fixes which one applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// §3.3.5: ECDSA on P-384 with SHA-384, r‖s, 96 bytes.
    EcdsaP384Sha384,
    /// §3.3.4: ECDSA on P-256 with SHA-256, r‖s, 64 bytes.
    EcdsaP256Sha256,
    /// §3.3.6: Ed25519, 64 bytes.
    Ed25519,
    /// §3.3.1: RSASSA-PSS with SHA-512 and a salt of 64 bytes.
    RsaPssSha512,
}

impl Algorithm {
    /// All of them, strongest habit first.
    pub const ALL: [Self; 4] = [Self::EcdsaP384Sha384, Self::EcdsaP256Sha256, Self::Ed25519, Self::RsaPssSha512];

    /// The name in the HTTP Signature Algorithms registry, as in the `alg` parameter.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::EcdsaP384Sha384 => "ecdsa-p384-sha384",
            Self::EcdsaP256Sha256 => "ecdsa-p256-sha256",
            Self::Ed25519 => "ed25519",
            Self::RsaPssSha512 => "rsa-pss-sha512",
        }
    }

    /// The algorithm of that registered name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

pub(super) const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
pub(super) const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
pub(super) const P384: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];
const P521: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23];
const SECP256K1: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a];
const ED25519_OID: &[u8] = &[0x2b, 0x65, 0x70];
const ED448_OID: &[u8] = &[0x2b, 0x65, 0x71];
const X25519_OID: &[u8] = &[0x2b, 0x65, 0x6e];
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
pub(super) const RSA_PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a];
const NULL: &[u8] = &[0x05, 0x00];

/// The algorithm that an `AlgorithmIdentifier` stands for; the same for SubjectPublicKeyInfo and PKCS#8.
pub(super) fn algorithm_of(id: &der::AlgorithmId<'_>) -> Result<Algorithm, KeyError> {
    match (id.oid, id.parameters) {
        (EC_PUBLIC_KEY, P384) => Ok(Algorithm::EcdsaP384Sha384),
        (EC_PUBLIC_KEY, P256) => Ok(Algorithm::EcdsaP256Sha256),
        (EC_PUBLIC_KEY, P521) => Err(KeyError::Unsupported("the curve P-521")),
        (EC_PUBLIC_KEY, SECP256K1) => Err(KeyError::Unsupported("the curve secp256k1")),
        (EC_PUBLIC_KEY, _) => Err(KeyError::Unsupported("this elliptic curve")),
        (ED25519_OID, []) => Ok(Algorithm::Ed25519),
        (ED448_OID, _) => Err(KeyError::Unsupported("Ed448")),
        (X25519_OID, _) => Err(KeyError::Unsupported("X25519 (it agrees on keys and cannot sign)")),
        (RSA, NULL) | (RSA_PSS, []) => Ok(Algorithm::RsaPssSha512),
        (RSA_PSS, _) => Err(KeyError::Unsupported("an RSA-PSS key restricted to parameters")),
        _ => Err(KeyError::Unsupported("this kind of key")),
    }
}

/// A checked public key, parsed once so that each verification costs only the mathematics.
#[derive(Clone)]
pub struct PublicKey {
    algorithm: Algorithm,
    spki: Vec<u8>,
    parsed: ParsedPublicKey,
}

impl PublicKey {
    /// Reads PEM (`-----BEGIN PUBLIC KEY-----`) or the base64 of it.
    ///
    /// # Errors
    /// Not PEM; a private key or something else; an unsupported kind, curve or size; a weak or invalid point.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let block = pem::read(text)?;
        match block.label.as_str() {
            "PUBLIC KEY" => Self::from_spki_der(&block.der),
            label if label.contains("PRIVATE KEY") => Err(KeyError::PrivateKey),
            _ => Err(KeyError::Label { expected: "PUBLIC KEY (SubjectPublicKeyInfo)", found: block.label }),
        }
    }

    /// Reads SubjectPublicKeyInfo in DER, the form for storage.
    ///
    /// # Errors
    /// As [`PublicKey::parse`].
    pub fn from_spki_der(spki: &[u8]) -> Result<Self, KeyError> {
        let (id, key) = der::spki(spki).ok_or(KeyError::Damaged("not one SubjectPublicKeyInfo in DER"))?;
        let algorithm = algorithm_of(&id)?;
        let (verifier, name): (&'static dyn VerificationAlgorithm, _) = match algorithm {
            Algorithm::EcdsaP384Sha384 => (&ECDSA_P384_SHA384_FIXED, "P-384"),
            Algorithm::EcdsaP256Sha256 => (&ECDSA_P256_SHA256_FIXED, "P-256"),
            Algorithm::Ed25519 => (&ED25519, "Ed25519"),
            Algorithm::RsaPssSha512 => (&RSA_PSS_2048_8192_SHA512, "RSA"),
        };
        match algorithm {
            Algorithm::EcdsaP384Sha384 if key.len() != 97 => return Err(KeyError::Unsupported("a compressed point")),
            Algorithm::EcdsaP256Sha256 if key.len() != 65 => return Err(KeyError::Unsupported("a compressed point")),
            Algorithm::Ed25519 => check_ed25519(key)?,
            Algorithm::RsaPssSha512 => check_rsa(key)?,
            _ => {}
        }
        let parsed = ParsedPublicKey::new(verifier, key).map_err(|_| KeyError::Rejected(name))?;
        Ok(Self { algorithm, spki: spki.to_vec(), parsed })
    }

    /// The one algorithm this key is used with.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// SubjectPublicKeyInfo in DER.
    #[must_use]
    pub fn spki_der(&self) -> &[u8] {
        &self.spki
    }

    /// SubjectPublicKeyInfo as PEM.
    #[must_use]
    pub fn to_pem(&self) -> String {
        pem::write("PUBLIC KEY", &self.spki)
    }

    /// The key's own bytes: the point, or RSAPublicKey.
    pub(super) fn raw(&self) -> &[u8] {
        der::spki(&self.spki).map_or(&[], |(_, key)| key)
    }

    /// Length of every signature by this key, bytes.
    #[must_use]
    pub fn signature_len(&self) -> usize {
        match self.algorithm {
            Algorithm::EcdsaP384Sha384 => 96,
            Algorithm::EcdsaP256Sha256 | Algorithm::Ed25519 => 64,
            Algorithm::RsaPssSha512 => der::rsa_public_key(self.raw()).map_or(0, |(n, _)| n.len()),
        }
    }

    /// Whether `signature` (raw r‖s for ECDSA, never DER) is this key's over `message`.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.parsed.verify_sig(message, signature).is_ok()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicKey").field("algorithm", &self.algorithm).field("thumbprint", &self.thumbprint()).finish()
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.algorithm == other.algorithm && self.raw() == other.raw()
    }
}

impl Eq for PublicKey {}

fn check_rsa(key: &[u8]) -> Result<(), KeyError> {
    let (modulus, exponent) = der::rsa_public_key(key).ok_or(KeyError::Rejected("RSA"))?;
    let bits = modulus.len() * 8 - modulus.first().map_or(0, |b| b.leading_zeros() as usize);
    if !(2048..=8192).contains(&bits) {
        return Err(KeyError::RsaSize(bits));
    }
    // e = 1 makes every message its own signature; an even e is no exponent at all.
    let odd = exponent.last().is_some_and(|b| b % 2 == 1);
    if odd && exponent != [1] { Ok(()) } else { Err(KeyError::Rejected("RSA")) }
}

/// y-coordinates, little-endian, of the eight points whose order divides 8. With such a key a signature can be made
/// that verifies for (nearly) any message, and the library parses them all.
const SMALL_ORDER_Y: [[u8; 32]; 5] = [
    [0; 32],
    hex32(b"0100000000000000000000000000000000000000000000000000000000000000"),
    hex32(b"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    hex32(b"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
    hex32(b"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
];

/// p = 2^255 − 19, little-endian: a y at or above it is a second spelling of another point (RFC 8032 §5.1.3 refuses it).
const P: [u8; 32] = hex32(b"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f");

fn check_ed25519(key: &[u8]) -> Result<(), KeyError> {
    let mut y: [u8; 32] = key.try_into().map_err(|_| KeyError::Rejected("Ed25519"))?;
    y[31] &= 0x7f;
    let canonical = y.iter().rev().lt(P.iter().rev());
    if canonical && !SMALL_ORDER_Y.contains(&y) { Ok(()) } else { Err(KeyError::WeakPoint) }
}

const fn hex32(text: &[u8; 64]) -> [u8; 32] {
    const fn digit(c: u8) -> u8 {
        if c.is_ascii_digit() { c - b'0' } else { c - b'a' + 10 }
    }
    let mut out = [0; 32];
    let mut i = 0;
    while i < 32 {
        out[i] = digit(text[2 * i]) << 4 | digit(text[2 * i + 1]);
        i += 1;
    }
    out
}
