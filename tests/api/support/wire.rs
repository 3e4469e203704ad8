//! One request on one connection, exactly as written.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use std::time::Duration;

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

/// An answer that has not ended.
pub struct Following {
    pub status: u16,
    pub headers: HeaderMap,
    body: Incoming,
    read: Vec<u8>,
}

/// Sends a request without a body over HTTP/1.1 and reads the head of its answer.
pub async fn follow(to: SocketAddr, (method, target): (&Method, &str), fields: &[(String, String)]) -> Following {
    let mut request = Request::builder().method(method).uri(target).header("host", AUTHORITY);
    for (name, value) in fields {
        request = request.header(name, value.as_bytes());
    }
    let io = TokioIo::new(TcpStream::connect(to).await.unwrap());
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    tokio::spawn(connection);
    let response = sender.send_request(request.body(Full::new(Bytes::new())).unwrap()).await.unwrap();
    let (head, body) = response.into_parts();
    Following { status: head.status.as_u16(), headers: head.headers, body, read: Vec::new() }
}

impl Following {
    /// The next line that is not empty; `None` at the end of the response.
    pub async fn line(&mut self) -> Option<String> {
        loop {
            match self.until("\n").await {
                Some(line) if line.is_empty() => {}
                other => return other,
            }
        }
    }

    /// What comes before the next `end`; `None` when the answer is over.
    pub async fn until(&mut self, end: &str) -> Option<String> {
        loop {
            let found = self.read.windows(end.len()).position(|part| part == end.as_bytes());
            if let Some(at) = found {
                let rest = self.read.split_off(at + end.len());
                let mut part = std::mem::replace(&mut self.read, rest);
                part.truncate(at);
                return Some(String::from_utf8(part).unwrap());
            }
            let frame =
                tokio::time::timeout(Duration::from_secs(60), self.body.frame()).await.expect("nothing came")?;
            self.read.extend_from_slice(frame.unwrap().data_ref().unwrap());
        }
    }
}
