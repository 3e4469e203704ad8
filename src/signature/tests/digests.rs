use super::*;
use crate::signature::{digest, idempotency_key};

fn checked(value: &str, body: &[u8]) -> Result<(), Error> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_DIGEST, value.parse().unwrap());
    digest::check(&headers, body)
}

// RFC 9530 appendix D and RFC 9421 appendix B.2.
const HELLO: &[u8] = b"{\"hello\": \"world\"}";
const HELLO_256: &str = "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:";
const HELLO_512: &str =
    "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:";

#[test]
fn the_rfc_examples_match() {
    assert_eq!(digest::sha256(HELLO), HELLO_256);
    assert_eq!(digest::sha512(HELLO), HELLO_512);
    assert_eq!(checked(HELLO_256, HELLO), Ok(()));
    assert_eq!(checked(HELLO_512, HELLO), Ok(()));
    assert_eq!(checked(&format!("md5=:AAAA:, {HELLO_512},{HELLO_256}"), HELLO), Ok(()));
}

#[test]
fn every_supported_digest_must_match() {
    let wrong = digest::sha256(b"other").to_str().unwrap().to_owned();
    assert_eq!(checked(&wrong, HELLO), Err(Error::DigestMismatch("sha-256", 18)));
    assert_eq!(checked(&format!("{HELLO_512}, {wrong}"), HELLO), Err(Error::DigestMismatch("sha-256", 18)));
    assert_eq!(checked("sha-256=:X48E:", HELLO), Err(Error::DigestMismatch("sha-256", 18)));
    assert_eq!(checked(HELLO_256, b""), Err(Error::DigestMismatch("sha-256", 0)));
}

#[test]
fn a_body_needs_one_and_no_body_needs_none() {
    assert_eq!(digest::check(&HeaderMap::new(), b""), Ok(()));
    assert_eq!(digest::check(&HeaderMap::new(), b"x"), Err(Error::DigestMissing));
    assert_eq!(checked("sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:", b""), Ok(()));
}

#[test]
fn malformed_ones_are_refused() {
    for value in [
        "sha-256",
        "sha-256=abc",
        "sha-256=\"abc\"",
        "sha-256=(:AAAA:)",
        "sha-256=:A",
        "SHA-256=:AAAA:",
        "sha-256=:AAAA:,",
    ] {
        assert_eq!(code(checked(value, HELLO)), "DIGEST_MISSING", "{value}");
    }
    assert_eq!(
        checked(&format!("{HELLO_256}, {HELLO_256}"), HELLO),
        Err(Error::DigestMalformed("the same algorithm appears twice".into()))
    );
}

#[test]
fn idempotency_keys_are_uuids_bare_or_quoted() {
    let key = uuid::uuid!("8e03978e-40d5-43e8-bc93-6894a57f9324");
    let read = |value: &str| idempotency_key(&Request::get("/").with("idempotency-key", value).headers);
    assert_eq!(read("8e03978e-40d5-43e8-bc93-6894a57f9324"), Ok(Some(key)));
    assert_eq!(read("\"8E03978E-40D5-43E8-BC93-6894A57F9324\""), Ok(Some(key)));
    assert_eq!(idempotency_key(&HeaderMap::new()), Ok(None));
    for value in [
        "",
        "\"",
        "\"\"",
        "x",
        "8e03978e40d543e8bc936894a57f9324",
        "{8e03978e-40d5-43e8-bc93-6894a57f9324}",
        "\"8e03978e-40d5-43e8-bc93-6894a57f9324",
        "8e03978e-40d5-43e8-bc93-6894a57f932g",
    ] {
        assert_eq!(code(read(value)), "IDEMPOTENCY_KEY_INVALID", "{value}");
    }
    let twice = Request::post().with("idempotency-key", "8e03978e-40d5-43e8-bc93-6894a57f9324");
    assert_eq!(code(idempotency_key(&twice.headers)), "IDEMPOTENCY_KEY_INVALID");
}
