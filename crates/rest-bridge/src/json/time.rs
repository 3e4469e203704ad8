//! Timestamps, durations and field masks as ProtoJSON writes them.

use prost_types::{Duration, FieldMask, Timestamp};

/// 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z, in seconds of the Unix epoch.
const TIMESTAMP_SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
/// 10,000 years, as duration.proto limits it.
const DURATION_SECONDS: u64 = 315_576_000_000;

/// Days from 1970-01-01 to a date of the proleptic Gregorian calendar.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The inverse: (year, month, day).
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// `width` decimal digits at `at`.
fn number(bytes: &[u8], at: usize, width: usize) -> Option<i64> {
    bytes
        .get(at..at + width)?
        .iter()
        .try_fold(0_i64, |value, b| b.is_ascii_digit().then(|| value * 10 + i64::from(b - b'0')))
}

/// One to nine digits after a point, as nanoseconds.
fn fraction(digits: &[u8]) -> Option<i32> {
    if digits.is_empty() || digits.len() > 9 {
        return None;
    }
    (0..9).try_fold(0_i32, |nanos, at| match digits.get(at) {
        Some(b) if b.is_ascii_digit() => Some(nanos * 10 + i32::from(b - b'0')),
        Some(_) => None,
        None => Some(nanos * 10),
    })
}

pub(super) fn parse_timestamp(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    let fixed = |at: usize, byte: u8| bytes.get(at) == Some(&byte);
    if !(fixed(4, b'-') && fixed(7, b'-') && fixed(10, b'T') && fixed(13, b':') && fixed(16, b':')) {
        return None;
    }
    let (year, month, day) = (number(bytes, 0, 4)?, number(bytes, 5, 2)?, number(bytes, 8, 2)?);
    let (hour, minute, second) = (number(bytes, 11, 2)?, number(bytes, 14, 2)?, number(bytes, 17, 2)?);
    let days = days_from_civil(year, month, day);
    if civil_from_days(days) != (year, month, day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let rest = bytes.get(19..)?;
    let (nanos, zone) = match rest.strip_prefix(b".") {
        Some(after) => {
            let (digits, zone) = after.split_at(after.iter().take_while(|b| b.is_ascii_digit()).count());
            (fraction(digits)?, zone)
        }
        None => (0, rest),
    };
    let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second - offset(zone)?;
    TIMESTAMP_SECONDS.contains(&seconds).then_some(Timestamp { seconds, nanos })
}

/// Seconds east of UTC: `Z` or `±hh:mm`.
fn offset(zone: &[u8]) -> Option<i64> {
    match zone {
        b"Z" => Some(0),
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let (hours, minutes) = (number(zone, 1, 2)?, number(zone, 4, 2)?);
            let seconds = hours * 3_600 + minutes * 60;
            (hours <= 23 && minutes <= 59).then_some(if *sign == b'-' { -seconds } else { seconds })
        }
        _ => None,
    }
}

fn push_digits(out: &mut Vec<u8>, value: i64, width: u32) {
    for place in (0..width).rev() {
        let digit = value / 10_i64.pow(place) % 10;
        out.push(b'0' + u8::try_from(digit).unwrap_or(0));
    }
}

/// Nothing, three, six or nine digits, as many as it takes.
fn push_fraction(out: &mut Vec<u8>, nanos: u32) {
    if nanos == 0 {
        return;
    }
    out.push(b'.');
    let nanos = i64::from(nanos);
    match (nanos % 1_000_000, nanos % 1_000) {
        (0, _) => push_digits(out, nanos / 1_000_000, 3),
        (_, 0) => push_digits(out, nanos / 1_000, 6),
        _ => push_digits(out, nanos, 9),
    }
}

/// Writes it in UTC with `Z`; false when it is out of ProtoJSON's range.
pub(super) fn write_timestamp(out: &mut Vec<u8>, value: &Timestamp) -> bool {
    let Ok(nanos @ 0..=999_999_999) = u32::try_from(value.nanos) else { return false };
    if !TIMESTAMP_SECONDS.contains(&value.seconds) {
        return false;
    }
    let (year, month, day) = civil_from_days(value.seconds.div_euclid(86_400));
    let of_day = value.seconds.rem_euclid(86_400);
    let parts =
        [(year, 4, b'-'), (month, 2, b'-'), (day, 2, b'T'), (of_day / 3_600, 2, b':'), (of_day / 60 % 60, 2, b':')];
    for (part, width, after) in parts {
        push_digits(out, part, width);
        out.push(after);
    }
    push_digits(out, of_day % 60, 2);
    push_fraction(out, nanos);
    out.push(b'Z');
    true
}

pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    let (negative, magnitude) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, digits) = match magnitude.strip_suffix('s')?.split_once('.') {
        Some((whole, digits)) => (whole, Some(digits)),
        None => (magnitude.strip_suffix('s')?, None),
    };
    let nanos = digits.map_or(Some(0), |digits| fraction(digits.as_bytes()))?;
    if whole.is_empty() || !whole.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let seconds: i64 = whole.parse().ok()?;
    if seconds.unsigned_abs() > DURATION_SECONDS || (seconds.unsigned_abs() == DURATION_SECONDS && nanos > 0) {
        return None;
    }
    let sign = if negative { -1 } else { 1 };
    Some(Duration { seconds: seconds * i64::from(sign), nanos: nanos * sign })
}

/// False when it is out of range or its parts disagree in sign.
pub(super) fn write_duration(out: &mut Vec<u8>, value: &Duration) -> bool {
    let mixed = (value.seconds < 0 && value.nanos > 0) || (value.seconds > 0 && value.nanos < 0);
    let (seconds, nanos) = (value.seconds.unsigned_abs(), value.nanos.unsigned_abs());
    if mixed || nanos > 999_999_999 || seconds > DURATION_SECONDS {
        return false;
    }
    if value.seconds < 0 || value.nanos < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(itoa::Buffer::new().format(seconds).as_bytes());
    push_fraction(out, nanos);
    out.push(b's');
    true
}

pub(super) fn parse_field_mask(text: &str) -> Option<FieldMask> {
    if text.is_empty() {
        return Some(FieldMask::default());
    }
    let paths = text.split(',').map(snake).collect::<Option<Vec<_>>>()?;
    Some(FieldMask { paths })
}

fn snake(path: &str) -> Option<String> {
    let mut out = String::with_capacity(path.len() + 4);
    for c in path.chars() {
        match c {
            'A'..='Z' => {
                out.push('_');
                out.push(c.to_ascii_lowercase());
            }
            'a'..='z' | '0'..='9' | '.' => out.push(c),
            _ => return None,
        }
    }
    (!path.is_empty()).then_some(out)
}

/// `None` when a path does not survive the way to lowerCamelCase and back.
pub(super) fn format_field_mask(mask: &FieldMask) -> Option<String> {
    let paths = mask.paths.iter().map(|path| {
        let mut out = String::with_capacity(path.len());
        let mut upper = false;
        for c in path.chars() {
            match c {
                '_' if !upper => upper = true,
                'a'..='z' if std::mem::take(&mut upper) => out.push(c.to_ascii_uppercase()),
                'a'..='z' | '0'..='9' | '.' if !upper => out.push(c),
                _ => return None,
            }
        }
        (!upper && !path.is_empty()).then_some(out)
    });
    paths.collect::<Option<Vec<_>>>().map(|paths| paths.join(","))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn shown(text: &str) -> Option<String> {
        let mut out = Vec::new();
        write_timestamp(&mut out, &parse_timestamp(text)?).then(|| String::from_utf8(out).unwrap())
    }

    #[test]
    fn timestamps() {
        for same in [
            "0001-01-01T00:00:00Z",
            "9999-12-31T23:59:59.999999999Z",
            "1970-01-01T00:00:00Z",
            "2024-02-29T12:34:56.120Z",
            "1969-12-31T23:59:59.000001Z",
        ] {
            assert_eq!(shown(same).as_deref(), Some(same));
        }
        assert_eq!(shown("2026-01-01T00:30:00.5+01:00").as_deref(), Some("2025-12-31T23:30:00.500Z"));
        for wrong in [
            "2023-02-29T00:00:00Z",
            "2024-01-01t00:00:00Z",
            "2024-01-01T00:00:00z",
            "2024-01-01T00:00:00",
            "2024-01-01T24:00:00Z",
            "2024-01-01T00:00:60Z",
            "0001-01-01T00:00:00+01:00",
            "2024-01-01T00:00:00.1234567890Z",
            "2024-01-01T00:00:00.Z",
            "2024-1-01T00:00:00Z",
            "0000-01-01T00:00:00Z",
        ] {
            assert_eq!(parse_timestamp(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn durations_and_masks() {
        for same in ["0s", "1s", "-1.500s", "-0.000000001s", "315576000000s"] {
            let mut out = Vec::new();
            assert!(write_duration(&mut out, &parse_duration(same).unwrap()));
            assert_eq!(String::from_utf8(out).unwrap(), same);
        }
        for wrong in ["1", "s", "1.s", ".5s", "315576000001s", "1e3s", "+1s", "--1s"] {
            assert_eq!(parse_duration(wrong), None, "{wrong}");
        }
        let mask = parse_field_mask("fooBar,a.b2C").unwrap();
        assert_eq!(mask.paths, ["foo_bar", "a.b2_c"]);
        assert_eq!(format_field_mask(&mask).as_deref(), Some("fooBar,a.b2C"));
        assert_eq!(parse_field_mask("foo_bar"), None);
        assert_eq!(format_field_mask(&FieldMask { paths: vec!["foo__bar".into()] }), None);
    }
}
