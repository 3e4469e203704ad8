//! Slows down who fails to authenticate, and holds programmes to their rate. Per node, in memory, bounded. Times are monotonic: who
//! sets the machine's clock makes nobody wait.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::client::Client;
use super::fair_queue::Applicant;
use crate::domain::{Code, Error};

/// Callers remembered at most; past that, those that have been quiet longest make room.
const REMEMBERED: usize = 10_000;

/// The generic cell rate algorithm (ITU-T I.371): each key may act `burst` times at once and once per `interval` after.
pub(crate) struct Gcra<K> {
    burst: u32,
    interval: Duration,
    /// The theoretical arrival time of each key's next action.
    due: Mutex<HashMap<K, Duration>>,
}

impl<K: Hash + Eq + Clone> Gcra<K> {
    pub(crate) fn new(burst: u32, interval: Duration) -> Self {
        Self { burst, interval, due: Mutex::new(HashMap::new()) }
    }

    fn allowance(&self) -> Duration {
        self.interval * self.burst
    }

    /// Counts an action of `key`, or says how long it has to wait: callers at the same time cannot pass together.
    pub(crate) fn take(&self, key: &K, now: Duration) -> Option<Duration> {
        let mut all = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = self.wait_in(&all, key, now);
        if wait.is_none() {
            self.count_in(&mut all, key, now);
        }
        wait
    }

    /// Books the next action of `key`, one per interval, and says how long to wait for it. `None` where `burst` are booked.
    fn book(&self, key: &K, now: Duration) -> Option<Duration> {
        let mut all = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = all.get(key).map_or(Duration::ZERO, |due| due.saturating_sub(now));
        (wait < self.allowance()).then(|| {
            self.count_in(&mut all, key, now);
            wait
        })
    }

    /// Takes an action back that was counted and did not count after all.
    pub(crate) fn refund(&self, key: &K) {
        if let Some(due) = self.due.lock().unwrap_or_else(PoisonError::into_inner).get_mut(key) {
            *due = due.saturating_sub(self.interval);
        }
    }

    fn wait_in(&self, all: &HashMap<K, Duration>, key: &K, now: Duration) -> Option<Duration> {
        let earliest = *all.get(key)? + self.interval;
        let limit = now + self.allowance();
        (earliest > limit).then(|| earliest.saturating_sub(limit))
    }

    fn count_in(&self, all: &mut HashMap<K, Duration>, key: &K, now: Duration) {
        if all.len() >= REMEMBERED && !all.contains_key(key) {
            all.retain(|_, due| *due > now);
            if all.len() >= REMEMBERED {
                // Everybody is busy: forget the one that is closest to being quiet.
                let quietest = all.iter().min_by_key(|(_, due)| **due).map(|(key, _)| key.clone());
                quietest.map(|key| all.remove(&key));
            }
        }
        let due = all.entry(key.clone()).or_insert(now);
        *due = (*due).max(now) + self.interval;
    }

    /// How many actions `key` has left at once, and the time until all are back.
    fn left(&self, key: &K, now: Duration) -> (u32, Duration) {
        let due = self.due.lock().unwrap_or_else(PoisonError::into_inner).get(key).copied().unwrap_or(now);
        let used = due.saturating_sub(now);
        let used_up = used.as_nanos().div_ceil(self.interval.as_nanos().max(1));
        (self.burst.saturating_sub(u32::try_from(used_up).unwrap_or(u32::MAX)), used)
    }
}

/// Guesses of API secrets, by API key and client: five wrong ones at once, then one every ten seconds.
///
/// One client's wrong secrets never count against another's right one, so nobody can lock a programme out by knowing its
/// API key. Guessing from many addresses gains little: a secret has 32 characters at least, and how many are checked at all
/// is bounded elsewhere.
///
/// Many may share one address: behind a proxy, a NAT, on this machine. Therefore a guess beyond that is not refused while it
/// can wait for a turn: one a second is checked, at most 16 wait, so that a right secret comes in after 15 seconds at most.
/// Those that wait keep a request slot each: of one client, whatever its API keys, 64 at once and then four a second.
pub(crate) struct Guesses {
    at_once: Gcra<Applicant>,
    late: Gcra<Applicant>,
    late_of_client: Gcra<Client>,
}

