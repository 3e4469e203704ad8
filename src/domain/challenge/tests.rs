#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use ::base64::Engine as _;
use ::base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use proptest::prelude::*;
use secp256k1::ecdsa::RecoverableSignature;
use secp256k1::{Message, SecretKey};

use super::*;
use crate::domain::chain::keccak256;

const NONCE: &str = "kEWepMt9knR6lWJ6A";

fn challenge(issuer: &Issuer, account: ChainAccount) -> Challenge<'_> {
    let issued = Timestamp(1_795_347_600_987_654);
    Challenge { issuer, account, statement: "Prove that this account is yours.", nonce: NONCE, issued, resources: &[] }
}

fn issuer() -> Issuer {
    Issuer::parse("https://api.example.com:8443/").unwrap()
}

/// The text, and r, s and v (0 or 1) by a key of our own.
fn signed() -> (ChainAccount, String, [u8; 65]) {
    let (address, _) = sign(b"");
    let account: ChainAccount = format!("eip155:8453:{}", Address::Evm(address)).parse().unwrap();
    let text = challenge(&issuer(), account).text().unwrap();
    let (_, signature) = sign(text.as_bytes());
    (account, text, signature)
}

fn sign(text: &[u8]) -> ([u8; 20], [u8; 65]) {
    let secret = SecretKey::from_secret_bytes([7; 32]).unwrap();
    let key = secp256k1::PublicKey::from_secret_key(&secret).serialize_uncompressed();
    let length = text.len().to_string();
    let digest = keccak256(&[b"\x19Ethereum Signed Message:\n", length.as_bytes(), text]);
    let (id, compact) =
        RecoverableSignature::sign_ecdsa_recoverable(Message::from_digest(digest), &secret).serialize_compact();
    let mut signature = [0; 65];
    signature[..64].copy_from_slice(&compact);
    signature[64] = id.to_u8();
    (keccak256(&[&key[1..]])[12..].try_into().unwrap(), signature)
}

fn reason(outcome: Result<(), ProofError>) -> (bool, String) {
    match outcome.unwrap_err() {
        ProofError::Malformed(why) => (false, why),
        ProofError::Invalid(why) => (true, why),
    }
}

