//! How long a call may take: the option's limit, or the client's if that is shorter.

use std::time::Duration;

use http::HeaderMap;

use crate::fail::{Fail, Reason, Result};

/// Seconds, with a fraction if need be.
const REQUEST_TIMEOUT: &str = "request-timeout";
/// At most eight digits and a unit (the gRPC protocol over HTTP/2).
const GRPC_TIMEOUT: &str = "grpc-timeout";

type Parse = fn(&str) -> Option<Duration>;
const FORMS: [(&str, Parse); 2] = [(REQUEST_TIMEOUT, seconds), (GRPC_TIMEOUT, grpc)];

/// The deadline of a call.
pub(crate) fn of(headers: &HeaderMap, limit: Option<Duration>) -> Result<Option<Duration>> {
    let mut shortest = limit;
    for (name, parse) in FORMS {
        let Some(value) = headers.get(name) else { continue };
        let Some(wanted) = value.to_str().ok().and_then(parse) else {
            return Err(Fail::new(Reason::InvalidValue, "is no duration").below(name));
        };
        shortest = Some(shortest.map_or(wanted, |limit| limit.min(wanted)));
    }
    Ok(shortest)
}

fn seconds(text: &str) -> Option<Duration> {
    let plain = !text.is_empty() && text.len() <= 16 && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    Duration::try_from_secs_f64(text.parse().ok().filter(|_| plain)?).ok()
}

fn grpc(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(amount * 3_600),
        "M" => Duration::from_secs(amount * 60),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn the_shorter_wins() {
        let with = |name: &'static str, value: &'static str| {
            HeaderMap::from_iter([(http::HeaderName::from_static(name), http::HeaderValue::from_static(value))])
        };
        let limit = Some(Duration::from_secs(5));
        assert_eq!(of(&HeaderMap::new(), limit).unwrap(), limit);
        assert_eq!(of(&with("request-timeout", "1.5"), limit).unwrap(), Some(Duration::from_millis(1500)));
        assert_eq!(of(&with("request-timeout", "60"), limit).unwrap(), limit);
        assert_eq!(of(&with("grpc-timeout", "20m"), limit).unwrap(), Some(Duration::from_millis(20)));
        assert_eq!(of(&with("grpc-timeout", "2M"), None).unwrap(), Some(Duration::from_secs(120)));
        assert_eq!(of(&with("grpc-timeout", "2"), None).unwrap_err().path, "grpc-timeout");
        assert_eq!(of(&with("request-timeout", "-1"), None).unwrap_err().path, "request-timeout");
    }
}
