//! What lies under the generated clients: the services of this process, or a channel to another.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::TryFutureExt as _;
use futures::future::BoxFuture;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic::transport::Channel;
use tonic::{Status, TimeoutExpired};
use tower::{Service, ServiceExt as _};

use crate::direct::{Called, Direct, Watch};

/// Where gRPC says how a call ended.
const GRPC_STATUS: &str = "grpc-status";

type Request = http::Request<Body>;
type Response = http::Response<Body>;

/// The one value that says where the gRPC services are. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Transport {
    /// Services of this process, without a socket. The shortest way.
    Local(Local),
    /// Services of this process behind an axum router, with whatever layers it has.
    Routes(Routes),
    /// Behind connections.
    Remote(Remote),
}

/// Connections to the services of another process. Whatever breaks on them is `UNAVAILABLE`.
#[derive(Debug, Clone)]
pub struct Remote {
    calls: Channel,
    streams: Channel,
}

impl Remote {
    /// Streams, whose readers may be slow, go over a connection of their own: they share no window with other calls.
    #[must_use]
    pub fn new(calls: Channel, streams: Channel) -> Self {
        Self { calls, streams }
    }
}

impl From<Local> for Transport {
    fn from(local: Local) -> Self {
        Self::Local(local)
    }
}

impl From<Routes> for Transport {
    fn from(routes: Routes) -> Self {
        Self::Routes(routes.prepare())
    }
}

impl From<Channel> for Transport {
    fn from(channel: Channel) -> Self {
        Self::Remote(Remote::new(channel.clone(), channel))
    }
}

impl From<Remote> for Transport {
    fn from(remote: Remote) -> Self {
        Self::Remote(remote)
    }
}

/// The services of this process.
#[derive(Clone, Default)]
pub struct Local(Arc<Services>);

#[derive(Clone, Default)]
struct Services {
    /// Found by their names.
    named: Vec<(&'static str, Box<dyn Dispatch>)>,
    direct: Direct,
}

impl Local {
    /// No services yet: each call answers `UNIMPLEMENTED`.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// These services and one more: a generated server, or one in layers that keep its name
    /// (`tonic::service::LayerExt::named_layer`).
    #[must_use]
    pub fn service<S, B>(mut self, service: S) -> Self
    where
        S: Service<Request, Response = http::Response<B>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        Arc::make_mut(&mut self.0).named.push((S::NAME, Box::new(Holder(service))));
        self
    }

    /// Unary calls of a service go to its generated trait, `dyn` of which is `T`, without client, codec and frames. It is
    /// given as [`service`](Self::service) too, for everybody else who calls it. Services that stream are called through
    /// their clients alone.
    #[must_use]
    pub fn direct<T: ?Sized + Send + Sync + 'static>(mut self, service: Arc<T>) -> Self {
        Arc::make_mut(&mut self.0).direct.add(service);
        self
    }

    /// `watch` is told of every call that goes to a trait.
    #[must_use]
    pub fn watched(mut self, watch: Watch) -> Self {
        Arc::make_mut(&mut self.0).direct.watch(watch);
        self
    }

    fn call(&self, request: Request) -> BoxFuture<'static, Result<Response, Infallible>> {
        let name = request.uri().path().get(1..).and_then(|path| path.split_once('/')).map(|(name, _)| name);
        match self.0.named.iter().find(|(known, _)| Some(*known) == name) {
            Some((_, service)) => service.call(request),
            None => Box::pin(std::future::ready(Ok(tonic::Status::unimplemented("no such service").into_http()))),
        }
    }
}

impl Transport {
    /// The way for calls that answer with a stream.
    pub(crate) fn for_streams(&self) -> Self {
        match self {
            Self::Remote(Remote { streams, .. }) => Self::from(streams.clone()),
            Self::Local(_) | Self::Routes(_) => self.clone(),
        }
    }

    /// A service of this process that was given as [`Local::direct`].
    #[must_use]
    pub fn direct<T: ?Sized + 'static>(&self) -> Option<Called<T>> {
        match self {
            Self::Local(local) => local.0.direct.find(),
            Self::Routes(_) | Self::Remote(_) => None,
        }
    }
}

impl std::fmt::Debug for Local {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.named.iter().map(|(name, _)| name)).finish()
    }
}

