//! The floor of deliveries: a bare hyper client that signs and posts the same bodies, and does nothing else.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use customerd::clock::Clock;
use customerd::domain::callback_url::CallbackUrl;
use customerd::domain::event::Event;
use customerd::domain::reach::Reach;
use customerd::domain::webhook::Subscription;
use customerd::outbound::signed::{Envelope, Signer};
use customerd::outbound::standard::{Message, Secret};
use http::{HeaderMap, Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::receiver::Receiver;
use super::scene::signer;

/// Connections, each with a request at a time: as many as the engine has attempts under way.
const CONNECTIONS: usize = 64;

struct Bare {
    url: CallbackUrl,
    host: String,
    secret: Secret,
    signer: Signer,
    clock: Clock,
}

impl Bare {
    fn signed(&self, event: &Event) -> HeaderMap {
        let (id, nonce) = (event.id.to_string(), self.clock.nonce(22));
        let message = Message { id: &id, at: self.clock.now(), body: event.body.as_bytes() };
        let envelope = Envelope { url: &self.url, message, nonce: &nonce };
        let mut headers = self.signer.headers(envelope, [&self.secret]).unwrap();
        headers.insert(header::HOST, self.host.parse().unwrap());
        headers
    }
}

/// Posts a second: signed on the way, or before the watch starts.
pub async fn rate(receiver: &Receiver, subscription: &Subscription, events: Vec<Event>, before: bool) -> f64 {
    let bare = Arc::new(Bare {
        url: CallbackUrl::parse(&receiver.url("/bare"), Reach::Private).unwrap(),
        host: receiver.address.to_string(),
        secret: Secret::parse(&subscription.secret).unwrap(),
        signer: signer(),
        clock: Clock::system(),
    });
    let count = events.len();
    let mut ready: Vec<Vec<(Event, Option<HeaderMap>)>> = (0..CONNECTIONS).map(|_| Vec::new()).collect();
    for (index, event) in events.into_iter().enumerate() {
        let signed = before.then(|| bare.signed(&event));
        ready[index % CONNECTIONS].push((event, signed));
    }
    let begun = Instant::now();
    let senders: Vec<_> = ready
        .into_iter()
        .map(|part| tokio::spawn(post(Arc::clone(&bare), receiver.address.to_string(), part)))
        .collect();
    for sender in senders {
        sender.await.unwrap();
    }
    count as f64 / begun.elapsed().as_secs_f64()
}

async fn post(bare: Arc<Bare>, address: String, events: Vec<(Event, Option<HeaderMap>)>) {
    let stream = TcpStream::connect(&address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    for (event, signed) in events {
        let mut request = Request::post("/bare").body(Full::new(Bytes::from(event.body.clone()))).unwrap();
        *request.headers_mut() = signed.unwrap_or_else(|| bare.signed(&event));
        sender.ready().await.unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.status(), 204);
        answer.into_body().collect().await.unwrap();
    }
}
