//! The streams of HTTP/2 connections, as tasks that can be given up one by one.

use futures::future::{AbortHandle, Abortable};
use hyper::rt::Executor;

tokio::task_local! {
    static CURRENT: AbortHandle;
}

/// Runs what hyper has to run. A stream whose task is given up is reset: hyper has no other way, as it waits for the peer's
/// window and not for the body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Streams;

impl<F> Executor<F> for Streams
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, stream: F) {
        let (handle, registration) = AbortHandle::new_pair();
        tokio::spawn(CURRENT.scope(handle, Abortable::new(stream, registration)));
    }
}

/// What resets the stream that the calling task is. None on HTTP/1.
pub(super) fn current() -> Option<AbortHandle> {
    CURRENT.try_with(Clone::clone).ok()
}
