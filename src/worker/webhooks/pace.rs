//! How fast one subscription is sent to, and how many of its attempts may be in flight: a receiver that hangs must not take the
//! permits of the others.

use std::time::Duration;

use crate::domain::webhook::Subscription;

/// Attempts in flight at most, of all subscriptions of a node.
pub(super) const PERMITS: usize = 1024;
/// Of one that answers.
const SHARE: usize = 16;
/// Of one whose last attempts all failed: enough to notice that it is back.
const FAILING_SHARE: usize = 2;
/// How many failures in a row make it so.
const FAILURES: u32 = 5;
/// The part of all free permits that one subscription may have, but one at least. So the fewer there are, the less any of them
/// gets (dynamic thresholds, Choudhury and Hahne 1998): while 200 subscriptions hang, the next still finds one.
const PART: usize = 64;

/// How many attempts of a subscription may be in flight at once. Of one that is disabled only one, as a probe.
pub(super) fn share(subscription: &Subscription) -> usize {
    if subscription.disabled_reason.is_some() {
        1
    } else if subscription.failures >= FAILURES {
        FAILING_SHARE
    } else {
        SHARE
    }
}

/// How many of them, while so many permits of the node are free or its own.
pub(super) fn share_of(share: usize, free: usize) -> usize {
    share.min((free / PART).max(1))
}

/// Keeps attempts within a rate, with a second's worth at once after a pause (GCRA).
pub(super) struct Pace {
    /// Attempts a second.
    rate: u32,
    /// When what was sent will have been within the rate, on the monotonic time.
    paid: Duration,
}

impl Pace {
    pub(super) fn new(rate: u32) -> Self {
        Self { rate: rate.max(1), paid: Duration::ZERO }
    }

    /// When the next attempt may begin.
    pub(super) fn next(&self) -> Duration {
        (self.paid + Duration::from_secs(1) / self.rate).saturating_sub(Duration::from_secs(1))
    }

    /// Notes that one begins.
    pub(super) fn begin(&mut self, now: Duration) {
        self.paid = self.paid.max(now) + Duration::from_secs(1) / self.rate;
    }

    /// When all of it is within the rate: from then on it needs not be remembered.
    pub(super) const fn paid(&self) -> Duration {
        self.paid
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many attempts begin in this time if all that may begin do so every 10 ms.
    fn begun(pace: &mut Pace, seconds: u64) -> usize {
        let steps = (0..seconds * 100).map(|step| Duration::from_hours(5) + Duration::from_millis(10 * step));
        let mut begin = |now| {
            let mut count = 0;
            while pace.next() <= now {
                pace.begin(now);
                count += 1;
            }
            count
        };
        steps.map(&mut begin).sum()
    }

    #[test]
    fn the_rate_holds_after_a_first_burst() {
        // A second's worth at once, then as many each second.
        assert_eq!(begun(&mut Pace::new(50), 10), 50 + 10 * 50 - 1);
        assert_eq!(begun(&mut Pace::new(1), 10), 1 + 9);
    }

    #[test]
    fn however_many_hang_another_finds_a_permit() {
        let mut free = PERMITS;
        for hanging in 0..200 {
            let mut own = 0;
            while free > 0 && own < share_of(SHARE, free + own) {
                (own, free) = (own + 1, free - 1);
            }
            assert!(own > 0, "{hanging}");
        }
        assert!(free >= 1);
    }
}
