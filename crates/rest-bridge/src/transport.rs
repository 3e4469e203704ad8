//! What lies under the generated clients: the services of this process, or a channel to another.

use std::pin::Pin;
use std::task::{Context, Poll};

use tonic::body::Body;
use tonic::service::Routes;
use tonic::transport::Channel;
use tower::Service;

/// The one value that says where the gRPC services are. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Transport {
    /// In this process, without a socket; layers can be put on with [`Routes::into_axum_router`].
    Local(Routes),
    /// Behind a connection.
    Remote(Channel),
}

impl From<Routes> for Transport {
    fn from(routes: Routes) -> Self {
        Self::Local(routes.prepare())
    }
}

impl From<Channel> for Transport {
    fn from(channel: Channel) -> Self {
        Self::Remote(channel)
    }
}

impl Service<http::Request<Body>> for Transport {
    type Response = http::Response<Body>;
    type Error = tonic::transport::Error;
    type Future = TransportFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        match self {
            Self::Local(_) => Poll::Ready(Ok(())),
            Self::Remote(channel) => channel.poll_ready(cx),
        }
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        match self {
            Self::Local(routes) => TransportFuture::Local(routes.call(request)),
            Self::Remote(channel) => TransportFuture::Remote(channel.call(request)),
        }
    }
}

/// The answer of a [`Transport`].
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "it is polled where it is made; a box would cost an allocation a call")]
pub enum TransportFuture {
    /// From this process.
    Local(<Routes as Service<http::Request<Body>>>::Future),
    /// From the other end.
    Remote(<Channel as Service<http::Request<Body>>>::Future),
}

impl Future for TransportFuture {
    type Output = Result<http::Response<Body>, tonic::transport::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Local(future) => Pin::new(future).poll(cx).map(|answer| match answer {
                Ok(response) => Ok(response),
                Err(never) => match never {},
            }),
            Self::Remote(future) => Pin::new(future).poll(cx),
        }
    }
}
