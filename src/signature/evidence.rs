//! What the REST front passes on: everything about a request's signatures except whether a key made them.

use std::fmt;

use prost::Message as _;

use super::{Algorithm, Error, base};

/// One signature that satisfies the policy, ready for its key.
#[derive(Clone, PartialEq, Eq)]
pub struct Candidate {
    pub(super) label: String,
    pub(super) key_id: String,
    pub(super) alg: Option<Algorithm>,
    pub(super) base: String,
    pub(super) signature: Vec<u8>,
    pub(super) created: i64,
    pub(super) expires: Option<i64>,
    pub(super) nonce: Option<String>,
}

impl Candidate {
    /// The label in `Signature-Input`.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The `keyid` parameter.
    #[must_use]
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// The `alg` parameter, if sent.
    #[must_use]
    pub fn algorithm(&self) -> Option<Algorithm> {
        self.alg
    }

    /// The `created` parameter, Unix seconds.
    #[must_use]
    pub fn created(&self) -> i64 {
        self.created
    }

    /// The `expires` parameter, Unix seconds.
    #[must_use]
    pub fn expires(&self) -> Option<i64> {
        self.expires
    }

    /// The `nonce` parameter. What makes a repetition recognisable is this and never the signature's bytes: for ECDSA
    /// anybody can make second bytes, (r, n−s), from the first.
    #[must_use]
    pub fn nonce(&self) -> Option<&str> {
        self.nonce.as_deref()
    }

    /// The signature base with secrets redacted, for the problem member `signatureBase`.
    #[must_use]
    pub fn redacted_base(&self) -> String {
        base::redacted(&self.base)
    }
}

impl fmt::Debug for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Candidate")
            .field("label", &self.label)
            .field("key_id", &self.key_id)
            .field("base", &self.redacted_base())
            .finish_non_exhaustive()
    }
}

/// A request's candidates, at least one and at most eight, in the order of `Signature-Input`.
#[derive(Clone, PartialEq, Eq)]
pub struct Evidence {
    pub(super) candidates: Vec<Candidate>,
}

impl fmt::Debug for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.candidates).finish()
    }
}

impl Evidence {
    /// The candidates.
    #[must_use]
    pub fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }

    /// Bytes for the binary metadata `x-signature-evidence-bin`. They hold the bases in clear, bearer token included if
    /// it was covered, just as the `authorization` metadata beside them does: never log them.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        WireEvidence { candidates: self.candidates.iter().map(WireCandidate::from).collect() }.encode_to_vec()
    }

    /// Reads [`Evidence::to_bytes`].
    ///
    /// # Errors
    /// [`Error::Malformed`] for other bytes, no candidate or an algorithm that does not exist.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let malformed = || Error::Malformed("the signature evidence cannot be read".to_owned());
        let wire = WireEvidence::decode(bytes).map_err(|_| malformed())?;
        let candidates: Option<Vec<_>> = wire.candidates.into_iter().map(WireCandidate::read).collect();
        let candidates = candidates.filter(|candidates| !candidates.is_empty()).ok_or_else(malformed)?;
        Ok(Self { candidates })
    }
}

#[derive(prost::Message)]
struct WireEvidence {
    #[prost(message, repeated, tag = "1")]
    candidates: Vec<WireCandidate>,
}

#[derive(prost::Message)]
struct WireCandidate {
    #[prost(string, tag = "1")]
    label: String,
    #[prost(string, tag = "2")]
    key_id: String,
    #[prost(string, optional, tag = "3")]
    alg: Option<String>,
    #[prost(string, tag = "4")]
    base: String,
    #[prost(bytes = "vec", tag = "5")]
    signature: Vec<u8>,
    #[prost(int64, tag = "6")]
    created: i64,
    #[prost(int64, optional, tag = "7")]
    expires: Option<i64>,
    #[prost(string, optional, tag = "8")]
    nonce: Option<String>,
}

impl From<&Candidate> for WireCandidate {
    fn from(candidate: &Candidate) -> Self {
        let Candidate { label, key_id, alg, base, signature, created, expires, nonce } = candidate.clone();
        Self { label, key_id, alg: alg.map(|alg| alg.name().to_owned()), base, signature, created, expires, nonce }
    }
}

impl WireCandidate {
    fn read(self) -> Option<Candidate> {
        let Self { label, key_id, alg, base, signature, created, expires, nonce } = self;
        let alg = match alg {
            Some(name) => Some(Algorithm::from_name(&name)?),
            None => None,
        };
        Some(Candidate { label, key_id, alg, base, signature, created, expires, nonce })
    }
}
