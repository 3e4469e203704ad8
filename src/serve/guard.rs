//! No more requests at work than the machine can carry, and none for longer than its deadline.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use http::{HeaderMap, Request, Response};
use tokio::sync::Semaphore;
use tower::{Layer, Service};

use super::Limits;
use super::refusal::Asker;
use crate::clock::Clock;

/// Makes [`Guard`]s that share one count of requests at work.
#[derive(Debug, Clone)]
pub struct GuardLayer {
    clock: Clock,
    room: Arc<Semaphore>,
    deadline: Duration,
}

impl GuardLayer {
    /// At most `limits.requests` at once, each for at most `limits.request_deadline`.
    pub fn new(clock: Clock, limits: &Limits) -> Self {
        let room = Arc::new(Semaphore::new(limits.requests.min(Semaphore::MAX_PERMITS)));
        Self { clock, room, deadline: limits.request_deadline }
    }
}

impl<S> Layer<S> for GuardLayer {
    type Service = Guard<S>;

    fn layer(&self, inner: S) -> Guard<S> {
        Guard { inner, layer: self.clone() }
    }
}

/// Refuses what is too much at once, and gives up what takes too long, a gRPC caller's own deadline included. A request
/// is at work until its response begins: a stream that has begun may go on, bounded by the listener's streams.
#[derive(Debug, Clone)]
pub struct Guard<S> {
    inner: S,
    layer: GuardLayer,
}

impl<S, B> Service<Request<B>> for Guard<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let asker = Asker::of(&request);
        let Ok(permit) = Arc::clone(&self.layer.room).try_acquire_owned() else {
            let refusal = asker.unavailable("Too many requests are at work. Try again shortly.");
            return Box::pin(async move { Ok(refusal) });
        };
        let own = self.layer.deadline;
        let callers = grpc_timeout(request.headers()).filter(|callers| *callers < own);
        let clock = self.layer.clock.clone();
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = clock.timeout(callers.unwrap_or(own), answer).await;
            drop(permit);
            match (answer, callers) {
                (Ok(answer), _) => answer,
                (Err(_), Some(_)) => Ok(asker.deadline_exceeded()),
                (Err(_), None) => Ok(asker.unavailable("The request took too long and was given up.")),
            }
        })
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
