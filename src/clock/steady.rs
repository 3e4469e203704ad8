//! How sure it is what time it is.

use std::time::Duration;

use crate::domain::Timestamp;

/// A clock that was set counts as wrong for so long: the one before may come back.
const DOUBTED: Duration = Duration::from_mins(10);
/// Adjustments up to this are those of a clock that is kept right.
const ADJUSTED: Duration = Duration::from_secs(1);

/// Between which times it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// It is not before this: what expired by now has expired.
    pub earliest: Timestamp,
    /// It is not after this: what is to live for an hour lives for an hour from here.
    pub latest: Timestamp,
}

/// The difference between the machine's clock and its monotonic time, which nobody sets, as it was before the clock was set.
#[derive(Debug)]
pub(super) struct Steady {
    /// What the clock said at monotonic time 0.
    origin: Timestamp,
    /// What it says since it was set, and since when by the monotonic time.
    set: Option<(Timestamp, Duration)>,
}

impl Steady {
    pub(super) fn new(now: Timestamp, monotonic: Duration) -> Self {
        Self { origin: now - monotonic, set: None }
    }

    /// Notes what both clocks say.
    pub(super) fn bounds(&mut self, now: Timestamp, monotonic: Duration) -> Bounds {
        let origin = now - monotonic;
        if is_near(origin, self.origin) {
            *self = Self { origin, set: None };
        } else {
            let since = self.set.filter(|(set, _)| is_near(origin, *set)).map_or(monotonic, |(_, since)| since);
            self.set = Some((origin, since));
            if monotonic.saturating_sub(since) >= DOUBTED {
                *self = Self { origin, set: None };
            }
        }
        let steady = self.origin + monotonic;
        Bounds { earliest: now.min(steady), latest: now.max(steady) }
    }
}

fn is_near(one: Timestamp, other: Timestamp) -> bool {
    one.since(other).max(other.since(one)) <= ADJUSTED
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_unix_seconds(1_795_347_600);

    /// The bounds after so many seconds, with the clock set ahead by so many, from where it should be.
    fn bounds(steady: &mut Steady, seconds: u64, ahead: i64) -> (i64, i64) {
        let right = START + Duration::from_secs(seconds);
        let now = Timestamp(right.micros() + ahead * 1_000_000);
        let Bounds { earliest, latest } = steady.bounds(now, Duration::from_secs(seconds));
        ((earliest.micros() - right.micros()) / 1_000_000, (latest.micros() - right.micros()) / 1_000_000)
    }

    #[test]
    fn a_clock_that_was_set_is_doubted_for_ten_minutes() {
        for ahead in [3600, -3600, 86_400, -86_400] {
            let mut steady = Steady::new(START, Duration::ZERO);
            let doubted = (ahead.min(0), ahead.max(0));
            assert_eq!(bounds(&mut steady, 10, 0), (0, 0));
            assert_eq!(bounds(&mut steady, 20, ahead), doubted);
            assert_eq!(bounds(&mut steady, 619, ahead), doubted);
            assert_eq!(bounds(&mut steady, 620, ahead), (ahead, ahead));
        }
    }

    #[test]
    fn a_clock_that_comes_back_was_never_believed() {
        let mut steady = Steady::new(START, Duration::ZERO);
        assert_eq!(bounds(&mut steady, 10, 3600), (0, 3600));
        assert_eq!(bounds(&mut steady, 18, 0), (0, 0));
        // Set again: doubted from now on, not from then.
        assert_eq!(bounds(&mut steady, 700, 3600), (0, 3600));
        assert_eq!(bounds(&mut steady, 1200, 86_400), (0, 86_400));
        assert_eq!(bounds(&mut steady, 1799, 86_400), (0, 86_400));
        assert_eq!(bounds(&mut steady, 1800, 86_400), (86_400, 86_400));
    }

    #[test]
    fn a_clock_that_is_kept_right_is_believed() {
        let mut steady = Steady::new(START, Duration::ZERO);
        for seconds in 0..100 {
            let drift = i64::try_from(seconds).unwrap();
            assert_eq!(bounds(&mut steady, seconds, drift), (drift, drift));
        }
    }
}
