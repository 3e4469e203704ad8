//! Pages for people and the address for partners' callbacks: HTTP turned into calls of the portal service.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::response::Response;
use axum::routing::{get, post};
use http::{HeaderMap, StatusCode, header};
use http_body::Body as _;
use rest_bridge::Transport;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};
use url::form_urlencoded;

use super::pages::{
    DoneView, ErrorView, PortalView, VerificationView, done_page, error_page, portal_page, redirect, see_other,
    verification_page,
};
use crate::api::metadata;
use crate::api::v1::portal_service_client::PortalServiceClient;
use crate::api::v1::{
    CallbackHeader, DecideSandboxRequest, OpenVerificationRequest, ReceiveKycCallbackRequest, SandboxDecision,
    ShowSandboxRequest, VerificationPage,
};

/// The longest callback that is taken, in bytes.
const CALLBACK_LIMIT: usize = 1 << 20;
/// The longest form, in bytes: it has one field.
const FORM_LIMIT: usize = 1024;
/// Added to the link by the page that told what is missing.
const RESUME: &str = "resume=1";

type Client = PortalServiceClient<Transport>;

/// The verification link, the sandbox's portal, the partners' callbacks.
pub fn portal(transport: Transport) -> Router {
    Router::new()
        .route("/verify/{token}", get(open).fallback(not_allowed))
        .route("/kyc/sandbox/{token}", get(show).post(decide).fallback(not_allowed))
        .route("/callbacks/kyc/{provider}", post(callback))
        .with_state(PortalServiceClient::new(transport))
}

async fn not_allowed() -> Response {
    error_page(&ErrorView::new(StatusCode::METHOD_NOT_ALLOWED))
}

async fn open(State(mut client): State<Client>, Path(token): Path<String>, request: Request) -> Response {
    let resume = request.uri().query() == Some(RESUME);
    let call = carried(OpenVerificationRequest { token: token.clone(), resume }, request.headers());
    let answer = match client.open_verification(call).await {
        Ok(answer) => answer.into_inner(),
        Err(status) => return failed(&status, request.headers()),
    };
    if !answer.redirect_url.is_empty() {
        return redirect(&answer.redirect_url);
    }
    let again = link(&token);
    let resume = format!("{again}?{RESUME}");
    verification_page(&match answer.page() {
        VerificationPage::ChallengeUnsigned => VerificationView::ChallengeUnsigned,
        VerificationPage::Screening => VerificationView::Screening { again: &again },
        VerificationPage::InReview => VerificationView::InReview,
        VerificationPage::NeedsInformation => {
            VerificationView::NeedsInformation { reasons: &answer.reasons, resume: &resume }
        }
        VerificationPage::Approved => VerificationView::Approved,
        VerificationPage::Rejected => VerificationView::Rejected { reasons: &answer.reasons },
        VerificationPage::NotOpen => VerificationView::NotOpen,
        VerificationPage::Unavailable => {
            VerificationView::Unavailable { again: &again, retry_after_s: answer.retry_after.into() }
        }
        VerificationPage::UnknownLink | VerificationPage::Unspecified => VerificationView::UnknownLink,
    })
}

async fn show(State(mut client): State<Client>, Path(token): Path<String>, request: Request) -> Response {
    match client.show_sandbox(carried(ShowSandboxRequest { token: token.clone() }, request.headers())).await {
        Ok(portal) => {
            let portal = portal.into_inner();
            if !portal.open {
                return see_other(&link(&token));
            }
            portal_page(&PortalView { action: request.uri().path(), account: &portal.account })
        }
        Err(status) => failed(&status, request.headers()),
    }
}

async fn decide(State(mut client): State<Client>, Path(token): Path<String>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let choice = match form(&head.headers, body).await {
        Ok(choice) => choice,
        Err(status) => return error_page(&ErrorView::new(status)),
    };
    let (decision, done) = match choice.as_str() {
        "approve" => (SandboxDecision::Approve, DoneView::Approved),
        "decline" => (SandboxDecision::Decline, DoneView::Declined),
        "more_information" => (SandboxDecision::MoreInformation, DoneView::MoreInformation),
        _ => return error_page(&ErrorView::new(StatusCode::BAD_REQUEST)),
    };
    let call = DecideSandboxRequest { token: token.clone(), decision: decision.into() };
    match client.decide_sandbox(carried(call, &head.headers)).await {
        Ok(_) => done_page(done, &link(&token)),
        // Decided already, or not there yet: the link says which.
        Err(status) if status.code() == Code::FailedPrecondition => see_other(&link(&token)),
        Err(status) => failed(&status, &head.headers),
    }
}

async fn callback(State(mut client): State<Client>, Path(provider): Path<String>, request: Request) -> StatusCode {
    let (head, body) = request.into_parts();
    let Some(body) = read(body, CALLBACK_LIMIT).await else { return StatusCode::PAYLOAD_TOO_LARGE };
    let headers = head
        .headers
        .iter()
        .map(|(name, value)| CallbackHeader { name: name.as_str().to_owned(), value: value.as_bytes().to_vec() });
    let call = ReceiveKycCallbackRequest { provider, headers: headers.collect(), body: body.to_vec() };
    match client.receive_kyc_callback(carried(call, &head.headers)).await {
        Ok(_) => StatusCode::OK,
        Err(status) => http_status(&status),
    }
}

/// The whole body, if it has no more bytes than that. One that says at once that it has more is not read.
async fn read(body: Body, limit: usize) -> Option<Bytes> {
    if body.size_hint().lower() > u64::try_from(limit).unwrap_or(u64::MAX) {
        return None;
    }
    axum::body::to_bytes(body, limit).await.ok()
}

/// The `decision` of a form that has nothing else.
async fn form(headers: &HeaderMap, body: Body) -> Result<String, StatusCode> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    let body = read(body, FORM_LIMIT).await.ok_or(StatusCode::PAYLOAD_TOO_LARGE)?;
    let mut fields = form_urlencoded::parse(&body);
    match (fields.next(), fields.next()) {
        (Some((name, value)), None) if name == "decision" => Ok(value.into_owned()),
        _ => Err(StatusCode::BAD_REQUEST),
    }
}

/// A call with the request's id and trace.
fn carried<T>(message: T, headers: &HeaderMap) -> tonic::Request<T> {
    let mut call = tonic::Request::new(message);
    for name in [metadata::REQUEST_ID, metadata::TRACEPARENT, metadata::CLIENT_ADDRESS] {
        if let Some(value) = headers.get(name).and_then(|value| MetadataValue::try_from(value.as_bytes()).ok()) {
            call.metadata_mut().insert(name, value);
        }
    }
    call
}

/// The path of a verification link. What is no token of ours is not repeated.
fn link(token: &str) -> String {
    let ours = token.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    format!("/verify/{}", if ours { token } else { "" })
}

fn failed(status: &Status, headers: &HeaderMap) -> Response {
    let request_id = headers.get(metadata::REQUEST_ID).and_then(|value| value.to_str().ok());
    error_page(&ErrorView { status: http_status(status), request_id })
}

fn http_status(status: &Status) -> StatusCode {
    match status.code() {
        Code::InvalidArgument => StatusCode::BAD_REQUEST,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
