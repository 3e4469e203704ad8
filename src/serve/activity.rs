//! What a connection is doing, so that its watchdog knows what it has been waiting for, and since when.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Limits;
use super::framing::{Awaited, Framing};
use super::progress::Progress;
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
    /// The peer does not take what is written to it, or too many responses at once.
    Stalled,
    /// The peer does not read a response: it gets GOAWAY, and a grace period.
    Unread,
    /// The grace period has passed.
    GraceExpired,
}

/// Shared by the connection's socket, its requests and its watchdog. Moments are microseconds of the monotonic clock.
pub(super) struct Activity {
    clock: Clock,
    requests: AtomicUsize,
    /// Whether a request was ever complete.
    used: AtomicBool,
    idle_since: AtomicU64,
    headers_since: AtomicU64,
    stalled_since: AtomicU64,
    /// When bytes last left.
    wrote: AtomicU64,
    /// When the connection is closed whatever it does.
    close_at: AtomicU64,
    http2: AtomicBool,
    framing: Mutex<Framing>,
    responses: Mutex<Responses>,
}

#[derive(Default)]
struct Responses {
    next: u64,
    all: HashMap<u64, Arc<Progress>>,
}

impl Activity {
    /// A connection that has just been accepted: its first headers are awaited.
    pub(super) fn new(clock: Clock) -> Self {
        let now = micros(&clock);
        Self {
            clock,
            requests: AtomicUsize::new(0),
            used: AtomicBool::new(false),
            idle_since: AtomicU64::new(now),
            headers_since: AtomicU64::new(now),
            stalled_since: AtomicU64::new(NEVER),
            wrote: AtomicU64::new(now),
            close_at: AtomicU64::new(NEVER),
            http2: AtomicBool::new(false),
            framing: Mutex::new(Framing::new()),
            responses: Mutex::default(),
        }
    }

    /// Bytes came. Between requests of HTTP/1 they begin headers; an HTTP/2 connection speaks without a request, too.
    pub(super) fn read(&self, bytes: &[u8]) {
        let awaited = self.framing.lock().unwrap_or_else(PoisonError::into_inner).read(bytes);
        let awaited_already = self.headers_since.load(Relaxed) != NEVER;
        match awaited {
            Awaited::Http1 if self.requests.load(Relaxed) > 0 || awaited_already => {}
            Awaited::Partial { again: false } if awaited_already => {}
            Awaited::Http1 => self.headers_since.store(micros(&self.clock), Relaxed),
            Awaited::Partial { .. } => {
                self.http2.store(true, Relaxed);
                self.headers_since.store(micros(&self.clock), Relaxed);
            }
            Awaited::Http2 => {
                self.http2.store(true, Relaxed);
                self.headers_since.store(NEVER, Relaxed);
            }
        }
    }

    /// The peer takes bytes, or does not.
    pub(super) fn written(&self, stalled: bool) {
        if !stalled {
            self.stalled_since.store(NEVER, Relaxed);
            self.wrote.store(micros(&self.clock), Relaxed);
        } else if self.stalled_since.load(Relaxed) == NEVER {
            self.stalled_since.store(micros(&self.clock), Relaxed);
        }
    }

    /// A request's headers are complete. On HTTP/2 those of the next may have begun already.
    pub(super) fn request_begins(&self) {
        self.requests.fetch_add(1, Relaxed);
        self.used.store(true, Relaxed);
        if !self.http2.load(Relaxed) {
            self.headers_since.store(NEVER, Relaxed);
        }
    }

    /// A request's response is complete, or given up.
    pub(super) fn request_ends(&self) {
        self.idle_since.store(micros(&self.clock), Relaxed);
        self.requests.fetch_sub(1, Relaxed);
    }

    /// A response begins: what to report its progress to, and the name under which it ends.
    pub(super) fn response_begins(&self) -> (u64, Arc<Progress>) {
        let progress = Arc::new(Progress::new(self.clock.clone()));
        let mut responses = self.responses();
        let id = responses.next;
        responses.next += 1;
        responses.all.insert(id, Arc::clone(&progress));
        (id, progress)
    }

    pub(super) fn response_ends(&self, id: u64) {
        self.responses().all.remove(&id);
    }

    /// How active an idle connection is, the least active lowest; `None` with a request in flight.
    pub(super) fn idle(&self) -> Option<(bool, u64)> {
        let idle = self.requests.load(Relaxed) == 0;
        idle.then(|| (self.used.load(Relaxed), self.idle_since.load(Relaxed)))
    }

    /// The connection is closed after that time, whatever it does.
    pub(super) fn close_in(&self, time: Duration) {
        let time = u64::try_from(time.as_micros()).unwrap_or(NEVER);
        self.close_at.store(micros(&self.clock).saturating_add(time), Relaxed);
    }

    /// Waits until there is a reason to end the connection. Checks ten times per header timeout, so that nothing that
    /// happens on the connection has to set a timer.
    pub(super) async fn watch(&self, limits: &Limits) -> Cut {
        let step = limits.header_timeout.min(limits.idle_timeout).min(limits.stall_timeout) / 10;
        loop {
            self.clock.sleep(step).await;
            if let Some(cut) = self.overdue(limits) {
                return cut;
            }
        }
    }

