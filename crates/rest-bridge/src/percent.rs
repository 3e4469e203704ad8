//! Percent-encoding of path segments and query strings (RFC 3986 section 2.1).

use std::borrow::Cow;

use crate::fail::{Fail, Reason, Result};

fn decode(text: &str, plus: bool, keep_slash: bool) -> Result<Cow<'_, str>> {
    if !text.bytes().any(|b| b == b'%' || (plus && b == b'+')) {
        return Ok(Cow::Borrowed(text));
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let digit = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16));
                let (Some(high), Some(low)) = (digit(bytes.next()), digit(bytes.next())) else {
                    return Err(Fail::new(Reason::InvalidValue, "has a broken percent-encoding"));
                };
                match u8::try_from(high * 16 + low).unwrap_or_default() {
                    b'/' if keep_slash => out.extend_from_slice(b"%2F"),
                    plain => out.push(plain),
                }
            }
            b'+' if plus => out.push(b' '),
            other => out.push(other),
        }
    }
    String::from_utf8(out)
        .map(Cow::Owned)
        .map_err(|_| Fail::new(Reason::InvalidValue, "is not UTF-8 after percent-decoding"))
}

/// One path segment.
pub(crate) fn segment(text: &str) -> Result<Cow<'_, str>> {
    decode(text, false, false)
}

/// Several path segments: an encoded slash stays encoded, so that it stays apart from the real ones.
pub(crate) fn segments(text: &str) -> Result<Cow<'_, str>> {
    decode(text, false, true)
}

/// A name or value of a query string, where `+` is a space.
pub(crate) fn query(text: &str) -> Result<Cow<'_, str>> {
    decode(text, true, false)
}
