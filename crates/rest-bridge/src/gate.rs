//! The application's hook: who may pass, and how refusals look.

use std::borrow::Cow;
use std::future::Future;
use std::ops::Deref;

use bytes::Bytes;
use http::{Extensions, HeaderMap, Method, StatusCode, Uri, Version};
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

use crate::route::Route;

/// Reasons of what the bridge itself refuses, as [`Gate::problem`] gets them.
pub mod reason {
    /// No route has this path: 404.
    pub const ROUTE_NOT_FOUND: &str = "ROUTE_NOT_FOUND";
    /// The path has no such method: 405, with `Allow`.
    pub const METHOD_NOT_ALLOWED: &str = "METHOD_NOT_ALLOWED";
    /// `Accept` excludes every form of the answer: 406.
    pub const NOT_ACCEPTABLE: &str = "NOT_ACCEPTABLE";
    /// The body is larger than [`crate::Options::body_limit`]: 413.
    pub const PAYLOAD_TOO_LARGE: &str = "PAYLOAD_TOO_LARGE";
    /// There is a body and it is not JSON: 415.
    pub const UNSUPPORTED_MEDIA_TYPE: &str = "UNSUPPORTED_MEDIA_TYPE";
    /// Body, path or query do not decode: 400.
    pub const VALIDATION_FAILED: &str = "VALIDATION_FAILED";
}

/// The headers of a request that has passed routing.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// The route it goes to.
    pub route: &'static Route,
    /// The method as sent: `HEAD` stays `HEAD`.
    pub method: &'a Method,
    /// The target as sent, before any router took a prefix off.
    pub uri: &'a Uri,
    /// The HTTP version, which says where the authority stands.
    pub version: Version,
    /// All header fields.
    pub headers: &'a HeaderMap,
    /// What layers left with the request, such as the peer's address.
    pub extensions: &'a Extensions,
    /// Whether there is a body of at least one byte; `None` where the headers do not tell and none has come yet.
    pub has_body: Option<bool>,
}

/// A request whose body has been read.
#[derive(Debug, Clone, Copy)]
pub struct Incoming<'a> {
    /// Its headers.
    pub head: Head<'a>,
    /// The body's bytes, as they came. `None` if they had not come yet when the headers were refused.
    pub body: Option<&'a Bytes>,
}

impl<'a> Deref for Incoming<'a> {
    type Target = Head<'a>;

    fn deref(&self) -> &Head<'a> {
        &self.head
    }
}

/// What the application decides by the headers alone.
#[derive(Debug)]
pub enum Early {
    /// Nothing is wrong with them: metadata for the gRPC call.
    Admitted(MetadataMap),
    /// Refused for every caller: the body is not awaited.
    Refused(Status),
    /// Refused, but [`Gate::admit`] may refuse the request first, for example because the caller is not authenticated. The
    /// body is not awaited; where it has arrived already, it is checked.
    RefusedAfterCaller(Status),
}

/// The head of a problem document (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The HTTP status.
    pub status: StatusCode,
    /// `code`: stable, upper snake case.
    pub code: Cow<'static, str>,
    /// `title`: the same words for every problem of this kind.
    pub title: Cow<'static, str>,
    /// `type`: a URI, or `about:blank`.
    pub kind: Cow<'static, str>,
}

/// What the application decides about a call. Every method has a default: the unit type lets all pass.
pub trait Gate: Send + Sync + 'static {
    /// Called after routing and the checks of size and content type, before the body is awaited; called again with the
    /// first byte of a body that the headers did not announce.
    fn head(&self, call: &Head<'_>) -> Early {
        let _ = call;
        Early::Admitted(MetadataMap::new())
    }

    /// Called with the body, before anything is decoded, and with what [`Gate::head`] found: where that is an error, no
    /// call may come of it. Returns metadata to add to the gRPC call (it goes before forwarded headers of the same name),
    /// or refuses.
    fn admit(
        &self,
        call: &Incoming<'_>,
        early: Result<MetadataMap, Status>,
    ) -> impl Future<Output = Result<MetadataMap, Status>> + Send {
        let _ = call;
        async { early }
    }

    /// Body, path or query do not decode, and `status` says why. The application may put an error first that its order of
    /// checks has before this one, such as a missing authentication. `metadata` is what the call would have carried.
    fn invalid(
        &self,
        call: &Incoming<'_>,
        metadata: &MetadataMap,
        status: Status,
    ) -> impl Future<Output = Status> + Send {
        let _ = (call, metadata);
        async { status }
    }

    /// How a status looks over HTTP. `reason` is that of its `ErrorInfo`: the application's own, or one of [`reason`],
    /// for which [`Problem::standard`] has the answer.
    fn problem(&self, code: Code, reason: Option<&str>) -> Problem {
        Problem::standard(code, reason)
    }
}

impl Gate for () {}

impl<G: Gate> Gate for std::sync::Arc<G> {
    fn head(&self, call: &Head<'_>) -> Early {
        G::head(self, call)
    }

    fn admit(
        &self,
        call: &Incoming<'_>,
        early: Result<MetadataMap, Status>,
    ) -> impl Future<Output = Result<MetadataMap, Status>> + Send {
        G::admit(self, call, early)
    }

    fn invalid(
        &self,
        call: &Incoming<'_>,
        metadata: &MetadataMap,
        status: Status,
    ) -> impl Future<Output = Status> + Send {
        G::invalid(self, call, metadata, status)
    }

    fn problem(&self, code: Code, reason: Option<&str>) -> Problem {
        G::problem(self, code, reason)
    }
}

impl Problem {
    /// The customary HTTP status of a gRPC code (as google.rpc.Code documents it, but `FAILED_PRECONDITION` is 409 and
    /// `CANCELLED` 499), and those of the bridge's own reasons.
    #[must_use]
    pub fn standard(code: Code, reason: Option<&str>) -> Self {
        let own = reason.and_then(|reason| {
            Some(match reason {
                reason::METHOD_NOT_ALLOWED => (405, "Method not allowed"),
                reason::NOT_ACCEPTABLE => (406, "Not acceptable"),
                reason::PAYLOAD_TOO_LARGE => (413, "Payload too large"),
                reason::UNSUPPORTED_MEDIA_TYPE => (415, "Unsupported media type"),
                reason::VALIDATION_FAILED => (400, "Validation failed"),
                _ => return None,
            })
        });
        let (status, title) = own.unwrap_or(match code {
            Code::Ok => (200, "OK"),
            Code::Cancelled => (499, "Request cancelled"),
            Code::InvalidArgument | Code::OutOfRange => (400, "Bad request"),
            Code::DeadlineExceeded => (504, "Deadline exceeded"),
            Code::NotFound => (404, "Not found"),
            Code::AlreadyExists | Code::Aborted | Code::FailedPrecondition => (409, "Conflict"),
            Code::PermissionDenied => (403, "Forbidden"),
            Code::Unauthenticated => (401, "Unauthorized"),
            Code::ResourceExhausted => (429, "Too many requests"),
            Code::Unimplemented => (501, "Not implemented"),
            Code::Unavailable => (503, "Service unavailable"),
            Code::Unknown | Code::Internal | Code::DataLoss => (500, "Internal server error"),
        });
        Self {
            status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            // The reason of a failure that is ours would show the inside.
            code: match reason.filter(|_| status < 500) {
                Some(reason) => Cow::Owned(reason.to_owned()),
                None => Cow::Borrowed(code_name(code)),
            },
            title: Cow::Borrowed(title),
            kind: Cow::Borrowed("about:blank"),
        }
    }
}

/// The name of a gRPC code, as google/rpc/code.proto spells it.
const fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
