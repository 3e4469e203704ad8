//! The one error table: code, gRPC code, HTTP status, title.
//!
//! A [`domain::Error`](crate::domain::Error) becomes a `google.rpc.Status` here and nowhere else; the bridge turns that
//! into `application/problem+json` with [`row`].

use tonic::Code as Grpc;
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};

use crate::domain::{Code, Error, Violation};

/// The `domain` of every `google.rpc.ErrorInfo` of ours.
pub const DOMAIN: &str = "customerd";

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The stable code: `ErrorInfo.reason` on gRPC, `code` in problem documents.
    pub code: &'static str,
    /// The gRPC status code.
    pub grpc: Grpc,
    /// The HTTP status.
    pub http: u16,
    /// The title of the problem document.
    pub title: &'static str,
}

/// The row of a code.
#[rustfmt::skip]
pub const fn row(code: Code) -> Row {
    const fn r(code: &'static str, grpc: Grpc, http: u16, title: &'static str) -> Row {
        Row { code, grpc, http, title }
    }
    match code {
        Code::ValidationFailed               => r("VALIDATION_FAILED", Grpc::InvalidArgument, 400, "Bad request"),
        Code::IdempotencyKeyInvalid          => r("IDEMPOTENCY_KEY_INVALID", Grpc::InvalidArgument, 400, "Bad request"),
        Code::IdempotencyKeyReused           => r("IDEMPOTENCY_KEY_REUSED", Grpc::InvalidArgument, 422, "Idempotency key reused"),
        Code::IdempotencyConcurrencyConflict => r("IDEMPOTENCY_CONCURRENCY_CONFLICT", Grpc::Aborted, 409, "Request in progress"),
        Code::DigestMissing                  => r("DIGEST_MISSING", Grpc::InvalidArgument, 400, "Bad request"),
        Code::DigestMismatch                 => r("DIGEST_MISMATCH", Grpc::Unauthenticated, 401, "Unauthorized"),
        Code::DigestUnsupported              => r("DIGEST_UNSUPPORTED", Grpc::Unauthenticated, 401, "Unauthorized"),
        Code::SignatureMissing               => r("SIGNATURE_MISSING", Grpc::Unauthenticated, 401, "Unauthorized"),
        Code::SignatureMalformed             => r("SIGNATURE_MALFORMED", Grpc::Unauthenticated, 401, "Unauthorized"),
        Code::SignatureCoverage              => r("SIGNATURE_COVERAGE", Grpc::Unauthenticated, 401, "Unauthorized"),
        Code::SignatureComponent             => r("SIGNATURE_COMPONENT", Grpc::Unauthenticated, 401, "Unauthorized"),
        Code::SignatureParameter             => r("SIGNATURE_PARAMETER", Grpc::Unauthenticated, 401, "Unauthorized"),
        Code::SignatureExpired               => r("SIGNATURE_EXPIRED", Grpc::Unauthenticated, 401, "Unauthorized"),
        Code::SignatureNotYetValid           => r("SIGNATURE_NOT_YET_VALID", Grpc::Unauthenticated, 401, "Unauthorized"),
        Code::SignatureAlgorithm             => r("SIGNATURE_ALGORITHM", Grpc::Unauthenticated, 401, "Unauthorized"),
        Code::SignatureReplayed              => r("SIGNATURE_REPLAYED", Grpc::Unauthenticated, 401, "Unauthorized"),
        Code::SignatureInvalid               => r("SIGNATURE_INVALID", Grpc::Unauthenticated, 401, "Unauthorized"),
        Code::KeyUnknown                     => r("KEY_UNKNOWN", Grpc::Unauthenticated, 401, "Unauthorized"),
        Code::Unauthenticated                => r("UNAUTHENTICATED", Grpc::Unauthenticated, 401, "Unauthorized"),
        Code::CredentialsInvalid             => r("CREDENTIALS_INVALID", Grpc::Unauthenticated, 401, "Unauthorized"),
        Code::AuthenticationThrottled        => r("AUTHENTICATION_THROTTLED", Grpc::ResourceExhausted, 429, "Too many requests"),
        Code::RateLimited                    => r("RATE_LIMITED", Grpc::ResourceExhausted, 429, "Too many requests"),
        Code::SandboxOnly                    => r("SANDBOX_ONLY", Grpc::PermissionDenied, 403, "Forbidden"),
        Code::OperatorOnly                   => r("OPERATOR_ONLY", Grpc::PermissionDenied, 403, "Forbidden"),
        Code::RoleForbidden                  => r("ROLE_FORBIDDEN", Grpc::PermissionDenied, 403, "Forbidden"),
        Code::ProgrammeNotFound              => r("PROGRAMME_NOT_FOUND", Grpc::NotFound, 404, "Programme not found"),
        Code::OperatorNotFound               => r("OPERATOR_NOT_FOUND", Grpc::NotFound, 404, "Operator not found"),
        Code::OperatorExists                 => r("OPERATOR_EXISTS", Grpc::AlreadyExists, 409, "Operator already exists"),
        Code::CustomerNotFound               => r("CUSTOMER_NOT_FOUND", Grpc::NotFound, 404, "Customer not found"),
        Code::AccountNotFound                => r("ACCOUNT_NOT_FOUND", Grpc::NotFound, 404, "Account not found"),
        Code::CardNotFound                   => r("CARD_NOT_FOUND", Grpc::NotFound, 404, "Card not found"),
        Code::WebhookNotFound                => r("WEBHOOK_NOT_FOUND", Grpc::NotFound, 404, "Webhook not found"),
        Code::DeliveryNotFound               => r("DELIVERY_NOT_FOUND", Grpc::NotFound, 404, "Delivery not found"),
        Code::SigningKeyNotFound             => r("SIGNING_KEY_NOT_FOUND", Grpc::NotFound, 404, "Signing key not found"),
        Code::CustomerExists                 => r("CUSTOMER_EXISTS", Grpc::AlreadyExists, 409, "Customer already exists"),
        Code::CardExists                     => r("CARD_EXISTS", Grpc::AlreadyExists, 409, "Card already exists"),
        Code::ApiKeyExists                   => r("API_KEY_EXISTS", Grpc::AlreadyExists, 409, "API key already exists"),
        Code::SigningKeyExists               => r("SIGNING_KEY_EXISTS", Grpc::AlreadyExists, 409, "Signing key already exists"),
        Code::InvalidStateTransition         => r("INVALID_STATE_TRANSITION", Grpc::FailedPrecondition, 409, "Invalid state transition"),
        Code::LeaseLost                      => r("LEASE_LOST", Grpc::FailedPrecondition, 409, "Lease lost"),
        Code::ChallengeSignatureInvalid      => r("CHALLENGE_SIGNATURE_INVALID", Grpc::InvalidArgument, 400, "Bad request"),
        Code::ChallengeExpired               => r("CHALLENGE_EXPIRED", Grpc::InvalidArgument, 400, "Bad request"),
        Code::ChallengeMismatch              => r("CHALLENGE_MISMATCH", Grpc::InvalidArgument, 400, "Bad request"),
        Code::OwnerMismatch                  => r("OWNER_MISMATCH", Grpc::InvalidArgument, 400, "Bad request"),
        Code::RequestTimeout                 => r("REQUEST_TIMEOUT", Grpc::DeadlineExceeded, 408, "Request timeout"),
        Code::Unavailable                    => r("UNAVAILABLE", Grpc::Unavailable, 503, "Service unavailable"),
        Code::Internal                       => r("INTERNAL", Grpc::Internal, 500, "Internal server error"),
    }
}

