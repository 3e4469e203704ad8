//! Private keys: the service's own (webhooks), the CLI's and the tests'.

use std::fmt;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
    RSA_PSS_SHA512, RsaKeyPair,
};
use secrecy::{ExposeSecret, SecretBox, SecretString};

use super::key::{RSA_PSS, algorithm_of};
use super::{Algorithm, KeyError, PublicKey, der, pem};

/// A signing key. `Debug` shows the public half only.
pub struct PrivateKey {
    pair: Pair,
    pkcs8: SecretBox<Vec<u8>>,
    public: PublicKey,
}

enum Pair {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

impl PrivateKey {
    /// Makes a key; RSA with 3072 bits. The randomness is the cryptographic library's own.
    ///
    /// # Errors
    /// [`KeyError::Rejected`] when the library has no randomness.
    pub fn generate(algorithm: Algorithm) -> Result<Self, KeyError> {
        let failed = |_| KeyError::Rejected("newly made");
        match algorithm {
            Algorithm::EcdsaP384Sha384 => {
                let pair = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).map_err(failed)?;
                let der = pair.to_pkcs8v1().map_err(failed)?;
                Self::new(Pair::Ecdsa(pair), der.as_ref())
            }
            Algorithm::EcdsaP256Sha256 => {
                let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(failed)?;
                let der = pair.to_pkcs8v1().map_err(failed)?;
                Self::new(Pair::Ecdsa(pair), der.as_ref())
            }
            Algorithm::Ed25519 => {
                let pair = Ed25519KeyPair::generate().map_err(failed)?;
                let der = pair.to_pkcs8v1().map_err(failed)?;
                Self::new(Pair::Ed25519(pair), der.as_ref())
            }
            Algorithm::RsaPssSha512 => {
                let pair = RsaKeyPair::generate(KeySize::Rsa3072).map_err(failed)?;
                let der = pair.as_der().map_err(failed)?;
                Self::new(Pair::Rsa(pair), der.as_ref())
            }
        }
    }

    /// Reads PKCS#8 PEM (`-----BEGIN PRIVATE KEY-----`) or the base64 of it.
    ///
    /// # Errors
    /// Not PEM, encrypted, of another form, or of a kind that is not accepted.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let block = pem::read(text)?;
        if block.label != "PRIVATE KEY" {
            let expected = "PRIVATE KEY (PKCS#8; convert with: openssl pkcs8 -topk8 -nodes -in key.pem)";
            return Err(KeyError::Label { expected, found: block.label });
        }
        Self::from_pkcs8_der(&block.der)
    }

    /// Reads PKCS#8 in DER.
    ///
    /// # Errors
    /// As [`PrivateKey::parse`].
    pub fn from_pkcs8_der(pkcs8: &[u8]) -> Result<Self, KeyError> {
        let (id, key) = der::pkcs8(pkcs8).ok_or(KeyError::Damaged("not one PKCS#8 key in DER"))?;
        let pair = match algorithm_of(&id)? {
            Algorithm::EcdsaP384Sha384 => EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, pkcs8)
                .map(Pair::Ecdsa)
                .map_err(|_| KeyError::Rejected("P-384"))?,
            Algorithm::EcdsaP256Sha256 => EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8)
                .map(Pair::Ecdsa)
                .map_err(|_| KeyError::Rejected("P-256"))?,
            Algorithm::Ed25519 => Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8)
                .map(Pair::Ed25519)
                .map_err(|_| KeyError::Rejected("Ed25519"))?,
            Algorithm::RsaPssSha512 => {
                // The library reads rsaEncryption only; the inner RSAPrivateKey is the same under id-RSASSA-PSS.
                let pair = if id.oid == RSA_PSS { RsaKeyPair::from_der(key) } else { RsaKeyPair::from_pkcs8(pkcs8) };
                pair.map(Pair::Rsa).map_err(|_| KeyError::Rejected("RSA"))?
            }
        };
        Self::new(pair, pkcs8)
    }

    fn new(pair: Pair, pkcs8: &[u8]) -> Result<Self, KeyError> {
        let spki = match &pair {
            Pair::Ecdsa(pair) => pair.public_key().as_der().map(|der| der.as_ref().to_vec()),
            Pair::Ed25519(pair) => pair.public_key().as_der().map(|der| der.as_ref().to_vec()),
            Pair::Rsa(pair) => pair.public_key().as_der().map(|der| der.as_ref().to_vec()),
        };
        let public = PublicKey::from_spki_der(&spki.map_err(|_| KeyError::Rejected("private"))?)?;
        Ok(Self { pair, pkcs8: SecretBox::new(Box::new(pkcs8.to_vec())), public })
    }

    /// The public half.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// The one algorithm this key signs with.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.public.algorithm()
    }

    /// The key as PKCS#8 PEM, for a file that only its owner can read.
    #[must_use]
    pub fn to_pem(&self) -> SecretString {
        pem::write("PRIVATE KEY", self.pkcs8.expose_secret()).into()
    }

    /// Signs `message`: raw r‖s for ECDSA, PSS with a salt of 64 bytes for RSA.
    ///
    /// # Errors
    /// [`KeyError::Rejected`] when the library cannot sign (no randomness).
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let failed = |_| KeyError::Rejected("signing");
        match &self.pair {
            Pair::Ecdsa(pair) => Ok(pair.sign(&SystemRandom::new(), message).map_err(failed)?.as_ref().to_vec()),
            Pair::Ed25519(pair) => Ok(pair.try_sign(message).map_err(failed)?.as_ref().to_vec()),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PSS_SHA512, &SystemRandom::new(), message, &mut signature).map_err(failed)?;
                Ok(signature)
            }
        }
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey").field("public", &self.public).finish_non_exhaustive()
    }
}
