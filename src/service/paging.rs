//! Pages: their size, and the opaque tokens that lead from one to the next.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use crate::domain::{Error, Timestamp};

/// The page size: 50 when absent.
pub(crate) fn size(wanted: Option<i32>) -> Result<i64, Error> {
    match wanted.unwrap_or(50) {
        size @ 1..=1000 => Ok(i64::from(size)),
        _ => Err(Error::invalid("pageSize", "OUT_OF_RANGE", "Must be between 1 and 1000.")),
    }
}

/// Where a page ended, as the token of the next one: 24 bytes, base64url.
pub fn token(at: Timestamp, id: Uuid) -> String {
    let mut bytes = [0; 24];
    bytes[..8].copy_from_slice(&at.micros().to_be_bytes());
    bytes[8..].copy_from_slice(id.as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Where the page before ended; `None` for the first page.
///
/// # Errors
/// The token is none of ours.
pub fn after(token: &str) -> Result<Option<(Timestamp, Uuid)>, Error> {
    if token.is_empty() {
        return Ok(None);
    }
    let bytes: Option<[u8; 24]> = URL_SAFE_NO_PAD.decode(token).ok().and_then(|bytes| bytes.try_into().ok());
    let Some(bytes) = bytes else {
        return Err(bad_token());
    };
    let (mut at, mut id) = ([0; 8], [0; 16]);
    at.copy_from_slice(&bytes[..8]);
    id.copy_from_slice(&bytes[8..]);
    let at = Timestamp::in_calendar(i64::from_be_bytes(at)).ok_or_else(bad_token)?;
    Ok(Some((at, Uuid::from_bytes(id))))
}

/// A page token that we did not make.
pub(crate) fn bad_token() -> Error {
    Error::invalid("pageToken", "INVALID_VALUE", "Must be the nextPageToken of the page before.")
}

/// Cuts a page that was read with one row too many, and gives the token of the next one, empty on the last.
pub(crate) fn cut<T>(rows: &mut Vec<T>, size: i64, key: impl Fn(&T) -> (Timestamp, Uuid)) -> String {
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    if rows.len() <= size {
        return String::new();
    }
    rows.truncate(size);
    rows.last().map(key).map(|(at, id)| token(at, id)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_read_back_and_nothing_else_is() {
        let (at, id) = (Timestamp(1_764_000_000_000_001), Uuid::from_u128(9));
        assert_eq!(after(&token(at, id)), Ok(Some((at, id))));
        assert_eq!(after(""), Ok(None));
        let never = [i64::MIN, i64::MAX].map(|micros| token(Timestamp(micros), id));
        for bad in ["x", "AAAA", &format!("{}A", token(at, id)), "!!!", &never[0], &never[1]] {
            assert_eq!(after(bad).unwrap_err().violations[0].field, "pageToken", "{bad}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(size(None), Ok(50));
        assert_eq!(size(Some(1000)), Ok(1000));
        for bad in [0, -1, 1001] {
            assert!(size(Some(bad)).is_err());
        }
    }
}
