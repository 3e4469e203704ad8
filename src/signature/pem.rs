//! PEM (RFC 7468), one block.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_PAD_INDIFFERENT, URL_SAFE_PAD_INDIFFERENT};

use super::KeyError;

/// Far above the largest key accepted (RSA-8192 private: about 6.4 KiB).
const MAX_TEXT: usize = 16 * 1024;
const BEGIN: &str = "-----BEGIN ";
const DASHES: &str = "-----";

/// The block's label and its decoded contents.
pub(super) struct Block {
    pub(super) label: String,
    pub(super) der: Vec<u8>,
}

/// Reads the one block of `text`, which may be PEM or the base64 of PEM (standard or URL-safe alphabet).
pub(super) fn read(text: &str) -> Result<Block, KeyError> {
    if text.len() > MAX_TEXT {
        return Err(KeyError::Damaged("longer than 16 KiB"));
    }
    if text.contains(BEGIN) {
        return block(text);
    }
    let compact = without_space(text);
    let bytes = STANDARD_PAD_INDIFFERENT
        .decode(&compact)
        .or_else(|_| URL_SAFE_PAD_INDIFFERENT.decode(&compact))
        .map_err(|_| KeyError::NotPem)?;
    let inner = String::from_utf8(bytes).map_err(|_| KeyError::NotPem)?;
    if inner.contains(BEGIN) { block(&inner) } else { Err(KeyError::NotPem) }
}

fn block(text: &str) -> Result<Block, KeyError> {
    let (_, rest) = text.split_once(BEGIN).ok_or(KeyError::NotPem)?;
    let (label, rest) = rest.split_once(DASHES).ok_or(KeyError::Damaged("the BEGIN line does not end"))?;
    let (body, rest) = rest
        .split_once(&format!("-----END {label}{DASHES}"))
        .ok_or(KeyError::Damaged("no END line for the BEGIN line"))?;
    if !rest.trim().is_empty() {
        return Err(KeyError::Damaged("there is text after the END line; send one key"));
    }
    // Headers such as Proc-Type belong to encrypted keys of the old form.
    let der = STANDARD.decode(without_space(body)).map_err(|_| KeyError::Damaged("its lines are not base64"))?;
    Ok(Block { label: label.to_owned(), der })
}

/// Writes one block, 64 characters a line.
pub(super) fn write(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut out = format!("{BEGIN}{label}{DASHES}\n");
    for start in (0..text.len()).step_by(64) {
        out.push_str(&text[start..text.len().min(start + 64)]);
        out.push('\n');
    }
    out.push_str(&format!("-----END {label}{DASHES}\n"));
    out
}

fn without_space(text: &str) -> String {
    text.chars().filter(|c| !c.is_ascii_whitespace()).collect()
}
