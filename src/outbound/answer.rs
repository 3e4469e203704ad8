//! What came back, cut down to what is kept.

use std::fmt::Write as _;
use std::time::Duration;

use http::HeaderMap;
use http::header::{DATE, RETRY_AFTER};

use super::error::Error;
use crate::domain::Timestamp;
use crate::domain::delivery::Attempt;

/// Most bytes of a kept snippet.
pub const SNIPPET_MAX: usize = 1024;

/// The result of one request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    /// The HTTP status, if the answer got that far.
    pub status: Option<u16>,
    /// From the call to the answer's end, or to where it was given up.
    pub latency: Duration,
    /// Why the answer is incomplete or missing.
    pub error: Option<Error>,
    /// The beginning of the body as printable text, at most [`SNIPPET_MAX`] bytes; none if there was no body.
    pub snippet: Option<String>,
    /// `Retry-After`, uncapped; a date in it is read against the answer's own `Date`.
    pub retry_after: Option<Duration>,
}

impl Answer {
    /// The attempt to record, begun at `at`.
    pub fn into_attempt(self, at: Timestamp) -> Attempt {
        Attempt {
            at,
            status: self.status,
            latency_ms: u32::try_from(self.latency.as_millis()).unwrap_or(u32::MAX),
            error: self.error.map(|error| error.to_string()),
            response: self.snippet,
        }
    }
}

/// RFC 9110 section 10.2.3: seconds, or a date. One header only, or it means nothing.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = only(headers, RETRY_AFTER)?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let (then, now) = (httpdate::parse_http_date(text).ok()?, httpdate::parse_http_date(only(headers, DATE)?).ok()?);
    Some(then.duration_since(now).unwrap_or_default())
}

fn only(headers: &HeaderMap, name: http::HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(first)
}

/// At most `limit` bytes of text for a log or a page: UTF-8 with the rest replaced; control characters and those that
/// reorder text escaped, so that nothing can be forged in a terminal, and PostgreSQL takes it (no NUL).
pub(super) fn printable(bytes: &[u8], limit: usize) -> String {
    let mut text = String::with_capacity(bytes.len().min(limit));
    let mut escaped = String::new();
    for c in String::from_utf8_lossy(bytes).chars() {
        escaped.clear();
        if c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
        {
            // Writing to a String cannot fail.
            let _ = write!(escaped, "{}", c.escape_default());
        } else {
            escaped.push(c);
        }
        if text.len() + escaped.len() > limit {
            break;
        }
        text.push_str(&escaped);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn asked(pairs: &[(&'static str, &'static str)]) -> Option<Duration> {
        let pairs = pairs.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)));
        retry_after(&pairs.fold(HeaderMap::new(), |mut headers, (name, value)| {
            headers.append::<http::HeaderName>(name, value);
            headers
        }))
    }

    #[test]
    fn retry_after_in_seconds_and_as_a_date() {
        assert_eq!(asked(&[("retry-after", "120")]), Some(Duration::from_secs(120)));
        assert_eq!(asked(&[("retry-after", "99999999999999999999999")]), Some(Duration::from_secs(u64::MAX)));
        let (date, later) =
            (("date", "Sun, 22 Nov 2026 12:00:00 GMT"), ("retry-after", "Sun, 22 Nov 2026 12:01:30 GMT"));
        assert_eq!(asked(&[date, later]), Some(Duration::from_secs(90)));
        assert_eq!(asked(&[date, ("retry-after", "Sun, 22 Nov 2026 11:00:00 GMT")]), Some(Duration::ZERO));
        assert_eq!(asked(&[later]), None);
    }

    #[test]
    fn retry_after_that_means_nothing() {
        for text in ["", "-1", "+5", "1.5", "soon", "1e3", "١٢"] {
            let value = HeaderValue::from_bytes(text.as_bytes()).unwrap();
            assert_eq!(retry_after(&HeaderMap::from_iter([(RETRY_AFTER, value)])), None, "{text}");
        }
        assert_eq!(asked(&[("retry-after", "1"), ("retry-after", "2")]), None);
        assert_eq!(asked(&[]), None);
    }

    #[test]
    fn text_is_printable_and_short() {
        assert_eq!(printable(b"ok \x1b[31m\0\r\n\xff", 100), "ok \\u{1b}[31m\\u{0}\\r\\n\u{fffd}");
        assert_eq!(printable("a\u{202e}b\u{2066}\u{85}ü".as_bytes(), 100), "a\\u{202e}b\\u{2066}\\u{85}ü");
        assert_eq!(printable(&[0; 1024], SNIPPET_MAX).len(), 1020);
        assert_eq!(printable("ü".repeat(600).as_bytes(), 1023).len(), 1022);
        assert_eq!(printable(b"", 10), "");
    }
}
