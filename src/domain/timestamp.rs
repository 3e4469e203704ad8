//! A moment: microseconds since the Unix epoch, UTC. What both databases keep exactly.

use std::fmt;
use std::ops::{Add, Sub};
use std::str::FromStr;
use std::time::Duration;

const MICROS: i64 = 1_000_000;
const DAY: i64 = 86_400;
/// How far the clocks of two nodes, or of one before and after it was set, may be apart without that anything waits for it.
pub const SKEW: Duration = Duration::from_secs(10);

/// Microseconds since 1970-01-01T00:00:00Z, leap seconds not counted (POSIX time).
///
/// Shown as RFC 3339 with six decimals and `Z`: `2026-11-22T11:40:00.000001Z`, so that text order is time order within
/// the years 0000 to 9999. Arithmetic saturates.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

/// The text is no RFC 3339 date-time with an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an RFC 3339 date-time such as 2026-01-31T12:00:00Z")]
pub struct TimestampError;

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);

    /// 0001-01-01T00:00:00Z: the first moment that `google.protobuf.Timestamp` has.
    const FIRST: i64 = -62_135_596_800 * MICROS;
    /// 9999-12-31T23:59:59.999999Z: the last.
    const LAST: i64 = 253_402_300_800 * MICROS - 1;

    /// From microseconds since the epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// From whole seconds since the epoch.
    pub const fn from_unix_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(MICROS))
    }

    /// From microseconds since the epoch that a caller gave: only the years 1 to 9999, which both databases can hold.
    pub fn in_calendar(micros: i64) -> Option<Self> {
        (Self::FIRST..=Self::LAST).contains(&micros).then_some(Self(micros))
    }

    /// Microseconds since the epoch.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    pub const fn unix_seconds(self) -> i64 {
        self.0.div_euclid(MICROS)
    }

    /// The part below a second, in nanoseconds: what `google.protobuf.Timestamp` wants beside the seconds.
    pub const fn subsec_nanos(self) -> u32 {
        (self.0.rem_euclid(MICROS) * 1000) as u32
    }

    /// As ProtoJSON writes it, and so the REST API and webhooks: with as many groups of three decimals as it needs, none
    /// for a whole second.
    pub fn json(self) -> String {
        let mut text = self.to_string();
        text.pop();
        while let Some(shorter) = text.strip_suffix("000").filter(|_| text.contains('.')) {
            text.truncate(shorter.len());
        }
        let whole = text.trim_end_matches('.').len();
        text.truncate(whole);
        text.push('Z');
        text
    }

    /// When something is due that is due at once, and now is this: on a node whose clock is behind by [`SKEW`], too.
    pub fn at_once(self) -> Self {
        self - SKEW
    }

    /// How long after `earlier` this is; zero if it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.unix_seconds();
        let (year, month, day) = civil(seconds.div_euclid(DAY));
        let time = seconds.rem_euclid(DAY);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:06}Z",
            time / 3600,
            time / 60 % 60,
            time % 60,
            self.0.rem_euclid(MICROS)
        )
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// RFC 3339 section 5.6, any offset. Digits below a microsecond are cut off; a leap second (`:60`) is refused, since
/// POSIX time has no place for it.
impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, TimestampError> {
        parse(text.as_bytes()).ok_or(TimestampError)
    }
}

fn parse(text: &[u8]) -> Option<Timestamp> {
    let (head, rest) = text.split_at_checked(19)?;
    let layout = head.iter().enumerate().all(|(at, byte)| match at {
        4 | 7 => *byte == b'-',
        10 => matches!(byte, b'T' | b't' | b' '),
        13 | 16 => *byte == b':',
        _ => byte.is_ascii_digit(),
    });
    if !layout {
        return None;
    }
    let (year, month, day) = (number(&head[..4])?, number(&head[5..7])?, number(&head[8..10])?);
    let (hour, minute, second) = (number(&head[11..13])?, number(&head[14..16])?, number(&head[17..])?);
    let days = days(year, month, day);
    if civil(days) != (year, month, day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (micros, offset) = fraction(rest)?;
    let seconds = days * DAY + hour * 3600 + minute * 60 + second - offset_seconds(offset)?;
    Some(Timestamp(seconds * MICROS + micros))
}

/// The optional `.digits`, as microseconds, and what follows it.
fn fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let Some(text) = text.strip_prefix(b".") else { return Some((0, text)) };
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 {
        return None;
    }
    let (fraction, rest) = text.split_at(digits);
    let six = (0..6).map(|at| i64::from(fraction.get(at).map_or(0, |digit| digit - b'0')));
    Some((six.fold(0, |sum, digit| sum * 10 + digit), rest))
}

