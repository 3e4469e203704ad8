//! Headers that every response carries, whoever makes it.

use http::{HeaderMap, HeaderValue, header};

/// A year: what browsers' preload lists ask for (RFC 6797, section 6.1.1).
const HSTS: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// Nothing is kept by caches unless its route says so: most responses carry a token, a secret, a challenge, a verification
/// link or personal data, and a list of those that do would be wrong one day. No content is taken for another type than it
/// names.
pub(super) fn add(headers: &mut HeaderMap, hsts: bool) {
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if hsts {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HSTS);
    }
}
