//! A receiver that keeps books: it checks every signature, and remembers what it answered to whom.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use customerd::clock::Clock;
use customerd::domain::Timestamp;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::verify::Keys;
use super::{Partner, Received};

/// What was heard of an event at one path.
#[derive(Debug, Clone, Default)]
pub struct Entry {
    /// How often it came.
    pub arrived: usize,
    /// The answers it was given, in their order.
    pub answers: Vec<u16>,
}

/// By path and event.
pub type Books = HashMap<(String, String), Entry>;

struct Desk {
    address: SocketAddr,
    keys: Mutex<Option<Keys>>,
    /// By path.
    secrets: Mutex<HashMap<String, String>>,
    books: Mutex<Books>,
    /// Deliveries that did not verify, and why.
    wrong: Mutex<Vec<String>>,
    /// Every so many-th delivery is answered with 500; none with 0.
    failing: usize,
    arrived: watch::Sender<usize>,
    open: watch::Sender<bool>,
}

/// Listens until it is dropped.
#[derive(Clone)]
pub struct Ledger(Arc<Desk>);

impl Ledger {
    /// One that answers every `failing`-th delivery with 500, and none so with 0.
    pub async fn start(failing: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let desk = Arc::new(Desk {
            address: listener.local_addr().unwrap(),
            keys: Mutex::default(),
            secrets: Mutex::default(),
            books: Mutex::default(),
            wrong: Mutex::default(),
            failing,
            arrived: watch::Sender::new(0),
            open: watch::Sender::new(true),
        });
        let shared = Arc::clone(&desk);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let desk = Arc::clone(&shared);
                let service = service_fn(move |request| answer(request, Arc::clone(&desk)));
                let connection = hyper::server::conn::http1::Builder::new();
                tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
            }
        });
        Self(desk)
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.0.address)
    }

    /// What a path's deliveries are signed with, and the service's keys.
    pub fn expect(&self, path: &str, secret: &str, keys: &Keys) {
        self.0.secrets.lock().unwrap().insert(path.to_owned(), secret.to_owned());
        *self.0.keys.lock().unwrap() = Some(keys.clone());
    }

    /// Subscribes a path to what becomes of customers.
    pub async fn subscribe(&self, partner: &Partner, path: &str) {
        let keys = Keys::read(&partner.get("/.well-known/jwks.json").bare().await.is(200).json());
        let body = json!({"callbackUrl": self.url(path), "types": ["customer.updated"]});
        let webhook = partner.put("/v1/webhooks", &body).await.is(200).json();
        self.expect(path, webhook["secret"].as_str().unwrap(), &keys);
    }

    /// From now on nobody is answered ...
    pub fn close(&self) {
        self.0.open.send_replace(false);
    }

    /// ... until now.
    pub fn open(&self) {
        self.0.open.send_replace(true);
    }

    pub fn books(&self) -> MutexGuard<'_, Books> {
        self.0.books.lock().unwrap()
    }

    /// Deliveries that did not verify, and why.
    pub fn wrong(&self) -> Vec<String> {
        self.0.wrong.lock().unwrap().clone()
    }

    /// Waits until the books are as wanted, looking at every arrival and every answer.
    pub async fn until(&self, wanted: impl Fn(&Books) -> bool) {
        let mut arrived = self.0.arrived.subscribe();
        let reached = arrived.wait_for(|_| wanted(&self.books()));
        let reached = tokio::time::timeout(Duration::from_secs(600), reached).await;
        reached.expect("the deliveries do not come").unwrap();
    }

    /// Waits until these events have come to a path, were verified and taken.
    pub async fn until_taken(&self, path: &str, events: &[String]) {
        let wanted: Vec<_> = events.iter().map(|id| (path.to_owned(), id.clone())).collect();
        let is_taken = |books: &Books, key| books.get(key).is_some_and(|entry| entry.answers.last() == Some(&204));
        self.until(|books| wanted.iter().all(|key| is_taken(books, key))).await;
        assert_eq!(self.wrong(), Vec::<String>::new());
    }
}

async fn answer(request: Request<Incoming>, desk: Arc<Desk>) -> Result<Response<Empty<Bytes>>, hyper::Error> {
    let (head, body) = request.into_parts();
    let received = Received { uri: head.uri, headers: head.headers, body: body.collect().await?.to_bytes() };
    let entry = (received.uri.path().to_owned(), received.header("webhook-id").to_owned());
    desk.books.lock().unwrap().entry(entry.clone()).or_default().arrived += 1;
    let mut number = 0;
    desk.arrived.send_modify(|count| {
        *count += 1;
        number = *count;
    });
    // The receiver's end of the watch is part of the desk, which is here.
    let _ = desk.open.subscribe().wait_for(|open| *open).await;
    let status = match desk.check(&received) {
        Err(why) => {
            desk.wrong.lock().unwrap().push(why);
            401
        }
        Ok(()) if desk.failing > 0 && number % desk.failing == 0 => 500,
        Ok(()) => 204,
    };
    desk.books.lock().unwrap().entry(entry).or_default().answers.push(status);
    desk.arrived.send_modify(|_| ());
    Ok(Response::builder().status(status).body(Empty::new()).unwrap())
}

impl Desk {
    fn check(&self, received: &Received) -> Result<(), String> {
        let secrets = self.secrets.lock().unwrap();
        let secret = secrets.get(received.uri.path()).ok_or("nobody subscribed to this path")?;
        let keys = self.keys.lock().unwrap();
        let seconds = received.header("webhook-timestamp").parse().map_err(|_| "no time")?;
        let at = Timestamp::from_unix_seconds(seconds);
        if Clock::system().now().since(at) > Duration::from_secs(60) {
            return Err("the time is long past".to_owned());
        }
        if received.json()["eventId"] != received.header("webhook-id") {
            return Err("the body is of another event".to_owned());
        }
        keys.as_ref().ok_or("no keys")?.verify(received, &[secret], (at, &self.address.to_string()))
    }
}
