//! Bearer tokens of programmes: JWTs (RFC 7519), HS256 under a key that all nodes share, one hour.
//!
//! A token names the generation of the credentials it was issued under. A change of credentials raises the generation,
//! which every request compares, so that earlier tokens die at once and no list of them is kept.

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::{Code, Error, Timestamp};

/// How long a token lives, seconds.
pub(crate) const LIFE: i64 = 3600;

/// What a valid token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    /// The programme.
    pub(crate) sub: Uuid,
    /// The generation of its credentials.
    pub(crate) r#gen: i64,
    /// When it ends, Unix seconds.
    pub(crate) exp: i64,
}

/// Issues and reads tokens.
pub(crate) struct Tokens {
    encoding: EncodingKey,
    decoding: DecodingKey,
    validation: Validation,
}

impl Tokens {
    pub(crate) fn new(secret: &[u8]) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        // The crate would ask the machine's clock; the life is checked below against ours.
        validation.validate_exp = false;
        Self { encoding: EncodingKey::from_secret(secret), decoding: DecodingKey::from_secret(secret), validation }
    }

    /// A token for the programme's credentials of that generation, and when it ends.
    pub(crate) fn issue(&self, programme_id: Uuid, generation: i64, now: Timestamp) -> Result<(String, i64), Error> {
        let exp = now.unix_seconds() + LIFE;
        let claims = Claims { sub: programme_id, r#gen: generation, exp };
        let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.encoding);
        token.map(|token| (token, exp)).map_err(|_| Error::internal())
    }

    /// The claims of a token that we issued and that has not ended.
    pub(crate) fn read(&self, token: &str, now: Timestamp) -> Result<Claims, Error> {
        let claims = jsonwebtoken::decode::<Claims>(token, &self.decoding, &self.validation)
            .map_err(|_| refused("The bearer token is not one of ours."))?
            .claims;
        if claims.exp <= now.unix_seconds() {
            return Err(refused("The bearer token has expired."));
        }
        Ok(claims)
    }
}

/// The refusal of a bearer token, with what to do next.
pub(crate) fn refused(what: &str) -> Error {
    Error::new(Code::Unauthenticated, format!("{what} Get a new one from POST /v1/auth/token."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_lives_an_hour_under_its_key_alone() {
        let tokens = Tokens::new(&[1; 32]);
        let now = Timestamp::from_unix_seconds(1_000_000);
        let (token, exp) = tokens.issue(Uuid::from_u128(7), 3, now).unwrap();
        assert_eq!(exp, 1_003_600);
        assert_eq!(tokens.read(&token, now), Ok(Claims { sub: Uuid::from_u128(7), r#gen: 3, exp }));
        assert_eq!(tokens.read(&token, Timestamp::from_unix_seconds(exp - 1)).map(|claims| claims.r#gen), Ok(3));
        assert!(tokens.read(&token, Timestamp::from_unix_seconds(exp)).is_err());
        assert!(Tokens::new(&[2; 32]).read(&token, now).is_err());
    }

    #[test]
    fn no_other_algorithm_passes() {
        use base64::Engine as _;
        let b64 = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
        let claims = r#"{"sub":"00000000-0000-0000-0000-000000000007","gen":3,"exp":9999999999}"#;
        for header in [r#"{"alg":"none"}"#, r#"{"alg":"HS384"}"#, r#"{"alg":"RS256"}"#] {
            let token = format!("{}.{}.", b64(header), b64(claims));
            assert!(Tokens::new(&[1; 32]).read(&token, Timestamp::EPOCH).is_err(), "{header}");
        }
    }
}
