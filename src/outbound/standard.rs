//! Standard Webhooks: HMAC-SHA256 over `id.timestamp.body`, one signature for each live secret.
//!
//! <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretString};

use crate::domain::Timestamp;
use crate::domain::webhook::SECRET_PREFIX;
pub use crate::domain::webhook::{SECRET_BYTES, new_secret};

/// The text is no `whsec_` secret with 24 to 64 bytes of base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a webhook secret")]
pub struct SecretError;

/// A secret ready to sign.
#[derive(Clone)]
pub struct Secret(hmac::Key);

impl Secret {
    /// Reads the text form.
    ///
    /// # Errors
    /// [`SecretError`]
    pub fn parse(text: &SecretString) -> Result<Self, SecretError> {
        let encoded = text.expose_secret().strip_prefix(SECRET_PREFIX).ok_or(SecretError)?;
        let bytes = STANDARD.decode(encoded).map_err(|_| SecretError)?;
        if !(24..=64).contains(&bytes.len()) {
            return Err(SecretError);
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }

    fn sign(&self, message: &Message<'_>) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(message.id.as_bytes());
        context.update(format!(".{}.", message.at.unix_seconds()).as_bytes());
        context.update(message.body);
        format!("v1,{}", STANDARD.encode(context.sign()))
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// What is signed.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// `webhook-id`: the same in every attempt.
    pub id: &'a str,
    /// `webhook-timestamp`, in whole seconds: of this attempt.
    pub at: Timestamp,
    /// The body as sent.
    pub body: &'a [u8],
}

impl Message<'_> {
    /// The value of `webhook-signature`: a `v1` signature by each secret, separated by spaces, in their order.
    pub fn signature<'s>(&self, secrets: impl IntoIterator<Item = &'s Secret>) -> String {
        let signatures: Vec<_> = secrets.into_iter().map(|secret| secret.sign(self)).collect();
        signatures.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector that the specification's reference libraries publish.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const MESSAGE: Message<'_> = Message {
        id: "msg_p5jXN8AQM9LWM0D4loKWxJek",
        at: Timestamp::from_unix_seconds(1_614_265_330),
        body: br#"{"test": 2432232314}"#,
    };
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    #[test]
    fn published_vector() {
        let secret = Secret::parse(&SECRET.into()).unwrap();
        assert_eq!(MESSAGE.signature([&secret]), SIGNATURE);
    }

    #[test]
    fn rotation_signs_with_both_in_order() {
        let old = Secret::parse(&SECRET.into()).unwrap();
        let new = Secret::parse(&new_secret(&[7; 32])).unwrap();
        let signature = MESSAGE.signature([&new, &old]);
        let parts: Vec<_> = signature.split(' ').collect();
        assert_eq!(parts.len(), 2);
        assert_eq!((parts[0], parts[1]), (MESSAGE.signature([&new]).as_str(), SIGNATURE));
        assert_ne!(parts[0], parts[1]);
    }

    #[test]
    fn secrets_in_text() {
        let secret = new_secret(&[0xff; 32]);
        assert_eq!(secret.expose_secret(), "whsec_//////////////////////////////////////////8=");
        let short = format!("whsec_{}", STANDARD.encode([0; 23]));
        let long = format!("whsec_{}", STANDARD.encode([0; 65]));
        for text in
            ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS", &short, &long]
        {
            assert_eq!(Secret::parse(&text.into()).unwrap_err(), SecretError, "{text}");
        }
        assert_eq!(format!("{:?}", Secret::parse(&secret).unwrap()), "Secret");
    }
}
