//! `Content-Digest` (RFC 9530): sha-256 and sha-512 over the bytes of the body as received.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{Algorithm, SHA256, SHA512, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue};
use sfv::visitor::{DictionaryVisitor, EntryVisitor, Ignored, InnerListVisitor, ItemVisitor, Never, ParameterVisitor};
use sfv::{BareItemFromInput, KeyRef, Parser};

use super::Error;

/// `content-digest`.
pub const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");

/// Checks the form of the request's digest, if it is sent: what can be said of it without the body.
///
/// # Errors
/// [`Error::DigestMalformed`], [`Error::DigestUnsupported`].
pub fn check_form(headers: &HeaderMap) -> Result<(), Error> {
    match sent(headers)? {
        Some(value) => supported(value).map(|_| ()),
        None => Ok(()),
    }
}

/// Checks the request's digest against its body. Needed when there is a body; checked whenever it is sent.
///
/// Every supported digest present must match; members of other algorithms are passed over as RFC 9530 §2 says, but
/// at least one supported must be there.
///
/// # Errors
/// [`Error::DigestMissing`], [`Error::DigestMalformed`], [`Error::DigestUnsupported`], [`Error::DigestMismatch`].
pub fn check(headers: &HeaderMap, body: &[u8]) -> Result<(), Error> {
    let Some(value) = sent(headers)? else {
        return if body.is_empty() { Ok(()) } else { Err(Error::DigestMissing) };
    };
    for (name, algorithm, sent) in supported(value)? {
        let actual = digest(algorithm, body);
        verify_slices_are_equal(&sent, actual.as_ref()).map_err(|_| Error::DigestMismatch(name, body.len()))?;
    }
    Ok(())
}

fn sent(headers: &HeaderMap) -> Result<Option<&HeaderValue>, Error> {
    let mut values = headers.get_all(CONTENT_DIGEST).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        _ => Err(Error::DigestMalformed("the header is sent twice".to_owned())),
    }
}

type Supported = (&'static str, &'static Algorithm, Vec<u8>);

/// The digests that can be checked, at least one.
fn supported(value: &HeaderValue) -> Result<Vec<Supported>, Error> {
    let digests = Parser::new(value.as_bytes())
        .parse_dictionary_with_visitor(Digests::default())
        .map_err(|e| Error::DigestMalformed(e.to_string()))?;
    let known = digests.into_iter().filter_map(|(name, sent)| match name {
        "sha-256" => Some(("sha-256", &SHA256, sent)),
        "sha-512" => Some(("sha-512", &SHA512, sent)),
        _ => None,
    });
    let known: Vec<Supported> = known.collect();
    if known.is_empty() { Err(Error::DigestUnsupported) } else { Ok(known) }
}

/// The header value for a body, sha-256.
#[must_use]
pub fn sha256(body: &[u8]) -> HeaderValue {
    produce("sha-256", digest(&SHA256, body).as_ref())
}

/// The header value for a body, sha-512.
#[must_use]
pub fn sha512(body: &[u8]) -> HeaderValue {
    produce("sha-512", digest(&SHA512, body).as_ref())
}

fn produce(name: &str, hash: &[u8]) -> HeaderValue {
    let text = format!("{name}=:{}:", STANDARD.encode(hash));
    // Base64 is always a valid header value.
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("the same algorithm appears twice")]
    Duplicate,
    #[error("a digest must be a byte sequence between colons, e.g. sha-256=:…:")]
    NotBytes,
}

#[derive(Default)]
struct Digests<'de>(Vec<(&'de str, Vec<u8>)>);

impl<'de> DictionaryVisitor<'de> for Digests<'de> {
    type Out = Vec<(&'de str, Vec<u8>)>;
    type Error = Fault;

    fn entry(&mut self, key: &'de KeyRef) -> Result<impl EntryVisitor<'de>, Fault> {
        // sfv would let the last one win; two digests of one algorithm are one too many.
        if self.0.iter().any(|(name, _)| *name == key.as_str()) {
            return Err(Fault::Duplicate);
        }
        Ok(Entry { name: key.as_str(), out: &mut self.0 })
    }

    fn finish(self) -> Result<Self::Out, Fault> {
        Ok(self.0)
    }
}

struct Entry<'a, 'de> {
    name: &'de str,
    out: &'a mut Vec<(&'de str, Vec<u8>)>,
}

impl<'de> EntryVisitor<'de> for Entry<'_, 'de> {
    type Error = Fault;

    fn item(self) -> Result<impl ItemVisitor<'de>, Fault> {
        Ok(self)
    }

    fn inner_list(self) -> Result<impl InnerListVisitor<'de>, Fault> {
        Err::<Never, _>(Fault::NotBytes)
    }
}

impl<'de> ItemVisitor<'de> for Entry<'_, 'de> {
    type Out = ();
    type Error = Fault;

    fn bare_item(self, item: BareItemFromInput<'de>) -> Result<impl ParameterVisitor<'de, Out = ()>, Fault> {
        let BareItemFromInput::ByteSequence(bytes) = item else { return Err(Fault::NotBytes) };
        self.out.push((self.name, bytes));
        Ok(Ignored)
    }
}
