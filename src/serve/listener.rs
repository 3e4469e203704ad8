//! The accept loop.

use std::convert::Infallible;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tower::Service;

use super::connection::{Shared, builder};
use super::{Clients, Limits, Shutdown};
use crate::clock::Clock;

/// A bound socket that is not served yet: connections wait in the kernel's queue until [`Listener::run`].
pub struct Listener {
    tcp: TcpListener,
    addr: SocketAddr,
    clock: Clock,
    limits: Limits,
    tls: Option<Arc<ServerConfig>>,
    http2_only: bool,
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
        Ok(Self { tcp, addr, clock, limits, tls: None, http2_only: false, clients: Clients::default() })
    }

    /// Speaks TLS.
    #[must_use]
    pub fn tls(mut self, config: Option<Arc<ServerConfig>>) -> Self {
        self.tls = config;
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
        let Self { tcp, addr, clock, limits, tls, http2_only, clients } = self;
        let slots = Arc::new(Semaphore::new(limits.connections.min(Semaphore::MAX_PERMITS)));
        let grace = limits.shutdown_grace;
        let shared = Arc::new(Shared {
            service,
            builder: builder(&limits),
            tls: tls.map(tokio_rustls::TlsAcceptor::from),
            limits,
            clock: clock.clone(),
            http2_only,
            clients,
            shutdown: shutdown.clone(),
        });
        let mut connections = JoinSet::new();
        loop {
            let next = tokio::select! {
                biased;
                () = shutdown.started() => break,
                next = accept(&tcp, &slots, &clock) => next,
            };
            let Some((stream, peer, slot)) = next else { break };
            let shared = Arc::clone(&shared);
            connections.spawn(async move {
                shared.serve(stream, peer).await;
                drop(slot);
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

/// The next connection, once there is room for it. None only if the semaphore were closed, which nobody does.
async fn accept(
    tcp: &TcpListener,
    slots: &Arc<Semaphore>,
    clock: &Clock,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.ok()?;
    loop {
        match tcp.accept().await {
            Ok((stream, peer)) => return Some((stream, peer, slot)),
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
            Err(error) => {
                // Out of descriptors or memory: trying again at once would only spin.
                tracing::error!(%error, "cannot accept a connection");
                clock.sleep(Duration::from_millis(100)).await;
            }
        }
    }
}
