//! The writer: appends to one buffer, puts the commas.

use std::io::Write as _;

use super::{base64, time};

/// The message holds something that ProtoJSON has no form for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteFailure(pub &'static str);

impl std::fmt::Display for WriteFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for WriteFailure {}

/// Writes one JSON text.
#[derive(Debug, Default)]
pub struct Writer {
    out: Vec<u8>,
    failure: Option<WriteFailure>,
}

impl Writer {
    /// An empty text with room for `bytes`.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self { out: Vec::with_capacity(bytes), failure: None }
    }

    /// The text.
    ///
    /// # Errors
    /// A value had no JSON form.
    pub fn finish(self) -> Result<Vec<u8>, WriteFailure> {
        match self.failure {
            None => Ok(self.out),
            Some(failure) => Err(failure),
        }
    }

    pub(super) fn fail(&mut self, what: &'static str) {
        self.failure = Some(WriteFailure(what));
        self.out.extend_from_slice(b"null");
    }

    fn comma(&mut self) {
        if !matches!(self.out.last(), None | Some(b'{' | b'[')) {
            self.out.push(b',');
        }
    }

    /// `{`
    pub fn begin_object(&mut self) {
        self.out.push(b'{');
    }

    /// `}`
    pub fn end_object(&mut self) {
        self.out.push(b'}');
    }

    /// `{}`: google.protobuf.Empty.
    pub fn empty(&mut self) {
        self.out.extend_from_slice(b"{}");
    }

    /// A member's name, given with its quotes and colon; the value follows.
    pub fn key(&mut self, quoted: &'static str) {
        self.comma();
        self.out.extend_from_slice(quoted.as_bytes());
    }

    /// A map entry's name; the value follows.
    pub fn entry(&mut self, key: &str) {
        self.comma();
        self.string(key);
        self.out.push(b':');
    }

    /// An array, each element written by `element`.
    pub fn array<'v, T: 'v>(
        &mut self,
        values: impl IntoIterator<Item = &'v T>,
        mut element: impl FnMut(&mut Self, &'v T),
    ) {
        self.out.push(b'[');
        for (index, value) in values.into_iter().enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            element(self, value);
        }
        self.out.push(b']');
    }

    /// A map, its keys in order so that equal messages have equal bytes.
    pub fn map<'v, K, V: 'v>(
        &mut self,
        entries: impl IntoIterator<Item = (&'v K, &'v V)>,
        mut value: impl FnMut(&mut Self, &'v V),
    ) where
        K: Ord + ToString + 'v,
    {
        let mut entries: Vec<_> = entries.into_iter().collect();
        entries.sort_unstable_by(|a, b| a.0.cmp(b.0));
        self.begin_object();
        for (key, entry) in entries {
            self.entry(&key.to_string());
            value(self, entry);
        }
        self.end_object();
    }

    /// `null`
    pub fn null(&mut self) {
        self.out.extend_from_slice(b"null");
    }

    /// A string in quotes, escaped as RFC 8259 requires and no more.
    pub fn string(&mut self, text: &str) {
        self.out.reserve(text.len() + 2);
        self.out.push(b'"');
        let mut rest = text.as_bytes();
        while let Some(at) = rest.iter().position(|&b| b < 0x20 || b == b'"' || b == b'\\') {
            let (plain, special) = rest.split_at(at);
            self.out.extend_from_slice(plain);
            let Some((&byte, after)) = special.split_first() else { break };
            self.escaped(byte);
            rest = after;
        }
        self.out.extend_from_slice(rest);
        self.out.push(b'"');
    }

    #[cold]
    fn escaped(&mut self, byte: u8) {
        let short = match byte {
            b'"' | b'\\' => byte,
            0x08 => b'b',
            0x0c => b'f',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            _ => {
                let digit = |nibble: u8| b"0123456789abcdef".get(usize::from(nibble)).copied().unwrap_or(b'0');
                self.out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 15)]);
                return;
            }
        };
        self.out.extend_from_slice(&[b'\\', short]);
    }

    /// A string that needs no escapes.
    fn quoted(&mut self, plain: &str) {
        self.out.push(b'"');
        self.out.extend_from_slice(plain.as_bytes());
        self.out.push(b'"');
    }

    /// `true` or `false`.
    pub fn bool(&mut self, value: bool) {
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
    }

    /// A number.
    pub fn int32(&mut self, value: i32) {
        self.out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    /// A number.
    pub fn uint32(&mut self, value: u32) {
        self.out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    /// A string, since JavaScript's numbers end at 2^53.
    pub fn int64(&mut self, value: i64) {
        self.quoted(itoa::Buffer::new().format(value));
    }

    /// A string, since JavaScript's numbers end at 2^53.
    pub fn uint64(&mut self, value: u64) {
        self.quoted(itoa::Buffer::new().format(value));
    }

    /// A number in its shortest form, or `"NaN"`, `"Infinity"`, `"-Infinity"`.
    pub fn double(&mut self, value: f64) {
        if value.is_finite() {
            let _ = write!(self.out, "{value:?}");
            self.integral();
        } else {
            self.not_finite(value);
        }
    }

    /// A number in its shortest form, or `"NaN"`, `"Infinity"`, `"-Infinity"`.
    pub fn float(&mut self, value: f32) {
        if value.is_finite() {
            let _ = write!(self.out, "{value:?}");
            self.integral();
        } else {
            self.not_finite(f64::from(value));
        }
    }

    /// Rust writes `1.0`, JSON needs only `1`.
    fn integral(&mut self) {
        if self.out.ends_with(b".0") {
            self.out.truncate(self.out.len() - 2);
        }
    }

    fn not_finite(&mut self, value: f64) {
        let name = match (value.is_nan(), value > 0.0) {
            (true, _) => "NaN",
            (_, true) => "Infinity",
            (_, false) => "-Infinity",
        };
        self.quoted(name);
    }

    /// Base64 with padding.
    pub fn bytes(&mut self, value: &[u8]) {
        self.quoted(&base64::encode(value));
    }

    /// An enum value: its lower-case name, or the number when this build does not know it.
    pub fn enumeration(&mut self, value: i32, name: Option<&'static str>) {
        match name {
            Some(name) => self.quoted(name),
            None => self.int32(value),
        }
    }

    /// RFC 3339 in UTC.
    pub fn timestamp(&mut self, value: &prost_types::Timestamp) {
        self.out.push(b'"');
        if time::write_timestamp(&mut self.out, value) {
            self.out.push(b'"');
        } else {
            self.fail("a timestamp is outside the years 1 to 9999");
        }
    }

    /// Seconds with `s`.
    pub fn duration(&mut self, value: &prost_types::Duration) {
        self.out.push(b'"');
        if time::write_duration(&mut self.out, value) {
            self.out.push(b'"');
        } else {
            self.fail("a duration is out of range");
        }
    }

    /// Comma-separated lowerCamelCase paths.
    pub fn field_mask(&mut self, value: &prost_types::FieldMask) {
        match time::format_field_mask(value) {
            Some(text) => self.string(&text),
            None => self.fail("a field mask path has no lowerCamelCase form"),
        }
    }
}
