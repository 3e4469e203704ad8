//! One connection, from the handshake to its end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tower::Service;

use super::activity::{Activity, Cut};
use super::exchange::{Exchange, Peer};
use super::streams::Streams;
use super::watched::Watched;
use super::{Certificates, Clients, Limits, Shutdown};
use crate::clock::Clock;

/// How long an HTTP/2 peer may be silent before it is sent a PING.
const PING: Duration = Duration::from_secs(10);

/// What the connections of a listener have in common.
pub(super) struct Shared<S> {
    pub(super) service: S,
    /// For who stands for itself.
    pub(super) builder: Builder<Streams>,
    /// For who stands for many.
    pub(super) shared_builder: Builder<Streams>,
    pub(super) tls: Option<Arc<Certificates>>,
    pub(super) limits: Limits,
    pub(super) clock: Clock,
    pub(super) http2_only: bool,
    pub(super) hsts: bool,
    pub(super) clients: Clients,
    pub(super) shutdown: Shutdown,
}

/// Bytes that an HTTP/2 peer may send on one stream before they are asked for: the protocol's initial window (RFC 9113
/// section 6.9.2).
const WINDOW: u32 = 65_535;

/// hyper's side of the limits. Its own timer for HTTP/1 headers stays off: it also ends connections that merely rest
/// between requests.
pub(super) fn builder(limits: &Limits) -> Builder<Streams> {
    let mut builder = Builder::new(Streams);
    builder.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(limits.header_bytes);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .max_concurrent_streams(limits.streams)
        // What comes before anybody asks for it is not counted as a body's memory: little may.
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(2 * WINDOW)
        // WatchEvents promises a sign of life every 15 seconds. A peer that vanished is noticed; answering PINGs alone does not
        // keep a connection open.
        .keep_alive_interval(PING)
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}

/// The same for a connection that carries the calls of many: they do not queue for streams, which would be in the order of
/// their arrival, whichever client they come from; and the peer may end them at any time.
pub(super) fn shared_builder(limits: &Limits) -> Builder<Streams> {
    let mut builder = builder(limits);
    builder.http2().max_concurrent_streams(u32::MAX).max_pending_accept_reset_streams(usize::MAX);
    builder
}

impl<S> Shared<S>
where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    /// Serves the connection until it ends.
    pub(super) async fn serve(self: Arc<Self>, stream: TcpStream, addr: SocketAddr, activity: Arc<Activity>) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%addr, %error, "the connection was gone at once");
            return;
        }
        let Some(tls) = &self.tls else {
            return self.speak(stream, Peer { addr, tls: false, certificate: None }, activity).await;
        };
        let tls = TlsAcceptor::from(tls.current());
        match self.clock.timeout(self.limits.tls_timeout, tls.accept(stream)).await {
            Ok(Ok(stream)) => {
                let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
                let peer = Peer { addr, tls: true, certificate: certificate.map(|it| it.clone().into_owned()) };
                self.speak(stream, peer, activity).await;
            }
            Ok(Err(error)) => tracing::debug!(%addr, %error, "TLS handshake failed"),
            Err(_) => tracing::debug!(%addr, "TLS handshake took too long"),
        }
    }

    async fn speak<I>(&self, io: I, peer: Peer, activity: Arc<Activity>)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (addr, many) = (peer.addr, self.clients.stands_for_many(&peer));
        let builder = if many { &self.shared_builder } else { &self.builder };
        let io = TokioIo::new(Watched { inner: io, activity: Arc::clone(&activity) });
        let service = Exchange {
            service: self.service.clone(),
            peer,
            activity: Arc::clone(&activity),
            http2_only: self.http2_only,
            hsts: self.hsts,
            clients: self.clients.clone(),
        };
        let mut connection = pin!(builder.serve_connection(io, service));
        let mut leaving = false;
        loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(%addr, error, "connection ended");
                    }
                    return;
                }
                () = self.shutdown.started(), if !leaving => {
                    leaving = true;
                    connection.as_mut().graceful_shutdown();
                }
                cut = activity.watch(&self.limits) => {
                    // A peer that is idle or does not read is asked to leave (GOAWAY, close_notify), and its connection is closed
                    // if it does not.
                    match cut {
                        Cut::Idle if !leaving => {}
                        Cut::Unread | Cut::TooManyUnread if many && activity.reset_unread(&self.limits) => continue,
                        Cut::Unread => activity.close_in(self.limits.stall_timeout),
                        _ => {
                            tracing::debug!(%addr, ?cut, "connection cut");
                            return;
                        }
                    }
                    leaving = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }
}
