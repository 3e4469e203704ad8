//! One request and its response, on a connection.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use axum::body::Body;
use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;
use rustls::pki_types::CertificateDer;
use tower::{Service, ServiceExt as _};

use super::activity::Activity;
use super::client::{CLIENT_ADDRESS, Clients};
use super::response::{Begun, Tracked, tracked};

/// Who is at the other end of the connection; in the extensions of every request.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Its address: the proxy's, behind one.
    pub addr: SocketAddr,
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// The certificate that it proved (mutual TLS), verified against the configured authorities.
    pub certificate: Option<CertificateDer<'static>>,
}

/// The service of one connection.
pub(super) struct Exchange<S> {
    pub(super) service: S,
    pub(super) peer: Peer,
    pub(super) activity: Arc<Activity>,
    pub(super) http2_only: bool,
    pub(super) hsts: bool,
    pub(super) clients: Clients,
}

impl<S> hyper::service::Service<Request<Incoming>> for Exchange<S>
where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Tracked>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let (begun, hsts) = (Begun::new(Arc::clone(&self.activity)), self.hsts);
        if self.http2_only && request.version() < Version::HTTP_2 {
            let text = "This is the gRPC listener: it speaks HTTP/2 only. REST has its own.\n";
            let answer = hang_up(StatusCode::HTTP_VERSION_NOT_SUPPORTED, text);
            return Box::pin(async move { Ok(tracked(answer, begun, hsts)) });
        }
        // RFC 9112 section 3.2: with none or two, a proxy before us and we could take it for another host's.
        if request.version() == Version::HTTP_11 && request.headers().get_all(header::HOST).iter().count() != 1 {
            let answer = hang_up(StatusCode::BAD_REQUEST, "HTTP/1.1 requests have exactly one Host header.\n");
            return Box::pin(async move { Ok(tracked(answer, begun, hsts)) });
        }
        // Only a gRPC listener is called by REST fronts.
        let client = self.clients.of(&self.peer, request.headers(), self.http2_only);
        request.headers_mut().insert(CLIENT_ADDRESS, client.header());
        request.extensions_mut().insert(client);
        request.extensions_mut().insert(self.peer.clone());
        let service = self.service.clone();
        Box::pin(async move {
            let response = service.oneshot(request).await?;
            Ok(tracked(response, begun, hsts))
        })
    }
}

/// The last answer of a connection whose peer speaks something else.
fn hang_up(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}