#[test]
fn the_text_for_eip155_is_eip_4361() {
    let account = "eip155:1:0xab16a96D359eC26a11e2C2b3d8f8B8942d5Bfcdb".parse().unwrap();
    let issuer = issuer();
    insta::assert_snapshot!(challenge(&issuer, account).text().unwrap(), @r"
    api.example.com:8443 wants you to sign in with your Ethereum account:
    0xab16a96D359eC26a11e2C2b3d8f8B8942d5Bfcdb

    Prove that this account is yours.

    URI: https://api.example.com:8443
    Version: 1
    Chain ID: 1
    Nonce: kEWepMt9knR6lWJ6A
    Issued At: 2026-11-22T11:40:00Z
    Expiration Time: 2026-11-22T12:40:00Z
    ");
}

#[test]
fn the_text_for_solana_is_caip_122() {
    let account =
        "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp:7S3P4HxJpyyigGzodYwHtCxZyUQe9JiBMHyRWXArAaKv".parse().unwrap();
    let issuer = issuer();
    let resources = &["https://example.com/terms", "ipfs://a%20b"];
    insta::assert_snapshot!(Challenge { resources, ..challenge(&issuer, account) }.text().unwrap(), @r"
    api.example.com:8443 wants you to sign in with your Solana account:
    7S3P4HxJpyyigGzodYwHtCxZyUQe9JiBMHyRWXArAaKv

    Prove that this account is yours.

    URI: https://api.example.com:8443
    Version: 1
    Chain ID: 5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp
    Nonce: kEWepMt9knR6lWJ6A
    Issued At: 2026-11-22T11:40:00Z
    Expiration Time: 2026-11-22T12:40:00Z
    Resources:
    - https://example.com/terms
    - ipfs://a%20b
    ");
}

#[test]
fn parts_that_do_not_fit_are_refused() {
    let (issuer, account) = (issuer(), signed().0);
    let base = challenge(&issuer, account);
    for nonce in ["", "0123456789abcde", "0123456789abcdef-", "0123456789abcdé"] {
        assert_eq!(Challenge { nonce, ..base }.text(), Err(TextError::Nonce));
    }
    for statement in ["", "two\nlines", "tab\t", "é", "100%"] {
        assert_eq!(Challenge { statement, ..base }.text(), Err(TextError::Statement));
    }
    for resource in ["example.com", "", "a b:c", "https://a\nURI: https://evil.example"] {
        assert_eq!(Challenge { resources: &[resource], ..base }.text(), Err(TextError::Resource));
    }
    for url in
        ["", "api.example.com", "ftp://a", "https://", "https://a/b", "https://a?b", "https://u@a", "https://a b"]
    {
        assert_eq!(Issuer::parse(url), Err(TextError::Issuer), "{url}");
    }
    let local = Issuer::parse("http://localhost:8080").unwrap();
    assert_eq!((local.domain.as_str(), local.uri.as_str()), ("localhost:8080", "http://localhost:8080"));
}

#[test]
fn every_encoding_of_an_ethereum_signature_verifies() {
    let (account, text, mut signature) = signed();
    for v in [signature[64], signature[64] + 27] {
        signature[64] = v;
        let hexed = hex::encode(signature);
        for form in [
            STANDARD.encode(signature),
            URL_SAFE_NO_PAD.encode(signature),
            format!("0x{hexed}"),
            hexed.clone(),
            hexed.to_uppercase(),
            STANDARD.encode(format!("0x{hexed}")),
            STANDARD.encode(&hexed),
        ] {
            assert_eq!(verify(&account, text.as_bytes(), &form), Ok(()), "{form}");
        }
    }
}

#[test]
fn malformed_ethereum_signatures_are_told_from_invalid_ones() {
    let (account, text, signature) = signed();
    let hexed = hex::encode(signature);
    for (form, why) in [
        (String::new(), "the signature has 0 bytes"),
        ("0x".into(), "the signature has 0 bytes"),
        ("?".into(), "the signature is neither hex nor base64"),
        ("0xzz!".into(), "the signature is neither hex nor base64"),
        (format!("0x{}", &hexed[2..]), "the signature has 64 bytes"),
        (format!("0x{hexed}00"), "the signature has 66 bytes"),
        (STANDARD.encode(&signature[..64]), "the signature has 64 bytes"),
        ("A".repeat(1025), "the signature has 1025 characters"),
    ] {
        let (voids, found) = reason(verify(&account, text.as_bytes(), &form));
        assert!(!voids && found.starts_with(why), "{form}: {found}");
    }
}

/// The order of secp256k1's group.
const N: &str = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";

#[test]
fn invalid_ethereum_signatures_say_what_is_wrong() {
    let (account, text, signature) = signed();
    let outcome = |change: &dyn Fn(&mut [u8; 65])| {
        let mut changed = signature;
        change(&mut changed);
        let (voids, why) = reason(verify(&account, text.as_bytes(), &hex::encode(changed)));
        assert!(voids, "{why}");
        why
    };
    let high = |bytes: &mut [u8; 65]| {
        let mut borrow = 0;
        for (s, n) in bytes[32..64].iter_mut().rev().zip(hex::decode(N).unwrap().iter().rev()) {
            let difference = i16::from(*n) - i16::from(*s) - borrow;
            borrow = i16::from(difference < 0);
            *s = difference.rem_euclid(256) as u8;
        }
        bytes[64] ^= 1;
    };
    assert!(outcome(&high).starts_with("s is in the upper half"));
    for v in [2, 3, 26, 29, 35, 255] {
        assert!(outcome(&|bytes| bytes[64] = v).starts_with(&format!("v, the last byte of the signature, is {v};")));
    }
    assert!(outcome(&|bytes| bytes[64] ^= 1).contains("not 0x"));
    assert_eq!(outcome(&|bytes| bytes[..64].fill(0)), "no key can have made this signature");
    assert_eq!(outcome(&|bytes| bytes[..32].fill(0xff)), "no key can have made this signature");
}

#[test]
fn another_text_or_account_does_not_verify() {
    let (account, text, signature) = signed();
    let form = hex::encode(signature);
    let injected = text.replace("\nVersion", "\nURI: https://evil.example\nVersion");
    for other in [text.trim_end_matches('Z'), &format!("{text}\n"), &text.replace('\n', "\r\n"), &injected, ""] {
        assert!(reason(verify(&account, other.as_bytes(), &form)).0);
    }
    let stranger: ChainAccount = "eip155:8453:0xab16a96D359eC26a11e2C2b3d8f8B8942d5Bfcdb".parse().unwrap();
    let (voids, why) = reason(verify(&stranger, text.as_bytes(), &form));
    assert!(voids && why.contains(&account.address().to_string()) && why.contains("EIP-1271"), "{why}");
}

fn solana() -> (Ed25519KeyPair, ChainAccount, String) {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[9; 32]).unwrap();
    let address = bs58::encode(pair.public_key()).into_string();
    let account = format!("solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1:{address}").parse().unwrap();
    let text = challenge(&issuer(), account).text().unwrap();
    (pair, account, text)
}

#[test]
fn solana_signatures_verify_in_base64_and_base58() {
    let (pair, account, text) = solana();
    let signature = pair.sign(text.as_bytes());
    for form in [STANDARD.encode(signature), URL_SAFE_NO_PAD.encode(signature), bs58::encode(signature).into_string()] {
        assert_eq!(verify(&account, text.as_bytes(), &form), Ok(()));
        assert!(reason(verify(&account, b"another text", &form)).0);
    }
    assert_eq!(
        reason(verify(&account, text.as_bytes(), "?")),
        (false, "the signature is neither base64 nor base58".into())
    );
    let short = STANDARD.encode(&signature.as_ref()[1..]);
    assert_eq!(
        reason(verify(&account, text.as_bytes(), &short)),
        (false, "the signature has 63 bytes; Ed25519 signatures have 64".into())
    );
    assert!(!reason(verify(&account, text.as_bytes(), "")).0);
}

#[test]
fn nobody_can_sign_for_a_solana_address_that_is_no_key() {
    // For the neutral element (y = 1) the signature R = neutral, s = 0 satisfies the equation for every text.
    let neutral = [&[1][..], &[0; 31]].concat();
    let account =
        format!("solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp:{}", bs58::encode(&neutral).into_string()).parse().unwrap();
    let forged = STANDARD.encode([neutral, vec![0; 32]].concat());
    let (voids, why) = reason(verify(&account, b"any text", &forged));
    assert!(voids && why.contains("small order"), "{why}");
    let system = "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp:11111111111111111111111111111111".parse().unwrap();
    assert!(reason(verify(&system, b"any text", &forged)).0);
}

proptest! {
    #[test]
    fn a_flipped_bit_never_verifies(at in 0..65usize, bit in 0..8u8) {
        let (account, text, mut signature) = signed();
        signature[64] += 27;
        signature[at] ^= 1 << bit;
        // One bit away from 27 or 28 there is no other v that is accepted.
        prop_assert!(verify(&account, text.as_bytes(), &hex::encode(signature)).is_err());
        let (pair, account, text) = solana();
        let mut signature = pair.sign(text.as_bytes()).as_ref().to_vec();
        signature[at % 64] ^= 1 << bit;
        prop_assert!(verify(&account, text.as_bytes(), &STANDARD.encode(signature)).is_err());
    }

    #[test]
    fn no_signature_text_panics(form in "\\PC{0,200}") {
        for account in [signed().0, solana().1] {
            prop_assert!(verify(&account, b"text", &form).is_err());
        }
    }
}