/// The code with this stable name.
pub fn code_of(name: &str) -> Option<Code> {
    Code::ALL.iter().copied().find(|code| row(*code).code == name)
}

/// The row of the reason of a `google.rpc.ErrorInfo`, where it is one of ours.
pub fn by_reason(reason: Option<&str>) -> Option<Row> {
    reason.and_then(code_of).map(row)
}

/// HTTP status and title of a `google.rpc.Status` that carries no reason of ours.
pub const fn by_grpc(grpc: Grpc) -> (u16, &'static str) {
    match grpc {
        Grpc::InvalidArgument | Grpc::OutOfRange => (400, "Bad request"),
        Grpc::Unauthenticated => (401, "Unauthorized"),
        Grpc::PermissionDenied => (403, "Forbidden"),
        Grpc::NotFound => (404, "Not found"),
        Grpc::AlreadyExists | Grpc::FailedPrecondition | Grpc::Aborted => (409, "Conflict"),
        Grpc::ResourceExhausted => (429, "Too many requests"),
        Grpc::Unavailable | Grpc::DeadlineExceeded | Grpc::Cancelled => (503, "Service unavailable"),
        Grpc::Unimplemented => (501, "Not implemented"),
        _ => (500, "Internal server error"),
    }
}

/// The refusal as a gRPC status with its details: `ErrorInfo`, and `BadRequest`, `RetryInfo` and `RequestInfo` where
/// they apply.
pub fn status(error: &Error, request_id: Option<&str>) -> tonic::Status {
    let row = row(error.code);
    let mut details = ErrorDetails::new();
    let extra = error.extra.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
    details.set_error_info(row.code, DOMAIN, extra.collect::<std::collections::HashMap<_, _>>());
    if !error.violations.is_empty() {
        details.set_bad_request(error.violations.iter().map(field_violation).collect::<Vec<_>>());
    }
    if let Some(wait) = error.retry_after {
        details.set_retry_info(Some(wait));
    }
    if let Some(id) = request_id {
        details.set_request_info(id, "");
    }
    tonic::Status::with_error_details(row.grpc, &error.detail, details)
}

