//! Cancelling a future at a chosen point: what a disconnected client or a deadline does to a request.

use std::pin::Pin;
use std::task::{Context, Poll};

/// Polls `future` at most `polls` times; `None` if it was dropped before it was done.
pub(crate) async fn after_polls<F: Future>(future: F, polls: u32) -> Option<F::Output> {
    Limited { future: Box::pin(future), left: polls }.await
}

struct Limited<F> {
    future: Pin<Box<F>>,
    left: u32,
}

impl<F: Future> Future for Limited<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.left -= 1;
        match self.future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            // Out of polls: dropped now, while it waits, not when it would be woken.
            Poll::Pending if self.left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}
