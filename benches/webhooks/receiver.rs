//! A receiver on the loopback: counts what comes and can note when.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::Notify;

/// A first attempt: the receiver's path and the event.
pub type Arrival = (String, String);

#[derive(Default)]
struct Seen {
    count: AtomicUsize,
    /// Who waits for a count is told when it is reached.
    wanted: AtomicUsize,
    reached: Notify,
    noting: AtomicBool,
    arrivals: Mutex<HashMap<Arrival, Instant>>,
}

/// `/hang…` is never answered, `/fail…` with 500, everything else with 204.
#[derive(Clone)]
pub struct Receiver {
    pub address: SocketAddr,
    seen: Arc<Seen>,
}

impl Receiver {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let shared = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                let seen = Arc::clone(&shared);
                let service = service_fn(move |request| answer(request, Arc::clone(&seen)));
                let connection = hyper::server::conn::http1::Builder::new();
                tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { address, seen }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Deliveries so far, those that fail or hang included.
    pub fn count(&self) -> usize {
        self.seen.count.load(Ordering::SeqCst)
    }

    /// Waits for so many deliveries.
    pub async fn reached(&self, count: usize) {
        self.seen.wanted.store(count, Ordering::SeqCst);
        if self.count() < count {
            self.seen.reached.notified().await;
        }
    }

    /// Notes arrivals from now on.
    pub fn note(&self) {
        self.seen.noting.store(true, Ordering::Relaxed);
    }

    /// Waits until so many arrivals are noted.
    pub async fn noted(&self, count: usize) {
        let begun = Instant::now();
        while self.seen.arrivals.lock().unwrap().len() < count {
            assert!(begun.elapsed() < Duration::from_secs(60), "deliveries do not arrive");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// When each event first came to each path.
    pub fn arrivals(&self) -> HashMap<Arrival, Instant> {
        self.seen.noting.store(false, Ordering::Relaxed);
        std::mem::take(&mut *self.seen.arrivals.lock().unwrap())
    }
}

async fn answer(request: Request<Incoming>, seen: Arc<Seen>) -> Result<Response<Empty<Bytes>>, hyper::Error> {
    let came = Instant::now();
    let (head, body) = request.into_parts();
    body.collect().await?;
    if seen.count.fetch_add(1, Ordering::SeqCst) + 1 == seen.wanted.load(Ordering::SeqCst) {
        seen.reached.notify_one();
    }
    if seen.noting.load(Ordering::Relaxed) {
        let id = head.headers["webhook-id"].to_str().unwrap().to_owned();
        seen.arrivals.lock().unwrap().entry((head.uri.path().to_owned(), id)).or_insert(came);
    }
    if head.uri.path().starts_with("/hang") {
        std::future::pending::<()>().await;
    }
    let status = if head.uri.path().starts_with("/fail") { 500 } else { 204 };
    Ok(Response::builder().status(status).body(Empty::new()).unwrap())
}
