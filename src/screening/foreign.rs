//! Addresses of chains that no customer can have, known by their form: lists name many of them, and they are passed over.
//!
//! What can be checked is checked, so that an address of ours with a typing error is not taken for one of these: Base58Check
//! (Bitcoin, Litecoin, Dash, Tron, Zcash, …; the XRP Ledger with its own alphabet), Bech32 and Bech32m (BIP 173, BIP 350),
//! CashAddr, TON. Monero is told by its alphabet, length and first character alone.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use sha2::{Digest as _, Sha256};

/// The characters of Bech32 and CashAddr, in the order of their values.
const BECH32: &str = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
/// The prefix that a CashAddr address is checked with, and may be written with.
const CASH: &str = "bitcoincash";
/// Longest Bech32 text that is read, in bytes: Cardano's are longer than BIP 173 has it.
const BECH32_MAX: usize = 128;

/// Whether `text` is an address of another chain.
pub(super) fn is_address(text: &str) -> bool {
    base58check(text, bs58::Alphabet::BITCOIN)
        || base58check(text, bs58::Alphabet::RIPPLE)
        || bech32(text)
        || cash_address(text)
        || ton(text)
        || monero(text)
}

/// A version of one or two bytes, a hash of 20 bytes, and the first 4 bytes of a double SHA-256.
fn base58check(text: &str, alphabet: &bs58::Alphabet) -> bool {
    let mut bytes = [0; 26];
    let Ok(length @ 25..=26) = bs58::decode(text).with_alphabet(alphabet).onto(&mut bytes) else { return false };
    let (payload, check) = bytes[..length].split_at(length - 4);
    Sha256::digest(Sha256::digest(payload))[..4] == *check
}

fn values(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|c| BECH32.find(c).and_then(|value| u8::try_from(value).ok())).collect()
}

fn one_case(text: &str) -> bool {
    !(text.bytes().any(|c| c.is_ascii_lowercase()) && text.bytes().any(|c| c.is_ascii_uppercase()))
}

/// BIP 173, "Checksum"; BIP 350 differs in the constant.
fn bech32(text: &str) -> bool {
    const FINAL: [u32; 2] = [1, 0x2bc8_30a3];
    const GENERATOR: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    if text.len() > BECH32_MAX || !text.is_ascii() || !one_case(text) {
        return false;
    }
    let text = text.to_ascii_lowercase();
    let Some((prefix, data)) = text.rsplit_once('1') else { return false };
    let Some(data) = values(data).filter(|data| data.len() > 6 && !prefix.is_empty()) else { return false };
    let high = prefix.bytes().map(|c| c >> 5);
    let low = prefix.bytes().map(|c| c & 31);
    let sum = high.chain([0]).chain(low).chain(data).fold(1_u32, |sum, value| {
        let next = ((sum & 0x01ff_ffff) << 5) ^ u32::from(value);
        (0..5).filter(|bit| (sum >> 25) >> bit & 1 == 1).fold(next, |next, bit| next ^ GENERATOR[bit])
    });
    FINAL.contains(&sum)
}

/// The CashAddr specification of Bitcoin Cash, with or without its prefix.
fn cash_address(text: &str) -> bool {
    const GENERATOR: [u64; 5] = [0x98_f2bc_8e61, 0x79_b76d_99e2, 0xf3_3e5f_b3c4, 0xae_2eab_e2a8, 0x1e_4f43_e470];
    if text.len() > BECH32_MAX || !text.is_ascii() || !one_case(text) {
        return false;
    }
    let text = text.to_ascii_lowercase();
    let data = text.strip_prefix(CASH).and_then(|data| data.strip_prefix(':')).unwrap_or(&text);
    let Some(data) = values(data).filter(|data| data.len() > 8) else { return false };
    let sum = CASH.bytes().map(|c| c & 31).chain([0]).chain(data).fold(1_u64, |sum, value| {
        let next = ((sum & 0x07_ffff_ffff) << 5) ^ u64::from(value);
        (0..5).filter(|bit| (sum >> 35) >> bit & 1 == 1).fold(next, |next, bit| next ^ GENERATOR[bit])
    });
    sum == 1
}

