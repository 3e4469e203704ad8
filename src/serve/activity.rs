//! What a connection is doing, so that its watchdog knows what it has been waiting for, and since when.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use super::Limits;
use crate::clock::Clock;

/// "Not waiting for this", in the fields that hold a moment.
const NEVER: u64 = u64::MAX;

/// Why a connection is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// A request's headers took too long.
    Headers,
    /// No request for too long.
    Idle,
    /// The peer does not take what is written to it.
    Stalled,
}

/// Shared by the connection's socket, its requests and its watchdog. Moments are microseconds of the monotonic clock.
pub(super) struct Activity {
    clock: Clock,
    requests: AtomicUsize,
    idle_since: AtomicU64,
    headers_since: AtomicU64,
    stalled_since: AtomicU64,
    http2: AtomicBool,
}

impl Activity {
    /// A connection that has just been accepted: its first headers are awaited.
    pub(super) fn new(clock: Clock) -> Self {
        let now = micros(&clock);
        Self {
            clock,
            requests: AtomicUsize::new(0),
            idle_since: AtomicU64::new(now),
            headers_since: AtomicU64::new(now),
            stalled_since: AtomicU64::new(NEVER),
            http2: AtomicBool::new(false),
        }
    }

    /// Bytes came. Between requests of HTTP/1 they begin headers; an HTTP/2 connection speaks without a request, too.
    pub(super) fn read(&self, bytes: &[u8]) {
        if self.http2.load(Relaxed) || self.requests.load(Relaxed) > 0 {
            return;
        }
        if bytes.starts_with(b"PRI") {
            self.http2.store(true, Relaxed);
            self.headers_since.store(NEVER, Relaxed);
        } else if self.headers_since.load(Relaxed) == NEVER {
            self.headers_since.store(micros(&self.clock), Relaxed);
        }
    }

    /// The peer takes bytes, or does not.
    pub(super) fn written(&self, stalled: bool) {
        if !stalled {
            self.stalled_since.store(NEVER, Relaxed);
        } else if self.stalled_since.load(Relaxed) == NEVER {
            self.stalled_since.store(micros(&self.clock), Relaxed);
        }
    }

    /// A request's headers are complete.
    pub(super) fn request_begins(&self) {
        self.requests.fetch_add(1, Relaxed);
        self.headers_since.store(NEVER, Relaxed);
    }

    /// A request's response is complete, or given up.
    pub(super) fn request_ends(&self) {
        self.idle_since.store(micros(&self.clock), Relaxed);
        self.requests.fetch_sub(1, Relaxed);
    }

    /// Waits until there is a reason to end the connection. Looks ten times per header timeout, so that nothing that
    /// happens on the connection has to set a timer.
    pub(super) async fn watch(&self, limits: &Limits) -> Cut {
        let step = limits.header_timeout.min(limits.idle_timeout) / 10;
        loop {
            self.clock.sleep(step).await;
            if let Some(cut) = self.overdue(limits) {
                return cut;
            }
        }
    }

    fn overdue(&self, limits: &Limits) -> Option<Cut> {
        let now = micros(&self.clock);
        let over = |since: &AtomicU64, limit: Duration| {
            now.checked_sub(since.load(Relaxed)).is_some_and(|passed| u128::from(passed) >= limit.as_micros())
        };
        if over(&self.stalled_since, limits.idle_timeout) {
            Some(Cut::Stalled)
        } else if self.requests.load(Relaxed) > 0 {
            None
        } else if over(&self.headers_since, limits.header_timeout) {
            Some(Cut::Headers)
        } else {
            over(&self.idle_since, limits.idle_timeout).then_some(Cut::Idle)
        }
    }
}

fn micros(clock: &Clock) -> u64 {
    u64::try_from(clock.monotonic().as_micros()).unwrap_or(NEVER - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Timestamp;

    fn start() -> (Clock, Activity, Limits) {
        let clock = Clock::manual(Timestamp::EPOCH, 0);
        (clock.clone(), Activity::new(clock), Limits::default())
    }

    #[test]
    fn headers_idle_and_stall_have_their_own_limits() {
        let (clock, activity, limits) = start();
        let second = Duration::from_secs(1);
        clock.advance(9 * second);
        activity.read(b"GET / HTTP");
        assert_eq!(activity.overdue(&limits), None);
        clock.advance(second);
        assert_eq!(activity.overdue(&limits), Some(Cut::Headers), "trickling does not help");
        activity.request_begins();
        activity.read(b"the body");
        clock.advance(1000 * second);
        assert_eq!(activity.overdue(&limits), None, "a request at work has its own deadline");
        activity.request_ends();
        clock.advance(74 * second);
        assert_eq!(activity.overdue(&limits), None);
        clock.advance(second);
        assert_eq!(activity.overdue(&limits), Some(Cut::Idle));
        activity.request_begins();
        activity.written(true);
        clock.advance(74 * second);
        activity.written(true);
        assert_eq!(activity.overdue(&limits), None);
        clock.advance(second);
        assert_eq!(activity.overdue(&limits), Some(Cut::Stalled));
        activity.written(false);
        assert_eq!(activity.overdue(&limits), None);
    }

    #[test]
    fn http2_may_talk_before_it_asks() {
        let (clock, activity, limits) = start();
        activity.read(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        clock.advance(Duration::from_secs(30));
        activity.read(b"ping");
        clock.advance(Duration::from_secs(44));
        assert_eq!(activity.overdue(&limits), None);
        clock.advance(Duration::from_secs(1));
        assert_eq!(activity.overdue(&limits), Some(Cut::Idle), "pings keep nothing open");
    }
}
