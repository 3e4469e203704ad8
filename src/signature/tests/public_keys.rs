use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use secrecy::ExposeSecret;

use super::*;
use crate::signature::{KeyError, PublicKey};

fn refused(text: &str) -> KeyError {
    PublicKey::parse(text).unwrap_err()
}

fn pem(label: &str, hex_der: &str) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(hex::decode(hex_der).unwrap()))
}

#[test]
fn pem_base64_of_pem_and_stored_der_are_one_key() {
    for algorithm in Algorithm::ALL {
        let key = PrivateKey::generate(algorithm).unwrap().public_key().clone();
        let text = key.to_pem();
        for form in [
            text.clone(),
            text.replace('\n', "\r\n"),
            format!("  \n{text}\n\n"),
            STANDARD.encode(&text),
            URL_SAFE_NO_PAD.encode(&text),
            STANDARD
                .encode(&text)
                .as_bytes()
                .chunks(60)
                .map(|c| std::str::from_utf8(c).unwrap())
                .collect::<Vec<_>>()
                .join("\n"),
        ] {
            let parsed = PublicKey::parse(&form).unwrap();
            assert_eq!((&parsed, parsed.algorithm()), (&key, algorithm));
        }
        assert_eq!(PublicKey::from_spki_der(key.spki_der()).unwrap(), key);
    }
}

#[test]
fn a_private_key_sent_by_mistake_is_told_apart() {
    let text = key().to_pem();
    for form in [text.expose_secret().to_owned(), STANDARD.encode(text.expose_secret())] {
        assert_eq!(refused(&form), KeyError::PrivateKey);
    }
    for label in ["EC PRIVATE KEY", "RSA PRIVATE KEY", "OPENSSH PRIVATE KEY", "ENCRYPTED PRIVATE KEY"] {
        assert_eq!(refused(&pem(label, "3000")), KeyError::PrivateKey);
    }
}

#[test]
fn what_is_no_key_says_why() {
    assert_eq!(refused(""), KeyError::NotPem);
    assert_eq!(refused("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA a@b"), KeyError::NotPem);
    assert_eq!(refused(&STANDARD.encode(key().public_key().spki_der())), KeyError::NotPem);
    assert_eq!(refused("-----BEGIN PUBLIC KEY-----"), KeyError::Damaged("no END line for the BEGIN line"));
    assert_eq!(
        refused("-----BEGIN PUBLIC KEY-----\n?\n-----END PUBLIC KEY-----"),
        KeyError::Damaged("its lines are not base64")
    );
    let two = key().public_key().to_pem() + &key().public_key().to_pem();
    assert_eq!(refused(&two), KeyError::Damaged("there is text after the END line; send one key"));
    assert!(matches!(refused(&pem("CERTIFICATE", "3000")), KeyError::Label { found, .. } if found == "CERTIFICATE"));
    assert_eq!(refused(&"A".repeat(16 * 1024 + 1)), KeyError::Damaged("longer than 16 KiB"));
    assert_eq!(refused(&pem("PUBLIC KEY", "3000")), KeyError::Damaged("not one SubjectPublicKeyInfo in DER"));
}

#[test]
fn other_curves_and_kinds_are_named() {
    let spki = |algorithm: &str, length: usize| {
        let body = format!("{algorithm}03{:02x}00{}", length + 1, "04".repeat(length));
        pem("PUBLIC KEY", &format!("30{:02x}{body}", body.len() / 2))
    };
    for (algorithm, what) in [
        ("301006072a8648ce3d020106052b8104000a", "the curve secp256k1"),
        ("301006072a8648ce3d020106052b81040023", "the curve P-521"),
        ("300506032b656e", "X25519 (it agrees on keys and cannot sign)"),
        ("300506032b6571", "Ed448"),
        ("300606042a030405", "this kind of key"),
    ] {
        assert_eq!(refused(&spki(algorithm, 65)), KeyError::Unsupported(what));
    }
    let p256 = "301306072a8648ce3d020106082a8648ce3d030107";
    assert_eq!(refused(&spki(p256, 33)), KeyError::Unsupported("a compressed point"));
    assert_eq!(refused(&spki(p256, 65)), KeyError::Rejected("P-256"), "not on the curve");
    assert_eq!(refused(&spki("300506032b6570", 31)), KeyError::Rejected("Ed25519"));
}

