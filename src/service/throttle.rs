//! Slows down who fails to authenticate, and holds programmes to their rate. Per node, in memory, bounded.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::domain::{Code, Error, Timestamp};

/// Callers remembered at most; past that, those that have been quiet longest make room.
const REMEMBERED: usize = 10_000;

/// The generic cell rate algorithm (ITU-T I.371): each key may act `burst` times at once and once per `interval` after.
pub(crate) struct Gcra<K> {
    burst: u32,
    interval: Duration,
    /// The theoretical arrival time of each key's next action.
    due: Mutex<HashMap<K, Timestamp>>,
}

impl<K: Hash + Eq + Clone> Gcra<K> {
    pub(crate) fn new(burst: u32, interval: Duration) -> Self {
        Self { burst, interval, due: Mutex::new(HashMap::new()) }
    }

    fn allowance(&self) -> Duration {
        self.interval * self.burst
    }

    /// How long `key` has to wait, if it has to.
    pub(crate) fn wait(&self, key: &K, now: Timestamp) -> Option<Duration> {
        let due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let due = *due.get(key)?;
        let earliest = due + self.interval;
        let limit = now + self.allowance();
        (earliest > limit).then(|| earliest.since(limit))
    }

    /// Counts an action of `key`.
    pub(crate) fn count(&self, key: K, now: Timestamp) {
        let mut all = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= REMEMBERED && !all.contains_key(&key) {
            all.retain(|_, due| *due > now);
            if all.len() >= REMEMBERED {
                // Everybody is busy: forget the one that is closest to being quiet.
                let quietest = all.iter().min_by_key(|(_, due)| **due).map(|(key, _)| key.clone());
                quietest.map(|key| all.remove(&key));
            }
        }
        let due = all.entry(key).or_insert(now);
        *due = (*due).max(now) + self.interval;
    }

    /// Forgets `key`.
    pub(crate) fn clear(&self, key: &K) {
        self.due.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// How many actions `key` has left at once, and the time until all are back.
    fn left(&self, key: &K, now: Timestamp) -> (u32, Duration) {
        let due = self.due.lock().unwrap_or_else(PoisonError::into_inner).get(key).copied().unwrap_or(now);
        let used = due.since(now);
        let used_up = used.as_nanos().div_ceil(self.interval.as_nanos().max(1));
        (self.burst.saturating_sub(u32::try_from(used_up).unwrap_or(u32::MAX)), used)
    }
}

/// Failed authentications by what they tried to authenticate as: five at once, then one every ten seconds.
pub(crate) struct Failures(Gcra<String>);

impl Failures {
    pub(crate) fn new() -> Self {
        Self(Gcra::new(5, Duration::from_secs(10)))
    }

    /// Refuses who has failed too often of late.
    pub(crate) fn check(&self, who: &str, now: Timestamp) -> Result<(), Error> {
        match self.0.wait(&who.to_owned(), now) {
            Some(wait) => Err(Error::new(
                Code::AuthenticationThrottled,
                "Too many failed authentications with this API key. Wait as long as Retry-After says, then check the secret.",
            )
            .retry_after(wait)),
            None => Ok(()),
        }
    }

    pub(crate) fn failed(&self, who: &str, now: Timestamp) {
        self.0.count(who.to_owned(), now);
    }

    pub(crate) fn succeeded(&self, who: &str) {
        self.0.clear(&who.to_owned());
    }
}

/// A programme's rate: `requests` per `window`, all at once if it likes.
pub(crate) struct Rate {
    gcra: Gcra<uuid::Uuid>,
    requests: u32,
    window: Duration,
}

/// What is left of a programme's rate, for the `RateLimit` fields (draft-ietf-httpapi-ratelimit-headers-10).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Left {
    /// `RateLimit`.
    pub(crate) limit: String,
    /// `RateLimit-Policy`.
    pub(crate) policy: String,
}

impl Rate {
    pub(crate) fn new(requests: u32, window: Duration) -> Self {
        Self { gcra: Gcra::new(requests, window / requests.max(1)), requests, window }
    }

    /// Counts a request of the programme, or refuses it.
    pub(crate) fn take(&self, programme_id: uuid::Uuid, now: Timestamp) -> (Left, Result<(), Error>) {
        let taken = match self.gcra.wait(&programme_id, now) {
            Some(wait) => Err(Error::new(
                Code::RateLimited,
                "The programme sends more requests than it may. Wait as long as Retry-After says.",
            )
            .retry_after(wait)),
            None => {
                self.gcra.count(programme_id, now);
                Ok(())
            }
        };
        let (left, reset) = self.gcra.left(&programme_id, now);
        let limit = format!("\"programme\";r={left};t={}", reset.as_secs_f64().ceil());
        let policy = format!("\"programme\";q={};w={}", self.requests, self.window.as_secs().max(1));
        (Left { limit, policy }, taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_failures_at_once_then_one_every_ten_seconds() {
        let failures = Failures::new();
        let at = Timestamp::from_unix_seconds;
        for _ in 0..5 {
            assert_eq!(failures.check("key", at(0)), Ok(()));
            failures.failed("key", at(0));
        }
        let refused = failures.check("key", at(0)).unwrap_err();
        assert_eq!((refused.code, refused.retry_after), (Code::AuthenticationThrottled, Some(Duration::from_secs(10))));
        assert_eq!(failures.check("another", at(0)), Ok(()));
        assert_eq!(failures.check("key", at(10)), Ok(()));
        failures.failed("key", at(10));
        assert!(failures.check("key", at(19)).is_err());
        failures.succeeded("key");
        assert_eq!(failures.check("key", at(19)), Ok(()));
    }

    #[test]
    fn a_rate_comes_back_with_time() {
        let rate = Rate::new(2, Duration::from_secs(10));
        let who = uuid::Uuid::from_u128(1);
        let at = Timestamp::from_unix_seconds;
        assert_eq!(rate.take(who, at(0)).0.limit, "\"programme\";r=1;t=5");
        assert_eq!(rate.take(who, at(0)).0.limit, "\"programme\";r=0;t=10");
        let (left, taken) = rate.take(who, at(0));
        assert_eq!(left.policy, "\"programme\";q=2;w=10");
        assert_eq!(taken.unwrap_err().retry_after, Some(Duration::from_secs(5)));
        assert!(rate.take(who, at(5)).1.is_ok());
    }

    #[test]
    fn memory_is_bounded() {
        let gcra = Gcra::new(1, Duration::from_secs(1));
        for key in 0..REMEMBERED + 10 {
            gcra.count(key, Timestamp::EPOCH);
        }
        assert!(gcra.due.lock().unwrap().len() <= REMEMBERED);
    }
}