fn offset_seconds(text: &[u8]) -> Option<i64> {
    match text {
        b"Z" | b"z" => Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (number(&[*h1, *h2])?, number(&[*m1, *m2])?);
            let seconds = hours * 3600 + minutes * 60;
            (hours < 24 && minutes < 60).then_some(if *sign == b'-' { -seconds } else { seconds })
        }
        _ => None,
    }
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0')))
}

/// Days since the epoch of a proleptic Gregorian date; years are counted from March so that the leap day comes last.
const fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year) = (year.div_euclid(400), year.rem_euclid(400));
    let day = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year * 365 + year / 4 - year / 100 + day - 719_468
}

/// The inverse of [`days`]: year, month, day.
const fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let march = (5 * day + 2) / 153;
    let month = if march < 10 { march + 3 } else { march - 9 };
    (era * 400 + year + if month <= 2 { 1 } else { 0 }, month, day - (153 * march + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn json_has_no_more_decimals_than_it_needs() {
        for (micros, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (250_000, "1970-01-01T00:00:00.250Z"),
            (250_001, "1970-01-01T00:00:00.250001Z"),
            (1, "1970-01-01T00:00:00.000001Z"),
            (1_000, "1970-01-01T00:00:00.001Z"),
        ] {
            assert_eq!(Timestamp(micros).json(), expected);
        }
    }

    #[test]
    fn known_moments() {
        for (text, micros) in [
            ("1970-01-01T00:00:00.000000Z", 0),
            ("2000-02-29T23:59:59.999999Z", 951_868_799_999_999),
            ("2026-11-22T11:40:00.000001Z", 1_795_347_600_000_001),
            ("1969-12-31T23:59:59.999999Z", -1),
            ("9999-12-31T23:59:59.000000Z", 253_402_300_799_000_000),
            ("0001-01-01T00:00:00.000000Z", -62_135_596_800_000_000),
        ] {
            assert_eq!(Timestamp(micros).to_string(), text);
            assert_eq!(text.parse(), Ok(Timestamp(micros)));
        }
    }

    #[test]
    fn other_spellings() {
        let noon = Timestamp::from_unix_seconds(1_769_860_800);
        for text in
            ["2026-01-31T12:00:00Z", "2026-01-31t12:00:00.0z", "2026-01-31T14:30:00+02:30", "2026-01-31T11:59:00-00:01"]
        {
            assert_eq!(text.parse(), Ok(noon), "{text}");
        }
        assert_eq!("2026-01-31T12:00:00.1234567Z".parse(), Ok(Timestamp(noon.0 + 123_456)));
    }

    #[test]
    fn refused() {
        for text in [
            "",
            "2026-01-31",
            "2026-01-31T12:00:00",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-01-31T24:00:00Z",
            "2026-01-31T12:60:00Z",
            "2026-06-30T23:59:60Z",
            "2026-01-31T12:00:00.Z",
            "2026-01-31T12:00:00+2:30",
            "2026-01-31T12:00:00+24:00",
            "2026-01-31T12:00:00ZZ",
            "+026-01-31T12:00:00Z",
            "2026-01-31T12:00:0éZ",
        ] {
            assert_eq!(text.parse::<Timestamp>(), Err(TimestampError), "{text}");
        }
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Timestamp(5) + Duration::from_micros(7), Timestamp(12));
        assert_eq!(Timestamp(5) - Duration::from_secs(1), Timestamp(-999_995));
        assert_eq!(Timestamp(i64::MAX) + Duration::MAX, Timestamp(i64::MAX));
        assert_eq!(Timestamp(9).since(Timestamp(2)), Duration::from_micros(7));
        assert_eq!(Timestamp(2).since(Timestamp(9)), Duration::ZERO);
        assert_eq!((Timestamp(-1).unix_seconds(), Timestamp(-1).subsec_nanos()), (-1, 999_999_000));
    }

    proptest! {
        #[test]
        fn text_and_back(micros in -62_135_596_800_000_000_i64..253_402_300_800_000_000) {
            prop_assert_eq!(Timestamp(micros).to_string().parse(), Ok(Timestamp(micros)));
        }
    }
}
