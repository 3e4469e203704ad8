//! Rate, errors and duration of every route and every RPC, and one access line each.

use std::borrow::Cow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::extract::MatchedPath;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use metrics::SharedString;
use rest_bridge::{Watch, Watched};
use tower::{Layer, Service};
use tracing::Span;

use super::Rpcs;
use super::record::Record;
use crate::clock::Clock;

/// Which kind of request is observed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Door {
    Http,
    Grpc,
    InProcess,
}

impl Door {
    pub(super) fn in_flight(self) -> &'static str {
        if self == Self::Http { "http_requests_in_flight" } else { "grpc_requests_in_flight" }
    }

    /// The status of a request whose caller went away, or whose deadline passed, before the end.
    pub(super) fn given_up(self) -> &'static str {
        if self == Self::Http { "aborted" } else { "cancelled" }
    }
}

/// Makes [`Observe`].
#[derive(Debug, Clone)]
pub struct ObserveLayer {
    clock: Clock,
    door: Door,
    rpcs: Rpcs,
    matched: Matched,
}

/// The pattern that a method and path match, where the routes are not axum's.
pub type Matched = fn(&Method, &str) -> Option<&'static str>;

impl ObserveLayer {
    /// For the REST door: `http_*` metrics and an access line at info. Routes are named by axum's matched path if the
    /// layer is inside of the router (`Router::layer`), else by `matched`.
    pub fn http(clock: Clock, matched: Matched) -> Self {
        Self { matched, ..Self::of(clock, Door::Http, Rpcs::default()) }
    }

    /// For the gRPC listener: `grpc_*` metrics and an access line at info. Calls of RPCs that are not in `rpcs` are
    /// counted as one.
    pub fn grpc(clock: Clock, rpcs: Rpcs) -> Self {
        Self::of(clock, Door::Grpc, rpcs)
    }

    /// For RPCs that the REST front calls in the same process: `grpc_*` metrics, the access line at debug only.
    pub fn in_process(clock: Clock, rpcs: Rpcs) -> Self {
        Self::of(clock, Door::InProcess, rpcs)
    }

    /// The same for calls that go to a service's trait directly.
    pub fn watch(&self) -> Watch {
        let (clock, door) = (self.clock.clone(), self.door);
        Arc::new(move |rpc| {
            let (route, begun) = (SharedString::const_str(rpc), clock.monotonic());
            let (clock, span) = (clock.clone(), Span::current());
            Box::new(Record { door, begun, clock, route, method: "POST", span, over: false }.begin())
        })
    }

    fn of(clock: Clock, door: Door, rpcs: Rpcs) -> Self {
        Self { clock, door, rpcs, matched: |_, _| None }
    }
}

impl ObserveLayer {
    /// The matched pattern, or the RPC's name. Never the caller's own words: each name is a time series.
    fn route<B>(&self, request: &Request<B>) -> SharedString {
        if self.door != Door::Http {
            return self.rpcs.called(request.uri().path()).map_or(SharedString::const_str("(unknown)"), Into::into);
        }
        if let Some(path) = request.extensions().get::<MatchedPath>() {
            return Arc::<str>::from(path.as_str()).into();
        }
        SharedString::const_str((self.matched)(request.method(), request.uri().path()).unwrap_or("(none)"))
    }
}

impl Watched for Record {
    fn ended(mut self: Box<Self>, code: tonic::Code) {
        self.end(name(code).into());
    }
}

impl<S> Layer<S> for ObserveLayer {
    type Service = Observe<S>;

    fn layer(&self, inner: S) -> Observe<S> {
        Observe { inner, layer: self.clone() }
    }
}

/// Records what passes through it. Neither queries nor headers are recorded: they may hold secrets.
#[derive(Debug, Clone)]
pub struct Observe<S> {
    inner: S,
    layer: ObserveLayer,
}

impl<S, B, T> Service<Request<B>> for Observe<S>
where
    S: Service<Request<B>, Response = Response<T>>,
    S::Future: Send + 'static,
    T: Body,
{
    type Response = Response<Observed<T>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let ObserveLayer { clock, door, .. } = self.layer.clone();
        let route = self.layer.route(&request);
        let (begun, span, method) = (clock.monotonic(), Span::current(), method(request.method()));
        let record = Record { door, begun, clock, route, method, span, over: false }.begin();
        let answer = self.inner.call(request);
        Box::pin(async move { Ok(observed(answer.await?, record)) })
    }
}

/// The response, its record ended now or when its body ends.
fn observed<T: Body>(response: Response<T>, mut record: Record) -> Response<Observed<T>> {
    let status = response.status();
    if record.door == Door::Http {
        if response.body().size_hint().exact().is_some() {
            record.end(number(status));
        }
    } else if let Some(code) = grpc_code(response.headers()) {
        record.end(name(code).into());
    }
    response.map(|body| Observed { body, record, status })
}

fn number(status: StatusCode) -> Cow<'static, str> {
    status.as_str().to_owned().into()
}

/// The method's name; those that HTTP does not define are one.
fn method(method: &Method) -> &'static str {
    const KNOWN: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("OTHER")
}

fn grpc_code(headers: &HeaderMap) -> Option<tonic::Code> {
    headers.get("grpc-status").map(|code| tonic::Code::from_bytes(code.as_bytes()))
}

fn name(code: tonic::Code) -> &'static str {
    match code {
        tonic::Code::Ok => "ok",
        tonic::Code::Cancelled => "cancelled",
        tonic::Code::Unknown => "unknown",
        tonic::Code::InvalidArgument => "invalid_argument",
        tonic::Code::DeadlineExceeded => "deadline_exceeded",
        tonic::Code::NotFound => "not_found",
        tonic::Code::AlreadyExists => "already_exists",
        tonic::Code::PermissionDenied => "permission_denied",
        tonic::Code::ResourceExhausted => "resource_exhausted",
        tonic::Code::FailedPrecondition => "failed_precondition",
        tonic::Code::Aborted => "aborted",
        tonic::Code::OutOfRange => "out_of_range",
        tonic::Code::Unimplemented => "unimplemented",
        tonic::Code::Internal => "internal",
        tonic::Code::Unavailable => "unavailable",
        tonic::Code::DataLoss => "data_loss",
        tonic::Code::Unauthenticated => "unauthenticated",
    }
}

/// A body that ends its request's record: a gRPC one with the status in its trailers, any other with the response's.
pub struct Observed<T: Body> {
    body: T,
    record: Record,
    status: StatusCode,
}

impl<T: Body> Observed<T> {
    fn ended(&mut self) {
        // A gRPC body without trailers is a call cut short: the record's own end says so.
        if self.record.door == Door::Http {
            self.record.end(number(self.status));
        }
    }
}

impl<T: Body + Unpin> Body for Observed<T> {
    type Data = T::Data;
    type Error = T::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<T::Data>, T::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        match &polled {
            Poll::Ready(None) => self.ended(),
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(code) = frame.trailers_ref().and_then(grpc_code) {
                    self.record.end(name(code).into());
                }
            }
            _ => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<T: Body> Drop for Observed<T> {
    fn drop(&mut self) {
        if self.body.is_end_stream() {
            self.ended();
        }
    }
}
