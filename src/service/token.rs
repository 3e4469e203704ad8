//! Bearer tokens of programmes: JWTs (RFC 7519), HS256 under keys that all nodes share, one hour. The header's `kid` names the
//! key; a token without one was issued before keys had names.
//!
//! A token names the generation of the credentials it was issued under. A change of credentials raises the generation,
//! which every request compares, so that earlier tokens die at once and no list of them is kept.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::domain::{Code, Error, Timestamp};
use crate::store::keyring::ServiceKey;

/// How long a token lives, seconds.
pub(crate) const LIFE: i64 = 3600;
/// How far the clocks of two nodes may be apart, seconds.
const MAX_SKEW: i64 = 60;
/// Verified tokens remembered at most; past that all are forgotten.
const REMEMBERED: usize = 10_000;

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
    /// The first signs.
    keys: Vec<TokenKey>,
    validation: Validation,
    /// What verified tokens say, by their SHA-256: a partner sends the same one for an hour, and to decode it again takes longer than
    /// most else that a request needs.
    verified: Mutex<HashMap<[u8; 32], Verified>>,
}

/// What a token says that one of the keys has signed, and until when that key verifies.
type Verified = (Claims, Option<Timestamp>);

struct TokenKey {
    kid: String,
    encoding: EncodingKey,
    decoding: DecodingKey,
    /// Of an earlier key, until when it verifies.
    until: Option<Timestamp>,
}

