//! Why a call did not succeed, and the one place where that becomes a gRPC status.

use std::time::Duration;

use crate::api::error;
use crate::domain::{Code, Error};
use crate::lifecycle::NotMoved;
use crate::signature;
use crate::store::{self, Retry};

/// A refusal, or a store that could not.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// A refusal, for the caller to read.
    #[error(transparent)]
    Refused(#[from] Error),
    /// The store failed: for the log, not for the caller.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// What a step of a call gives.
pub(crate) type Outcome<T> = Result<T, Failure>;

impl Failure {
    /// Whether other requests were first: with the same key, or with what must be unique.
    pub(crate) const fn is_conflict(&self) -> bool {
        self.is_unique() || matches!(self, Self::Store(store::Error::NotApplied))
    }

    /// Whether the writes broke a rule of uniqueness.
    pub(crate) const fn is_unique(&self) -> bool {
        matches!(self, Self::Store(store::Error::Unique(_)))
    }
}

impl Retry for Failure {
    fn is_retry(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_retry())
    }
}

impl From<NotMoved> for Failure {
    fn from(why: NotMoved) -> Self {
        match why {
            NotMoved::Refused(refusal) => Self::Refused(refusal),
            NotMoved::Store(error) => Self::Store(error),
        }
    }
}

impl From<signature::Error> for Failure {
    fn from(error: signature::Error) -> Self {
        Self::Refused(refusal(&error))
    }
}

/// A signature error as a refusal: the same code, the same words.
pub(crate) fn refusal(error: &signature::Error) -> Error {
    Error::new(error::code_of(error.code()).unwrap_or(Code::SignatureInvalid), error.to_string())
}

impl Failure {
    /// The status of the failure. What the caller may not see is logged here, with the request's id from the span.
    pub(crate) fn status(self, request_id: Option<&str>) -> tonic::Status {
        let refusal = match self {
            Self::Refused(refusal) => refusal,
            Self::Store(store::Error::Unavailable(cause)) => {
                // The store warns once of an outage; every call during it would say the same.
                tracing::info!(%cause, "the store is unavailable");
                unavailable()
            }
            Self::Store(store::Error::Retry(cause)) => {
                tracing::warn!(%cause, "the store gave the transaction up too often");
                unavailable()
            }
            // This node stops within a second (see app::encryption); others have the key.
            Self::Store(store::Error::Sealed(cause)) if cause.lacks_key() => {
                tracing::error!(%cause, "this node lacks an encryption key");
                unavailable()
            }
            Self::Store(cause) => {
                tracing::error!(%cause, "the store failed");
                Error::internal()
            }
        };
        error::status(&refusal, request_id)
    }
}

fn unavailable() -> Error {
    Error::new(Code::Unavailable, "The service cannot answer at the moment. Try again with the same idempotency key.")
        .retry_after(Duration::from_secs(1))
}