    fn overdue(&self, limits: &Limits) -> Option<Cut> {
        let now = micros(&self.clock);
        let over = |since: &AtomicU64, limit: Duration| passed(since.load(Relaxed), now, limit);
        let (requests, http2) = (self.requests.load(Relaxed), self.http2.load(Relaxed));
        if over(&self.close_at, Duration::ZERO) {
            return Some(Cut::GraceExpired);
        }
        if over(&self.stalled_since, limits.idle_timeout) {
            return Some(Cut::Stalled);
        }
        if over(&self.headers_since, limits.header_timeout) && (http2 || requests == 0) {
            return Some(Cut::Headers);
        }
        match self.unread(limits.stall_timeout) {
            0 => {}
            count if count > limits.stalled_responses => return Some(Cut::Stalled),
            _ if self.close_at.load(Relaxed) == NEVER => return Some(Cut::Unread),
            _ => {}
        }
        (requests == 0 && over(&self.idle_since, limits.idle_timeout)).then_some(Cut::Idle)
    }

    /// How many responses the peer has taken nothing of for that long. On HTTP/1 a chunk may be copied before it is sent;
    /// there, what leaves the socket belongs to the response.
    fn unread(&self, limit: Duration) -> usize {
        let now = micros(&self.clock);
        let wrote = if self.http2.load(Relaxed) { 0 } else { self.wrote.load(Relaxed) };
        let stalled = |since: u64| passed(since.max(wrote), now, limit);
        self.responses().all.values().filter_map(|it| it.stalled_since()).filter(|since| stalled(*since)).count()
    }

    fn responses(&self) -> MutexGuard<'_, Responses> {
        self.responses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a span of time has passed since a moment.
fn passed(since: u64, now: u64, limit: Duration) -> bool {
    now.checked_sub(since).is_some_and(|passed| u128::from(passed) >= limit.as_micros())
}

pub(super) fn micros(clock: &Clock) -> u64 {
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
        activity.read(b"\0\0\x08\x06\0\0\0\0\0pingpong");
        clock.advance(Duration::from_secs(44));
        assert_eq!(activity.overdue(&limits), None);
        clock.advance(Duration::from_secs(1));
        assert_eq!(activity.overdue(&limits), Some(Cut::Idle), "pings keep nothing open");
    }

    #[test]
    fn headers_have_their_time_whatever_they_begin_with_and_whatever_else_is_in_flight() {
        let (clock, activity, limits) = start();
        activity.read(b"PRI");
        clock.advance(Duration::from_secs(10));
        assert_eq!(activity.overdue(&limits), Some(Cut::Headers));

        let (clock, activity, limits) = start();
        activity.read(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        activity.request_begins();
        activity.read(b"\0\0\x08\x01");
        activity.request_begins();
        for _ in 0..9 {
            clock.advance(Duration::from_secs(1));
            activity.read(b"\0");
            assert_eq!(activity.overdue(&limits), None);
        }
        clock.advance(Duration::from_secs(1));
        assert_eq!(activity.overdue(&limits), Some(Cut::Headers));
    }

    #[test]
    fn a_response_that_is_not_read_gets_goaway_and_is_then_closed() {
        let (clock, activity, limits) = start();
        activity.read(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        activity.request_begins();
        let (_, unasked) = activity.response_begins();
        let (_, waiting) = activity.response_begins();
        waiting.asked(std::task::Waker::noop());
        clock.advance(Duration::from_secs(29));
        assert_eq!(activity.overdue(&limits), None);
        activity.written(false);
        clock.advance(Duration::from_secs(1));
        assert_eq!(activity.overdue(&limits), Some(Cut::Unread), "whatever else is written");
        activity.close_in(limits.stall_timeout);
        assert_eq!(activity.overdue(&limits), None);
        clock.advance(Duration::from_secs(30));
        assert_eq!(activity.overdue(&limits), Some(Cut::GraceExpired));
        drop(unasked);
    }

    #[test]
    fn progress_is_what_leaves() {
        let (clock, activity, limits) = start();
        activity.request_begins();
        let (id, response) = activity.response_begins();
        response.asked(std::task::Waker::noop());
        response.queued(10);
        for _ in 0..10 {
            clock.advance(Duration::from_secs(29));
            response.took(1);
            assert_eq!(activity.overdue(&limits), None, "slow, but steady");
        }
        clock.advance(Duration::from_secs(29));
        // What is copied into the socket's buffer still leaves.
        activity.written(false);
        clock.advance(Duration::from_secs(29));
        assert_eq!(activity.overdue(&limits), None);
        response.asked(std::task::Waker::noop());
        clock.advance(Duration::from_secs(3600));
        assert_eq!(activity.overdue(&limits), None, "nothing to take");
        std::task::Wake::wake(Arc::clone(&response));
        clock.advance(Duration::from_secs(30));
        assert_eq!(activity.overdue(&limits), Some(Cut::Unread), "something to take, and no room for it");
        activity.response_ends(id);
        assert_eq!(activity.overdue(&limits), None);
    }

    #[test]
    fn few_responses_may_be_stalled_at_once() {
        let (clock, activity, limits) = start();
        activity.request_begins();
        let _eight = [(); 8].map(|()| activity.response_begins());
        clock.advance(Duration::from_secs(30));
        assert_eq!(activity.overdue(&limits), Some(Cut::Unread));
        let _ninth = activity.response_begins();
        clock.advance(Duration::from_secs(30));
        assert_eq!(activity.overdue(&limits), Some(Cut::Stalled));
    }
}
