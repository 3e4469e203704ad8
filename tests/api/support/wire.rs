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
    to: (SocketAddr, Http),
    target: (&Method, &str),
    fields: &[(String, String)],
    body: Vec<u8>,
) -> Answer {
    try_exchange(to, target, fields, body).await.expect("an answer")
}

/// Sends a request and reads its answer; `None` when the connection does not last that long.
pub async fn try_exchange(
    (to, version): (SocketAddr, Http),
    (method, target): (&Method, &str),
    fields: &[(String, String)],
    body: Vec<u8>,
) -> Option<Answer> {
    let uri = if version == Http::Two { format!("{ORIGIN}{target}") } else { target.to_owned() };
    let mut request = Request::builder().method(method).uri(uri);
    if version == Http::One && !fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        request = request.header("host", AUTHORITY);
    }
    for (name, value) in fields {
        request = request.header(name, value.as_bytes());
    }
    let request = request.body(Full::new(Bytes::from(body))).unwrap();
    let io = TokioIo::new(TcpStream::connect(to).await.ok()?);
    let response = if version == Http::Two {
        let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.ok()?;
        tokio::spawn(connection);
        sender.send_request(request).await.ok()?
    } else {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.ok()?;
        tokio::spawn(connection);
        sender.send_request(request).await.ok()?
    };
    let (head, body) = response.into_parts();
    let body = body.collect().await.ok()?.to_bytes();
    Some(Answer { status: head.status.as_u16(), headers: head.headers, body })
}
