//! Values with units, as they are typed: `1MiB`, `10s`, `100/1m`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A span of time: digits and `ms`, `s`, `m`, `h` or `d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

/// A number of bytes: digits and `B`, `KiB` or `MiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteSize(pub usize);

/// So many requests in any such window: `100/1s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// At least 1.
    pub requests: u32,
    /// Longer than zero.
    pub window: Duration,
}

/// A part of a whole: digits from 1 to 100 and `%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share(pub u8);

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let percent = text.strip_suffix('%').and_then(|digits| digits.parse().ok());
        match percent.filter(|percent| (1..=100).contains(percent)) {
            Some(percent) => Ok(Self(percent)),
            None => Err("want a part of the whole from 1% to 100%, such as 25%".to_owned()),
        }
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::or_none(text)
            .and_then(|span| if span.0.is_zero() { Err("want more than zero".to_owned()) } else { Ok(span) })
    }
}

impl Span {
    /// The same where no time at all, such as `0s`, means something.
    ///
    /// # Errors
    ///
    /// The text is no time.
    pub fn or_none(text: &str) -> Result<Self, String> {
        let (number, unit) = split(text);
        let millis = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err("want a time with its unit, such as 500ms, 10s, 5m, 1h or 90d".to_owned()),
        };
        let number: u64 = number.parse().map_err(|_| format!("`{number}` is not a whole number"))?;
        let millis = number.checked_mul(millis).ok_or("too long")?;
        Ok(Self(Duration::from_millis(millis)))
    }
}

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, unit) = split(text);
        let bytes = match unit {
            "" | "B" => 1,
            "KiB" => 1024,
            "MiB" => 1024 * 1024,
            _ => return Err("want a size such as 512B, 16KiB or 1MiB".to_owned()),
        };
        let number: usize = number.parse().map_err(|_| format!("`{number}` is not a whole number"))?;
        match number.checked_mul(bytes) {
            Some(0) => Err("want more than zero".to_owned()),
            Some(bytes) if u32::try_from(bytes).is_ok() => Ok(Self(bytes)),
            _ => Err("want less than 4096MiB".to_owned()),
        }
    }
}

impl FromStr for RateLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (requests, window) = text.split_once('/').ok_or("want requests and window, such as 100/1s or 1000/1m")?;
        let requests = requests.parse().map_err(|_| format!("`{requests}` is not a whole number"))?;
        let Span(window) = window.parse()?;
        if requests == 0 { Err("want at least one request".to_owned()) } else { Ok(Self { requests, window }) }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        if millis.is_multiple_of(1000) { write!(f, "{}s", millis / 1000) } else { write!(f, "{millis}ms") }
    }
}

/// The leading digits and what follows them.
fn split(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        for (text, millis) in [("500ms", 500), ("10s", 10_000), ("5m", 300_000), ("1h", 3_600_000), ("1d", 86_400_000)]
        {
            assert_eq!(text.parse(), Ok(Span(Duration::from_millis(millis))));
        }
        for text in ["", "10", "0s", "-1s", "1.5s", "10 s", "1w", "s", "99999999999999999999h", "18446744073709551615h"]
        {
            assert!(text.parse::<Span>().is_err(), "{text}");
            assert_eq!(Span::or_none(text).ok(), (text == "0s").then_some(Span(Duration::ZERO)), "{text}");
        }
        assert_eq!(Span(Duration::from_millis(1500)).to_string(), "1500ms");
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [("7", 7), ("512B", 512), ("16KiB", 16_384), ("1MiB", 1_048_576)] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)));
        }
        for text in ["", "0", "1GB", "1MB", "4096MiB", "KiB"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }

    #[test]
    fn shares() {
        assert_eq!(("1%".parse(), "100%".parse()), (Ok(Share(1)), Ok(Share(100))));
        for text in ["", "0%", "101%", "25", "2.5%", "-1%", "%"] {
            assert!(text.parse::<Share>().is_err(), "{text}");
        }
    }

    #[test]
    fn rates() {
        assert_eq!("100/1m".parse(), Ok(RateLimit { requests: 100, window: Duration::from_secs(60) }));
        for text in ["100", "0/1s", "1/0s", "x/1s", "100/1"] {
            assert!(text.parse::<RateLimit>().is_err(), "{text}");
        }
    }
}