/// TEP-2: a workchain and a hash, `0:` and 64 hexadecimal digits; or flags, workchain, hash and a CRC-16 in base64.
fn ton(text: &str) -> bool {
    if let Some(hash) = text.strip_prefix("0:").or_else(|| text.strip_prefix("-1:")) {
        return hash.len() == 64 && hash.bytes().all(|c| c.is_ascii_hexdigit());
    }
    let Ok(bytes) = URL_SAFE.decode(text).or_else(|_| STANDARD.decode(text)) else { return false };
    let Some((payload, check)) = bytes.split_last_chunk::<2>().filter(|(payload, _)| payload.len() == 34) else {
        return false;
    };
    let flags = payload.first().map(|flags| flags & 0x7f);
    matches!(flags, Some(0x11 | 0x51)) && crc16(payload) == u16::from_be_bytes(*check)
}

/// CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |sum, byte| {
        (0..8).fold(sum ^ u16::from(*byte) << 8, |sum, _| if sum & 0x8000 == 0 { sum << 1 } else { sum << 1 ^ 0x1021 })
    })
}

fn monero(text: &str) -> bool {
    const ALPHABET: &[u8] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    matches!(text.len(), 95 | 106) && text.starts_with(['4', '8']) && text.bytes().all(|c| ALPHABET.contains(&c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_other_chains_are_known() {
        for text in [
            // Bitcoin's first block, P2SH, and the examples of BIP 173 and BIP 350.
            "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa",
            "3P14159f73E4gFr7JterCCQh9QjiTjiZrG",
            "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
            "BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4",
            "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",
            // Tron's contract of USDT, the XRP Ledger's first account, the example of CashAddr, Monero's donation address.
            "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t",
            "rHb9CJAWyB4rj91VRWn96DkukG4bwdtyTh",
            "bitcoincash:qpm2qsznhks23z7629mms6s4cwef74vcwvy22gdx6a",
            "qpm2qsznhks23z7629mms6s4cwef74vcwvy22gdx6a",
            "44AFFq5kSiGBoZ4NMDwYtN18obc8AemS33DBLWs3H7otXft3XjrpDtQGv7SqSsaBYBb98uNbr2VBBEt7f2wfn3RVGQBEP3A",
            // The examples of TEP-2, and the raw form of the same.
            "EQDKbjIcfM6ezt8KjKJJLshZJJSqX7XOA4ff-W72r5gqPrHF",
            "UQDKbjIcfM6ezt8KjKJJLshZJJSqX7XOA4ff-W72r5gqPuwA",
            "EQDKbjIcfM6ezt8KjKJJLshZJJSqX7XOA4ff+W72r5gqPrHF",
            "0:ca6e321c7cce9ecedf0a8ca2492ec8592494aa5fb5ce0387dff96ef6af982a3e",
        ] {
            assert!(is_address(text), "{text}");
        }
    }

    #[test]
    fn typing_errors_and_other_texts_are_not() {
        for text in [
            "",
            "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb",
            "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6",
            "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5",
            "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3T4",
            "qpm2qsznhks23z7629mms6s4cwef74vcwvy22gdx6q",
            "44AFFq5kSiGBoZ4NMDwYtN18obc8AemS33DBLWs3H7otXft3",
            "0xab16a96D359eC26a11e2C2b3d8f8B8942d5Bfcdb",
            "EQDKbjIcfM6ezt8KjKJJLshZJJSqX7XOA4ff-W72r5gqPrHG",
            "0:ca6e321c7cce9ecedf0a8ca2492ec8592494aa5fb5ce0387dff96ef6af982a3",
            "garbage",
            "1é",
        ] {
            assert!(!is_address(text), "{text}");
        }
    }
}
