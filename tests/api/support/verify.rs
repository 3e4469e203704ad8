//! What a receiver checks of a delivery: both of its signatures.

use base64::Engine as _;
use customerd::domain::Timestamp;
use customerd::outbound::standard::{Message, Secret};
use customerd::signature::{self, Head, Origins, Policy, PublicKey, digest};
use http::{Method, Version};
use serde_json::Value;

use super::Received;

/// The service's public keys, as `/.well-known/jwks.json` shows them.
#[derive(Clone)]
pub struct Keys(Vec<(String, PublicKey)>);

impl Keys {
    /// Reads a JWK set of OKP keys.
    pub fn read(jwks: &Value) -> Self {
        let read = |jwk: &Value| {
            assert_eq!((&jwk["kty"], &jwk["crv"]), (&Value::from("OKP"), &Value::from("Ed25519")));
            let x = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(jwk["x"].as_str().unwrap()).unwrap();
            let prefix = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
            let key = PublicKey::from_spki_der(&[&prefix[..], &x].concat()).unwrap();
            (jwk["kid"].as_str().unwrap().to_owned(), key)
        };
        Self(jwks["keys"].as_array().unwrap().iter().map(read).collect())
    }

    /// Checks a delivery to a receiver at this address, signed with exactly these secrets at this time; why not.
    pub fn verify(
        &self,
        received: &Received,
        secrets: &[&str],
        (now, address): (Timestamp, &str),
    ) -> Result<(), String> {
        let secrets: Vec<_> = secrets.iter().map(|text| Secret::parse(&(*text).into()).unwrap()).collect();
        let message = Message { id: received.header("webhook-id"), at: now, body: &received.body };
        if received.header("webhook-timestamp") != now.unix_seconds().to_string() {
            return Err("the time is another".to_owned());
        }
        if received.header("webhook-signature") != message.signature(&secrets) {
            return Err("Standard Webhooks: another signature".to_owned());
        }
        digest::check(&received.headers, &received.body).map_err(|error| error.to_string())?;
        let origins = Origins::new([format!("http://{address}").as_str()]).unwrap();
        let head =
            Head { method: &Method::POST, uri: &received.uri, version: Version::HTTP_11, headers: &received.headers };
        let seen = signature::Message::received(head, &origins).map_err(|error| error.to_string())?;
        let policy = Policy { digest: true, idempotency_key: false };
        let evidence = signature::check(&seen, policy, now.unix_seconds()).map_err(|error| error.to_string())?;
        let by_id = |id: &str| self.0.iter().find(|(kid, _)| kid == id).map(|(_, key)| key);
        let candidate = evidence.verify(now.unix_seconds(), by_id).map_err(|_| "RFC 9421: does not verify")?;
        let tagged = candidate.redacted_base().contains(";tag=\"customerd-webhook\"");
        if tagged { Ok(()) } else { Err("another tag".to_owned()) }
    }
}
