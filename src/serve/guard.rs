//! No more requests being answered than the machine can carry, no more bodies in memory, and none for longer than its
//! deadline.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use tower::{Layer, Service};

use super::body::{Counted, Ticket};
use super::budget::Budget;
use super::client::{Client, Clients};
use super::refusal::{Asker, Refusal};
use super::{Limits, Usage};
use crate::clock::Clock;

/// Makes [`Guard`]s that share one budget: those of one listener.
#[derive(Debug, Clone)]
pub struct GuardLayer {
    clock: Clock,
    budget: Arc<Budget>,
    deadline: Duration,
    body_timeout: Duration,
    message_bytes: usize,
}

impl GuardLayer {
    /// At most `limits.requests` at once, each for at most `limits.request_deadline`, with at most `limits.body_bytes` of
    /// bodies.
    pub fn new(clock: Clock, limits: &Limits) -> Self {
        let budget = Arc::new(Budget::new(limits));
        let Limits { request_deadline: deadline, body_timeout, message_bytes, .. } = *limits;
        Self { clock, budget, deadline, body_timeout, message_bytes }
    }

    /// What is in use now.
    pub fn used(&self) -> Usage {
        self.budget.used()
    }
}

impl<S> Layer<S> for GuardLayer {
    type Service = Guard<S>;

    fn layer(&self, inner: S) -> Guard<S> {
        Guard { inner, layer: self.clone() }
    }
}

/// Refuses what is too much at once, and gives up what takes too long, a gRPC caller's own deadline included.
///
/// A request has a slot from when it waits for anything but its own body, and until its response begins: one
/// that is not whole costs its bytes alone, and a stream that has begun may go on, bounded by the listener's streams.
#[derive(Debug, Clone)]
pub struct Guard<S> {
    inner: S,
    layer: GuardLayer,
}

impl<S, B> Service<Request<B>> for Guard<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let asker = Asker::of(&request);
        let GuardLayer { clock, budget, deadline, body_timeout, message_bytes } = self.layer.clone();
        let callers = grpc_timeout(request.headers()).filter(|callers| *callers < deadline);
        let time = Time { begun: callers.map(|_| clock.monotonic()), clock, deadline, callers };
        let client = request.extensions().get::<Client>().copied().unwrap_or_else(Clients::nobody);
        if request.body().is_end_stream() {
            let slot = match budget.slot(client) {
                Ok(slot) => slot,
                Err(refusal) => return Box::pin(async move { Ok(asker.refuse(refusal)) }),
            };
            let answer = self.inner.call(request.map(|_| Body::empty()));
            return Box::pin(async move {
                let answer = time.limit(answer).await;
                drop(slot);
                answer.unwrap_or_else(|late| Ok(asker.late(late)))
            });
        }
        let ticket = Arc::new(Ticket::new(&budget, client));
        let timing = (time.clock.clone(), body_timeout);
        let fields = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        let counted = |body| {
            let counted = Counted::new(body, Arc::clone(&ticket), timing, fields);
            Body::new(if asker.is_grpc() { counted.of_messages(message_bytes) } else { counted })
        };
        let answer = self.inner.call(request.map(counted));
        Box::pin(async move {
            let answer = once_whole(answer, &ticket, &time).await;
            let refusal = ticket.refusal();
            ticket.response_begins();
            match (refusal, answer) {
                (Some(refusal), _) => Ok(asker.refuse(refusal)),
                (None, Ok(answer)) => answer,
                (None, Err(late)) => Ok(asker.late(late)),
            }
        })
    }
}

/// The response to a request with a body. The deadline begins when the request is whole, the caller's own at once.
async fn once_whole<F: Future>(answer: F, ticket: &Ticket, time: &Time) -> Result<F::Output, Late> {
    let mut answer = pin!(answer);
    let mut early = None;
    let whole = poll_fn(|cx| {
        ticket.poll_begins();
        if let Poll::Ready(output) = answer.as_mut().poll(cx) {
            early = Some(output);
            return Poll::Ready(());
        }
        if ticket.awaits_body() { Poll::Pending } else { Poll::Ready(()) }
    });
    match time.callers {
        Some(callers) => time.clock.timeout(callers, whole).await.map_err(|_| Late::Callers)?,
        None => whole.await,
    }
    match early {
        Some(output) => Ok(output),
        // The response does not matter any more.
        None if ticket.refusal().is_some() => Err(Late::Own),
        None => time.limit(answer).await,
    }
}

/// Which deadline has passed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Late {
    /// The listener's.
    Own,
    /// That of the gRPC caller.
    Callers,
}

/// The deadlines of one request.
struct Time {
    clock: Clock,
    deadline: Duration,
    callers: Option<Duration>,
    begun: Option<Duration>,
}

impl Time {
    async fn limit<F: Future>(&self, answer: F) -> Result<F::Output, Late> {
        let passed = self.begun.map(|begun| self.clock.monotonic().saturating_sub(begun)).unwrap_or_default();
        let callers = self.callers.map(|callers| callers.saturating_sub(passed)).filter(|left| *left < self.deadline);
        let late = if callers.is_some() { Late::Callers } else { Late::Own };
        self.clock.timeout(callers.unwrap_or(self.deadline), answer).await.map_err(|_| late)
    }
}

impl Asker {
    fn late(&self, late: Late) -> Response<Body> {
        match late {
            Late::Own => self.refuse(Refusal::Deadline),
            Late::Callers => self.deadline_exceeded(),
        }
    }
}

/// `grpc-timeout` (gRPC over HTTP/2, "Requests"): one to eight digits and a unit. One that is malformed is ignored.
fn grpc_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if !(1..=8).contains(&digits.len()) || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_timeouts() {
        let parsed = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", http::HeaderValue::from_static(text));
            grpc_timeout(&headers)
        };
        assert_eq!(parsed("100m"), Some(Duration::from_millis(100)));
        assert_eq!(parsed("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        assert_eq!(parsed("7n"), Some(Duration::from_nanos(7)));
        for text in ["", "S", "100", "-1S", "123456789S", "1s", "+1S"] {
            assert_eq!(parsed(text), None, "{text}");
        }
    }
}
