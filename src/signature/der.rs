//! As much DER (X.690) as SubjectPublicKeyInfo (RFC 5280 §4.1.2.7) and PKCS#8 (RFC 5958) need: strict, and borrowing.

pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OID: u8 = 0x06;
pub(super) const SEQUENCE: u8 = 0x30;

/// Reads one value after another.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    /// The next tag and its contents; lengths in their shortest form only, at most 65,535 bytes.
    pub(super) fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81 => {
                let (&n, rest) = rest.split_first().filter(|(n, _)| **n >= 0x80)?;
                (usize::from(n), rest)
            }
            0x82 => {
                let (n, rest) = rest.split_first_chunk::<2>().filter(|(n, _)| n[0] != 0)?;
                (usize::from(u16::from_be_bytes(*n)), rest)
            }
            _ => return None,
        };
        let (value, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, value))
    }

    /// The next value, if it has this tag.
    pub(super) fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|(found, _)| *found == tag).map(|(_, value)| value)
    }

    /// A non-negative INTEGER without its sign byte.
    pub(super) fn unsigned(&mut self) -> Option<&'a [u8]> {
        match self.expect(INTEGER)? {
            [0, rest @ ..] if rest.first().is_some_and(|b| *b >= 0x80) => Some(rest),
            [] | [0, _, ..] | [0x80..=0xff, ..] => None,
            value => Some(value),
        }
    }

    pub(super) fn is_empty(self) -> bool {
        self.0.is_empty()
    }
}

/// `AlgorithmIdentifier`: the object identifier, and what follows it.
pub(super) struct AlgorithmId<'a> {
    pub(super) oid: &'a [u8],
    pub(super) parameters: &'a [u8],
}

impl<'a> AlgorithmId<'a> {
    fn read(reader: &mut Reader<'a>) -> Option<Self> {
        let mut inner = Reader(reader.expect(SEQUENCE)?);
        let oid = inner.expect(OID)?;
        Some(Self { oid, parameters: inner.0 })
    }
}

/// SubjectPublicKeyInfo: the algorithm and the key's own bytes.
pub(super) fn spki(der: &[u8]) -> Option<(AlgorithmId<'_>, &[u8])> {
    let mut outer = Reader(der);
    let mut info = Reader(outer.expect(SEQUENCE)?);
    let algorithm = AlgorithmId::read(&mut info)?;
    let (&unused_bits, key) = info.expect(BIT_STRING)?.split_first()?;
    (unused_bits == 0 && info.is_empty() && outer.is_empty()).then_some((algorithm, key))
}

/// PKCS#8: the algorithm and the private key's own bytes; attributes and the public half are left alone.
pub(super) fn pkcs8(der: &[u8]) -> Option<(AlgorithmId<'_>, &[u8])> {
    let mut outer = Reader(der);
    let mut info = Reader(outer.expect(SEQUENCE)?);
    matches!(info.expect(INTEGER)?, [0 | 1]).then_some(())?;
    let algorithm = AlgorithmId::read(&mut info)?;
    let key = info.expect(OCTET_STRING)?;
    outer.is_empty().then_some((algorithm, key))
}

/// RSAPublicKey (RFC 8017 appendix A.1.1): modulus and exponent, big-endian.
pub(super) fn rsa_public_key(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut outer = Reader(der);
    let mut key = Reader(outer.expect(SEQUENCE)?);
    let (modulus, exponent) = (key.unsigned()?, key.unsigned()?);
    (key.is_empty() && outer.is_empty()).then_some((modulus, exponent))
}
