//! A REST front apart from its backend: one caller holds up no other, and a connection that breaks is a short interruption.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use http::Request;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::support::{House, ORIGIN, Partner};

/// The backend knows its front.
const TRUSTED: [&str; 2] = ["--trusted-proxies", "127.0.0.1"];
/// A test that hangs has failed.
const PATIENCE: Duration = Duration::from_secs(900);

/// Event streams on one HTTP/2 connection that never opens a window.
struct Unreader {
    connection: JoinHandle<()>,
    _bodies: Vec<h2::RecvStream>,
}

impl Unreader {
    async fn open(partner: &Partner, streams: usize) -> Self {
        let io = TcpStream::connect(partner.http).await.unwrap();
        let mut builder = h2::client::Builder::new();
        let (sender, connection) = builder.initial_window_size(0).handshake::<_, Bytes>(io).await.unwrap();
        let connection = tokio::spawn(async { drop(connection.await) });
        let mut bodies = Vec::new();
        for _ in 0..streams {
            let call = partner.get("/v1/events").header("accept", "text/event-stream");
            let (method, target, fields) = call.parts();
            let mut request = Request::builder().method(method).uri(format!("{ORIGIN}{target}"));
            for (name, value) in fields {
                request = request.header(name, value);
            }
            let mut ready = sender.clone().ready().await.unwrap();
            let (response, _) = ready.send_request(request.body(()).unwrap(), true).unwrap();
            let response = response.await.unwrap();
            assert_eq!(response.status(), 200);
            bodies.push(response.into_body());
        }
        Self { connection, _bodies: bodies }
    }
}

async fn customers(partner: &Partner, count: usize) {
    let each = (0..count).map(|number| async move { partner.customer(&format!("u-{number}")).await });
    futures::stream::iter(each).buffer_unordered(16).for_each(|_| async {}).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partner_that_does_not_read_holds_up_nobody_else() {
    let story = async {
        let house = House::Sqlite(true).await.unwrap();
        let backend = [&TRUSTED[..], &["--max-event-streams", "41"]].concat();
        let service = house.start_apart(&backend, &[]).await;
        let (partner, bystander) = (service.partner("Wallet").await, service.partner("Other").await);
        // Together more than any window of a connection that streams might share with other calls.
        customers(&partner, 320).await;
        let unreader = Unreader::open(&partner, 40).await;
        let mut reader = partner.get("/v1/events").header("accept", "application/x-ndjson").follow().await;
        for _ in 0..320 {
            assert!(reader.line().await.unwrap().contains("u-"));
        }
        for _ in 0..65 {
            bystander.get("/v1/customers").await.is(200);
            assert_eq!(bystander.get("/readyz").bare().await.is(200).text(), "ready\n");
            service.wait(Duration::from_secs(1));
        }
        partner.customer("the-last").await;
        let last: Value = serde_json::from_str(&reader.line().await.unwrap()).unwrap();
        assert_eq!(last["externalId"], "the-last");
        // It was told to go, and cut; the backend's streams went with it.
        unreader.connection.await.unwrap();
        while partner.get("/v1/events").header("accept", "text/event-stream").follow().await.status == 429 {
            tokio::task::yield_now().await;
        }
        drop(reader);
        service.stop().await;
    };
    tokio::time::timeout(PATIENCE, story).await.expect("somebody hangs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_of_a_front_do_not_queue_for_streams() {
    let story = async {
        let house = House::Sqlite(true).await.unwrap();
        let service = house.start_apart(&[&TRUSTED[..], &["--max-streams", "2"]].concat(), &[]).await;
        let partner = service.partner("Wallet").await;
        let guess = |number: u32| {
            let partner = &partner;
            let key = format!("00000000-0000-4000-8000-{number:012}");
            async move { partner.ask_token(&key, "a-secret-of-more-than-32-visible-characters").await.status }
        };
        let guesses = futures::future::join_all((0..12).map(guess));
        let signed = async {
            // Nearly all of them have come as far as the queue that is fair.
            while service.used()[1].slots < 8 {
                tokio::task::yield_now().await;
            }
            partner.get("/v1/customers").await.is(200);
        };
        let (statuses, ()) = tokio::join!(guesses, signed);
        assert!(statuses.iter().all(|status| [401, 503].contains(status)), "{statuses:?}");
        service.stop().await;
    };
    tokio::time::timeout(PATIENCE, story).await.expect("somebody hangs");
}

/// Calls until the front has learnt that its connection has ended, and made another.
async fn until_there(partner: &Partner) {
    while partner.get("/v1/customers").await.status == 503 {
        tokio::task::yield_now().await;
    }
    partner.get("/v1/customers").await.is(200);
}

/// Passes bytes on, until it is cut.
struct Wire {
    addr: SocketAddr,
    connections: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl Wire {
    async fn to(backend: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (addr, connections) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<JoinHandle<()>>>>::default());
        let open = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let mut far = TcpStream::connect(backend).await.unwrap();
                let passes = async move { drop(tokio::io::copy_bidirectional(&mut near, &mut far).await) };
                open.lock().unwrap().push(tokio::spawn(passes));
            }
        });
        Self { addr, connections }
    }

    /// Every connection ends without a word. New ones may come.
    fn cut(&self) {
        self.connections.lock().unwrap().drain(..).for_each(|connection| connection.abort());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_breaks_is_a_service_that_is_unavailable() {
    let story = async {
        let service = House::Sqlite(false).await.unwrap().start().await;
        let wire = Wire::to(service.grpc).await;
        let (front, _running) = service.house().front_to(&format!("http://{}", wire.addr), &[]).await;
        let mut partner = service.partner("Wallet").await;
        partner.http = front;
        partner.customer("u-1").await;

        let mut sse = partner.get("/v1/events").header("accept", "text/event-stream").follow().await;
        let mut lines = partner.get("/v1/events").header("accept", "application/x-ndjson").follow().await;
        assert!(sse.until("\n\n").await.is_some() && lines.line().await.is_some());
        wire.cut();
        let mut told = sse.until("\n\n").await.unwrap();
        while told.starts_with(':') {
            told = sse.until("\n\n").await.unwrap();
        }
        let problem = told.strip_prefix("event: error\ndata: ").unwrap_or_else(|| panic!("{told}"));
        let problem: Value = serde_json::from_str(problem).unwrap();
        assert_eq!((&problem["status"], &problem["code"]), (&503.into(), &"UNAVAILABLE".into()), "{problem}");
        let told: Value = serde_json::from_str(&lines.line().await.unwrap()).unwrap();
        assert_eq!(told["error"]["code"], "UNAVAILABLE", "{told}");
        assert!(sse.until("\n\n").await.is_none() && lines.line().await.is_none());
        until_there(&partner).await;

        let guess = partner.ask_token(&partner.api_key, "a-secret-of-more-than-32-visible-characters");
        let cut = async {
            while service.used()[1].slots < 1 {
                tokio::task::yield_now().await;
            }
            wire.cut();
        };
        let (refused, ()) = tokio::join!(guess, cut);
        let refused = refused.refuses(503, "UNAVAILABLE");
        assert!(refused.header("retry-after").is_some(), "{refused:?}");
        until_there(&partner).await;
        service.stop().await;
    };
    tokio::time::timeout(PATIENCE, story).await.expect("somebody hangs");
}
