//! Secrets that were right a moment ago, so that a partner who signs in again costs no second password hash.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use aws_lc_rs::hmac;
use secrecy::{ExposeSecret as _, SecretString};
use uuid::Uuid;

use crate::clock::Clock;

/// How long one is remembered. Partners sign in about once an hour.
const LIFE: Duration = Duration::from_hours(24);
/// API keys, and wrong secrets, remembered at most; past that, the one that was checked longest ago is forgotten.
const LIMIT: usize = 10_000;

/// Keeps no secret: of each API key the HMAC of its stored hash and the secret that matched it, under a key that this process
/// makes and nobody else has. New credentials have another hash, so that the old secret is not right by memory either.
pub(crate) struct RecentSecrets {
    key: hmac::Key,
    tags: Mutex<HashMap<Uuid, (hmac::Tag, Duration)>>,
    /// Secrets that were wrong, by [`Self::tag`]: who goes on with an old one needs no second password hash either.
    wrong: Mutex<HashMap<Vec<u8>, Duration>>,
    /// A lock for every secret that is being checked.
    in_flight: Mutex<HashMap<Vec<u8>, Weak<tokio::sync::Mutex<()>>>>,
}

impl RecentSecrets {
    pub(crate) fn new(clock: &Clock) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, &clock.random::<32>()),
            tags: Mutex::default(),
            wrong: Mutex::default(),
            in_flight: Mutex::default(),
        }
    }

    /// Whether `secret` was found to be the one behind `hash` lately.
    pub(crate) fn knows(&self, (api_key, hash): (Uuid, &str), secret: &SecretString, now: Duration) -> bool {
        let tags = self.tags.lock().unwrap_or_else(PoisonError::into_inner);
        let live = tags.get(&api_key).filter(|(_, at)| now.saturating_sub(*at) < LIFE);
        live.is_some_and(|(tag, _)| hmac::verify(&self.key, &content(hash, secret), tag.as_ref()).is_ok())
    }

    /// The lock under which this secret is checked for this API key: a partner whose nodes all sign in at once has it checked
    /// once, and the others find it here. Nobody waits for another secret.
    pub(crate) fn in_flight(
        &self,
        (api_key, hash): (Uuid, &str),
        secret: &SecretString,
    ) -> Arc<tokio::sync::Mutex<()>> {
        let tag = self.tag((api_key, hash), secret);
        let mut in_flight = self.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = in_flight.get(&tag).and_then(Weak::upgrade) {
            return lock;
        }
        in_flight.retain(|_, lock| lock.strong_count() > 0);
        let lock = Arc::default();
        in_flight.insert(tag, Arc::downgrade(&lock));
        lock
    }

    /// Remembers that `secret` is the one behind `hash`.
    pub(crate) fn remember(&self, (api_key, hash): (Uuid, &str), secret: &SecretString, now: Duration) {
        let tag = hmac::sign(&self.key, &content(hash, secret));
        let mut tags = self.tags.lock().unwrap_or_else(PoisonError::into_inner);
        forget_oldest(&mut tags, |(_, at)| *at);
        tags.insert(api_key, (tag, now));
    }

    /// Whether `secret` was found lately not to be the one behind `hash`.
    pub(crate) fn was_wrong(&self, credentials: (Uuid, &str), secret: &SecretString) -> bool {
        let tag = self.tag(credentials, secret);
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&tag)
    }

    /// Remembers that `secret` is not the one behind `hash`.
    pub(crate) fn remember_wrong(&self, credentials: (Uuid, &str), secret: &SecretString, now: Duration) {
        let tag = self.tag(credentials, secret);
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        forget_oldest(&mut wrong, |at| *at);
        wrong.insert(tag, now);
    }

    /// Of a secret that is sent for an API key whose hash, if it is somebody's, is this.
    fn tag(&self, (api_key, hash): (Uuid, &str), secret: &SecretString) -> Vec<u8> {
        let content = [api_key.as_bytes().as_slice(), &content(hash, secret)].concat();
        hmac::sign(&self.key, &content).as_ref().to_vec()
    }
}

