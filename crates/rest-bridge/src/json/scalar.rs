//! Scalars: the same text forms in JSON strings, path segments and query values.

use std::borrow::Cow;

use super::{Reader, base64, number, time};
use crate::fail::{Fail, Reason, Result};

#[cold]
fn invalid(what: &str) -> Box<Fail> {
    Fail::new(Reason::InvalidValue, format!("must be {what}"))
}

/// An enum value by its lower-case name.
///
/// # Errors
/// None of `names` has it; the error lists them.
pub fn enumeration(text: &str, names: &[(&str, i32)]) -> Result<i32> {
    match names.iter().find(|(name, _)| *name == text) {
        Some((_, number)) => Ok(*number),
        None => {
            let known: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
            Err(Fail::new(Reason::InvalidValue, format!("must be one of: {}", known.join(", "))))
        }
    }
}

macro_rules! integers {
    ($($name:ident $type:ty, $parse:path, $what:literal;)*) => {
        impl Reader<'_> {
            $(
                #[doc = concat!("Reads ", $what, ", as a number or a string of one.")]
                ///
                /// # Errors
                /// Another type, not integral, or out of range.
                pub fn $name(&mut self) -> Result<$type> {
                    let text = self.numeral($what)?;
                    query::$name(&text)
                }
            )*
        }

        /// The values of path segments and query parameters, already percent-decoded.
        pub mod query {
            use super::{invalid, number, time, base64, Result};
            $(
                #[doc = concat!("Parses ", $what, ".")]
                ///
                /// # Errors
                /// No such number.
                pub fn $name(text: &str) -> Result<$type> {
                    $parse(text).and_then(|value| <$type>::try_from(value).ok()).ok_or_else(|| invalid($what))
                }
            )*

            /// The text itself.
            ///
            /// # Errors
            /// Never.
            pub fn string(text: &str) -> Result<String> {
                Ok(text.to_owned())
            }

            /// `true` or `false`.
            ///
            /// # Errors
            /// Anything else.
            pub fn bool(text: &str) -> Result<bool> {
                match text {
                    "true" => Ok(true),
                    "false" => Ok(false),
                    _ => Err(invalid("true or false")),
                }
            }

            /// A number, or `NaN`, `Infinity`, `-Infinity`.
            ///
            /// # Errors
            /// Anything else, or beyond the range of a double.
            pub fn double(text: &str) -> Result<f64> {
                match text {
                    "NaN" => Ok(f64::NAN),
                    "Infinity" => Ok(f64::INFINITY),
                    "-Infinity" => Ok(f64::NEG_INFINITY),
                    _ => number::double(text).ok_or_else(|| invalid("a number in the range of a double")),
                }
            }

            /// A number, or `NaN`, `Infinity`, `-Infinity`.
            ///
            /// # Errors
            /// Anything else, or beyond the range of a float.
            pub fn float(text: &str) -> Result<f32> {
                match text {
                    "NaN" => Ok(f32::NAN),
                    "Infinity" => Ok(f32::INFINITY),
                    "-Infinity" => Ok(f32::NEG_INFINITY),
                    _ => number::single(text).ok_or_else(|| invalid("a number in the range of a float")),
                }
            }

            /// Base64, standard or URL-safe.
            ///
            /// # Errors
            /// Anything else.
            pub fn bytes(text: &str) -> Result<Vec<u8>> {
                base64::decode(text).ok_or_else(|| invalid("base64"))
            }

            /// RFC 3339 with `Z` or an offset.
            ///
            /// # Errors
            /// Anything else, or before year 1 or after year 9999.
            pub fn timestamp(text: &str) -> Result<prost_types::Timestamp> {
                time::parse_timestamp(text).ok_or_else(|| invalid("an RFC 3339 time such as 2026-01-31T12:00:00Z"))
            }

            /// Seconds with `s`, as `1.5s`.
            ///
            /// # Errors
            /// Anything else, or beyond 10,000 years.
            pub fn duration(text: &str) -> Result<prost_types::Duration> {
                time::parse_duration(text).ok_or_else(|| invalid("a duration such as 1.5s"))
            }

            /// Comma-separated lowerCamelCase paths.
            ///
            /// # Errors
            /// A path that is not lowerCamelCase.
            pub fn field_mask(text: &str) -> Result<prost_types::FieldMask> {
                time::parse_field_mask(text).ok_or_else(|| invalid("field names in lowerCamelCase with commas"))
            }
        }
    };
}

integers! {
    int32 i32, number::signed, "a 32-bit integer";
    int64 i64, number::signed, "a 64-bit integer";
    uint32 u32, number::unsigned, "an unsigned 32-bit integer";
    uint64 u64, number::unsigned, "an unsigned 64-bit integer";
}

macro_rules! from_strings {
    ($($name:ident -> $type:ty;)*) => {
        impl Reader<'_> {
            $(
                #[doc = concat!("Reads the string form that [`query::", stringify!($name), "`] names.")]
                ///
                /// # Errors
                /// Not a string, or not of that form.
                pub fn $name(&mut self) -> Result<$type> {
                    let text = self.str()?;
                    query::$name(&text)
                }
            )*
        }
    };
}

from_strings! {
    bytes -> Vec<u8>;
    timestamp -> prost_types::Timestamp;
    duration -> prost_types::Duration;
    field_mask -> prost_types::FieldMask;
}

impl<'a> Reader<'a> {
    /// Reads a string.
    ///
    /// # Errors
    /// Another type, or not JSON.
    pub fn str(&mut self) -> Result<Cow<'a, str>> {
        if self.peek() == Some(b'"') { self.text() } else { Err(self.mismatch("a string")) }
    }

    /// Reads a string.
    ///
    /// # Errors
    /// Another type, or not JSON.
    pub fn string(&mut self) -> Result<String> {
        Ok(self.str()?.into_owned())
    }

    /// Reads `true` or `false`.
    ///
    /// # Errors
    /// Another type.
    pub fn bool(&mut self) -> Result<bool> {
        match self.peek() {
            Some(b't') if self.word(b"true") => Ok(true),
            Some(b'f') if self.word(b"false") => Ok(false),
            _ => Err(self.mismatch("a boolean")),
        }
    }

    /// Reads an enum value by its lower-case name.
    ///
    /// # Errors
    /// Not a string, or none of `names`.
    pub fn enumeration(&mut self, names: &[(&str, i32)]) -> Result<i32> {
        let text = self.str()?;
        enumeration(&text, names)
    }

    /// Reads a double, as a number or a string.
    ///
    /// # Errors
    /// Another type, or out of range.
    pub fn double(&mut self) -> Result<f64> {
        let text = self.numeral("a number")?;
        query::double(&text)
    }

    /// Reads a float, as a number or a string.
    ///
    /// # Errors
    /// Another type, or out of range.
    pub fn float(&mut self) -> Result<f32> {
        let text = self.numeral("a number")?;
        query::float(&text)
    }

    /// The text of a number, bare or in quotes.
    fn numeral(&mut self, wanted: &str) -> Result<Cow<'a, str>> {
        match self.peek() {
            Some(b'"') => self.text(),
            Some(b'0'..=b'9' | b'-') => self.digits().map(Cow::Borrowed),
            _ => Err(self.mismatch(wanted)),
        }
    }
}
