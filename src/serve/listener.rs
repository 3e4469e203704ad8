//! The accept loop.

use std::convert::Infallible;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tower::Service;

use super::connection::{Shared, builder, shared_builder};
use super::connections::Connections;
use super::{Certificates, Clients, Limits, Shutdown};
use crate::clock::Clock;

/// A bound socket that is not served yet: connections wait in the kernel's queue until [`Listener::run`].
pub struct Listener {
    tcp: TcpListener,
    addr: SocketAddr,
    clock: Clock,
    limits: Limits,
    tls: Option<Arc<Certificates>>,
    http2_only: bool,
    hsts: bool,
    clients: Clients,
}

/// The address cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {addr}: is it taken, or not an address of this machine?")]
pub struct BindError {
    /// The address asked for.
    pub addr: SocketAddr,
    /// Why.
    pub source: std::io::Error,
}

impl Listener {
    /// Takes the address. Port 0 takes any free port: see [`Listener::addr`].
    ///
    /// # Errors
    /// [`BindError`].
    pub async fn bind(addr: SocketAddr, clock: Clock, limits: Limits) -> Result<Self, BindError> {
        let failed = |source| BindError { addr, source };
        let tcp = TcpListener::bind(addr).await.map_err(failed)?;
        let addr = tcp.local_addr().map_err(failed)?;
        Ok(Self { tcp, addr, clock, limits, tls: None, http2_only: false, hsts: false, clients: Clients::default() })
    }

    /// Speaks TLS, and reads the certificates again when they change.
    #[must_use]
    pub fn tls(mut self, certificates: Option<Certificates>) -> Self {
        self.tls = certificates.map(Arc::new);
        self
    }

    /// Tells clients apart in this way; by their sockets' addresses without.
    #[must_use]
    pub fn clients(mut self, clients: Clients) -> Self {
        self.clients = clients;
        self
    }

    /// Answers HTTP/1 with 505 and a word of explanation: for gRPC.
    #[must_use]
    pub fn http2_only(mut self) -> Self {
        self.http2_only = true;
        self
    }

    /// Tells browsers to come by https alone (RFC 6797): for a service whose URL is https, even where a proxy before it ends
    /// TLS.
    #[must_use]
    pub fn hsts(mut self, hsts: bool) -> Self {
        self.hsts = hsts;
        self
    }

    /// The address bound.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves until `shutdown` starts, then lets the requests in flight finish within the grace period. Gives the number
    /// of connections that had to be cut then.
    pub async fn run<S>(self, service: S, shutdown: Shutdown) -> usize
    where
        S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible> + Clone + Send + Sync + 'static,
        S::Future: Send,
    {
        let Self { tcp, addr, clock, limits, tls, http2_only, hsts, clients } = self;
        let open = Connections::new(&limits, clients.clone());
        let grace = limits.shutdown_grace;
        // Ends with this run.
        let mut watching = JoinSet::new();
        if let Some(certificates) = tls.clone() {
            let clock = clock.clone();
            watching.spawn(async move { certificates.watch(&clock).await });
        }
        let shared = Arc::new(Shared {
            service,
            builder: builder(&limits),
            shared_builder: shared_builder(&limits),
            tls,
            limits,
            clock: clock.clone(),
            http2_only,
            hsts,
            clients,
            shutdown: shutdown.clone(),
        });
        let mut connections = JoinSet::new();
        loop {
            let (stream, peer) = tokio::select! {
                biased;
                () = shutdown.started() => break,
                () = open.unread_exceeded() => {
                    open.cut_most_unread();
                    continue;
                }
                next = accept(&tcp, &clock) => next,
            };
            let Some(admitted) = open.admit(peer.ip(), &clock) else {
                tracing::debug!(%peer, "too many connections: refused");
                continue;
            };
            let shared = Arc::clone(&shared);
            connections.spawn(async move {
                tokio::select! {
                    biased;
                    () = admitted.must_end() => {}
                    () = shared.serve(stream, peer, Arc::clone(&admitted.activity)) => {}
                }
            });
            while connections.try_join_next().is_some() {}
        }
        drop(tcp);
        tracing::info!(%addr, open = connections.len(), "no longer accepting");
        let drained = clock.timeout(grace, async { while connections.join_next().await.is_some() {} }).await;
        if drained.is_err() {
            tracing::warn!(%addr, cut = connections.len(), "the grace period is over");
        }
        connections.len()
    }
}

/// The next connection.
async fn accept(tcp: &TcpListener, clock: &Clock) -> (TcpStream, SocketAddr) {
    loop {
        match tcp.accept().await {
            Ok(accepted) => return accepted,
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
            Err(error) => {
                // Out of descriptors or memory: trying again at once would only spin.
                tracing::error!(%error, "cannot accept a connection");
                clock.sleep(Duration::from_millis(100)).await;
            }
        }
    }
}
