//! The only source of time, ids and randomness.
//!
//! Everything that needs one of them is handed a [`Clock`]; clippy forbids the side doors (`clippy.toml`). A
//! [`Clock::manual`] stands still until a test advances it, and gives the same ids and bytes in every run.

mod ids;
mod manual;
mod steady;

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use crate::domain::Timestamp;
use manual::Manual;
pub use steady::Bounds;
use steady::Steady;

/// Time, ids and randomness. Cheap to clone; clones share one clock.
#[derive(Clone)]
pub struct Clock(Arc<Inner>);

struct Inner {
    source: Source,
    last_id: Mutex<u128>,
    steady: Mutex<Steady>,
}

enum Source {
    System { start: std::time::Instant },
    Manual(Manual),
}

impl Source {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks the machine")]
    fn now(&self) -> Timestamp {
        match self {
            Self::System { .. } => Timestamp::EPOCH + std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default(),
            Self::Manual(manual) => manual.now(),
        }
    }

    fn monotonic(&self) -> Duration {
        match self {
            Self::System { start } => start.elapsed(),
            Self::Manual(manual) => manual.elapsed(),
        }
    }
}

/// A [`Clock::timeout`] ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the deadline has passed")]
pub struct Elapsed;

impl Clock {
    /// The machine's clock and the operating system's randomness.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks the machine")]
    pub fn system() -> Self {
        Self::with(Source::System { start: std::time::Instant::now() })
    }

    /// A clock that stands at `start` until [`Clock::advance`], its ids and randomness derived from `seed`. For tests:
    /// nothing it gives is secret.
    pub fn manual(start: Timestamp, seed: u64) -> Self {
        Self::with(Source::Manual(Manual::new(start, seed)))
    }

    fn with(source: Source) -> Self {
        let steady = Mutex::new(Steady::new(source.now(), source.monotonic()));
        Self(Arc::new(Inner { source, last_id: Mutex::new(0), steady }))
    }

    /// Moves a manual clock forward and wakes what slept until then. A system clock goes on by itself: false, and
    /// nothing happens.
    pub fn advance(&self, by: Duration) -> bool {
        match &self.0.source {
            Source::System { .. } => false,
            Source::Manual(manual) => {
                manual.advance(by);
                true
            }
        }
    }

    /// Sets a manual clock, as somebody sets a machine's: the [monotonic time](Self::monotonic) goes on, and who sleeps sleeps
    /// on. A system clock is set elsewhere: false, and nothing happens.
    pub fn set(&self, now: Timestamp) -> bool {
        match &self.0.source {
            Source::System { .. } => false,
            Source::Manual(manual) => {
                manual.set(now);
                true
            }
        }
    }

    /// The present moment, in microseconds. May go back when the machine's clock is set.
    pub fn now(&self) -> Timestamp {
        self.0.source.now()
    }

    /// Time since this clock was made; never goes back. The difference of two calls is a latency.
    pub fn monotonic(&self) -> Duration {
        self.0.source.monotonic()
    }

    /// Between which times it is: the present moment, and what it would be had the machine's clock not been set within the last ten
    /// minutes. For what must be forgotten neither early nor late by a clock that is wrong for a moment.
    pub fn bounds(&self) -> Bounds {
        let mut steady = self.0.steady.lock().unwrap_or_else(PoisonError::into_inner);
        steady.bounds(self.now(), self.monotonic())
    }

    /// A UUIDv7 (RFC 9562) of the present moment, greater than every earlier one of this clock, even when time goes back.
    pub fn id(&self) -> Uuid {
        let random = u128::from_be_bytes(self.random());
        let candidate = ids::candidate(self.now(), random as u64);
        let step = (random >> 96) as u32;
        let mut last = self.0.last_id.lock().unwrap_or_else(PoisonError::into_inner);
        *last = ids::after(*last, candidate, step);
        ids::uuid(*last)
    }

    /// Random bytes fit for keys and secrets.
    ///
    /// # Panics
    /// If the operating system gives no randomness: nothing that this service does would be safe then.
    pub fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks the machine")]
    fn fill(&self, bytes: &mut [u8]) {
        match &self.0.source {
            Source::System { .. } => {
                assert!(aws_lc_rs::rand::fill(bytes).is_ok(), "the operating system gives no randomness");
            }
            Source::Manual(manual) => manual.fill(bytes),
        }
    }

    /// A number below 1, at least 0, evenly spread: for jitter.
    pub fn fraction(&self) -> f64 {
        f64::from(u32::from_be_bytes(self.random())) / (f64::from(u32::MAX) + 1.0)
    }

