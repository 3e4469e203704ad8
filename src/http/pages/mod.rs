//! The pages that people see: where a verification stands, the sandbox's portal, errors, the API reference.
//!
//! Plain HTML with one inline style sheet, whose hash is all that the content security policy allows: no script, no
//! image, no font, no third party. What a page says comes from its view alone, so it cannot reveal another customer.

mod message;
mod portal;
pub(crate) mod reference;
mod verification;

#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use askama::Template;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, StatusCode};
use sha2::{Digest, Sha256};

pub use message::{ErrorView, error_page};
pub use portal::{DoneView, PortalView, done_page, mask_account, portal_page};
pub use reference::reference_page;
pub use verification::{VerificationView, verification_page};

/// The style sheet, as it stands in every page.
pub(crate) const STYLE: &str = include_str!("style.css");

/// The style sheet by its hash, forms to ourselves, and nothing else.
static POLICY: LazyLock<String> = LazyLock::new(|| policy(STYLE));

/// The content security policy of a page with this style sheet.
fn policy(style: &str) -> String {
    let hash = STANDARD.encode(Sha256::digest(style));
    format!(
        "default-src 'none'; style-src 'sha256-{hash}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
}

/// Sends the browser to the verification partner, or to a page of ours: 302, and neither stored nor named to the
/// next site. A target that no header can carry gives the error page.
pub fn redirect(url: &str) -> Response {
    go(StatusCode::FOUND, url)
}

/// Sends the browser from a submitted form to the page that shows the result: 303.
pub fn see_other(url: &str) -> Response {
    go(StatusCode::SEE_OTHER, url)
}

fn go(status: StatusCode, url: &str) -> Response {
    let Ok(target) = HeaderValue::from_str(url) else {
        return error_page(&ErrorView::new(StatusCode::INTERNAL_SERVER_ERROR));
    };
    let mut response = (status, guards()).into_response();
    response.headers_mut().insert(header::LOCATION, target);
    response
}

fn page(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => {
            let html_type = [(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"))];
            (status, guards(), html_type, html).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "page cannot be rendered");
            (StatusCode::INTERNAL_SERVER_ERROR, guards(), "Something went wrong. Please try again.").into_response()
        }
    }
}

/// The headers of every page: the address holds a secret token, so it is not stored, framed, indexed or passed on.
fn guards() -> HeaderMap {
    let policy = HeaderValue::from_str(&POLICY).unwrap_or(HeaderValue::from_static("default-src 'none'"));
    let fixed = |value| HeaderValue::from_static(value);
    HeaderMap::from_iter([
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, fixed("nosniff")),
        (header::REFERRER_POLICY, fixed("no-referrer")),
        (header::CACHE_CONTROL, fixed("no-store")),
        (header::X_FRAME_OPTIONS, fixed("DENY")),
        (HeaderName::from_static("cross-origin-opener-policy"), fixed("same-origin")),
        (HeaderName::from_static("cross-origin-resource-policy"), fixed("same-origin")),
        (HeaderName::from_static("permissions-policy"), fixed("camera=(), geolocation=(), microphone=()")),
        (HeaderName::from_static("x-robots-tag"), fixed("noindex, nofollow")),
    ])
}
