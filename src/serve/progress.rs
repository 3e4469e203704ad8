//! Whether a response makes progress.
//!
//! The server polls the body for its next chunk once the peer has room for the one before, on HTTP/1 in the socket, on HTTP/2
//! in the stream's window. So the body is watched and not the socket, where replies to PINGs look like progress.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::task::Wake;

use futures::task::AtomicWaker;

use super::activity::micros;
use crate::clock::Clock;

/// Of one response. Times are microseconds of the monotonic clock.
pub(super) struct Progress {
    clock: Clock,
    /// When the peer last took something, or something became ready for it.
    last: AtomicU64,
    /// Whether the body was asked for a frame and has none yet, or no more.
    waiting: AtomicBool,
    /// Bytes that were taken from the body and have not left.
    outstanding: AtomicUsize,
    /// Who asked.
    waker: AtomicWaker,
}

impl Progress {
    /// The head is ready: the body is to be asked.
    pub(super) fn new(clock: Clock) -> Self {
        let last = AtomicU64::new(micros(&clock));
        let (waiting, outstanding) = (AtomicBool::new(false), AtomicUsize::new(0));
        Self { clock, last, waiting, outstanding, waker: AtomicWaker::new() }
    }

    /// The body is asked for a frame; `waker` is who asks. Before the body itself is, so that no wake-up is missed.
    pub(super) fn asked(&self, waker: &std::task::Waker) {
        self.waker.register(waker);
        self.waiting.store(true, SeqCst);
        self.moves();
    }

    /// The body had a frame with so many bytes.
    pub(super) fn queued(&self, bytes: usize) {
        self.outstanding.fetch_add(bytes, SeqCst);
        self.waiting.store(false, SeqCst);
    }

    /// So many bytes have left.
    pub(super) fn took(&self, bytes: usize) {
        self.outstanding.fetch_sub(bytes, SeqCst);
        self.moves();
    }

    /// The body is not asked again.
    pub(super) fn body_ends(&self) {
        self.waiting.store(true, SeqCst);
    }

    /// When it last got on, if there is something that the peer could take.
    pub(super) fn stalled_since(&self) -> Option<u64> {
        let owed = !self.waiting.load(SeqCst) || self.outstanding.load(SeqCst) > 0;
        owed.then(|| self.last.load(SeqCst))
    }

    fn moves(&self) {
        self.last.store(micros(&self.clock), SeqCst);
    }
}

/// A body that waited has something: from now on it is to be asked. A peer that closed its window meanwhile keeps that from
/// happening.
impl Wake for Progress {
    fn wake(self: Arc<Self>) {
        if self.waiting.swap(false, SeqCst) {
            self.moves();
        }
        self.waker.wake();
    }
}
