//! A request's body on its way in: what it takes of the budget, how long it may take, and the slot that its end takes.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tonic::Status;

use super::budget::{Budget, Memory, Slot};
use super::client::Client;
use super::limits::BODY_RATE;
use super::messages::Messages;
use super::refusal::Refusal;
use crate::clock::Clock;

/// What a request that waits for its body takes of the memory for bodies, besides its header fields: its task and buffers.
const WAITING: usize = 4096;

/// What a request with a body has and waits for; shared by the body and by the task that awaits the response.
pub(super) struct Ticket {
    budget: Arc<Budget>,
    client: Client,
    state: Mutex<State>,
}

struct State {
    memory: Memory,
    slot: Option<Slot>,
    refusal: Option<Refusal>,
    /// The body was asked for more and had none.
    awaited: bool,
    /// The response has begun: what else comes is a stream.
    begun: bool,
}

impl Ticket {
    pub(super) fn new(budget: &Arc<Budget>, client: Client) -> Self {
        let memory = budget.memory(client);
        let state = State { memory, slot: None, refusal: None, awaited: false, begun: false };
        Self { budget: Arc::clone(budget), client, state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Before the handler is polled.
    pub(super) fn poll_begins(&self) {
        self.lock().awaited = false;
    }

    /// After the handler was polled without a response: whether it waits for its body and nothing else. If it does not, it
    /// has a slot from now on, or is refused.
    pub(super) fn awaits_body(&self) -> bool {
        let mut state = self.lock();
        if state.refusal.is_none() && state.awaited && state.slot.is_none() {
            return true;
        }
        state.start(self);
        false
    }

    /// Why the request is refused, if it is.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        self.lock().refusal
    }

    /// The response begins, and the slot is free again.
    pub(super) fn response_begins(&self) {
        let mut state = self.lock();
        state.begun = true;
        state.slot = None;
    }
}

impl State {
    /// Takes the slot of a request that is complete.
    fn start(&mut self, ticket: &Ticket) {
        if self.begun || self.slot.is_some() || self.refusal.is_some() {
            return;
        }
        match ticket.budget.slot(ticket.client) {
            Ok(slot) => self.slot = Some(slot),
            Err(refusal) => self.refusal = Some(refusal),
        }
    }

    fn refused(&mut self, refusal: Refusal) -> Status {
        self.memory.release();
        self.refuse(refusal);
        refusal.status(None)
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.refusal.get_or_insert(refusal);
    }
}

/// A body that is counted while it arrives.
pub(super) struct Counted<B> {
    inner: B,
    ticket: Arc<Ticket>,
    clock: Clock,
    timeout: Duration,
    span: Option<Span>,
    /// Of gRPC, with the length up to which they are read.
    messages: Option<(Messages, usize)>,
    /// What the request takes while it waits for its body; taken once.
    waiting: Option<usize>,
    /// The connection had its turn to deliver what came with the headers.
    turned: bool,
}

/// A span of time in which the body must get on.
struct Span {
    over: Pin<Box<dyn Future<Output = ()> + Send>>,
    bytes: usize,
}

impl<B> Counted<B> {
    /// The body of a request with so many bytes of header fields.
    pub(super) fn new(inner: B, ticket: Arc<Ticket>, (clock, timeout): (Clock, Duration), fields: usize) -> Self {
        let waiting = Some(WAITING + fields);
        Self { inner, ticket, clock, timeout, span: None, messages: None, waiting, turned: false }
    }

    /// A body of gRPC messages, each of which may be all that there is for now. They are read up to that length: memory
    /// for one is taken as soon as its prefix has come, and so is it counted.
    pub(super) fn of_messages(mut self, longest: usize) -> Self {
        self.messages = Some((Messages::default(), longest));
        self
    }

    /// Nothing more has arrived. A request that waits longer than one turn of the connection is charged and timed.
    fn wait(&mut self, cx: &mut Context<'_>) -> Result<(), Status> {
        let mut state = self.ticket.lock();
        state.awaited = true;
        if state.memory.is_evicted(cx.waker()) {
            return Err(state.refused(Refusal::Memory));
        }
        if !std::mem::replace(&mut self.turned, true) {
            cx.waker().wake_by_ref();
            return Ok(());
        }
        let begun = state.begun;
        if !begun
            && let Some(bytes) = self.waiting.take()
            && let Err(refusal) = state.memory.take(bytes)
        {
            return Err(state.refused(refusal));
        }
        drop(state);
        if self.is_slow(begun, cx) { Err(self.ticket.lock().refused(Refusal::Slow)) } else { Ok(()) }
    }

