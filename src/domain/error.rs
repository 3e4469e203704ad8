//! What a refusal is, before any door dresses it: a stable code, a sentence, and the fields at fault.

use std::fmt;
use std::time::Duration;

/// The stable code of a refusal. `api::error` maps each to its gRPC code, HTTP status and title.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// The request's content is wrong; the violations say where.
    ValidationFailed,
    /// `Idempotency-Key` is missing or is no UUID.
    IdempotencyKeyInvalid,
    /// The key was used for another request.
    IdempotencyKeyReused,
    /// The request that holds the key has not ended yet.
    IdempotencyConcurrencyConflict,
    /// A body without `Content-Digest`.
    DigestMissing,
    /// The body is not what `Content-Digest` says.
    DigestMismatch,
    /// `Content-Digest` names no supported algorithm.
    DigestUnsupported,
    /// No signature.
    SignatureMissing,
    /// The signature headers do not parse.
    SignatureMalformed,
    /// The signature does not cover what it must.
    SignatureCoverage,
    /// The signature covers a component that is not implemented.
    SignatureComponent,
    /// `created` or `keyid` is missing.
    SignatureParameter,
    /// Too old, or past its `expires`.
    SignatureExpired,
    /// Created in the future.
    SignatureNotYetValid,
    /// `alg` is not the key's algorithm.
    SignatureAlgorithm,
    /// The nonce was seen before.
    SignatureReplayed,
    /// The signature does not verify.
    SignatureInvalid,
    /// The programme has no such key.
    KeyUnknown,
    /// No bearer token, or one that is wrong, expired or revoked.
    Unauthenticated,
    /// The API key and secret do not belong together.
    CredentialsInvalid,
    /// Too many failed authentications.
    AuthenticationThrottled,
    /// The programme asks more often than it may.
    RateLimited,
    /// The simulator, under a live programme.
    SandboxOnly,
    /// A call that only operators may make.
    OperatorOnly,
    /// A call that the operator's role does not allow.
    RoleForbidden,
    /// No such programme.
    ProgrammeNotFound,
    /// No such operator.
    OperatorNotFound,
    /// The operator's name is taken.
    OperatorExists,
    /// No such customer.
    CustomerNotFound,
    /// No such account.
    AccountNotFound,
    /// No such card.
    CardNotFound,
    /// No such subscription.
    WebhookNotFound,
    /// No such delivery.
    DeliveryNotFound,
    /// No such signing key.
    SigningKeyNotFound,
    /// The chain id or external id is taken.
    CustomerExists,
    /// The account already has a live card of this type.
    CardExists,
    /// The API key is taken.
    ApiKeyExists,
    /// The public key is registered already.
    SigningKeyExists,
    /// The entity's state does not allow the move.
    InvalidStateTransition,
    /// The lease is over, or is another's.
    LeaseLost,
    /// The challenge's signature does not verify.
    ChallengeSignatureInvalid,
    /// The challenge is over.
    ChallengeExpired,
    /// Not the live challenge.
    ChallengeMismatch,
    /// Another customer's id.
    OwnerMismatch,
    /// The request's body came too slowly.
    RequestTimeout,
    /// Too much at once, or a part that is needed does not answer.
    Unavailable,
    /// Our fault.
    Internal,
}

impl Code {
    /// Every code.
    pub const ALL: &[Self] = &[
        Self::ValidationFailed,
        Self::IdempotencyKeyInvalid,
        Self::IdempotencyKeyReused,
        Self::IdempotencyConcurrencyConflict,
        Self::DigestMissing,
        Self::DigestMismatch,
        Self::DigestUnsupported,
        Self::SignatureMissing,
        Self::SignatureMalformed,
        Self::SignatureCoverage,
        Self::SignatureComponent,
        Self::SignatureParameter,
        Self::SignatureExpired,
        Self::SignatureNotYetValid,
        Self::SignatureAlgorithm,
        Self::SignatureReplayed,
        Self::SignatureInvalid,
        Self::KeyUnknown,
        Self::Unauthenticated,
        Self::CredentialsInvalid,
        Self::AuthenticationThrottled,
        Self::RateLimited,
        Self::SandboxOnly,
        Self::OperatorOnly,
        Self::RoleForbidden,
        Self::ProgrammeNotFound,
        Self::OperatorNotFound,
        Self::OperatorExists,
        Self::CustomerNotFound,
        Self::AccountNotFound,
        Self::CardNotFound,
        Self::WebhookNotFound,
        Self::DeliveryNotFound,
        Self::SigningKeyNotFound,
        Self::CustomerExists,
        Self::CardExists,
        Self::ApiKeyExists,
        Self::SigningKeyExists,
        Self::InvalidStateTransition,
        Self::LeaseLost,
        Self::ChallengeSignatureInvalid,
        Self::ChallengeExpired,
        Self::ChallengeMismatch,
        Self::OwnerMismatch,
        Self::RequestTimeout,
        Self::Unavailable,
        Self::Internal,
    ];
}

