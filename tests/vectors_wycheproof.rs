//! Project Wycheproof's vectors against the keys that verify requests, and against wallet signatures.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test that cannot go on fails; a skipped one says so")]

use customerd::domain::chain::keccak256;
use customerd::domain::challenge::recover;
use customerd::signature::PublicKey;
use serde_json::Value;

/// The groups of a file, or nothing where the vectors are not at hand.
fn groups(file: &str) -> Vec<Value> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/vectors/wycheproof").join(file);
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!("SKIPPED: no Wycheproof vectors at {}", path.display());
        return Vec::new();
    };
    let root: Value = serde_json::from_str(&text).unwrap();
    let groups = root["testGroups"].as_array().unwrap().clone();
    let found: usize = groups.iter().map(|group| group["tests"].as_array().unwrap().len()).sum();
    assert_eq!(Some(found as u64), root["numberOfTests"].as_u64());
    groups
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

/// Every case of every key: verifies exactly when the file says so.
fn check_requests(file: &str) {
    for group in groups(file) {
        let key = PublicKey::parse(group["publicKeyPem"].as_str().unwrap());
        for case in group["tests"].as_array().unwrap() {
            let (message, signature) = (bytes(&case["msg"]), bytes(&case["sig"]));
            let accepted = key
                .as_ref()
                .is_ok_and(|key| signature.len() == key.signature_len() && key.verifies(&message, &signature));
            assert_eq!(accepted, case["result"] == "valid", "{file} {case}");
        }
    }
}

#[test]
fn p384() {
    check_requests("ecdsa_secp384r1_sha384_p1363_test.json");
}

#[test]
fn p256() {
    check_requests("ecdsa_secp256r1_sha256_p1363_test.json");
}

#[test]
fn ed25519() {
    check_requests("ed25519_test.json");
}

/// Recovery yields the key's address for one v when the case is valid, for none when it is not. The file's signatures
/// are DER and its low-s rule is ours.
#[test]
fn secp256k1() {
    for group in groups("ecdsa_secp256k1_sha256_bitcoin_test.json") {
        let key = bytes(&group["publicKey"]["uncompressed"]);
        let address = &keccak256(&[&key[1..]])[12..];
        for case in group["tests"].as_array().unwrap() {
            let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes(&case["msg"]));
            let digest: [u8; 32] = digest.as_ref().try_into().unwrap();
            let recovered = secp256k1::ecdsa::Signature::from_der(&bytes(&case["sig"])).is_ok_and(|signature| {
                let mut raw = [0; 65];
                raw[..64].copy_from_slice(&signature.serialize_compact());
                [27, 28].into_iter().any(|v| {
                    raw[64] = v;
                    recover(&digest, &raw).is_ok_and(|found| found == address)
                })
            });
            // Where R's x lies above the group's order, v would be 29 or 30: wallets never make such signatures (one in
            // 2^127) and v is 27 or 28 by contract.
            let large = case["comment"] == "k*G has a large x-coordinate";
            assert_eq!(recovered, case["result"] == "valid" && !large, "{case}");
        }
    }
}
