//! Whether a response makes progress.
//!
//! The server polls the body for its next chunk once the peer has room for the one before, on HTTP/1 in the socket, on HTTP/2
//! in the stream's window. So the body is watched and not the socket, where replies to PINGs look like progress.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::task::Wake;

use futures::task::AtomicWaker;

use super::activity::micros;
use super::limits::RESPONSE_RATE;
use super::unread::Account;
use crate::clock::Clock;

/// What a response of unknown length is taken to have in memory while it is not asked for it: a message.
const MESSAGE: usize = 8 * 1024;
/// The same for what anybody may ask for: reflection has two descriptor files in memory.
const ANONYMOUS_MESSAGE: usize = 128 * 1024;

/// Marks a response, in its extensions, that anybody gets without saying who they are, and that may be a stream without an
/// end. Where it is all that a connection has in flight, the connection gives way like an idle one, if there is no idle one.
#[derive(Debug, Clone, Copy)]
pub struct Anonymous;

/// Of one response. Times are microseconds of the monotonic clock.
pub(super) struct Progress {
    clock: Clock,
    /// Up to when the peer has taken what it must, at [`RESPONSE_RATE`]; or when something became ready for it.
    last: AtomicU64,
    /// Whether the body was asked for a frame and has none yet, or no more.
    waiting: AtomicBool,
    /// Bytes that were taken from the body and have not left.
    outstanding: AtomicUsize,
    /// Who asked.
    waker: AtomicWaker,
    account: Arc<Account>,
    /// What it has in memory until its end; of one of unknown length it changes.
    length: Option<usize>,
    anonymous: bool,
}

impl Progress {
    /// The head is ready: the body, of that length if it is known, is to be asked.
    pub(super) fn new(clock: Clock, account: Arc<Account>, length: Option<usize>, anonymous: bool) -> Self {
        let last = AtomicU64::new(micros(&clock));
        let (waiting, outstanding) = (AtomicBool::new(false), AtomicUsize::new(0));
        let new = Self { clock, last, waiting, outstanding, waker: AtomicWaker::new(), account, length, anonymous };
        new.account.add(length.unwrap_or_else(|| new.message()));
        new
    }

    /// The body is asked for a frame; `waker` is who asks. Before the body itself is, so that no wake-up is missed.
    pub(super) fn asked(&self, waker: &std::task::Waker) {
        self.waker.register(waker);
        // It may be asked again without having been woken. Until now there was nothing to take.
        if self.wait(true) && self.outstanding.load(SeqCst) == 0 {
            self.last.store(micros(&self.clock), SeqCst);
        }
    }

    /// The body had a frame with so many bytes.
    pub(super) fn queued(&self, bytes: usize) {
        self.outstanding.fetch_add(bytes, SeqCst);
        if self.length.is_none() {
            self.account.add(bytes);
        }
        self.wait(false);
    }

    /// So many bytes have left.
    pub(super) fn took(&self, bytes: usize) {
        self.outstanding.fetch_sub(bytes, SeqCst);
        if self.length.is_none() {
            self.account.subtract(bytes);
        }
        earn(&self.last, bytes, &self.clock);
    }

    /// The body is not asked again.
    pub(super) fn body_ends(&self) {
        self.wait(true);
    }

    /// Everything has left, or is given up.
    pub(super) fn ends(&self) {
        if let Some(length) = self.length {
            self.account.subtract(length);
        }
    }

    /// When it last got on, if there is something that the peer could take.
    pub(super) fn stalled_since(&self) -> Option<u64> {
        let owed = !self.waiting.load(SeqCst) || self.outstanding.load(SeqCst) > 0;
        owed.then(|| self.last.load(SeqCst))
    }

    /// Whether it is one that anybody gets, and merely waits.
    pub(super) fn rests_for_anybody(&self) -> bool {
        self.anonymous && self.stalled_since().is_none()
    }

    /// Whether it waited already.
    fn wait(&self, waiting: bool) -> bool {
        let waited = self.waiting.swap(waiting, SeqCst);
        match (self.length, waited, waiting) {
            (None, false, true) => self.account.subtract(self.message()),
            (None, true, false) => self.account.add(self.message()),
            _ => {}
        }
        waited
    }

    fn message(&self) -> usize {
        if self.anonymous { ANONYMOUS_MESSAGE } else { MESSAGE }
    }
}

/// Moves a moment on by the time that so many bytes may take, and not beyond now.
pub(super) fn earn(moment: &AtomicU64, bytes: usize, clock: &Clock) {
    // A flush, or the end of a chunk: nothing was earned.
    if bytes == 0 {
        return;
    }
    let now = micros(clock);
    let time = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(1_000_000) / RESPONSE_RATE;
    // It always changes.
    let _before = moment.fetch_update(SeqCst, SeqCst, |last| Some(last.saturating_add(time).min(now)));
}

/// A body that waited has something: from now on it is to be asked. A peer that closed its window meanwhile keeps that from
/// happening.
impl Wake for Progress {
    fn wake(self: Arc<Self>) {
        if self.wait(false) {
            self.last.store(micros(&self.clock), SeqCst);
        }
        self.waker.wake();
    }
}