    /// Whether the body has been too slow. No timer runs while a stream rests between its messages.
    fn is_slow(&mut self, begun: bool, cx: &mut Context<'_>) -> bool {
        if begun && self.messages.as_ref().is_none_or(|(messages, _)| messages.is_between()) {
            self.span = None;
            return false;
        }
        let wanted = usize::try_from(self.timeout.as_millis()).unwrap_or(usize::MAX).saturating_mul(BODY_RATE) / 1000;
        loop {
            let (clock, timeout) = (&self.clock, self.timeout);
            let span = self.span.get_or_insert_with(|| {
                let clock = clock.clone();
                Span { over: Box::pin(async move { clock.sleep(timeout).await }), bytes: 0 }
            });
            if span.over.as_mut().poll(cx).is_pending() {
                return false;
            }
            if span.bytes < wanted.max(1) {
                return true;
            }
            self.span = None;
        }
    }

    fn count(&mut self, data: &Bytes, last: bool) -> Result<(), Status> {
        if let Some(span) = &mut self.span {
            span.bytes = span.bytes.saturating_add(data.len());
        }
        let mut state = self.ticket.lock();
        state.awaited = false;
        let bytes = match &mut self.messages {
            Some((messages, longest)) => announced(messages, *longest, data),
            None => data.len(),
        };
        let taken = if bytes == 0 { state.memory.stands() } else { state.memory.take(bytes) };
        if let Err(refusal) = taken {
            return Err(state.refused(refusal));
        }
        // A message of a stream that has begun is its reader's from here on.
        if state.begun && self.messages.as_ref().is_some_and(|(messages, _)| messages.is_between()) {
            state.memory.release();
        }
        if last { self.end(&mut state) } else { Ok(()) }
    }

    /// The body is whole: nobody gets to know before there is a slot for what they will do with it.
    fn end(&self, state: &mut State) -> Result<(), Status> {
        if let Err(refusal) = state.memory.whole() {
            return Err(state.refused(refusal));
        }
        state.start(&self.ticket);
        match state.refusal {
            Some(refusal) => Err(state.refused(refusal)),
            None => Ok(()),
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Counted<B>
where
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        let frame = match Pin::new(&mut this.inner).poll_frame(cx) {
            Poll::Pending => {
                return match this.wait(cx) {
                    Ok(()) => Poll::Pending,
                    Err(status) => Poll::Ready(Some(Err(status.into()))),
                };
            }
            Poll::Ready(None) => {
                let ended = this.count(&Bytes::new(), true);
                return Poll::Ready(ended.err().map(|status| Err(status.into())));
            }
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error.into()))),
            Poll::Ready(Some(Ok(frame))) => frame,
        };
        let none = Bytes::new();
        let counted = this.count(frame.data_ref().unwrap_or(&none), this.inner.is_end_stream());
        Poll::Ready(Some(counted.map(|()| frame).map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Bytes to count for `data`: what has come, and what is yet to come of a message that has begun. One that is too long counts
/// as it comes: its reader refuses it at its prefix and takes nothing for it.
fn announced(messages: &mut Messages, longest: usize, data: &[u8]) -> usize {
    let ahead = |messages: &Messages| Some(messages.left()).filter(|left| *left <= longest).unwrap_or(0);
    let before = ahead(messages);
    messages.take(data);
    // A message that goes on has been counted already.
    (data.len() + ahead(messages)).saturating_sub(before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_counts_from_its_prefix_on_and_once() {
        let counts = |parts: &[&[u8]]| {
            let mut messages = Messages::default();
            parts.iter().map(|part| announced(&mut messages, 100, part)).collect::<Vec<_>>()
        };
        assert_eq!(counts(&[&[0, 0], &[0, 0, 100], &[7; 40], &[7; 60], &[0, 0, 0, 0, 1, 7]]), [2, 103, 0, 0, 6]);
        assert_eq!(counts(&[&[0, 0, 0, 0, 2, 7, 7, 0, 0, 0, 0, 9]]), [12 + 9]);
        assert_eq!(counts(&[&[0, 0, 0, 0, 101], &[7; 50], &[7; 51]]).iter().sum::<usize>(), 106, "too long");
        assert_eq!(counts(&[&[9, 255, 255, 255, 255], &[7; 50]]), [5, 50]);
    }
}
