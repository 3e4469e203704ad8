//! One request on one connection, exactly as written.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::{AUTHORITY, Answer, ORIGIN};

/// The version of HTTP.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Http {
    One,
    /// In clear text, without an upgrade.
    Two,
}

/// Sends a request and reads its answer.
pub async fn exchange(
    (to, version): (SocketAddr, Http),
    (method, target): (&Method, &str),
    fields: &[(String, String)],
    body: Vec<u8>,
) -> Answer {
    let uri = if version == Http::Two { format!("{ORIGIN}{target}") } else { target.to_owned() };
    let mut request = Request::builder().method(method).uri(uri);
    if version == Http::One && !fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        request = request.header("host", AUTHORITY);
    }
    for (name, value) in fields {
        request = request.header(name, value.as_bytes());
    }
    let request = request.body(Full::new(Bytes::from(body))).unwrap();
    let io = TokioIo::new(TcpStream::connect(to).await.unwrap());
    let response = if version == Http::Two {
        let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        sender.send_request(request).await.unwrap()
    } else {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        sender.send_request(request).await.unwrap()
    };
    let (head, body) = response.into_parts();
    Answer { status: head.status.as_u16(), headers: head.headers, body: body.collect().await.unwrap().to_bytes() }
}