impl Guesses {
    pub(crate) fn new() -> Self {
        Self {
            at_once: Gcra::new(5, Duration::from_secs(10)),
            late: Gcra::new(16, Duration::from_secs(1)),
            late_of_client: Gcra::new(64, Duration::from_millis(250)),
        }
    }

    /// Counts a guess as wrong before it is checked, or refuses it: of those that come at the same time, no more are checked
    /// than of those that come one after another.
    pub(super) fn reserve(&self, who: &Applicant, now: Duration) -> Result<(), Error> {
        match self.at_once.take(who, now) {
            Some(wait) => Err(Error::new(
                Code::AuthenticationThrottled,
                "Too many failed authentications with this API key. Wait as long as Retry-After says, then check the secret.",
            )
            .retry_after(wait)),
            None => Ok(()),
        }
    }

    /// How long a guess that was refused waits for its turn to be checked all the same. `None` where too many wait.
    pub(super) fn queue(&self, who: &Applicant, now: Duration) -> Option<Duration> {
        self.late_of_client.book(&who.client, now)?;
        let wait = self.late.book(who, now);
        if wait.is_none() {
            self.late_of_client.refund(&who.client);
        }
        wait
    }

    /// The guess was right, or was not checked.
    pub(super) fn release(&self, who: &Applicant) {
        self.at_once.refund(who);
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
    pub(crate) fn take(&self, programme_id: uuid::Uuid, now: Duration) -> (Left, Result<(), Error>) {
        let taken = match self.gcra.take(&programme_id, now) {
            Some(wait) => Err(Error::new(
                Code::RateLimited,
                "The programme sends more requests than it may. Wait as long as Retry-After says.",
            )
            .retry_after(wait)),
            None => Ok(()),
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
    use crate::service::client::Client;

    fn who(client: u8, api_key: u128) -> Applicant {
        Applicant { client: Client::numbered(client), api_key: uuid::Uuid::from_u128(api_key) }
    }

    #[test]
    fn five_wrong_guesses_at_once_then_one_every_ten_seconds() {
        let (guesses, who) = (Guesses::new(), who(1, 1));
        let at = Duration::from_secs;
        for _ in 0..5 {
            assert_eq!(guesses.reserve(&who, at(0)), Ok(()));
        }
        let refused = guesses.reserve(&who, at(0)).unwrap_err();
        assert_eq!((refused.code, refused.retry_after), (Code::AuthenticationThrottled, Some(Duration::from_secs(10))));
        assert_eq!(guesses.reserve(&who, at(10)), Ok(()));
        assert!(guesses.reserve(&who, at(19)).is_err());
        guesses.release(&who);
        assert_eq!(guesses.reserve(&who, at(19)), Ok(()), "the last one was right");
        assert!(guesses.reserve(&who, at(19)).is_err(), "those before were not");
    }

    #[test]
    fn nobody_is_limited_by_the_guesses_of_others() {
        let (guesses, now) = (Guesses::new(), Duration::ZERO);
        while guesses.reserve(&who(1, 1), now).is_ok() {}
        assert_eq!(guesses.reserve(&who(2, 1), now), Ok(()));
        assert_eq!(guesses.reserve(&who(1, 2), now), Ok(()));
    }

    #[test]
    fn refused_guesses_wait_for_a_turn_and_not_too_many_of_them() {
        let (guesses, now) = (Guesses::new(), Duration::ZERO);
        let all = |client, key| std::iter::from_fn(|| guesses.queue(&who(client, key), now)).collect::<Vec<_>>();
        assert_eq!(all(1, 1), (0..16).map(Duration::from_secs).collect::<Vec<_>>());
        // Another key of the client has turns of its own, until the client has taken its share.
        assert_eq!([all(1, 2).len(), all(1, 3).len(), all(1, 4).len(), all(1, 5).len()], [16, 16, 16, 0]);
        assert_eq!(all(2, 1).len(), 16, "another client");
        let later = now + Duration::from_secs(1);
        assert_eq!(guesses.queue(&who(1, 1), later), Some(Duration::from_secs(15)));
        assert_eq!(guesses.queue(&who(1, 1), later), None);
    }

    #[test]
    fn a_rate_comes_back_with_time() {
        let rate = Rate::new(2, Duration::from_secs(10));
        let who = uuid::Uuid::from_u128(1);
        let at = Duration::from_secs;
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
            gcra.take(&key, Duration::ZERO);
        }
        assert!(gcra.due.lock().unwrap().len() <= REMEMBERED);
    }
}
