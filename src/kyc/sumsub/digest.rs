//! The digest of a callback: an HMAC of the raw body under the webhook's own secret.

use aws_lc_rs::hmac;
use http::{HeaderMap, HeaderValue};
use secrecy::{ExposeSecret, SecretString};

use crate::kyc::Refused;

/// Verifies in constant time. SHA-1 is refused whatever its digest.
pub(super) fn verify(headers: &HeaderMap, body: &[u8], secret: &SecretString) -> Result<(), Refused> {
    let algorithm = match single(headers, "x-payload-digest-alg")? {
        "HMAC_SHA256_HEX" => hmac::HMAC_SHA256,
        "HMAC_SHA512_HEX" => hmac::HMAC_SHA512,
        _ => return Err(Refused::Digest),
    };
    let digest = hex::decode(single(headers, "x-payload-digest")?).map_err(|_| Refused::Digest)?;
    let key = hmac::Key::new(algorithm, secret.expose_secret().as_bytes());
    hmac::verify(&key, body, &digest).map_err(|_| Refused::Forged)
}

fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, Refused> {
    let mut values = headers.get_all(name).iter().map(HeaderValue::to_str);
    match (values.next(), values.next()) {
        (Some(Ok(value)), None) => Ok(value),
        _ => Err(Refused::Digest),
    }
}
