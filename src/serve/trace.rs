//! W3C Trace Context: the `traceparent` header.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::clock::Clock;

/// The header's name.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Vendor data that belongs to a `traceparent` and dies with it.
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The trace that a request belongs to; in the extensions of every request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceParent(HeaderValue);

impl TraceParent {
    /// The caller's, if it sent one that is valid; else a new one, not sampled, and the caller's `tracestate` is dropped.
    pub(super) fn of(headers: &mut HeaderMap, clock: &Clock) -> Self {
        let mut sent = headers.get_all(&TRACEPARENT).iter();
        if let (Some(value), None) = (sent.next(), sent.next())
            && is_valid(value.as_bytes())
        {
            return Self(value.clone());
        }
        headers.remove(&TRACESTATE);
        let value = Self::new(clock);
        headers.insert(TRACEPARENT, value.0.clone());
        value
    }

    fn new(clock: &Clock) -> Self {
        let mut random: [u8; 24] = clock.random();
        // All zeros would be no trace, no span.
        random[0] |= 1;
        random[16] |= 1;
        let (trace, span) = random.split_at(16);
        let mut text = *b"00-TTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTT-SSSSSSSSSSSSSSSS-00";
        // Each is twice as long as what it encodes.
        let _ = hex::encode_to_slice(trace, &mut text[3..35]);
        let _ = hex::encode_to_slice(span, &mut text[36..52]);
        // Hex and dashes are always a header value.
        Self(HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static("")))
    }

    /// As it is sent on.
    pub fn header(&self) -> &HeaderValue {
        &self.0
    }

    /// The 32 hexadecimal digits that name the trace.
    pub fn trace_id(&self) -> &str {
        self.0.to_str().ok().and_then(|text| text.get(3..35)).unwrap_or_default()
    }
}

/// Version 00 exactly; a later version may go on after a dash (Trace Context, 3.2 and 4.1).
fn is_valid(value: &[u8]) -> bool {
    let Some((head, rest)) = value.split_at_checked(55) else { return false };
    let form = head.iter().enumerate().all(|(at, byte)| match at {
        2 | 35 | 52 => *byte == b'-',
        _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
    });
    let zero = |digits: &[u8]| digits.iter().all(|digit| *digit == b'0');
    let end = match &head[..2] {
        b"00" => rest.is_empty(),
        b"ff" => false,
        _ => rest.is_empty() || rest[0] == b'-',
    };
    form && end && !zero(&head[3..35]) && !zero(&head[36..52])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Timestamp;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn headers(parents: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for parent in parents {
            headers.append(TRACEPARENT, HeaderValue::from_str(parent).unwrap());
        }
        headers.insert(TRACESTATE, HeaderValue::from_static("vendor=1"));
        headers
    }

    #[test]
    fn a_valid_one_is_kept() {
        let clock = Clock::manual(Timestamp::EPOCH, 0);
        for good in [GOOD, "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-later"] {
            let mut headers = headers(&[good]);
            let parent = TraceParent::of(&mut headers, &clock);
            assert_eq!((parent.header().to_str().unwrap(), parent.trace_id()), (good, &good[3..35]));
            assert!(headers.contains_key(TRACESTATE));
        }
    }

    #[test]
    fn anything_else_is_replaced() {
        let clock = Clock::manual(Timestamp::EPOCH, 0);
        for bad in [
            &[][..],
            &[GOOD, GOOD],
            &["00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01"],
            &["00-00000000000000000000000000000000-00f067aa0ba902b7-01"],
            &["00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01"],
            &["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more"],
            &["ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"],
            &["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7"],
            &["00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"],
        ] {
            let mut headers = headers(bad);
            let parent = TraceParent::of(&mut headers, &clock);
            assert!(is_valid(parent.header().as_bytes()) && !bad.contains(&parent.header().to_str().unwrap()));
            assert_eq!(headers.get_all(TRACEPARENT).iter().collect::<Vec<_>>(), [parent.header()]);
            assert!(!headers.contains_key(TRACESTATE));
        }
    }
}