    /// `length` characters out of `[0-9A-Za-z]`, about 5.95 bits each: the nonce of EIP-4361 (at least 8 characters).
    pub fn nonce(&self, length: usize) -> String {
        const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        let mut nonce = String::with_capacity(length);
        while nonce.len() < length {
            // Bytes from 248 up are thrown away, so that no character is likelier than another.
            let kept = self.random::<32>().into_iter().filter(|byte| *byte < 248);
            nonce.extend(kept.take(length - nonce.len()).map(|byte| char::from(ALPHABET[usize::from(byte) % 62])));
        }
        nonce
    }

    /// An unguessable text that is safe in URLs and headers: `bytes` random bytes in base64url without padding.
    pub fn token(&self, bytes: usize) -> String {
        let mut secret = vec![0; bytes];
        self.fill(&mut secret);
        URL_SAFE_NO_PAD.encode(secret)
    }

    /// Waits; on a manual clock until it has been advanced that far.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks the machine")]
    pub async fn sleep(&self, duration: Duration) {
        match &self.0.source {
            Source::System { .. } => tokio::time::sleep(duration).await,
            Source::Manual(manual) => manual.sleep_to(manual.elapsed() + duration).await,
        }
    }

    /// Waits until the [monotonic time](Self::monotonic) is `deadline`, or not at all if it has passed: setting the machine's clock
    /// does not move it, and time that went by since the deadline was computed counts.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks the machine")]
    pub async fn sleep_to(&self, deadline: Duration) {
        match &self.0.source {
            Source::System { start } => tokio::time::sleep_until((*start + deadline).into()).await,
            Source::Manual(manual) => manual.sleep_to(deadline).await,
        }
    }

    /// Runs `work` for at most `limit`.
    ///
    /// # Errors
    /// [`Elapsed`] when the limit comes first; `work` is dropped then.
    pub async fn timeout<F: Future>(&self, limit: Duration, work: F) -> Result<F::Output, Elapsed> {
        tokio::select! {
            biased;
            output = work => Ok(output),
            () = self.sleep(limit) => Err(Elapsed),
        }
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Clock({:?})", self.now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_unix_seconds(1_795_347_600);

    #[test]
    fn a_manual_clock_repeats_itself() {
        let story = |seed| {
            let clock = Clock::manual(START, seed);
            (clock.id(), clock.random::<8>(), clock.nonce(17), clock.token(32))
        };
        assert_eq!(story(1), story(1));
        assert_ne!(story(1), story(2));
        let (id, _, nonce, token) = story(1);
        assert_eq!((id.get_version_num(), id.get_variant()), (7, uuid::Variant::RFC4122));
        assert_eq!(id.get_timestamp().map(|at| at.to_unix().0), Some(1_795_347_600));
        assert!(nonce.len() == 17 && nonce.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        assert_eq!(token.len(), 43);
    }

    #[test]
    fn ids_increase_in_one_instant_and_across_threads() {
        for clock in [Clock::manual(START, 7), Clock::system()] {
            let before = clock.id();
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        let ids: Vec<_> = (0..2000).map(|_| clock.id()).collect();
                        assert!(ids.is_sorted_by(|a, b| a < b) && before < ids[0]);
                    });
                }
            });
        }
    }

    #[test]
    fn the_system_clock_is_not_from_another_age() {
        let clock = Clock::system();
        assert!(clock.now() > Timestamp::from_unix_seconds(1_700_000_000));
        assert_ne!(clock.random::<16>(), clock.random::<16>());
        assert!(!clock.advance(Duration::from_secs(1)));
    }

    #[tokio::test]
    async fn sleepers_wake_when_advanced() {
        let clock = Clock::manual(START, 0);
        let sleeper = clock.clone();
        let (mut early, late) =
            (Box::pin(sleeper.sleep(Duration::from_secs(10))), Box::pin(sleeper.sleep_to(Duration::from_secs(20))));
        assert!(futures::poll!(early.as_mut()).is_pending());
        clock.advance(Duration::from_micros(9_999_999));
        assert!(futures::poll!(early.as_mut()).is_pending());
        clock.advance(Duration::from_micros(1));
        early.await;
        clock.advance(Duration::from_secs(10));
        late.await;
        assert_eq!(clock.monotonic(), Duration::from_secs(20));
        assert_eq!(clock.now(), START + Duration::from_secs(20));
    }

    #[tokio::test]
    async fn a_timeout_drops_the_work() {
        let clock = Clock::manual(START, 0);
        assert_eq!(clock.timeout(Duration::from_secs(1), async { 5 }).await, Ok(5));
        let mut hanging = Box::pin(clock.timeout(Duration::from_secs(1), std::future::pending::<()>()));
        assert!(futures::poll!(hanging.as_mut()).is_pending());
        clock.advance(Duration::from_secs(1));
        assert_eq!(hanging.await, Err(Elapsed));
    }
}
