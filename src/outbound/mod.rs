//! HTTP to addresses that partners chose: nothing they name, answer or redirect to is trusted.
//!
//! One POST a call, over HTTP/1.1 only (fewer ways to flood than HTTP/2). Addresses are checked where the connection is
//! made; TLS is verified against the webpki roots by host name; no redirects, proxies, cookies or decompression; one
//! deadline over everything; limits on headers and body. Signing is [`standard`] and [`signed`].

mod answer;
mod connector;
mod error;
mod network;
pub mod signed;
pub mod standard;
mod stream;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};

pub use answer::{Answer, SNIPPET_MAX};
pub use error::Error;
pub use network::{Network, SystemNetwork};

use crate::clock::Clock;
use crate::domain::callback_url::{CallbackUrl, CallbackUrlError};
use crate::domain::reach::Reach;
use connector::{Connector, Shared};

/// Most bytes of a body that are read; at more the connection is closed, and the answer counts by its status.
pub const BODY_MAX: usize = 64 * 1024;
/// Most bytes of a status line with its headers. Of headers, hyper reads at most 100.
pub const HEAD_MAX: usize = 16 * 1024;
/// The contract's total deadline: name, connection, TLS, request and the whole answer.
pub const DEADLINE: Duration = Duration::from_secs(15);

/// What a [`Client`] is made of.
pub struct Options {
    /// For deadlines and latencies.
    pub clock: Clock,
    /// How names resolve and connections are made.
    pub network: Arc<dyn Network>,
    /// Certificates trusted besides the webpki roots.
    pub extra_roots: Vec<CertificateDer<'static>>,
    /// Over each call in total.
    pub deadline: Duration,
    /// Connections kept open per origin while nothing is sent.
    pub idle_per_origin: usize,
    /// How long they are kept.
    pub idle_timeout: Duration,
}

impl Options {
    /// The contract's limits on the system's network.
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            network: Arc::new(SystemNetwork),
            extra_roots: Vec::new(),
            deadline: DEADLINE,
            idle_per_origin: 1024,
            idle_timeout: Duration::from_secs(30),
        }
    }
}

/// Where calls go, judged once for all of them. What a name stands for is judged whenever a connection is made.
#[derive(Debug, Clone)]
pub struct Target {
    uri: Uri,
    reach: Reach,
}

impl Target {
    /// Judges a URL by the rules of [`CallbackUrl::parse`], for connections that may reach so far.
    ///
    /// # Errors
    /// [`Error::Url`]
    pub fn new(url: &str, reach: Reach) -> Result<Self, Error> {
        let url = CallbackUrl::parse(url, reach)?;
        let uri = Uri::try_from(url.url().as_str()).map_err(|_| CallbackUrlError::Malformed("Not a valid URL."))?;
        Ok(Self { uri, reach })
    }
}

type Http = legacy::Client<Connector, Full<Bytes>>;
type Outgoing = http::Request<Full<Bytes>>;

/// Sends webhooks. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Client {
    global: Http,
    private: Http,
    shared: Arc<Shared>,
}

impl Client {
    /// A client with pools of its own.
    ///
    /// # Errors
    /// When an extra root is no certificate.
    pub fn new(options: Options) -> Result<Self, rustls::Error> {
        let tls = Arc::new(tls_config(options.extra_roots)?).into();
        let shared = Arc::new(Shared {
            clock: options.clock,
            network: options.network,
            tls,
            deadline: options.deadline,
            connections: AtomicU64::new(0),
        });
        let pool = |reach| {
            legacy::Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(options.idle_timeout)
                .pool_max_idle_per_host(options.idle_per_origin)
                .http1_max_buf_size(HEAD_MAX)
                .build(Connector { shared: Arc::clone(&shared), reach })
        };
        Ok(Self { global: pool(Reach::Global), private: pool(Reach::Private), shared })
    }

    /// Posts a message, and always answers: what went wrong is in [`Answer::error`], within the deadline. Its headers are
    /// `content-type`, the signatures, and what else belongs to it; `host`, `content-length`, `accept-encoding` and `user-agent` are
    /// set here. The body is sent as it is.
    pub async fn post(&self, target: &Target, headers: HeaderMap, body: Bytes) -> Answer {
        let start = self.shared.clock.monotonic();
        let mut answer = Answer::default();
        let exchange = self.exchange(target.reach, outgoing(target, headers, body), &mut answer);
        let result = self.shared.clock.timeout(self.shared.deadline, exchange).await;
        answer.error = result.unwrap_or(Err(Error::Deadline)).err();
        answer.latency = self.shared.clock.monotonic().saturating_sub(start);
        answer
    }

    /// How many TCP connections this client has begun.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Relaxed)
    }

    async fn exchange(&self, reach: Reach, outgoing: Outgoing, answer: &mut Answer) -> Result<(), Error> {
        let http = match reach {
            Reach::Global => &self.global,
            Reach::Private => &self.private,
        };
        let response = http.request(outgoing).await.map_err(|error| Error::from_http(&error))?;
        answer.status = Some(response.status().as_u16());
        answer.retry_after = answer::retry_after(response.headers());
        let (mut body, mut read, mut kept) = (response.into_body(), 0, Vec::new());
        while read <= BODY_MAX
            && let Some(frame) = body.frame().await
        {
            let frame = frame.map_err(|error| Error::from_http(&error))?;
            let Some(data) = frame.data_ref() else { continue };
            read += data.len();
            kept.extend_from_slice(&data[..data.len().min(SNIPPET_MAX - kept.len())]);
            if !kept.is_empty() {
                answer.snippet = Some(answer::printable(&kept, SNIPPET_MAX));
            }
        }
        Ok(())
    }
}

fn outgoing(target: &Target, headers: HeaderMap, body: Bytes) -> Outgoing {
    let mut outgoing = Outgoing::new(Full::new(body));
    *outgoing.method_mut() = Method::POST;
    *outgoing.uri_mut() = target.uri.clone();
    *outgoing.headers_mut() = headers;
    let headers = outgoing.headers_mut();
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("customerd/", env!("CARGO_PKG_VERSION"))));
    outgoing
}

fn tls_config(extra_roots: Vec<CertificateDer<'static>>) -> Result<ClientConfig, rustls::Error> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    for root in extra_roots {
        roots.add(root)?;
    }
    let mut config = ClientConfig::builder_with_provider(rustls::crypto::aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
