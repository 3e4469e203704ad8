//! `tonic::Status` to `application/problem+json` (RFC 9457), by rule.

use axum::body::Body;
use axum::response::Response;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, StatusCode};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::gate::Gate;
use crate::json::Writer;

/// Members that an `ErrorInfo`'s metadata cannot take.
const OWN: [&str; 8] = ["type", "title", "status", "detail", "instance", "code", "errors", "requestId"];

const REQUEST_ID: &str = "x-request-id";

/// A problem document and its HTTP status.
pub(crate) struct Rendered {
    pub(crate) status: StatusCode,
    pub(crate) json: Vec<u8>,
    pub(crate) retry_after: Option<u64>,
}

/// Renders `status` for the request with path `instance` and these headers.
///
/// For the application's own handlers, so that their refusals look like the bridge's.
pub fn problem_response<G: Gate>(gate: &G, status: &Status, instance: &str, headers: &HeaderMap) -> Response {
    respond(render(gate, status, instance, headers), status, &[])
}

/// The HTTP response of a rendered problem, with the allow-listed metadata of its status.
pub(crate) fn respond(rendered: Rendered, status: &Status, reply: &[HeaderName]) -> Response {
    let mut response = Response::new(Body::from(rendered.json));
    *response.status_mut() = rendered.status;
    let headers = response.headers_mut();
    copy_metadata(status.metadata().as_ref(), reply, headers);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if rendered.status == StatusCode::UNAUTHORIZED {
        // RFC 9110 section 15.5.2 asks for one. The `authorization` of gRPC's metadata is a bearer's.
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(seconds) = rendered.retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Copies the allow-listed names.
pub(crate) fn copy_metadata(metadata: &HeaderMap, reply: &[HeaderName], headers: &mut HeaderMap) {
    for (name, value) in metadata {
        if reply.contains(name) {
            headers.append(name.clone(), value.clone());
        }
    }
}

pub(crate) fn render<G: Gate>(gate: &G, status: &Status, instance: &str, headers: &HeaderMap) -> Rendered {
    let details = status.get_error_details();
    let reason = details.error_info().map(|info| info.reason.as_str()).filter(|reason| !reason.is_empty());
    let problem = gate.problem(status.code(), reason);
    let secret = problem.status.is_server_error();
    let detail = if secret { public_detail(status.code()) } else { status.message() };
    let mut json = Writer::with_capacity(512);
    json.begin_object();
    json.key("\"type\":");
    json.string(&problem.kind);
    json.key("\"title\":");
    json.string(&problem.title);
    json.key("\"status\":");
    json.uint32(u32::from(problem.status.as_u16()));
    if !detail.is_empty() {
        json.key("\"detail\":");
        json.string(detail);
    }
    json.key("\"instance\":");
    json.string(instance);
    json.key("\"code\":");
    json.string(&problem.code);
    if !secret {
        extras(&mut json, &details);
    }
    if let Some(id) = request_id(&details, status, headers) {
        json.key("\"requestId\":");
        json.string(&id);
    }
    json.end_object();
    let retry = details.retry_info().and_then(|info| info.retry_delay);
    // A transport that fails says nothing of when to come back: a second is as good as any.
    let unavailable = problem.status == StatusCode::SERVICE_UNAVAILABLE;
    Rendered {
        status: problem.status,
        json: json.finish().unwrap_or_default(),
        retry_after: retry
            .map(|delay| delay.as_secs() + u64::from(delay.subsec_nanos() > 0))
            .or(unavailable.then_some(1)),
    }
}

/// `errors`, and what the `ErrorInfo` adds.
fn extras(json: &mut Writer, details: &ErrorDetails) {
    let violations = details.bad_request().map(|bad| bad.field_violations.as_slice()).unwrap_or_default();
    if !violations.is_empty() {
        json.key("\"errors\":");
        json.array(violations, |json, violation| {
            json.begin_object();
            json.key("\"field\":");
            json.string(&violation.field);
            json.key("\"code\":");
            json.string(if violation.reason.is_empty() { "INVALID_VALUE" } else { &violation.reason });
            json.key("\"message\":");
            json.string(&violation.description);
            json.end_object();
        });
    }
    let Some(info) = details.error_info() else { return };
    let mut members: Vec<_> = info.metadata.iter().filter(|(name, _)| !OWN.contains(&name.as_str())).collect();
    members.sort_unstable();
    for (name, value) in members {
        json.entry(name);
        json.string(value);
    }
}

/// What may be said of a failure that is ours.
const fn public_detail(code: Code) -> &'static str {
    match code {
        Code::Unavailable => "The service cannot answer now. Try again later.",
        Code::DeadlineExceeded => "The service did not answer in time.",
        Code::Unimplemented => "The service does not offer this call.",
        _ => "The service failed. The request id tells its operators which failure this was.",
    }
}

fn request_id(details: &ErrorDetails, status: &Status, headers: &HeaderMap) -> Option<String> {
    if let Some(info) = details.request_info().filter(|info| !info.request_id.is_empty()) {
        return Some(info.request_id.clone());
    }
    let value = status.metadata().as_ref().get(REQUEST_ID).or_else(|| headers.get(REQUEST_ID))?;
    value.to_str().ok().map(str::to_owned)
}
