//! The half that needs keys.

use super::policy::window;
use super::{Algorithm, Candidate, Error, Evidence, PublicKey};

/// Why no candidate verified.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct Failure {
    /// The error of the candidate that got furthest.
    pub error: Error,
    /// What the server built, secrets redacted: when a live key exists and the mathematics say no.
    pub signature_base: Option<String>,
}

impl Evidence {
    /// The first candidate that `key` (live keys of the caller's own programme, by key id) verifies at Unix second `now`.
    ///
    /// # Errors
    /// [`Failure`] with [`Error::KeyUnknown`] before [`Error::Expired`] before [`Error::Algorithm`] before
    /// [`Error::Invalid`]: the last of them that any candidate reached.
    pub fn verify<'k>(&self, now: i64, key: impl Fn(&str) -> Option<&'k PublicKey>) -> Result<&Candidate, Failure> {
        let mut furthest = (0, Failure { error: Error::Missing("Signature"), signature_base: None });
        for candidate in &self.candidates {
            let outcome = key(&candidate.key_id)
                .ok_or_else(|| Error::KeyUnknown(candidate.key_id.clone()))
                .and_then(|key| candidate.verify(key, now));
            let Err(error) = outcome else { return Ok(candidate) };
            let (stage, show) = match error {
                Error::KeyUnknown(_) => (1, false),
                Error::Algorithm(_) => (3, false),
                Error::Invalid(_) => (4, true),
                _ => (2, false),
            };
            if stage > furthest.0 {
                furthest = (stage, Failure { error, signature_base: show.then(|| candidate.redacted_base()) });
            }
        }
        Err(furthest.1)
    }
}

impl Candidate {
    /// Whether `key` made this signature, at Unix second `now`.
    ///
    /// # Errors
    /// [`Error::Expired`], [`Error::NotYetValid`], [`Error::Algorithm`] when `alg` disagrees with the key,
    /// [`Error::Invalid`] when the signature is not this key's over this base.
    pub fn verify(&self, key: &PublicKey, now: i64) -> Result<(), Error> {
        window(now, self.created, self.expires)?;
        if let Some(alg) = self.algorithm().filter(|alg| *alg != key.algorithm()) {
            return Err(Error::Algorithm(format!(
                "alg is {alg}, but the key {:?} is for {}",
                self.key_id,
                key.algorithm()
            )));
        }
        let (expected, found) = (key.signature_len(), self.signature.len());
        if expected != found {
            return Err(Error::Invalid(self.wrong_length(key.algorithm(), expected)));
        }
        if key.verifies(self.base.as_bytes(), &self.signature) {
            Ok(())
        } else {
            Err(Error::Invalid(format!(
                "{} by the key {:?} over the signature base that the server built; compare it line by line with yours",
                key.algorithm(),
                self.key_id
            )))
        }
    }

    fn wrong_length(&self, algorithm: Algorithm, expected: usize) -> String {
        let found = self.signature.len();
        let ecdsa = matches!(algorithm, Algorithm::EcdsaP256Sha256 | Algorithm::EcdsaP384Sha384);
        if ecdsa && self.signature.first() == Some(&0x30) {
            format!("{found} bytes that look like ASN.1 DER; send the raw r and s, {expected} bytes (IEEE P1363)")
        } else {
            format!("{algorithm} signatures have {expected} bytes, this one has {found}")
        }
    }
}
