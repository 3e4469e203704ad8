//! JSON numbers: the grammar, and exact integers (`1e3` and `1.0` are integers in ProtoJSON).

/// Length of the JSON number (RFC 8259 section 6) at the start of `bytes`; 0 if there is none.
pub(super) fn grammar(bytes: &[u8]) -> usize {
    let digits = |from: usize| bytes.iter().skip(from).take_while(|b| b.is_ascii_digit()).count();
    let mut at = usize::from(bytes.first() == Some(&b'-'));
    let whole = digits(at);
    if whole == 0 || (whole > 1 && bytes.get(at) == Some(&b'0')) {
        return 0;
    }
    at += whole;
    if bytes.get(at) == Some(&b'.') {
        let fraction = digits(at + 1);
        if fraction == 0 {
            return 0;
        }
        at += 1 + fraction;
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        let exponent = digits(at + 1 + sign);
        if exponent == 0 {
            return 0;
        }
        at += 1 + sign + exponent;
    }
    at
}

/// The integer a JSON number stands for: sign and magnitude. `None`: no number, not integral, or beyond 64 bits.
pub(super) fn integer(text: &str) -> Option<(bool, u64)> {
    let bytes = text.as_bytes();
    if bytes.is_empty() || grammar(bytes) != bytes.len() {
        return None;
    }
    let (negative, magnitude) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    if magnitude.bytes().all(|b| b.is_ascii_digit()) {
        return magnitude.parse().ok().map(|value| (negative, value));
    }
    scaled(magnitude).map(|value| (negative, value))
}

/// A number with fraction or exponent, if it is integral.
fn scaled(text: &str) -> Option<u64> {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let fraction = fraction.trim_end_matches('0');
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return Some(0);
    }
    let exponent: i64 = exponent.trim_start_matches('+').parse().ok()?;
    let shift = exponent.checked_sub(i64::try_from(fraction.len()).ok()?)?;
    if shift < 0 {
        let cut = digits.len().checked_sub(usize::try_from(shift.unsigned_abs()).ok()?)?;
        let (kept, dropped) = digits.split_at(cut);
        return if dropped.bytes().all(|b| b == b'0') { kept.parse().ok() } else { None };
    }
    let power = 10_u64.checked_pow(u32::try_from(shift).ok()?)?;
    digits.parse::<u64>().ok()?.checked_mul(power)
}

/// Signed, in the range of `i64`.
pub(super) fn signed(text: &str) -> Option<i64> {
    let (negative, magnitude) = integer(text)?;
    if negative { 0_i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }
}

/// Unsigned; `-0` is 0.
pub(super) fn unsigned(text: &str) -> Option<u64> {
    match integer(text)? {
        (true, magnitude) if magnitude != 0 => None,
        (_, magnitude) => Some(magnitude),
    }
}

/// A finite double from a JSON number.
pub(super) fn double(text: &str) -> Option<f64> {
    if text.is_empty() || grammar(text.as_bytes()) != text.len() {
        return None;
    }
    text.parse::<f64>().ok().filter(|value| value.is_finite())
}

/// A finite float from a JSON number.
pub(super) fn single(text: &str) -> Option<f32> {
    if text.is_empty() || grammar(text.as_bytes()) != text.len() {
        return None;
    }
    text.parse::<f32>().ok().filter(|value| value.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_exact() {
        for (text, value) in [
            ("0", Some(0)),
            ("-0", Some(0)),
            ("1.0", Some(1)),
            ("1e3", Some(1000)),
            ("1.5e1", Some(15)),
            ("1200e-2", Some(12)),
            ("0.0e-99999999999", Some(0)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("922337203685477580.7e1", Some(i64::MAX)),
            ("1.5", None),
            ("1e-1", None),
            ("1e99", None),
            ("01", None),
            ("+1", None),
            ("", None),
            ("-", None),
            ("1.", None),
            (" 1", None),
        ] {
            assert_eq!(signed(text), value, "{text}");
        }
        assert_eq!(unsigned("18446744073709551615"), Some(u64::MAX));
        assert_eq!(unsigned("-1"), None);
        assert_eq!(double("1e400"), None);
        assert_eq!(single("3.5e38"), None);
    }
}
