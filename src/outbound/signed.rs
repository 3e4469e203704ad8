//! The headers of a delivery: Standard Webhooks and RFC 9421 side by side, for receivers to check the one they like.

use http::header::{CONTENT_TYPE, InvalidHeaderValue};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version};

use super::standard::{Message, Secret};
use crate::domain::callback_url::CallbackUrl;
use crate::signature::{self, Head, Param, PrivateKey, Recipe, digest};

/// The `tag` that tells a delivery's signature from any other.
pub const TAG: &str = "customerd-webhook";

/// The event's id: the same in every attempt, so that a receiver can drop what it has seen.
pub const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
const SIGNATURE: HeaderName = HeaderName::from_static("signature");
const SIGNATURE_INPUT: HeaderName = HeaderName::from_static("signature-input");

const COVERED: [&str; 5] = ["@method", "@target-uri", "content-type", "content-digest", "webhook-id"];

/// Why a delivery could not be signed. None comes from a receiver.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// An id or a secret's signature that no header can carry.
    #[error("not a header value: {0}")]
    Header(#[from] InvalidHeaderValue),
    /// A URL that the HTTP library does not read.
    #[error("not a URI: {0}")]
    Uri(#[from] http::uri::InvalidUri),
    /// The key cannot sign, or its id cannot be written.
    #[error(transparent)]
    Signature(#[from] signature::Error),
}

/// The service's own key, whose public half is at `/.well-known/jwks.json`.
#[derive(Debug)]
pub struct Signer {
    key: PrivateKey,
    key_id: String,
}

/// One attempt's message.
#[derive(Debug, Clone, Copy)]
pub struct Envelope<'a> {
    /// Where it goes; signed in its normalised form, which is the one on the wire.
    pub url: &'a CallbackUrl,
    /// The event's id, the attempt's time, the body.
    pub message: Message<'a>,
    /// Unguessable and new in every attempt: [`Clock::nonce`](crate::clock::Clock::nonce).
    pub nonce: &'a str,
}

impl Signer {
    /// A signer whose signatures name `key_id`.
    pub fn new(key: PrivateKey, key_id: String) -> Self {
        Self { key, key_id }
    }

    /// What its signatures name.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// Every header that the request needs, for a JSON body: `content-type`, `content-digest`, the three of Standard
    /// Webhooks by the given secrets (the newest first), `signature-input` and `signature`.
    ///
    /// # Errors
    /// [`SignError`]
    pub fn headers<'s>(
        &self,
        envelope: Envelope<'_>,
        secrets: impl IntoIterator<Item = &'s Secret>,
    ) -> Result<HeaderMap, SignError> {
        let message = envelope.message;
        let at = message.at.unix_seconds();
        let mut headers = HeaderMap::with_capacity(9);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(digest::CONTENT_DIGEST, digest::sha256(message.body));
        headers.insert(WEBHOOK_ID, HeaderValue::from_str(message.id)?);
        headers.insert(WEBHOOK_TIMESTAMP, HeaderValue::from(at));
        headers.insert(WEBHOOK_SIGNATURE, HeaderValue::from_str(&message.signature(secrets))?);
        let uri = Uri::try_from(envelope.url.url().as_str())?;
        let head = Head { method: &Method::POST, uri: &uri, version: Version::HTTP_11, headers: &headers };
        let params = [
            Param::Created(at),
            Param::KeyId(&self.key_id),
            Param::Alg(self.key.algorithm()),
            Param::Nonce(envelope.nonce),
            Param::Tag(TAG),
        ];
        let recipe = Recipe { label: "sig", components: &COVERED, params: &params };
        let signed = signature::sign(&signature::Message::outgoing(head)?, &self.key, &recipe)?;
        headers.insert(SIGNATURE_INPUT, signed.signature_input);
        headers.insert(SIGNATURE, signed.signature);
        Ok(headers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Timestamp;
    use crate::domain::reach::Reach;
    use crate::signature::{Origins, Policy};
    use http::header::HOST;

    /// RFC 9421 appendix B.1.4.
    const KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF\n\
        -----END PRIVATE KEY-----\n";
    const NOW: i64 = 1_795_347_600;
    const MESSAGE: Message<'_> = Message {
        id: "019aab12-7c00-7000-8000-000000000001",
        at: Timestamp::from_unix_seconds(NOW),
        body: br#"{"webhookType":"customer.updated"}"#,
    };

    fn signer() -> Signer {
        Signer::new(PrivateKey::parse(KEY).unwrap(), "2026-11".to_owned())
    }

    fn headers(url: &str) -> HeaderMap {
        let url = CallbackUrl::parse(url, Reach::Global).unwrap();
        let secret = Secret::parse(&"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into()).unwrap();
        signer().headers(Envelope { url: &url, message: MESSAGE, nonce: "n0nce" }, [&secret]).unwrap()
    }

    #[test]
    fn the_headers_of_a_delivery() {
        let headers = headers("https://partner.example/hook?a=1");
        let lines: Vec<_> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        insta::assert_snapshot!(lines.join("\n"), @r#"
        content-type: application/json
        content-digest: sha-256=:Ocy+Afk8wy+0lXgS5++Kgu2S2HKtMvr4UTEzfEkvGsk=:
        webhook-id: 019aab12-7c00-7000-8000-000000000001
        webhook-timestamp: 1795347600
        webhook-signature: v1,ofFmT/5mQYbHh4CIDRRETTz3BPf4nhSM6AEjZOpom+0=
        signature-input: sig=("@method" "@target-uri" "content-type" "content-digest" "webhook-id");created=1795347600;keyid="2026-11";alg="ed25519";nonce="n0nce";tag="customerd-webhook"
        signature: sig=:Mfx8IgLiOHqQ/iua3zTCfCb3iH1uk/NTG5WD4oEU2IRe4EGT+GmJBuEa2EumQNiSTMw7Rpw8kukncwbNt7LDDA==:
        "#);
    }

    /// As the receiver sees it: origin-form target and Host, an upper-case name and a default port written out.
    #[test]
    fn a_receiver_verifies_it() {
        let mut headers = headers("https://Partner.example:443/hook?a=1&b=%20");
        headers.insert(HOST, HeaderValue::from_static("partner.example"));
        let uri = Uri::from_static("/hook?a=1&b=%20");
        let origins = Origins::new(["https://partner.example"]).unwrap();
        let head = Head { method: &Method::POST, uri: &uri, version: Version::HTTP_11, headers: &headers };
        let received = signature::Message::received(head, &origins).unwrap();
        let evidence = signature::check(&received, Policy { digest: true, idempotency_key: false }, NOW).unwrap();
        let signer = signer();
        let by_id = |id: &str| (id == "2026-11").then(|| signer.key.public_key());
        let candidate = evidence.verify(NOW, by_id).unwrap();
        assert_eq!(candidate.nonce(), Some("n0nce"));
        assert_eq!(digest::check(&headers, MESSAGE.body), Ok(()));
        insta::assert_snapshot!(candidate.redacted_base(), @r#"
        "@method": POST
        "@target-uri": https://partner.example/hook?a=1&b=%20
        "content-type": application/json
        "content-digest": sha-256=:Ocy+Afk8wy+0lXgS5++Kgu2S2HKtMvr4UTEzfEkvGsk=:
        "webhook-id": 019aab12-7c00-7000-8000-000000000001
        "@signature-params": ("@method" "@target-uri" "content-type" "content-digest" "webhook-id");created=1795347600;keyid="2026-11";alg="ed25519";nonce="n0nce";tag="customerd-webhook"
        "#);
    }

    #[test]
    fn an_id_that_no_header_can_carry_is_an_error() {
        let url = CallbackUrl::parse("https://partner.example/", Reach::Global).unwrap();
        let message = Message { id: "a\nb", ..MESSAGE };
        let refused = signer().headers(Envelope { url: &url, message, nonce: "n" }, []);
        assert!(matches!(refused, Err(SignError::Header(_))), "{refused:?}");
    }
}
