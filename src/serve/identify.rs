//! Every request has an id and a trace: accepted or made, in its extensions, its headers, its span, its response.

use std::pin::Pin;
use std::task::{Context, Poll};

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use tower::{Layer, Service};
use tracing::Instrument as _;

use super::TRACEPARENT;
use super::trace::TraceParent;
use crate::clock::Clock;

/// The header's name.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What a request is called in logs, responses and errors; in the extensions of every request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// The caller's, if it sent exactly one, of 1 to 128 visible ASCII characters; else a new UUIDv7.
    fn of(headers: &mut HeaderMap, clock: &Clock) -> Self {
        let mut sent = headers.get_all(&REQUEST_ID).iter();
        if let (Some(value), None) = (sent.next(), sent.next())
            && (1..=128).contains(&value.len())
            && value.as_bytes().iter().all(u8::is_ascii_graphic)
        {
            return Self(value.clone());
        }
        // A UUID is always a header value.
        let value = HeaderValue::try_from(clock.id().to_string()).unwrap_or_else(|_| HeaderValue::from_static("-"));
        headers.insert(REQUEST_ID, value.clone());
        Self(value)
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

/// Makes [`Identify`].
#[derive(Debug, Clone)]
pub struct IdentifyLayer {
    clock: Clock,
}

impl IdentifyLayer {
    /// Ids come from `clock`.
    pub fn new(clock: Clock) -> Self {
        Self { clock }
    }
}

impl<S> Layer<S> for IdentifyLayer {
    type Service = Identify<S>;

    fn layer(&self, inner: S) -> Identify<S> {
        Identify { inner, clock: self.clock.clone() }
    }
}

/// Puts [`RequestId`] and [`TraceParent`] on requests, and `x-request-id` and `traceparent` on responses. The request's
/// own headers are made to agree, so that what is carried on (to gRPC, to webhooks) is what was accepted.
#[derive(Debug, Clone)]
pub struct Identify<S> {
    inner: S,
    clock: Clock,
}

impl<S, B, R> Service<Request<B>> for Identify<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let id = RequestId::of(request.headers_mut(), &self.clock);
        let trace = TraceParent::of(request.headers_mut(), &self.clock);
        // The service tells who calls, where that is an operator.
        let operator = tracing::field::Empty;
        let span = tracing::info_span!("request", request_id = id.as_str(), trace_id = trace.trace_id(), operator);
        request.extensions_mut().insert(id.clone());
        request.extensions_mut().insert(trace.clone());
        let answer = span.in_scope(|| self.inner.call(request));
        let named = async move {
            let mut response = answer.await?;
            response.headers_mut().insert(REQUEST_ID, id.0);
            response.headers_mut().insert(TRACEPARENT, trace.header().clone());
            Ok(response)
        };
        Box::pin(named.instrument(span))
    }
}
