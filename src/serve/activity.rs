//! What a connection is doing, so that its watchdog knows what it has been waiting for, and since when.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::AbortHandle;

use super::Limits;
use super::framing::{Awaited, Framing};
use super::progress::{Progress, earn};
use super::streams;
use super::unread::{Account, Unread};
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
    /// The peer does not take too many responses at once.
    TooManyUnread,
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
    /// Up to when the peer has taken what it must of an HTTP/1 response.
    wrote: AtomicU64,
    /// When the connection is closed whatever it does.
    close_at: AtomicU64,
    http2: AtomicBool,
    framing: Mutex<Framing>,
    responses: Mutex<Responses>,
    unread: Arc<Account>,
}

/// How little a connection does that may give way; the least goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    in_flight: bool,
    used: bool,
    since: u64,
}

impl Rank {
    /// Whether it has a request or a stream in flight.
    pub(super) fn in_flight(self) -> bool {
        self.in_flight
    }
}

#[derive(Default)]
struct Responses {
    next: u64,
    all: HashMap<u64, Sent>,
}

/// A response that is being sent.
struct Sent {
    progress: Arc<Progress>,
    /// What resets its stream, on HTTP/2.
    reset: Option<AbortHandle>,
}

impl Activity {
    /// A connection that has just been accepted: its first headers are awaited.
    pub(super) fn new(clock: Clock, unread: Arc<Unread>) -> Self {
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
            unread: Arc::new(Account::new(unread)),
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

    /// The peer takes so many bytes, or, with `None`, nothing now.
    pub(super) fn written(&self, bytes: Option<usize>) {
        if let Some(bytes) = bytes {
            self.stalled_since.store(NEVER, Relaxed);
            earn(&self.wrote, bytes, &self.clock);
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

    /// A response begins, of that length if it is known: what to report its progress to, and the name under which it ends.
    pub(super) fn response_begins(&self, length: Option<usize>, anonymous: bool) -> (u64, Arc<Progress>) {
        self.wrote.store(micros(&self.clock), Relaxed);
        let progress = Arc::new(Progress::new(self.clock.clone(), Arc::clone(&self.unread), length, anonymous));
        let reset = if self.http2.load(Relaxed) { streams::current() } else { None };
        let mut responses = self.responses();
        let id = responses.next;
        responses.next += 1;
        responses.all.insert(id, Sent { progress: Arc::clone(&progress), reset });
        (id, progress)
    }

    pub(super) fn response_ends(&self, id: u64) {
        self.responses().all.remove(&id);
    }

    /// Its rank among the connections that may give way: an idle one; one that got GOAWAY; one that has nothing in flight
    /// but responses that are stalled, and streams that anybody gets. `None` for any other: it has work.
    pub(super) fn rank(&self, stall_timeout: Duration) -> Option<Rank> {
        let (requests, leaving) = (self.requests.load(Relaxed), self.close_at.load(Relaxed) != NEVER);
        if requests > 0 && !leaving {
            let resting = self.responses().all.values().filter(|sent| sent.progress.rests_for_anybody()).count();
            if resting + self.unread(stall_timeout) < requests {
                return None;
            }
        }
        let (used, since) = (self.used.load(Relaxed), self.idle_since.load(Relaxed));
        Some(Rank { in_flight: requests > 0, used, since })
    }

    /// Bytes of responses that the peer has not taken.
    pub(super) fn unread_bytes(&self) -> i64 {
        self.unread.bytes()
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
            count if count > limits.stalled_responses => return Some(Cut::TooManyUnread),
            _ if self.close_at.load(Relaxed) == NEVER => return Some(Cut::Unread),
            _ => {}
        }
        (requests == 0 && over(&self.idle_since, limits.idle_timeout)).then_some(Cut::Idle)
    }

    /// How many responses the peer is that far behind with. On HTTP/1 a chunk may be copied before it is sent; there, what
    /// leaves the socket belongs to the response.
    fn unread(&self, limit: Duration) -> usize {
        let now = micros(&self.clock);
        let wrote = if self.http2.load(Relaxed) { 0 } else { self.wrote.load(Relaxed) };
        let stalled = |since: u64| passed(since.max(wrote), now, limit);
        let responses = self.responses();
        responses.all.values().filter_map(|sent| sent.progress.stalled_since()).filter(|since| stalled(*since)).count()
    }

    /// Resets the streams of the responses that the peer takes nothing of, and leaves the connection alone. Not on HTTP/1, where
    /// a connection has one response.
    pub(super) fn reset_unread(&self, limits: &Limits) -> bool {
        let now = micros(&self.clock);
        let unread = |it: &Progress| it.stalled_since().is_some_and(|since| passed(since, now, limits.stall_timeout));
        let mut responses = self.responses();
        let resettable = |sent: &Sent| sent.reset.is_some() && unread(&sent.progress);
        let unread: Vec<_> = responses.all.extract_if(|_, sent| resettable(sent)).collect();
        drop(responses);
        unread.iter().filter_map(|(_, sent)| sent.reset.as_ref()).for_each(AbortHandle::abort);
        !unread.is_empty()
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
mod tests;
