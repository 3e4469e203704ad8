//! Bytes in JSON: standard base64 with padding out; standard or URL-safe, padded or not, in.

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const PLAIN: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT);
const URL: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, LENIENT);

/// `None`: not base64 of either alphabet, or a mixture of both.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let engine = if text.bytes().any(|b| matches!(b, b'-' | b'_')) { &URL } else { &PLAIN };
    engine.decode(text).ok()
}

pub(super) fn encode(bytes: &[u8]) -> String {
    PLAIN.encode(bytes)
}
