//! Requests that are not whole.

use std::convert::Infallible;
use std::net::SocketAddr;

use axum::body::Body;
use bytes::Bytes;
use futures::channel::mpsc;
use http::{Method, Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;

use super::{AUTHORITY, Answer, ORIGIN};

/// A request over HTTP/1.1 whose body has begun.
pub struct Half {
    stream: TcpStream,
    rest: Vec<u8>,
}

impl Half {
    pub async fn open(
        to: SocketAddr,
        (method, target): (&Method, &str),
        fields: &[(String, String)],
        (body, sent): (&[u8], usize),
    ) -> Self {
        Self::from("127.0.0.1", to, &head((method, target), fields, Some(body.len())), (body, sent)).await
    }

    /// The same from another address of this machine and with a head of one's own.
    pub async fn from(own: &str, to: SocketAddr, head: &str, (body, sent): (&[u8], usize)) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(own.parse().unwrap(), 0)).unwrap();
        let mut stream = socket.connect(to).await.unwrap();
        stream.write_all(&[head.as_bytes(), &body[..sent]].concat()).await.unwrap();
        Self { stream, rest: body[sent..].to_vec() }
    }

    /// The answer to what was sent so far.
    pub async fn answer(self) -> Answer {
        self.read(Vec::new()).await
    }

    async fn read(mut self, mut read: Vec<u8>) -> Answer {
        loop {
            if let Some(answer) = parse(&read) {
                return answer;
            }
            assert!(self.stream.read_buf(&mut read).await.unwrap() > 0, "{}", String::from_utf8_lossy(&read));
        }
    }

    /// Sends the rest, unless it was refused already, and gives the answer.
    pub async fn finish(mut self) -> Answer {
        let mut read = Vec::new();
        if self.stream.try_read_buf(&mut read).is_err() {
            let _ = self.stream.write_all(&self.rest).await;
        }
        self.read(read).await
    }
}

/// The head of a request; chunked if its length is not said.
pub fn head((method, target): (&Method, &str), fields: &[(String, String)], length: Option<usize>) -> String {
    let mut head = format!("{method} {target} HTTP/1.1\r\nhost: {AUTHORITY}\r\n");
    for (name, value) in fields {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    match length {
        Some(length) => head.push_str(&format!("content-length: {length}\r\n\r\n")),
        None => head.push_str("transfer-encoding: chunked\r\n\r\n"),
    }
    head
}

/// A whole answer with a length.
fn parse(read: &[u8]) -> Option<Answer> {
    let end = read.windows(4).position(|part| part == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&read[..end]).unwrap();
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().unwrap();
    let fields = lines.filter_map(|line| line.split_once(": "));
    let headers: http::HeaderMap =
        fields.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
    let length: usize = headers.get("content-length").map_or(0, |length| length.to_str().unwrap().parse().unwrap());
    let body = read.get(end..end + length)?;
    Some(Answer { status, headers, body: Bytes::copy_from_slice(body) })
}

/// A request over HTTP/2 whose body goes on while the story wants it to.
pub struct Stream {
    pub body: mpsc::UnboundedSender<Result<Bytes, Infallible>>,
    pub response: JoinHandle<hyper::Result<Response<Incoming>>>,
}

impl Stream {
    /// So many requests on one connection.
    pub async fn open(to: SocketAddr, (target, content_type): (&str, &str), count: usize) -> Vec<Self> {
        Self::open_with(to, (target, &[("content-type", content_type)]), count).await
    }

    /// The same with other header fields.
    pub async fn open_with(to: SocketAddr, what: (&str, &[(&str, &str)]), count: usize) -> Vec<Self> {
        let io = TokioIo::new(TcpStream::connect(to).await.unwrap());
        let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        (0..count).map(|_| Self::on(sender.clone(), what)).collect()
    }

    fn on(mut sender: SendRequest<Body>, (target, fields): (&str, &[(&str, &str)])) -> Self {
        let (body, parts) = mpsc::unbounded();
        let mut request = Request::post(format!("{ORIGIN}{target}")).header("te", "trailers");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from_stream(parts)).unwrap();
        let response = tokio::spawn(async move {
            sender.ready().await?;
            sender.send_request(request).await
        });
        Self { body, response }
    }

    /// Sends bytes of the body; a request that was refused already takes none.
    pub fn send(&self, bytes: &[u8]) {
        let _ = self.body.unbounded_send(Ok(Bytes::copy_from_slice(bytes)));
    }

    /// The response, which ends by itself.
    pub async fn answer(self) -> Answer {
        let (head, body) = self.response.await.unwrap().unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: head.status.as_u16(), headers: head.headers, body }
    }
}
