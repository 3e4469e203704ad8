//! The responses that a listener gives on its own, when there is too much to do or something takes too long.

use std::time::Duration;

use axum::body::Body;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version, header};
use serde_json::json;
use tonic::Code;
use tonic_types::{ErrorDetails, StatusExt as _};

use super::identify::RequestId;

/// The `ErrorInfo` domain of the error table (`api`), which this room does not know, as it does not know its rows: a test
/// of the table compares them.
const DOMAIN: &str = "customerd";

/// How long a caller is asked to wait, in whole seconds.
const RETRY_AFTER: u64 = 1;

/// Why a request is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Every slot is taken.
    Busy,
    /// The client has its share of the slots.
    ClientBusy,
    /// The memory for bodies is taken, by none that is larger.
    Memory,
    /// The client has its share of the memory.
    ClientMemory,
    /// The body came too slowly.
    Slow,
    /// The response did not begin in time.
    Deadline,
}

/// A row of the error table: code, gRPC code, HTTP status, title.
pub type Row = (&'static str, Code, u16, &'static str);

/// Overload.
pub const UNAVAILABLE: Row = ("UNAVAILABLE", Code::Unavailable, 503, "Service unavailable");
/// A client over its share.
pub const RATE_LIMITED: Row = ("RATE_LIMITED", Code::ResourceExhausted, 429, "Too many requests");
/// A body that came too slowly (RFC 9110 section 15.5.9).
pub const REQUEST_TIMEOUT: Row = ("REQUEST_TIMEOUT", Code::DeadlineExceeded, 408, "Request timeout");

impl Refusal {
    fn row(self) -> Row {
        match self {
            Self::Busy | Self::Memory | Self::Deadline => UNAVAILABLE,
            Self::ClientBusy | Self::ClientMemory => RATE_LIMITED,
            Self::Slow => REQUEST_TIMEOUT,
        }
    }

    fn detail(self) -> &'static str {
        match self {
            Self::Busy => "Too many requests are in flight. Try again shortly.",
            Self::ClientBusy => "This client has as many requests in flight as one may have. Try again shortly.",
            Self::Memory => "Too many request bodies are in memory. Try again shortly.",
            Self::ClientMemory => {
                "This client has as many bytes of bodies in flight as one may have. Try again shortly."
            }
            Self::Slow => "The request's body came too slowly.",
            Self::Deadline => "The request took too long and was cancelled.",
        }
    }

    /// Whether another try may go better.
    fn is_passing(self) -> bool {
        self != Self::Slow
    }

    /// As gRPC says it.
    pub(super) fn status(self, request_id: Option<&str>) -> tonic::Status {
        let (reason, code, ..) = self.row();
        let mut details = ErrorDetails::new();
        details.set_error_info(reason, DOMAIN, std::collections::HashMap::<String, String>::new());
        if self.is_passing() {
            details.set_retry_info(Some(Duration::from_secs(RETRY_AFTER)));
        }
        if let Some(id) = request_id {
            details.set_request_info(id, "");
        }
        tonic::Status::with_error_details(code, self.detail(), details)
    }
}

/// Whom the refusal is told, and in which language.
pub(super) struct Asker {
    grpc: bool,
    http1: bool,
    uri: http::Uri,
    id: Option<RequestId>,
}

impl Asker {
    pub(super) fn of<B>(request: &Request<B>) -> Self {
        let id = request.extensions().get::<RequestId>().cloned();
        let http1 = request.version() < Version::HTTP_2;
        Self { grpc: is_grpc(request.headers()), http1, uri: request.uri().clone(), id }
    }

    pub(super) fn is_grpc(&self) -> bool {
        self.grpc
    }

    /// Trailers-only for gRPC, problem+json (RFC 9457) for anybody else; `Retry-After` for both.
    pub(super) fn refuse(&self, refusal: Refusal) -> Response<Body> {
        let mut response = if self.grpc { refusal.status(self.id()).into_http() } else { self.problem(refusal) };
        if refusal.is_passing() {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER));
        } else if self.http1 {
            // The rest of the body is not waited for.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// `DEADLINE_EXCEEDED`, when it was the gRPC caller's own deadline.
    pub(super) fn deadline_exceeded(&self) -> Response<Body> {
        let mut details = ErrorDetails::new();
        if let Some(id) = self.id() {
            details.set_request_info(id, "");
        }
        let detail = "The deadline set by the caller has passed.";
        tonic::Status::with_error_details(Code::DeadlineExceeded, detail, details).into_http()
    }

    fn id(&self) -> Option<&str> {
        self.id.as_ref().map(RequestId::as_str)
    }

    fn problem(&self, refusal: Refusal) -> Response<Body> {
        let (code, _, status, title) = refusal.row();
        let problem = json!({
            "type": "about:blank",
            "title": title,
            "status": status,
            "detail": refusal.detail(),
            "instance": self.uri.path(),
            "code": code,
            "requestId": self.id(),
        });
        let mut response = Response::new(Body::from(problem.to_string()));
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    }
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}