fn field_violation(violation: &Violation) -> FieldViolation {
    FieldViolation {
        field: violation.field.clone(),
        description: violation.message.clone(),
        reason: violation.code.to_owned(),
        localized_message: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_statuses_follow_the_grpc_code() {
        let mut seen = std::collections::HashSet::new();
        for code in Code::ALL {
            let row = row(*code);
            assert!(seen.insert(row.code), "{} twice", row.code);
            let by_rule = match code {
                // The one exception that the contract makes.
                Code::IdempotencyKeyReused => 422,
                // Other deadlines are ours; this one the client missed (RFC 9110 section 15.5.9).
                Code::RequestTimeout => 408,
                _ => by_grpc(row.grpc).0,
            };
            assert_eq!(row.http, by_rule, "{}", row.code);
            assert_eq!(by_reason(Some(row.code)), Some(row));
        }
    }

    #[test]
    fn listeners_refuse_by_the_table() {
        use crate::serve::{RATE_LIMITED, REQUEST_TIMEOUT, UNAVAILABLE};
        for (own, code) in [
            (UNAVAILABLE, Code::Unavailable),
            (RATE_LIMITED, Code::RateLimited),
            (REQUEST_TIMEOUT, Code::RequestTimeout),
        ] {
            let row = row(code);
            assert_eq!(own, (row.code, row.grpc, row.http, row.title));
        }
    }

    #[test]
    fn a_status_carries_what_the_error_says() {
        let error = Error::invalid("chainId", "UNSUPPORTED_CHAIN", "No such chain.").with("hint", "x");
        let status = status(&error, Some("r-1"));
        assert_eq!(status.code(), Grpc::InvalidArgument);
        let details = status.get_error_details();
        let info = details.error_info().expect("info");
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("VALIDATION_FAILED", "customerd"));
        assert_eq!(info.metadata["hint"], "x");
        let violation = &details.bad_request().expect("bad request").field_violations[0];
        assert_eq!((violation.field.as_str(), violation.reason.as_str()), ("chainId", "UNSUPPORTED_CHAIN"));
        assert_eq!(details.request_info().expect("request").request_id, "r-1");
    }
}
