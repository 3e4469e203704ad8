//! Ed25519 signatures by Solana keys, over the text itself (CAIP-122's profile for Solana).

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};

use super::{MAX_TEXT, ProofError, base64};

const LEN: usize = 64;

pub(super) fn verify(key: &[u8; 32], issued: &[u8], signature: &str) -> Result<(), ProofError> {
    let readings = read(signature)?;
    if is_small_order(key) {
        return Err(ProofError::Invalid("this account is a point of small order: anybody can sign for it".to_owned()));
    }
    let key = UnparsedPublicKey::new(&ED25519, key);
    // A text may be right in both encodings; it is one signature only in the one that verifies.
    if readings.iter().any(|bytes| key.verify(issued, bytes).is_ok()) {
        Ok(())
    } else {
        Err(ProofError::Invalid("the signature is not this account's over the text of the challenge".to_owned()))
    }
}

fn read(text: &str) -> Result<Vec<Vec<u8>>, ProofError> {
    if text.len() > MAX_TEXT {
        return Err(ProofError::Malformed(format!(
            "the signature has {} characters; {LEN} bytes are expected",
            text.len()
        )));
    }
    let mut readings: Vec<Vec<u8>> = [base64(text), bs58::decode(text).into_vec().ok()].into_iter().flatten().collect();
    let found = readings.first().map(Vec::len);
    readings.retain(|bytes| bytes.len() == LEN);
    match found {
        _ if !readings.is_empty() => Ok(readings),
        Some(found) => {
            Err(ProofError::Malformed(format!("the signature has {found} bytes; Ed25519 signatures have {LEN}")))
        }
        None => Err(ProofError::Malformed("the signature is neither base64 nor base58".to_owned())),
    }
}

/// y-coordinates of the points whose order divides 8, little-endian, and the second spellings of two of them: for these
/// "keys" anybody can make signatures that verify, and the library does not mind them.
const SMALL_ORDER_Y: [&str; 7] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

fn is_small_order(key: &[u8; 32]) -> bool {
    let mut y = *key;
    y[31] &= 0x7f;
    SMALL_ORDER_Y.contains(&hex::encode(y).as_str())
}
