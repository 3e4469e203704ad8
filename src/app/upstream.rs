//! A front's connections to its backend.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::Context as _;
use futures::future::BoxFuture;
use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use rest_bridge::Remote;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::transport::Channel;
use tower::{Service, ServiceExt as _};

use super::start::FRONT_HEADERS;
use crate::config;

/// Time to connect, TLS included: a backend that accepts and then says nothing is tried again.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a connection may be silent before the backend is sent a PING, and how long it has for the response: a connection
/// that is gone without a word is given up after their sum, what was in flight on it is answered 503.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// Bytes that an event stream may have on the way to a front: what HTTP/2 begins with.
const STREAM_WINDOW: u32 = 65_535;
/// The largest window of a connection (RFC 9113 section 6.9.1): that of 32,768 event streams, so that those which nobody
/// reads leave room for the others.
const WINDOW_MAX: u32 = (1 << 31) - 1;

/// A front's connections to its backend, each made when it is first needed and again when it breaks.
pub(super) struct Upstream {
    /// Of callers.
    pub(super) calls: Remote,
    /// Of readiness, which no caller holds up.
    pub(super) health: Channel,
}

impl Upstream {
    /// As the flags say. Nothing is connected yet.
    ///
    /// # Errors
    ///
    /// A file cannot be read or used.
    pub(super) fn new(args: &config::Upstream) -> anyhow::Result<Self> {
        let url = args.upstream.as_ref().context("--only rest needs --upstream URL")?;
        let (host, port) = (url.host_str(), url.port_or_known_default());
        let (host, port) = host.zip(port).context("--upstream: want a URL such as http://10.0.0.5:50051")?;
        let connector = Connector::new(args, url.scheme() == "https", host)?;
        // TLS is the connector's business, so that tonic sees a plain address; requests name the URL.
        let endpoint = Channel::from_shared(format!("http://{host}:{port}"))?
            .origin(url.as_str().parse()?)
            .connect_timeout(CONNECT)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .keep_alive_while_idle(true)
            .http2_max_header_list_size(u32::try_from(FRONT_HEADERS).unwrap_or(u32::MAX));
        let streams =
            endpoint.clone().initial_stream_window_size(STREAM_WINDOW).initial_connection_window_size(WINDOW_MAX);
        let [calls, health] = [(); 2].map(|()| endpoint.connect_with_connector_lazy(connector.clone()));
        Ok(Self { calls: Remote::new(calls, streams.connect_with_connector_lazy(connector)), health })
    }
}

/// Makes connections.
#[derive(Clone)]
struct Connector {
    tcp: HttpConnector,
    tls: Option<Arc<Tls>>,
}

struct Tls {
    args: config::Upstream,
    name: ServerName<'static>,
    usable: Mutex<Usable>,
}

/// What the files held when they could last be used, and why they cannot be used now.
struct Usable {
    config: Arc<ClientConfig>,
    refused: Option<String>,
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

impl Connector {
    fn new(args: &config::Upstream, tls: bool, host: &str) -> anyhow::Result<Self> {
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        // Shared by the addresses of the name.
        tcp.set_connect_timeout(Some(CONNECT));
        let tls = if tls {
            let name = host.trim_start_matches('[').trim_end_matches(']').to_owned();
            let usable = Mutex::new(Usable { config: Arc::new(client_config(args)?), refused: None });
            Some(Arc::new(Tls { args: args.clone(), name: ServerName::try_from(name)?, usable }))
        } else {
            None
        };
        Ok(Self { tcp, tls })
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Box<dyn Io>>;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, address: Uri) -> Self::Future {
        let Self { tcp, tls } = self.clone();
        Box::pin(async move {
            let stream = tcp.oneshot(address).await?.into_inner();
            let Some(tls) = tls else { return Ok(TokioIo::new(Box::new(stream) as Box<dyn Io>)) };
            let connector = tokio_rustls::TlsConnector::from(tls.config());
            let stream = connector.connect(tls.name.clone(), stream).await?;
            if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
                return Err("the backend does not offer HTTP/2 (ALPN h2)".into());
            }
            Ok(TokioIo::new(Box::new(stream) as Box<dyn Io>))
        })
    }
}

impl Tls {
    /// Reads the files for each connection, so that renewed ones are in use from the next on. While they cannot be used, those
    /// read before are.
    fn config(&self) -> Arc<ClientConfig> {
        let read = client_config(&self.args);
        let mut usable = self.usable.lock().unwrap_or_else(PoisonError::into_inner);
        match read {
            Ok(config) => *usable = Usable { config: Arc::new(config), refused: None },
            Err(error) => {
                let error = format!("{error:#}");
                if usable.refused.as_ref() != Some(&error) {
                    tracing::warn!(
                        error,
                        "the certificates for the backend cannot be used; the earlier ones stay in use"
                    );
                }
                usable.refused = Some(error);
            }
        }
        Arc::clone(&usable.config)
    }
}

fn client_config(args: &config::Upstream) -> anyhow::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    match &args.upstream_ca {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(file) => {
            for certificate in certificates(file)? {
                roots.add(certificate).with_context(|| format!("cannot use {}", file.display()))?;
            }
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let builder = builder.with_root_certificates(roots);
    let mut config = match args.identity() {
        None => builder.with_no_client_auth(),
        Some(files) => {
            let key = PrivateKeyDer::from_pem_file(&files.key)
                .with_context(|| format!("cannot read a private key from {}", files.key.display()))?;
            builder
                .with_client_auth_cert(certificates(&files.cert)?, key)
                .with_context(|| format!("cannot use {}", files.cert.display()))?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

fn certificates(file: &std::path::Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let read = read.with_context(|| format!("cannot read a certificate from {}", file.display()))?;
    anyhow::ensure!(!read.is_empty(), "there is no certificate in {}", file.display());
    Ok(read)
}