impl Tokens {
    /// By these keys, the one that signs first.
    pub(crate) fn new<'k>(keys: impl IntoIterator<Item = &'k ServiceKey>) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        // The crate would ask the machine's clock; the life is checked below against ours.
        validation.validate_exp = false;
        let keys = keys.into_iter().map(|key| {
            let secret = key.secret.expose_secret();
            let (encoding, decoding) = (EncodingKey::from_secret(secret), DecodingKey::from_secret(secret));
            TokenKey { kid: key.kid.clone(), encoding, decoding, until: key.verifies_until }
        });
        Self { keys: keys.collect(), validation, verified: Mutex::default() }
    }

    /// A token for the programme's credentials of that generation, and when it ends.
    pub(crate) fn issue(&self, programme_id: Uuid, generation: i64, now: Timestamp) -> Result<(String, i64), Error> {
        let exp = now.unix_seconds() + LIFE;
        let claims = Claims { sub: programme_id, r#gen: generation, exp };
        let key = self.keys.first().ok_or_else(Error::internal)?;
        let header = Header { kid: Some(key.kid.clone()), ..Header::new(Algorithm::HS256) };
        let token = jsonwebtoken::encode(&header, &claims, &key.encoding);
        token.map(|token| (token, exp)).map_err(|_| Error::internal())
    }

    /// Whether the token names no key that is unknown here: if it does, another node may have made one.
    pub(crate) fn knows_key_of(&self, token: &str) -> bool {
        let kid = jsonwebtoken::decode_header(token).ok().and_then(|header| header.kid);
        kid.is_none_or(|kid| self.keys.iter().any(|key| key.kid == kid))
    }

    /// The claims of a token that we issued and that has not ended.
    pub(crate) fn read(&self, token: &str, now: Timestamp) -> Result<Claims, Error> {
        let unknown = || refused("The bearer token is not one of ours.");
        let (claims, until) = self.verified(token).ok_or_else(unknown)?;
        if claims.exp <= now.unix_seconds() {
            return Err(refused("The bearer token has expired."));
        }
        // We issue none that lives longer, nor one that outlives its key: who has a key that was lost gains an hour at most.
        let latest = until.map_or(now.unix_seconds() + LIFE + MAX_SKEW, Timestamp::unix_seconds);
        if claims.exp > latest { Err(unknown()) } else { Ok(claims) }
    }

    /// What a token says that one of our keys has signed.
    fn verified(&self, token: &str) -> Option<Verified> {
        let digest = Sha256::digest(token).into();
        if let Some(known) = self.memory().get(&digest) {
            return Some(*known);
        }
        // The header is decoded along with the claims: usually there is only one key, and it is the right one.
        let verified = self.keys.iter().find_map(|key| {
            let token = jsonwebtoken::decode::<Claims>(token, &key.decoding, &self.validation).ok()?;
            let named = token.header.kid.is_none_or(|kid| kid == key.kid);
            named.then_some((token.claims, key.until))
        })?;
        let mut memory = self.memory();
        if memory.len() >= REMEMBERED {
            memory.clear();
        }
        memory.insert(digest, verified);
        Some(verified)
    }

    fn memory(&self) -> MutexGuard<'_, HashMap<[u8; 32], Verified>> {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The refusal of a bearer token, with what to do next.
pub(crate) fn refused(what: &str) -> Error {
    Error::new(Code::Unauthenticated, format!("{what} Get a new one from POST /v1/auth/token."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::keyring::Purpose;

    fn key(byte: u8, until: Option<i64>) -> ServiceKey {
        ServiceKey {
            kid: format!("key-{byte}"),
            purpose: Purpose::Jwt,
            secret: vec![byte; 32].into(),
            created_at: Timestamp::EPOCH,
            verifies_until: until.map(Timestamp::from_unix_seconds),
        }
    }

    fn tokens(keys: &[ServiceKey]) -> Tokens {
        Tokens::new(keys)
    }

    #[test]
    fn a_token_lives_an_hour_under_its_key_alone() {
        let tokens_1 = tokens(&[key(1, None)]);
        let now = Timestamp::from_unix_seconds(1_000_000);
        let (token, exp) = tokens_1.issue(Uuid::from_u128(7), 3, now).unwrap();
        assert_eq!(exp, 1_003_600);
        assert_eq!(tokens_1.read(&token, now), Ok(Claims { sub: Uuid::from_u128(7), r#gen: 3, exp }));
        assert_eq!(tokens_1.read(&token, Timestamp::from_unix_seconds(exp - 1)).map(|claims| claims.r#gen), Ok(3));
        assert!(tokens_1.read(&token, Timestamp::from_unix_seconds(exp)).is_err());
        let other = tokens(&[key(2, None)]);
        assert!(tokens_1.knows_key_of(&token) && !other.knows_key_of(&token));
        assert!(other.read(&token, now).is_err());
        // The name of a key is not enough.
        assert!(tokens(&[ServiceKey { kid: "key-1".to_owned(), ..key(2, None) }]).read(&token, now).is_err());
    }

    #[test]
    fn an_earlier_key_verifies_what_it_may_have_issued() {
        let now = Timestamp::from_unix_seconds(1_000_000);
        let rotated = tokens(&[key(2, None), key(1, Some(1_003_660))]);
        let (new, _) = rotated.issue(Uuid::from_u128(7), 3, now).unwrap();
        assert_eq!(jsonwebtoken::decode_header(&new).unwrap().kid.as_deref(), Some("key-2"));
        let (old, exp) = tokens(&[key(1, None)]).issue(Uuid::from_u128(7), 3, now).unwrap();
        assert!(rotated.read(&new, now).is_ok() && rotated.read(&old, now).is_ok());
        assert!(rotated.read(&old, Timestamp::from_unix_seconds(exp)).is_err());
        // Minted later with a key that was lost.
        let later = Timestamp::from_unix_seconds(1_000_100);
        let (minted, _) = tokens(&[key(1, None)]).issue(Uuid::from_u128(7), 3, later).unwrap();
        assert!(rotated.read(&minted, later).is_err());
    }

    #[test]
    fn a_token_that_is_remembered_ends_like_any_other() {
        let now = Timestamp::from_unix_seconds(1_000_000);
        let (old, exp) = tokens(&[key(1, None)]).issue(Uuid::from_u128(7), 3, now).unwrap();
        let rotated = tokens(&[key(2, None), key(1, Some(exp))]);
        for _ in 0..2 {
            assert!(rotated.read(&old, now).is_ok());
            assert!(rotated.read(&old, Timestamp::from_unix_seconds(exp)).is_err());
            // As another token that differs in its signature alone.
            let forged = format!("{}A", &old[..old.len() - 1]);
            assert!(forged == old || rotated.read(&forged, now).is_err());
        }
        assert_eq!(rotated.memory().len(), 1, "what was refused is not remembered");
    }

    #[test]
    fn memory_of_tokens_is_bounded() {
        let tokens = tokens(&[key(1, None)]);
        for generation in 0..=i64::try_from(REMEMBERED).unwrap() {
            let now = Timestamp::from_unix_seconds(1_000_000);
            let (token, _) = tokens.issue(Uuid::from_u128(7), generation, now).unwrap();
            assert_eq!(tokens.read(&token, now).map(|claims| claims.r#gen), Ok(generation));
        }
        assert_eq!(tokens.memory().len(), 1);
    }

    #[test]
    fn no_token_lives_longer_than_an_hour_whatever_it_says() {
        let now = Timestamp::from_unix_seconds(1_000_000);
        for (life, passes) in
            [(LIFE, true), (LIFE + MAX_SKEW, true), (LIFE + MAX_SKEW + 1, false), (315_360_000, false)]
        {
            let claims = Claims { sub: Uuid::from_u128(7), r#gen: 3, exp: 1_000_000 + life };
            let secret = EncodingKey::from_secret(&[1; 32]);
            // As the version before wrote it: without a kid.
            let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &secret).unwrap();
            assert_eq!(tokens(&[key(1, None)]).read(&token, now).is_ok(), passes, "{life}");
        }
    }

    #[test]
    fn no_other_algorithm_passes() {
        use base64::Engine as _;
        let b64 = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
        let claims = r#"{"sub":"00000000-0000-0000-0000-000000000007","gen":3,"exp":3000}"#;
        for header in [r#"{"alg":"none"}"#, r#"{"alg":"HS384"}"#, r#"{"alg":"RS256"}"#] {
            let token = format!("{}.{}.", b64(header), b64(claims));
            assert!(tokens(&[key(1, None)]).read(&token, Timestamp::EPOCH).is_err(), "{header}");
        }
    }
}