/// SubjectPublicKeyInfo of an RSA key with these numbers.
fn rsa(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    fn tlv(tag: u8, contents: &[u8]) -> Vec<u8> {
        let length = u16::try_from(contents.len()).unwrap().to_be_bytes();
        let mut out = vec![tag];
        match length {
            [0, n] if n < 0x80 => out.push(n),
            [0, n] => out.extend([0x81, n]),
            n => out.extend([0x82, n[0], n[1]]),
        }
        [out, contents.to_vec()].concat()
    }
    let unsigned = |n: &[u8]| tlv(2, &if n[0] >= 0x80 { [&[0], n].concat() } else { n.to_vec() });
    let key = tlv(0x30, &[unsigned(modulus), unsigned(exponent)].concat());
    let id = hex::decode("300d06092a864886f70d0101010500").unwrap();
    tlv(0x30, &[id, tlv(3, &[vec![0], key].concat())].concat())
}

#[test]
fn rsa_keys_have_2048_to_8192_bits_and_an_odd_exponent_above_one() {
    let modulus = |bytes: usize| [vec![0xc5; bytes - 1], vec![0x01]].concat();
    let size = |n: &[u8]| PublicKey::from_spki_der(&rsa(n, &[1, 0, 1])).map(|_| ()).unwrap_err();
    assert_eq!(size(&modulus(128)), KeyError::RsaSize(1024));
    assert_eq!(size(&[vec![0x7f], modulus(255)].concat()), KeyError::RsaSize(2047));
    assert_eq!(size(&modulus(1025)), KeyError::RsaSize(8200));
    for exponent in [&[1][..], &[2], &[1, 0, 0]] {
        assert_eq!(PublicKey::from_spki_der(&rsa(&modulus(256), exponent)).unwrap_err(), KeyError::Rejected("RSA"));
    }
    assert!(PublicKey::from_spki_der(&rsa(&modulus(256), &[1, 0, 1])).is_ok());
    assert!(PublicKey::from_spki_der(&rsa(&modulus(256), &[3])).is_ok());
}

#[test]
fn thumbprints_and_jwks_match_the_rfcs() {
    // RFC 8037 appendix A.2 and A.3.
    let point = URL_SAFE_NO_PAD.decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo").unwrap();
    let key =
        PublicKey::from_spki_der(&[&hex::decode("302a300506032b6570032100").unwrap()[..], &point].concat()).unwrap();
    assert_eq!(key.thumbprint(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    assert_eq!(
        key.jwk("k1").to_string(),
        serde_json::json!({"crv": "Ed25519", "kty": "OKP", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
            "kid": "k1", "use": "sig", "alg": "Ed25519"})
        .to_string()
    );
    // RFC 7638 section 3.1.
    let n = concat!(
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3",
        "oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdA",
        "ZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-",
        "kEgU8awapJzKnqDKgw"
    );
    let key = PublicKey::from_spki_der(&rsa(&URL_SAFE_NO_PAD.decode(n).unwrap(), &[1, 0, 1])).unwrap();
    assert_eq!(key.thumbprint(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    let ec = key_of(Algorithm::EcdsaP384Sha384).jwk("k");
    assert_eq!((&ec["kty"], &ec["crv"], &ec["alg"]), (&"EC".into(), &"P-384".into(), &"ES384".into()));
    assert_eq!((ec["x"].as_str().unwrap().len(), ec["y"].as_str().unwrap().len()), (64, 64));
}

fn key_of(algorithm: Algorithm) -> PublicKey {
    PrivateKey::generate(algorithm).unwrap().public_key().clone()
}

#[test]
fn der_signatures_are_refused_with_a_hint() {
    let key = key();
    let mut request = Request::get("/").signed(&key, &GET);
    let raw = request.check().unwrap().candidates()[0].signature.clone();
    let int = |n: &[u8]| [&[2, 49, 0][..], n].concat();
    let der = [&[0x30, 102][..], &int(&raw[..48]), &int(&raw[48..])].concat();
    request = request.without("signature").with("signature", &format!("sig=:{}:", STANDARD.encode(der)));
    assert_eq!(
        request.accepted_by(&key),
        Err(Error::Invalid("104 bytes that look like ASN.1 DER; send the raw r and s, 96 bytes (IEEE P1363)".into()))
    );
}
