//! The `Idempotency-Key` header (contract §5): a UUID, bare or as a quoted structured-field string.

use http::{HeaderMap, HeaderName};
use uuid::Uuid;

use super::Error;

/// `idempotency-key`.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The request's key, if it has one.
///
/// # Errors
/// [`Error::IdempotencyKey`] when it is sent twice or is no hyphenated UUID. Whether it may be absent is the caller's to say.
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<Uuid>, Error> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Error::IdempotencyKey("may be sent only once"));
    }
    let malformed =
        Error::IdempotencyKey("must be a UUID such as 8e03978e-40d5-43e8-bc93-6894a57f9324, bare or in double quotes");
    let text = value.to_str().map_err(|_| malformed.clone())?.trim_matches([' ', '\t']);
    let bare = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    // Only the hyphenated form: one key must not have several spellings that look different in a log.
    if bare.len() != 36 {
        return Err(malformed);
    }
    Uuid::try_parse(bare).map(Some).map_err(|_| malformed)
}
