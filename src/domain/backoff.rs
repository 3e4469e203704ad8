//! When a delivery that failed is tried again.

use std::time::Duration;

/// How long deliveries are retried, from their first attempt on: after that they are dead. What counts is how long they were to wait,
/// not what the clock says: see [`Delivery::settle`](super::delivery::Delivery::settle).
pub const WINDOW: Duration = Duration::from_hours(24);

/// The longest wait that a receiver may ask for with `Retry-After`; more is cut to this.
pub const RETRY_AFTER_MAX: Duration = Duration::from_hours(4);

/// Waits after the first attempts, before jitter: a restart or a deployment at the receiver is over by then.
const FAST: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(30)];
/// The first wait after those; each further one is twice as long ...
const BASE: Duration = Duration::from_mins(2);
/// ... up to this.
const CEILING: Duration = Duration::from_hours(4);

/// What is known after a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// Attempts made in this window, the failed one included: at least 1.
    pub attempts: u32,
    /// How much of the window is spent.
    pub elapsed: Duration,
    /// The receiver's `Retry-After`, if it sent one.
    pub retry_after: Option<Duration>,
    /// Any random number: spreads receivers' retries by a quarter in both directions.
    pub random: u64,
}

impl Failure {
    /// The wait before the next attempt; none when the window is over. An attempt that would come later than the
    /// window's end is made at its end, so that every delivery has a last one there.
    pub fn next_delay(self) -> Option<Duration> {
        let left = WINDOW.checked_sub(self.elapsed).filter(|left| !left.is_zero())?;
        let asked = self.retry_after.unwrap_or_default().min(RETRY_AFTER_MAX);
        Some(jittered(nominal(self.attempts), self.random).max(asked).min(left))
    }
}

/// The wait after this many attempts, before jitter.
fn nominal(attempts: u32) -> Duration {
    let index = attempts.saturating_sub(1);
    let fast = usize::try_from(index).ok().and_then(|index| FAST.get(index));
    fast.copied().unwrap_or_else(|| {
        let doublings = index.saturating_sub(FAST.len() as u32);
        BASE.saturating_mul(2_u32.saturating_pow(doublings)).min(CEILING)
    })
}

/// Evenly spread from three quarters of the wait to five quarters.
fn jittered(wait: Duration, random: u64) -> Duration {
    let half = u64::try_from(wait.as_micros()).unwrap_or(u64::MAX) / 2;
    wait - wait / 4 + Duration::from_micros(random % (half + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn after(attempts: u32, elapsed: Duration) -> Failure {
        Failure { attempts, elapsed, retry_after: None, random: 0 }
    }

    #[test]
    fn the_schedule() {
        let seconds: Vec<u64> = (1..=14).map(|attempts| nominal(attempts).as_secs()).collect();
        assert_eq!(seconds, [1, 5, 30, 120, 240, 480, 960, 1920, 3840, 7680, 14400, 14400, 14400, 14400]);
        assert_eq!(nominal(u32::MAX), CEILING);
    }

    #[test]
    fn jitter_reaches_both_ends() {
        let wait = Duration::from_secs(4);
        assert_eq!(jittered(wait, 0), Duration::from_secs(3));
        assert_eq!(jittered(wait, 2_000_000), Duration::from_secs(5));
        assert_eq!(jittered(wait, 2_000_001), Duration::from_secs(3));
    }

    #[test]
    fn the_window_ends_with_a_last_attempt() {
        let almost = WINDOW - Duration::from_micros(1);
        assert_eq!(after(20, almost).next_delay(), Some(Duration::from_micros(1)));
        assert_eq!(after(20, WINDOW).next_delay(), None);
        assert_eq!(after(1, WINDOW + Duration::from_secs(1)).next_delay(), None);
    }

    #[test]
    fn retry_after_is_honoured_and_capped() {
        let ask = |wait| Failure { retry_after: Some(wait), ..after(1, Duration::ZERO) }.next_delay();
        assert_eq!(ask(Duration::from_secs(90)), Some(Duration::from_secs(90)));
        assert_eq!(ask(Duration::ZERO), Some(Duration::from_millis(750)));
        assert_eq!(ask(Duration::MAX), Some(RETRY_AFTER_MAX));
    }

    proptest! {
        #[test]
        fn stays_within_bounds_that_never_shrink(attempts in 1_u32..200, random: u64) {
            let delay = Failure { random, ..after(attempts, Duration::ZERO) }.next_delay().unwrap();
            let (low, high) = (nominal(attempts) * 3 / 4, nominal(attempts) * 5 / 4);
            prop_assert!(low <= delay && delay <= high);
            prop_assert!(nominal(attempts + 1) >= nominal(attempts));
        }

        #[test]
        fn every_delivery_ends_at_24_hours(randoms in prop::collection::vec(any::<u64>(), 40), asked in any::<Option<u32>>()) {
            let retry_after = asked.map(|seconds| Duration::from_secs(u64::from(seconds)));
            let (mut attempts, mut elapsed) = (1, Duration::ZERO);
            while let Some(delay) = (Failure { attempts, elapsed, retry_after, random: randoms[attempts as usize] }).next_delay() {
                prop_assert!(!delay.is_zero());
                elapsed += delay;
                attempts += 1;
                prop_assert!(attempts < 25, "too many attempts");
            }
            prop_assert_eq!(elapsed, WINDOW);
            prop_assert!(attempts >= 7);
        }
    }
}
