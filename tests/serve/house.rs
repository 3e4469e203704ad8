//! A running listener, and clients for it.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Extension;
use axum::routing::get;
use bytes::Bytes;
use customerd::clock::Clock;
use customerd::serve::{Limits, Listener, Peer, Shutdown};
use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// A listener that is being served.
pub(crate) struct House {
    pub(crate) addr: SocketAddr,
    pub(crate) shutdown: Shutdown,
    pub(crate) done: JoinHandle<usize>,
}

/// Starts one; `shape` may give it TLS and such.
pub(crate) async fn open(limits: Limits, router: Router, shape: impl FnOnce(Listener) -> Listener) -> House {
    open_at(Clock::system(), limits, router, shape).await
}

/// The same by another clock.
pub(crate) async fn open_at(
    clock: Clock,
    limits: Limits,
    router: Router,
    shape: impl FnOnce(Listener) -> Listener,
) -> House {
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), clock, limits).await.unwrap();
    let (listener, shutdown) = (shape(listener), Shutdown::new());
    let addr = listener.addr();
    House { addr, shutdown: shutdown.clone(), done: tokio::spawn(listener.run(router, shutdown)) }
}

/// `GET /` says how the server sees the request.
pub(crate) fn mirror() -> Router {
    let seen = |Extension(peer): Extension<Peer>, request: axum::extract::Request| async move {
        let cert = if peer.certificate.is_some() { " certified" } else { "" };
        format!("{:?} {} tls={}{cert}", request.version(), peer.addr.ip(), peer.tls)
    };
    Router::new().route("/", get(seen))
}

/// A router whose `/wait` tells that it has begun, and answers when it is told to.
pub(crate) fn waiting() -> (Router, mpsc::UnboundedReceiver<tokio::sync::oneshot::Sender<()>>) {
    let (begun, handlers) = mpsc::unbounded_channel();
    let wait = move || async move {
        let (release, released) = tokio::sync::oneshot::channel();
        begun.send(release).unwrap();
        match released.await {
            Ok(()) => "finished",
            Err(_) => "abandoned",
        }
    };
    (Router::new().route("/wait", get(wait)), handlers)
}

/// Long enough never to matter in a test.
pub(crate) fn patient() -> Limits {
    let long = Duration::from_secs(600);
    Limits {
        header_timeout: long,
        idle_timeout: long,
        shutdown_grace: long,
        request_deadline: long,
        ..Limits::default()
    }
}

pub(crate) async fn connect(addr: SocketAddr) -> TcpStream {
    TcpStream::connect(addr).await.unwrap()
}

/// Everything until the server closes; a reset counts as closing.
pub(crate) async fn rest(mut stream: TcpStream) -> String {
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text).await;
    String::from_utf8(text).unwrap()
}

pub(crate) async fn h1<I>(io: I) -> http1::SendRequest<Body>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(io)).await.unwrap();
    tokio::spawn(connection);
    sender
}

pub(crate) async fn h2<I>(io: I) -> http2::SendRequest<Body>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(io)).await.unwrap();
    tokio::spawn(connection);
    sender
}

pub(crate) fn request(path: &str) -> Request<Body> {
    Request::get(format!("http://localhost{path}")).header("host", "localhost").body(Body::empty()).unwrap()
}

pub(crate) async fn text<B>(response: Response<B>) -> String
where
    B: http_body::Body<Data = Bytes>,
    B::Error: std::fmt::Debug,
{
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().into()).unwrap()
}
