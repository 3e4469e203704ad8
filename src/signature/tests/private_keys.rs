use secrecy::ExposeSecret;

use super::*;
use crate::signature::KeyError;

#[test]
fn every_algorithm_signs_survives_pem_and_verifies() {
    for algorithm in Algorithm::ALL {
        let made = PrivateKey::generate(algorithm).unwrap();
        let key = PrivateKey::parse(made.to_pem().expose_secret()).unwrap();
        assert_eq!((key.algorithm(), key.public_key()), (algorithm, made.public_key()));
        assert_eq!(Request::post().signed(&key, &POST).accepted_by(&made), Ok(()), "{algorithm}");
        assert_eq!(code(Request::post().signed(&key, &POST).accepted_by(&self::key())), "SIGNATURE_INVALID");
    }
}

#[test]
fn debug_shows_no_secret() {
    let key = key();
    let pem = key.to_pem().expose_secret().to_owned();
    let shown = format!("{key:?}");
    assert!(pem.lines().skip(1).all(|line| !shown.contains(line)));
    assert_eq!(shown, format!("PrivateKey {{ public: {:?}, .. }}", key.public_key()));
}

#[test]
fn other_forms_say_how_to_convert() {
    let sec1 = "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n";
    let error = PrivateKey::parse(sec1).unwrap_err();
    assert!(error.to_string().contains("openssl pkcs8 -topk8"), "{error}");
    assert_eq!(
        PrivateKey::parse("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----").unwrap_err(),
        KeyError::Damaged("not one PKCS#8 key in DER")
    );
    assert_eq!(PrivateKey::parse("x").unwrap_err(), KeyError::NotPem);
}
