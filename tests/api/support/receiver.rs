//! A partner's receiver of webhooks: takes what comes, answers as the story says.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Uri, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// A delivery as it arrived.
#[derive(Debug, Clone)]
pub struct Received {
    pub uri: Uri,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Received {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }
}

/// An answer to come: status, and one header field.
pub type Reply = (u16, Option<(&'static str, &'static str)>);

/// The next ones, and the one after them.
struct Replies {
    next: VecDeque<Reply>,
    then: Reply,
}

/// Listens until it is dropped.
pub struct Receiver {
    pub address: SocketAddr,
    replies: Arc<Mutex<Replies>>,
    received: mpsc::UnboundedReceiver<Received>,
}

impl Receiver {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let replies = Arc::new(Mutex::new(Replies { next: VecDeque::new(), then: (204, None) }));
        let (sender, received) = mpsc::unbounded_channel();
        let next = Arc::clone(&replies);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (sender, next) = (sender.clone(), Arc::clone(&next));
                let service = service_fn(move |request| answer(request, sender.clone(), Arc::clone(&next)));
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Self { address, replies, received }
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://{}/hook?partner=1", self.address)
    }

    /// The answers to the next deliveries; 204 after them, unless the story says otherwise.
    pub fn will(&self, replies: impl IntoIterator<Item = Reply>) {
        self.replies.lock().unwrap().next.extend(replies);
    }

    /// The status of every answer from now on.
    pub fn always(&self, status: u16) {
        *self.replies.lock().unwrap() = Replies { next: VecDeque::new(), then: (status, None) };
    }

    /// The next delivery.
    pub async fn next(&mut self) -> Received {
        let next = tokio::time::timeout(Duration::from_secs(60), self.received.recv());
        next.await.expect("no delivery came").unwrap()
    }

    /// A delivery that has come already, if there is one.
    pub fn more(&mut self) -> Option<Received> {
        self.received.try_recv().ok()
    }
}

async fn answer(
    request: Request<Incoming>,
    sender: mpsc::UnboundedSender<Received>,
    replies: Arc<Mutex<Replies>>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (head, body) = request.into_parts();
    assert_eq!((&head.method, head.version), (&Method::POST, Version::HTTP_11));
    let body = body.collect().await?.to_bytes();
    let (status, header) = {
        let mut replies = replies.lock().unwrap();
        replies.next.pop_front().unwrap_or(replies.then)
    };
    // The story may be over.
    let _ = sender.send(Received { uri: head.uri, headers: head.headers, body });
    let mut response = Response::builder().status(status);
    if let Some((name, value)) = header {
        response = response.header(name, value);
    }
    let text = if status == 204 { String::new() } else { format!("answered {status}") };
    Ok(response.body(Full::new(Bytes::from(text))).unwrap())
}
