//! Every refusal, with its code and a sentence that tells a partner what to change.

/// Why a request's digest, signature or idempotency key was refused. [`Error::code`] is stable; the text may improve.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A body without `Content-Digest`.
    #[error(
        "a request with a body needs a Content-Digest header, e.g. Content-Digest: sha-256=:<base64 of the hash of the body>:"
    )]
    DigestMissing,
    /// `Content-Digest` is there but is not one RFC 9530 dictionary of byte sequences.
    #[error("Content-Digest is malformed: {0}")]
    DigestMalformed(String),
    /// No digest of a supported algorithm.
    #[error("Content-Digest carries neither sha-256 nor sha-512; send one of them")]
    DigestUnsupported,
    /// A supported digest differs from the body's.
    #[error(
        "the {0} in Content-Digest is not that of the {1} bytes of body received; hash exactly the bytes that are sent"
    )]
    DigestMismatch(&'static str, usize),
    /// `Idempotency-Key` is absent, repeated or no UUID.
    #[error("Idempotency-Key {0}")]
    IdempotencyKey(&'static str),
    /// `Signature` or `Signature-Input` is absent.
    #[error("the {0} header is missing; sign the request as RFC 9421 describes")]
    Missing(&'static str),
    /// The signature headers cannot be read.
    #[error("malformed signature: {0}")]
    Malformed(String),
    /// The signature covers less than the policy asks for.
    #[error("the signature {label:?} must also cover {missing}")]
    Coverage {
        /// Which signature.
        label: String,
        /// The absent components, quoted, separated by commas.
        missing: String,
    },
    /// A covered component that is not implemented, is absent or is ambiguous.
    #[error("covered component {component}: {reason}")]
    Component {
        /// The component's identifier as received.
        component: String,
        /// Why it cannot be used.
        reason: &'static str,
    },
    /// A required signature parameter is absent.
    #[error("the signature {label:?} lacks the parameter {parameter:?}")]
    Parameter {
        /// Which signature.
        label: String,
        /// `created` or `keyid`.
        parameter: &'static str,
    },
    /// `created` is too old, or `expires` has passed.
    #[error("the signature has expired: {0}; sign each attempt anew and check the clock")]
    Expired(String),
    /// `created` lies in the future.
    #[error("the signature is not yet valid: {0}; check the clock")]
    NotYetValid(String),
    /// `alg` is unknown or disagrees with the key.
    #[error("signature algorithm: {0}")]
    Algorithm(String),
    /// No live key of the caller has this id.
    #[error("no live signing key {0:?} belongs to this programme; register it with PUT /v1/auth/signing")]
    KeyUnknown(String),
    /// The nonce was used before by this key.
    #[error("the nonce of this signature was used before; sign each attempt anew, with a fresh nonce")]
    Replayed,
    /// The mathematics say no.
    #[error("the signature does not verify: {0}")]
    Invalid(String),
}

impl Error {
    /// The contract's code (§4, §5). A malformed digest answers as a missing one: there is none that can be used.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::DigestMissing | Self::DigestMalformed(_) => "DIGEST_MISSING",
            Self::DigestUnsupported => "DIGEST_UNSUPPORTED",
            Self::DigestMismatch(..) => "DIGEST_MISMATCH",
            Self::IdempotencyKey(_) => "IDEMPOTENCY_KEY_INVALID",
            Self::Missing(_) => "SIGNATURE_MISSING",
            Self::Malformed(_) => "SIGNATURE_MALFORMED",
            Self::Coverage { .. } => "SIGNATURE_COVERAGE",
            Self::Component { .. } => "SIGNATURE_COMPONENT",
            Self::Parameter { .. } => "SIGNATURE_PARAMETER",
            Self::Expired(_) => "SIGNATURE_EXPIRED",
            Self::NotYetValid(_) => "SIGNATURE_NOT_YET_VALID",
            Self::Algorithm(_) => "SIGNATURE_ALGORITHM",
            Self::KeyUnknown(_) => "KEY_UNKNOWN",
            Self::Replayed => "SIGNATURE_REPLAYED",
            Self::Invalid(_) => "SIGNATURE_INVALID",
        }
    }

    pub(super) fn component(component: &str, reason: &'static str) -> Self {
        Self::Component { component: component.to_owned(), reason }
    }
}

/// Why key material was refused. Never quotes the material.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not PEM, nor base64 of PEM.
    #[error("not a PEM text (\"-----BEGIN PUBLIC KEY-----\") nor the base64 of one")]
    NotPem,
    /// Somebody sent the wrong half.
    #[error(
        "this is a private key: it must never leave its owner. Treat it as compromised, make a new pair, \
         and send only the public half (openssl pkey -in key.pem -pubout)"
    )]
    PrivateKey,
    /// PEM, but of something else.
    #[error("expected PEM {expected}, found {found}")]
    Label {
        /// What would do.
        expected: &'static str,
        /// What was there.
        found: String,
    },
    /// PEM or DER that cannot be read.
    #[error("the PEM text is damaged: {0}")]
    Damaged(&'static str),
    /// A kind of key, curve or parameter that is not accepted.
    #[error("{0} is not accepted; use P-384, P-256, Ed25519 or RSA of 2048 to 8192 bits")]
    Unsupported(&'static str),
    /// RSA outside 2048 to 8192 bits.
    #[error("RSA keys need 2048 to 8192 bits, this one has {0}")]
    RsaSize(usize),
    /// An Ed25519 point with which anybody can forge signatures.
    #[error("this Ed25519 key is a point of small order or not canonical, no honest key generator makes it")]
    WeakPoint,
    /// The cryptographic library refuses the key.
    #[error("the key is not a valid {0} key")]
    Rejected(&'static str),
}
