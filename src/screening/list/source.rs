//! A list file while it is read: hashed, measured, its lines counted, and never held in memory as a whole.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

use sha2::{Digest as _, Sha256};

/// What a file begins with on some systems.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

pub(super) struct Source {
    inner: BufReader<File>,
    hash: Sha256,
    bytes: u64,
    newlines: usize,
}

/// What a file is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// One entry a line.
    Plain,
    /// XML.
    Xml,
    /// A JSON object a line.
    JsonLines,
}

impl Source {
    pub(super) fn new(file: File) -> Self {
        Self { inner: BufReader::with_capacity(64 * 1024, file), hash: Sha256::new(), bytes: 0, newlines: 0 }
    }

    /// Tells the format by the first character that is not white space, after a byte order mark, which is passed over.
    pub(super) fn format(&mut self) -> io::Result<Format> {
        if self.fill_buf()?.starts_with(BYTE_ORDER_MARK) {
            self.consume(BYTE_ORDER_MARK.len());
        }
        Ok(match self.fill_buf()?.iter().find(|byte| !byte.is_ascii_whitespace()) {
            Some(b'<') => Format::Xml,
            Some(b'{') => Format::JsonLines,
            _ => Format::Plain,
        })
    }

    /// The line that is read, from 1.
    pub(super) fn line(&self) -> usize {
        self.newlines + 1
    }

    /// Reads the rest; gives the SHA-256 of the whole and its length in bytes.
    pub(super) fn finish(mut self) -> io::Result<([u8; 32], u64)> {
        loop {
            let length = self.fill_buf()?.len();
            if length == 0 {
                return Ok((self.hash.finalize().into(), self.bytes));
            }
            self.consume(length);
        }
    }
}

impl Read for Source {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(into)?;
        self.consume(length);
        Ok(length)
    }
}

impl BufRead for Source {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        let read = self.inner.buffer().get(..amount).unwrap_or_default();
        self.hash.update(read);
        self.bytes += read.len() as u64;
        self.newlines += read.iter().filter(|byte| **byte == b'\n').count();
        self.inner.consume(amount);
    }
}
