//! EIP-191 `personal_sign` signatures by secp256k1 keys.

use secp256k1::Message;
use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};

use super::super::chain::{Address, keccak256};
use super::{MAX_TEXT, ProofError, base64};

/// Bytes of r, s and v.
const LEN: usize = 65;

/// Half of the group's order, rounded down: the greatest s that is accepted (EIP-2).
const HALF_ORDER: [u8; 32] = [
    0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x5d, 0x57, 0x6e,
    0x73, 0x57, 0xa4, 0x50, 0x1d, 0xdf, 0xe9, 0x2f, 0x46, 0x68, 0x1b, 0x20, 0xa0,
];

pub(super) fn verify(address: &[u8; 20], issued: &[u8], signature: &str) -> Result<(), ProofError> {
    let signature = read(signature)?;
    let length = issued.len().to_string();
    let digest = keccak256(&[b"\x19Ethereum Signed Message:\n", length.as_bytes(), issued]);
    let signer = recover(&digest, &signature)?;
    if signer == *address {
        return Ok(());
    }
    let (signer, owner) = (Address::Evm(signer), Address::Evm(*address));
    Err(ProofError::Invalid(format!(
        "the signature is that of {signer}, not {owner}, or is over another text; contract wallets (EIP-1271) are not supported"
    )))
}

/// The address whose key made this signature (r, s, v) over this hash.
///
/// # Errors
/// [`ProofError::Invalid`]: v is none of 0, 1, 27 and 28; s is in the upper half; or r and s belong to no key.
pub fn recover(digest: &[u8; 32], signature: &[u8; LEN]) -> Result<[u8; 20], ProofError> {
    let invalid = |why: &str| ProofError::Invalid(why.to_owned());
    let id = match signature[64] {
        0 | 27 => RecoveryId::Zero,
        1 | 28 => RecoveryId::One,
        v => {
            return Err(ProofError::Invalid(format!(
                "v, the last byte of the signature, is {v}; it must be 0, 1, 27 or 28"
            )));
        }
    };
    // Without this everybody could make a second valid signature from any first.
    if signature[32..64] > HALF_ORDER[..] {
        return Err(invalid("s is in the upper half of the group's order (EIP-2 refuses it); use n - s and flip v"));
    }
    let key = RecoverableSignature::from_compact(&signature[..64], id)
        .and_then(|signature| signature.recover(Message::from_digest(*digest)))
        .map_err(|_| invalid("no key can have made this signature"))?;
    let hash = keccak256(&[&key.serialize_uncompressed()[1..]]);
    let mut address = [0; 20];
    address.copy_from_slice(&hash[12..]);
    Ok(address)
}

fn read(text: &str) -> Result<[u8; LEN], ProofError> {
    let malformed = |why: String| ProofError::Malformed(why);
    if text.len() > MAX_TEXT {
        return Err(malformed(format!("the signature has {} characters; 65 bytes are expected", text.len())));
    }
    let bytes = hexadecimal(text)
        .or_else(|| {
            let bytes = base64(text)?;
            // Some clients encode the hex text rather than the bytes.
            std::str::from_utf8(&bytes).ok().and_then(hexadecimal).or(Some(bytes))
        })
        .ok_or_else(|| malformed("the signature is neither hex nor base64".to_owned()))?;
    bytes.try_into().map_err(|bytes: Vec<u8>| {
        malformed(format!(
            "the signature has {} bytes; r, s and v make {LEN} (EIP-2098's short form is not accepted)",
            bytes.len()
        ))
    })
}

/// Hex with `0x`, or 130 digits of hex without: fewer or more would rather be base64.
fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    match text.strip_prefix("0x") {
        Some(digits) => hex::decode(digits).ok(),
        None if text.len() == 2 * LEN => hex::decode(text).ok(),
        None => None,
    }
}