/// A service of any type, called on a clone of it.
trait Dispatch: Send + Sync {
    fn call(&self, request: Request) -> BoxFuture<'static, Result<Response, Infallible>>;
    fn boxed(&self) -> Box<dyn Dispatch>;
}

impl Clone for Box<dyn Dispatch> {
    fn clone(&self) -> Self {
        (**self).boxed()
    }
}

struct Holder<S>(S);

impl<S, B> Dispatch for Holder<S>
where
    S: Service<Request, Response = http::Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn call(&self, request: Request) -> BoxFuture<'static, Result<Response, Infallible>> {
        Box::pin(self.0.clone().oneshot(request).map_ok(|response| response.map(Body::new)))
    }

    fn boxed(&self) -> Box<dyn Dispatch> {
        Box::new(Self(self.0.clone()))
    }
}

impl Service<Request> for Transport {
    type Response = Response;
    type Error = tonic::transport::Error;
    type Future = TransportFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        match self {
            Self::Local(_) | Self::Routes(_) => Poll::Ready(Ok(())),
            Self::Remote(remote) => remote.calls.poll_ready(cx),
        }
    }

    fn call(&mut self, request: Request) -> Self::Future {
        match self {
            Self::Local(local) => TransportFuture::Local(local.call(request)),
            Self::Routes(routes) => TransportFuture::Local(Box::pin(routes.call(request))),
            Self::Remote(remote) => TransportFuture::Remote(Box::new(remote.calls.call(request))),
        }
    }
}

/// The answer of a [`Transport`].
pub enum TransportFuture {
    /// From this process.
    Local(BoxFuture<'static, Result<Response, Infallible>>),
    /// From the other end.
    Remote(Box<<Channel as Service<Request>>::Future>),
}

impl std::fmt::Debug for TransportFuture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TransportFuture")
    }
}

impl Future for TransportFuture {
    type Output = Result<Response, tonic::transport::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Local(future) => future.as_mut().poll(cx).map(|answer| match answer {
                Ok(response) => Ok(response),
                Err(never) => match never {},
            }),
            Self::Remote(future) => Pin::new(future.as_mut()).poll(cx).map(|answer| {
                Ok(match answer {
                    Ok(response) => whole(response),
                    Err(error) => broken(&error).into_http(),
                })
            }),
        }
    }
}

/// A response of the services ends with their status, in its header or its trailers. One without it was cut off on the way (HTTP/2
/// resets with `CANCEL` or `NO_ERROR` look like an end), or comes from a proxy before them.
fn whole(response: Response) -> Response {
    let has_status = response.headers().contains_key(GRPC_STATUS);
    if !has_status && response.status() != http::StatusCode::OK {
        return Status::unavailable(format!("the services' place was taken by HTTP {}", response.status())).into_http();
    }
    response.map(|body| Body::new(Whole { body, has_status }))
}

struct Whole {
    body: Body,
    /// Its status has come, or that it will not was said.
    has_status: bool,
}

impl http_body::Body for Whole {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Status>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            self.has_status |= frame.trailers_ref().is_some_and(|it| it.contains_key(GRPC_STATUS));
        }
        Poll::Ready(match frame {
            Some(Ok(frame)) if frame.is_data() || self.has_status => Some(Ok(frame)),
            Some(Err(status)) => Some(Err(broken(&status))),
            None if self.has_status => None,
            // Trailers without a status are no end either.
            Some(Ok(_)) | None => {
                self.has_status = true;
                Some(Err(Status::unavailable("the response of the services was cut off")))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.has_status && self.body.is_end_stream()
    }
}

/// What a connection's failure is to a caller: tonic makes `UNKNOWN`, `INTERNAL` or `CANCELLED` of most. What the services
/// themselves say comes in trailers and is no error here.
fn broken(error: &(dyn std::error::Error + 'static)) -> Status {
    let causes = || std::iter::successors(Some(error), |error| error.source());
    if causes().any(|error| error.is::<TimeoutExpired>()) {
        return Status::deadline_exceeded("the services did not answer in time");
    }
    let causes: Vec<_> = causes().map(ToString::to_string).collect();
    Status::unavailable(format!("the connection to the services failed: {}", causes.join(": ")))
}
