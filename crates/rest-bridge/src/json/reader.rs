//! The pull reader: RFC 8259 to the letter, positions instead of a tree.

use std::borrow::Cow;

use crate::fail::{Fail, Reason, Result};

/// How deep objects and arrays may nest.
pub const MAX_DEPTH: u8 = 64;

/// Reads one JSON text from front to back. Every method reads one value, or a piece of an object or array.
#[derive(Debug)]
pub struct Reader<'a> {
    input: &'a [u8],
    at: usize,
    depth: u8,
    /// The object or array just begun has no member yet: no comma is due.
    first: bool,
    /// Fields of the outermost object that the path gives, so that the body must not.
    in_path: &'static [&'static str],
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    #[must_use]
    pub fn new(input: &'a [u8]) -> Self {
        Self { input, at: 0, depth: 0, first: true, in_path: &[] }
    }

    /// The same reader of a message some of whose fields the path gives.
    pub(crate) fn beside(self, in_path: &'static [&'static str]) -> Self {
        Self { in_path, ..self }
    }

    /// The member `name`, just read, is none of `known`, the fields of the message.
    #[cold]
    #[must_use]
    pub fn unknown(&self, name: &str, known: &[&str]) -> Box<Fail> {
        let elsewhere = |field: &str| self.depth == 1 && self.in_path.contains(&field);
        Fail::unknown_field(name, known.iter().copied().filter(|field| !elsewhere(field)))
    }

    /// The next byte that is no white space, not consumed.
    pub(super) fn peek(&mut self) -> Option<u8> {
        while let Some(&byte) = self.input.get(self.at) {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(byte);
            }
            self.at += 1;
        }
        None
    }

    #[cold]
    pub(super) fn malformed(&self, what: &str) -> Box<Fail> {
        let before = self.input.get(..self.at).unwrap_or(self.input);
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        // Characters, as editors count: bytes that continue one in UTF-8 are none of their own.
        let continues = |byte: &&u8| **byte & 0xc0 == 0x80;
        let column = before.iter().skip(start).filter(|byte| !continues(byte)).count() + 1;
        Fail::new(Reason::MalformedJson, format!("{what} at line {line}, column {column}"))
    }

    /// The next value is not `wanted`: of another type, or no JSON at all.
    #[cold]
    pub(super) fn mismatch(&mut self, wanted: &str) -> Box<Fail> {
        let found = match self.peek() {
            Some(b'"') => "a string",
            Some(b'{') => "an object",
            Some(b'[') => "an array",
            Some(b'0'..=b'9' | b'-') => "a number",
            Some(b't' | b'f') if self.word(b"true") || self.word(b"false") => "a boolean",
            Some(b'n') if self.word(b"null") => "null",
            Some(_) => return self.malformed("unexpected character"),
            None => return self.malformed("the text ends early"),
        };
        Fail::new(Reason::InvalidType, format!("must be {wanted}, not {found}"))
    }

    fn literal_ahead(&self, literal: &[u8]) -> bool {
        self.input.get(self.at..).is_some_and(|rest| rest.starts_with(literal))
    }

    fn enter(&mut self, open: u8, wanted: &str) -> Result<()> {
        if self.peek() != Some(open) {
            return Err(self.mismatch(wanted));
        }
        if self.depth == MAX_DEPTH {
            return Err(self.malformed("nested too deep"));
        }
        self.at += 1;
        self.depth += 1;
        self.first = true;
        Ok(())
    }

    /// Moves to the next member, over the comma; false when `close` ends the object or array.
    fn advance(&mut self, close: u8) -> Result<bool> {
        let first = std::mem::replace(&mut self.first, false);
        match self.peek() {
            Some(byte) if byte == close => {
                self.at += 1;
                self.depth -= 1;
                Ok(false)
            }
            Some(_) if first => Ok(true),
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(_) => Err(self.malformed("a comma or the end is missing")),
            None => Err(self.malformed("the text ends early")),
        }
    }

    /// Reads `{`.
    ///
    /// # Errors
    /// Another type, or nested too deep.
    pub fn begin_object(&mut self) -> Result<()> {
        self.enter(b'{', "an object")
    }

    /// The next member's name and its colon; `None` at the end of the object.
    ///
    /// # Errors
    /// Not JSON.
    pub fn key(&mut self) -> Result<Option<Cow<'a, str>>> {
        if !self.advance(b'}')? {
            return Ok(None);
        }
        if self.peek() != Some(b'"') {
            return Err(self.malformed("a member name is missing"));
        }
        let key = self.text()?;
        if self.peek() != Some(b':') {
            return Err(self.malformed("a colon is missing"));
        }
        self.at += 1;
        Ok(Some(key))
    }

    /// Reads an array, calling `element` with the reader before each.
    ///
    /// # Errors
    /// Another type, nested too deep, or an element's own error with its index.
    pub fn array(&mut self, mut element: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        self.enter(b'[', "an array")?;
        let mut index = 0_usize;
        while self.advance(b']')? {
            if let Err(fail) = element(self) {
                return Err(fail.below(&format!("[{index}]")));
            }
            index += 1;
        }
        Ok(())
    }

    /// Reads an object as a map, calling `entry` with each key; it answers whether the key was there before.
    ///
    /// # Errors
    /// Another type, a key given twice, or an entry's own error with its key.
    pub fn entries(&mut self, mut entry: impl FnMut(&mut Self, &str) -> Result<bool>) -> Result<()> {
        self.begin_object()?;
        while let Some(key) = self.key()? {
            match entry(self, &key) {
                Ok(false) => {}
                Ok(true) => return Err(Fail::new(Reason::DuplicateField, "given more than once").below(&key)),
                Err(fail) => return Err(fail.below(&key)),
            }
        }
        Ok(())
    }

    /// Reads `{}`: google.protobuf.Empty.
    ///
    /// # Errors
    /// Another type, or a member.
    pub fn empty(&mut self) -> Result<()> {
        self.begin_object()?;
        match self.key()? {
            None => Ok(()),
            Some(key) => Err(self.unknown(&key, &[])),
        }
    }

    /// Consumes `null`, if that is what comes.
    ///
    /// # Errors
    /// None of its own.
    pub fn null(&mut self) -> Result<bool> {
        let null = self.peek() == Some(b'n') && self.word(b"null");
        Ok(null)
    }

    /// Consumes `literal` if it stands here as a whole word.
    pub(super) fn word(&mut self, literal: &[u8]) -> bool {
        let end = self.at + literal.len();
        let whole = self.literal_ahead(literal) && !self.input.get(end).is_some_and(u8::is_ascii_alphanumeric);
        if whole {
            self.at = end;
        }
        whole
    }

    /// The bytes of a JSON number.
    pub(super) fn digits(&mut self) -> Result<&'a str> {
        let rest = self.input.get(self.at..).unwrap_or_default();
        let len = super::number::grammar(rest);
        let Some((text, after)) = rest.split_at_checked(len) else {
            return Err(self.malformed("unexpected character"));
        };
        let joined = after.first().is_some_and(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'+' | b'-'));
        if len == 0 || joined {
            return Err(self.malformed("not a number"));
        }
        self.at += len;
        std::str::from_utf8(text).map_err(|_| self.malformed("not a number"))
    }

    /// Nothing but white space may follow.
    ///
    /// # Errors
    /// Trailing data.
    pub fn finish(&mut self) -> Result<()> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.malformed("data after the end of the JSON value")),
        }
    }

    /// A JSON string; the caller has seen its opening quote.
    pub(super) fn text(&mut self) -> Result<Cow<'a, str>> {
        self.at += 1;
        let start = self.at;
        let run = self.run();
        if self.input.get(self.at) == Some(&b'"') {
            let text = self.utf8(run)?;
            self.at += 1;
            return Ok(Cow::Borrowed(text));
        }
        let mut text = String::with_capacity(self.at - start + 16);
        text.push_str(self.utf8(run)?);
        loop {
            match self.input.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Cow::Owned(text));
                }
                Some(b'\\') => {
                    let escaped = self.escape()?;
                    text.push(escaped);
                }
                Some(_) => return Err(self.malformed("a control character in a string")),
                None => return Err(self.malformed("the text ends early")),
            }
            let run = self.run();
            text.push_str(self.utf8(run)?);
        }
    }

    /// The bytes up to the next quote, backslash or control character.
    fn run(&mut self) -> &'a [u8] {
        let rest = self.input.get(self.at..).unwrap_or_default();
        let len = rest.iter().position(|&b| b == b'"' || b == b'\\' || b < 0x20).unwrap_or(rest.len());
        self.at += len;
        rest.get(..len).unwrap_or_default()
    }

    fn utf8(&self, bytes: &'a [u8]) -> Result<&'a str> {
        std::str::from_utf8(bytes).map_err(|_| self.malformed("invalid UTF-8 in the string before"))
    }

    fn escape(&mut self) -> Result<char> {
        let code = self.input.get(self.at + 1).copied();
        self.at += 2;
        Ok(match code {
            Some(plain @ (b'"' | b'\\' | b'/')) => char::from(plain),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(),
            _ => return Err(self.malformed("an unknown escape before")),
        })
    }

    fn unicode(&mut self) -> Result<char> {
        let unit = self.hex4()?;
        let scalar = match unit {
            0xD800..=0xDBFF if self.literal_ahead(b"\\u") => {
                self.at += 2;
                match self.hex4()? {
                    low @ 0xDC00..=0xDFFF => 0x1_0000 + ((unit - 0xD800) << 10) + (low - 0xDC00),
                    _ => return Err(self.malformed("a lone surrogate before")),
                }
            }
            other => other,
        };
        char::from_u32(scalar).ok_or_else(|| self.malformed("a lone surrogate before"))
    }

    fn hex4(&mut self) -> Result<u32> {
        let mut unit = 0;
        for _ in 0..4 {
            let digit = self.input.get(self.at).and_then(|&b| char::from(b).to_digit(16));
            unit = unit * 16 + digit.ok_or_else(|| self.malformed("four hexadecimal digits are due"))?;
            self.at += 1;
        }
        Ok(unit)
    }
}