/// One field at fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The field, as a path in lowerCamelCase JSON names.
    pub field: String,
    /// The stable code of the fault.
    pub code: &'static str,
    /// What is wrong and what would be right.
    pub message: String,
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Error {
    /// The stable code.
    pub code: Code,
    /// What happened and what to do next, in one or two sentences. Shown to the caller.
    pub detail: String,
    /// The fields at fault.
    pub violations: Vec<Violation>,
    /// Further members of the problem document, lowerCamelCase names.
    pub extra: Vec<(&'static str, String)>,
    /// When it is worth trying again.
    pub retry_after: Option<Duration>,
}

impl Error {
    /// A refusal with its sentence.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), violations: Vec::new(), extra: Vec::new(), retry_after: None }
    }

    /// One field is wrong.
    pub fn invalid(field: impl Into<String>, code: &'static str, message: impl Into<String>) -> Self {
        Self::violations(vec![Violation { field: field.into(), code, message: message.into() }])
    }

    /// Several fields are wrong. The first thirty-two are named: gRPC carries them in a header, and nobody reads more.
    pub fn violations(mut violations: Vec<Violation>) -> Self {
        violations.truncate(32);
        let names: Vec<&str> = violations.iter().map(|v| v.field.as_str()).collect();
        let detail = format!("The request is not valid: see {}.", names.join(", "));
        Self { violations, ..Self::new(Code::ValidationFailed, detail) }
    }

    /// The same, with one more violation beside its code.
    #[must_use]
    pub fn on(mut self, field: impl Into<String>, code: &'static str, message: impl Into<String>) -> Self {
        self.violations.push(Violation { field: field.into(), code, message: message.into() });
        self
    }

    /// The same, with a further member in the problem document.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.extra.push((name, value.into()));
        self
    }

    /// The same, worth another try after `wait`.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// The move is not possible from the present state.
    pub fn transition(entity: &'static str, present: impl fmt::Display, wanted: &str) -> Self {
        let present = present.to_string();
        Self::new(
            Code::InvalidStateTransition,
            format!("The {entity} is {present}, so it cannot be {wanted}. Retrieve it to see its present status."),
        )
        .with("currentStatus", present)
    }

    /// `entity` cannot wake, because its `parent` is not awake. The present status is the entity's own: inactive.
    pub fn asleep(entity: &'static str, parent: &'static str, present: impl fmt::Display) -> Self {
        let detail = format!(
            "The {entity} is inactive and its {parent} is {present}, so the {entity} cannot be activated. Activate the {parent} first."
        );
        Self::new(Code::InvalidStateTransition, detail).with("currentStatus", "inactive")
    }

    /// A fault of ours. The cause goes to the log, not to the caller.
    pub fn internal() -> Self {
        Self::new(
            Code::Internal,
            "Something went wrong on our side. Try again, and quote the request id if it stays so.",
        )
    }

    /// Whether the refusal is the business answer to a request that was understood and allowed: kept under the
    /// idempotency key and replayed. Everything else may come out differently the next time.
    pub fn is_business(&self) -> bool {
        matches!(
            self.code,
            Code::ProgrammeNotFound
                | Code::OperatorNotFound
                | Code::OperatorExists
                | Code::CustomerNotFound
                | Code::AccountNotFound
                | Code::CardNotFound
                | Code::WebhookNotFound
                | Code::DeliveryNotFound
                | Code::SigningKeyNotFound
                | Code::CustomerExists
                | Code::CardExists
                | Code::ApiKeyExists
                | Code::SigningKeyExists
                | Code::InvalidStateTransition
                | Code::LeaseLost
                | Code::ChallengeSignatureInvalid
                | Code::ChallengeExpired
                | Code::ChallengeMismatch
                | Code::OwnerMismatch
        )
    }
}