/// Makes room for one more.
fn forget_oldest<K: Clone + Eq + Hash, V>(all: &mut HashMap<K, V>, at: impl Fn(&V) -> Duration) {
    if all.len() >= LIMIT {
        let oldest = all.iter().min_by_key(|(_, value)| at(value)).map(|(key, _)| key.clone());
        oldest.map(|oldest| all.remove(&oldest));
    }
}

/// A PHC string has no NUL.
fn content(hash: &str, secret: &SecretString) -> Vec<u8> {
    [hash.as_bytes(), &[0], secret.expose_secret().as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Timestamp;

    #[test]
    fn only_the_same_secret_of_the_same_credentials_and_not_for_ever() {
        let start = Duration::from_secs(1_000_000);
        let recent = RecentSecrets::new(&Clock::manual(Timestamp::EPOCH, 1));
        let key = Uuid::from_u128(1);
        recent.remember((key, "$hash"), &"right".into(), start);
        assert!(recent.knows((key, "$hash"), &"right".into(), start + LIFE / 2));
        assert!(!recent.knows((key, "$hash"), &"wrong".into(), start));
        assert!(!recent.knows((key, "$other"), &"right".into(), start), "the credentials have changed");
        assert!(!recent.knows((Uuid::from_u128(2), "$hash"), &"right".into(), start));
        assert!(!recent.knows((key, "$hash"), &"right".into(), start + LIFE));
    }

    #[test]
    fn a_wrong_secret_is_wrong_for_its_credentials_alone() {
        let recent = RecentSecrets::new(&Clock::manual(Timestamp::EPOCH, 1));
        let key = Uuid::from_u128(1);
        recent.remember_wrong((key, "$hash"), &"wrong".into(), Duration::ZERO);
        assert!(recent.was_wrong((key, "$hash"), &"wrong".into()));
        assert!(!recent.was_wrong((key, "$hash"), &"other".into()));
        assert!(!recent.was_wrong((key, "$new"), &"wrong".into()), "it may be what the new credentials have");
        assert!(!recent.was_wrong((Uuid::nil(), "$hash"), &"wrong".into()));
    }

    #[test]
    fn only_the_same_secret_waits_for_itself() {
        let recent = RecentSecrets::new(&Clock::manual(Timestamp::EPOCH, 1));
        let key = Uuid::from_u128(1);
        let lock = recent.in_flight((key, "$hash"), &"a".into());
        assert!(Arc::ptr_eq(&lock, &recent.in_flight((key, "$hash"), &"a".into())));
        for other in [recent.in_flight((key, "$hash"), &"b".into()), recent.in_flight((Uuid::nil(), ""), &"a".into())] {
            assert!(!Arc::ptr_eq(&lock, &other));
        }
        drop(lock);
        recent.in_flight((key, "$hash"), &"c".into());
        assert_eq!(recent.in_flight.lock().unwrap().len(), 1, "a finished check is forgotten");
    }

    #[test]
    fn memory_is_bounded() {
        let recent = RecentSecrets::new(&Clock::manual(Timestamp::EPOCH, 1));
        let at = |key: usize| Duration::from_secs(key as u64);
        for key in 0..=LIMIT {
            recent.remember_wrong((Uuid::nil(), ""), &key.to_string().into(), at(key));
            recent.remember((Uuid::from_u128(key as u128), ""), &"".into(), at(key));
        }
        assert_eq!(recent.tags.lock().unwrap().len(), LIMIT);
        assert_eq!(recent.wrong.lock().unwrap().len(), LIMIT);
        assert!(!recent.was_wrong((Uuid::nil(), ""), &"0".into()) && recent.was_wrong((Uuid::nil(), ""), &"1".into()));
        assert!(!recent.knows((Uuid::nil(), ""), &"".into(), at(0)), "the oldest has gone");
        assert!(recent.knows((Uuid::from_u128(1), ""), &"".into(), at(1)));
    }
}
