//! The two answers that a door gives on its own: too much to do, and too long. Both are 503 / `UNAVAILABLE`.

use std::time::Duration;

use axum::body::Body;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use serde_json::json;
use tonic_types::{ErrorDetails, StatusExt as _};

use super::identify::RequestId;

/// The stable code and the `ErrorInfo` domain of the error table (`api`), which this room does not know.
const CODE: &str = "UNAVAILABLE";
const DOMAIN: &str = "customerd";

/// How long a caller is asked to wait, in whole seconds.
const RETRY_AFTER: u64 = 1;

/// Whom the refusal is told, and in which language.
pub(super) struct Asker {
    grpc: bool,
    uri: http::Uri,
    id: Option<RequestId>,
}

impl Asker {
    pub(super) fn of<B>(request: &Request<B>) -> Self {
        let id = request.extensions().get::<RequestId>().cloned();
        Self { grpc: is_grpc(request.headers()), uri: request.uri().clone(), id }
    }

    /// `UNAVAILABLE`: trailers-only for gRPC, problem+json (RFC 9457) for anybody else; `Retry-After` for both.
    pub(super) fn unavailable(&self, detail: &str) -> Response<Body> {
        let mut response = if self.grpc { self.status(tonic::Code::Unavailable, detail) } else { self.problem(detail) };
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER));
        response
    }

    /// `DEADLINE_EXCEEDED`, when it was the gRPC caller's own deadline.
    pub(super) fn deadline_exceeded(&self) -> Response<Body> {
        self.status(tonic::Code::DeadlineExceeded, "The deadline set by the caller has passed.")
    }

    fn status(&self, code: tonic::Code, detail: &str) -> Response<Body> {
        let mut details = ErrorDetails::new();
        if code == tonic::Code::Unavailable {
            details.set_error_info(CODE, DOMAIN, std::collections::HashMap::<String, String>::new());
            details.set_retry_info(Some(Duration::from_secs(RETRY_AFTER)));
        }
        if let Some(id) = &self.id {
            details.set_request_info(id.as_str(), "");
        }
        tonic::Status::with_error_details(code, detail, details).into_http()
    }

    fn problem(&self, detail: &str) -> Response<Body> {
        let problem = json!({
            "type": "about:blank",
            "title": "Service unavailable",
            "status": 503,
            "detail": detail,
            "instance": self.uri.path(),
            "code": CODE,
            "requestId": self.id.as_ref().map(RequestId::as_str),
        });
        let mut response = Response::new(Body::from(problem.to_string()));
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    }
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}
