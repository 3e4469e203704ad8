//! Opens connections, and is the one place where an address is judged: what was checked is what is connected to.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tower::Service;

use super::error::Error;
use super::network::Network;
use super::stream::{Stream, Transport};
use crate::clock::Clock;
use crate::domain::reach::Reach;

/// How many of a name's addresses are tried.
const ADDRESSES_TRIED: usize = 4;

/// What the connectors of one client share.
pub(super) struct Shared {
    pub(super) clock: Clock,
    pub(super) network: Arc<dyn Network>,
    pub(super) tls: TlsConnector,
    /// For a connection with its TLS session: also one that nobody waits for any more.
    pub(super) deadline: Duration,
    /// TCP connections begun.
    pub(super) connections: AtomicU64,
}

/// Connects within one [`Reach`]. Each has a pool to itself, so that a connection made under one is never used under another.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) shared: Arc<Shared>,
    pub(super) reach: Reach,
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Self::Response, Error>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let limit = this.shared.clock.timeout(this.shared.deadline, this.open(&uri));
            limit.await.unwrap_or(Err(Error::Deadline)).map(TokioIo::new)
        })
    }
}

impl Connector {
    async fn open(&self, uri: &Uri) -> Result<Stream, Error> {
        let host = uri.host().ok_or(Error::Resolve)?.trim_start_matches('[').trim_end_matches(']');
        let secure = uri.scheme_str() == Some("https");
        if !secure && self.reach != Reach::Private {
            return Err(Error::AddressForbidden);
        }
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let stream = self.connect(&self.addresses(host).await?, port).await?;
        if !secure {
            return Ok(Stream::new(Transport::Plain(stream)));
        }
        let name = ServerName::try_from(host.strip_suffix('.').unwrap_or(host).to_owned());
        let name = name.map_err(|_| Error::Tls("not a name that a certificate can have".to_owned()))?;
        let stream = self.shared.tls.connect(name, stream).await.map_err(|error| Error::from_tls(&error))?;
        Ok(Stream::new(Transport::Tls(Box::new(stream))))
    }

    /// The host's addresses, all of them allowed. One bad one spoils the answer: which one is used would otherwise be left
    /// to chance, or to whoever runs the name server.
    async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, Error> {
        let addresses = match host.parse() {
            Ok(literal) => vec![literal],
            Err(_) => self.shared.network.resolve(host).await.map_err(|_| Error::Resolve)?,
        };
        if addresses.is_empty() {
            return Err(Error::Resolve);
        }
        if !addresses.iter().all(|address| self.reach.permits(*address)) {
            return Err(Error::AddressForbidden);
        }
        Ok(addresses)
    }

    async fn connect(&self, addresses: &[IpAddr], port: u16) -> Result<TcpStream, Error> {
        let mut failure = Error::Resolve;
        // Each address gets an equal part, so that a silent first one does not use the deadline up.
        let tried = &addresses[..addresses.len().min(ADDRESSES_TRIED)];
        let part = self.shared.deadline / u32::try_from(tried.len() + 1).unwrap_or(1);
        for address in tried {
            self.shared.connections.fetch_add(1, Ordering::Relaxed);
            let connecting = self.shared.network.connect(SocketAddr::new(*address, port));
            failure = match self.shared.clock.timeout(part, connecting).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => Error::Connect(error.kind()),
                Err(_) => Error::Connect(std::io::ErrorKind::TimedOut),
            };
        }
        Err(failure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbound::{Client, Options};

    /// Callers judge the URL first; this is what holds if one of them does not.
    #[tokio::test]
    async fn literals_and_plain_http_are_judged_here_too() {
        let client = Client::new(Options::new(Clock::system())).unwrap();
        for (uri, reach) in [
            ("https://127.0.0.1:1/", Reach::Global),
            ("https://[::1]:1/", Reach::Global),
            ("https://[::ffff:127.0.0.1]:1/", Reach::Private),
            ("http://93.184.216.34/", Reach::Global),
            ("http://169.254.169.254/", Reach::Private),
        ] {
            let mut connector = Connector { shared: Arc::clone(&client.shared), reach };
            let error = connector.call(Uri::from_static(uri)).await.err();
            assert_eq!(error, Some(Error::AddressForbidden), "{uri}");
        }
        assert_eq!(client.connections(), 0);
    }
}
