//! Peers that mean no good, against the whole service: bystanders' calls go on.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::support::{Answer, House, Http, Service, everywhere, exchange, try_exchange};

everywhere![
    no_peer_fills_the_connections_for_good,
    one_client_has_a_share_of_the_connections,
    what_is_not_read_takes_little_memory,
    idle_connections_give_way_to_bystanders,
    messages_that_do_not_parse_are_the_callers_fault,
];

/// A request that is answered with a body, on a listener.
#[derive(Clone)]
struct Asked {
    to: SocketAddr,
    method: Method,
    path: &'static str,
    body: &'static [u8],
}

impl Asked {
    fn request(&self) -> Request<()> {
        let request = Request::builder().method(&self.method).uri(format!("https://customers.test{}", self.path));
        request.header("content-type", "application/grpc").header("te", "trailers").body(()).unwrap()
    }

    /// Of either listener: something long; a stream that anybody gets.
    fn both(service: &Service) -> [Self; 2] {
        let rest = Self { to: service.http, method: Method::GET, path: "/openapi.json", body: b"" };
        let (method, path) = (Method::POST, "/grpc.health.v1.Health/Watch");
        [rest, Self { to: service.grpc, method, path, body: b"\0\0\0\0\0" }]
    }
}

/// How an attacker reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reads {
    Nothing,
    /// A byte of each response every nine seconds.
    AByte,
    /// All that comes.
    All,
}

/// A peer that keeps a connection with so many requests in flight and comes back a second after each end.
struct Attacker {
    from: IpAddr,
    asked: Asked,
    requests: usize,
    reads: Reads,
    /// The seconds of the story.
    seconds: watch::Receiver<u32>,
    /// How often one of them had all of its responses begun.
    established: Arc<AtomicUsize>,
    ended: Arc<AtomicUsize>,
}

impl Attacker {
    async fn run(mut self) {
        loop {
            self.connection().await;
            self.ended.fetch_add(1, SeqCst);
            if self.seconds.changed().await.is_err() {
                return;
            }
        }
    }

    /// One connection, until it ends.
    async fn connection(&mut self) -> Option<()> {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(self.from, 0)).unwrap();
        let io = socket.connect(self.asked.to).await.ok()?;
        let window = if self.reads == Reads::All { 65_535 } else { 0 };
        let mut builder = h2::client::Builder::new();
        let (sender, mut connection) = builder.initial_window_size(window).handshake::<_, Bytes>(io).await.ok()?;
        let (asked, requests, established) = (self.asked.clone(), self.requests, Arc::clone(&self.established));
        let mut asking = tokio::spawn(async move {
            let held = ask(sender, &asked, requests).await;
            established.fetch_add(usize::from(held.is_some()), SeqCst);
            std::future::pending::<()>().await;
        });
        let mut windows = 0;
        loop {
            tokio::select! {
                _ = &mut connection => break,
                _ = &mut asking => break,
                changed = self.seconds.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    if self.reads == Reads::AByte && self.seconds.borrow_and_update().is_multiple_of(9) {
                        windows += 1;
                        // Two at once are one too many.
                        let _ = connection.set_initial_window_size(windows);
                    }
                }
            }
        }
        asking.abort();
        Some(())
    }
}

/// Asks so often, and holds the responses once all of them have begun.
async fn ask(
    mut sender: h2::client::SendRequest<Bytes>,
    asked: &Asked,
    requests: usize,
) -> Option<(h2::client::SendRequest<Bytes>, Vec<(h2::RecvStream, h2::SendStream<Bytes>)>)> {
    let mut responses = Vec::new();
    for _ in 0..requests {
        sender = sender.ready().await.ok()?;
        let (response, mut body) = sender.send_request(asked.request(), asked.body.is_empty()).ok()?;
        if !asked.body.is_empty() {
            // Reflection answers for as long as it may be asked.
            body.send_data(Bytes::from_static(asked.body), !asked.path.contains("Reflection")).ok()?;
        }
        responses.push((response, body));
    }
    let mut bodies = Vec::new();
    for (response, asking) in responses {
        bodies.push((response.await.ok()?.into_body(), asking));
    }
    Some((sender, bodies))
}

/// Eight attackers from an address.
struct Attack {
    seconds: watch::Sender<u32>,
    established: Arc<AtomicUsize>,
    ended: Arc<AtomicUsize>,
    attackers: JoinSet<()>,
}

impl Attack {
    fn begin(from: IpAddr, asked: &Asked, (requests, reads): (usize, Reads)) -> Self {
        let (seconds, receiver) = watch::channel(0);
        let mut attack =
            Self { seconds, established: Arc::default(), ended: Arc::default(), attackers: JoinSet::new() };
        for _ in 0..8 {
            let (seconds, established, ended) =
                (receiver.clone(), Arc::clone(&attack.established), Arc::clone(&attack.ended));
            let attacker = Attacker { from, asked: asked.clone(), requests, reads, seconds, established, ended };
            attack.attackers.spawn(attacker.run());
        }
        attack
    }

    /// Waits until so many connections have what they want, or are ended.
    async fn is_at_work(&self, connections: usize) {
        while self.established.load(SeqCst) + self.ended.load(SeqCst) < connections {
            tokio::task::yield_now().await;
        }
    }

    fn second(&self, service: &Service) {
        self.seconds.send_modify(|seconds| *seconds += 1);
        service.wait(Duration::from_secs(1));
    }
}

/// Whether a bystander is answered.
async fn answers(asked: &Asked) -> bool {
    let version = if asked.body.is_empty() { Http::One } else { Http::Two };
    let fields = [("content-type", "application/grpc"), ("te", "trailers")];
    let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let path = asked.path.replace("Watch", "Check");
    let answer = try_exchange((asked.to, version), (&asked.method, &path), &fields, asked.body.to_vec()).await;
    answer.is_some_and(|answer| answer.status == 200)
}

async fn no_peer_fills_the_connections_for_good(house: House) {
    let service = house.start_with(&["--max-connections", "8"]).await;
    let [rest, grpc] = Asked::both(&service);
    let reflection = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    let reflected = Asked { path: reflection, body: b"\0\0\0\0\x02\x3a\0", ..grpc.clone() };
    for (attacked, asked, other, reads) in [
        (&rest, &rest, &grpc, Reads::Nothing),
        (&rest, &rest, &grpc, Reads::AByte),
        (&grpc, &grpc, &rest, Reads::Nothing),
        (&reflected, &grpc, &rest, Reads::AByte),
        (&grpc, &grpc, &rest, Reads::All),
        (&reflected, &grpc, &rest, Reads::All),
    ] {
        let attack = Attack::begin(Ipv4Addr::LOCALHOST.into(), attacked, (1, reads));
        attack.is_at_work(8).await;
        let mut seconds = 0;
        while reads != Reads::All && answers(asked).await {
            attack.second(&service);
            seconds += 1;
            assert!(seconds < 20, "they hold all connections: {} {reads:?}", attacked.path);
        }
        seconds = 0;
        while !answers(asked).await {
            attack.second(&service);
            seconds += 1;
            assert!(seconds <= 65 && answers(other).await, "{} {reads:?}: {seconds} s", attacked.path);
        }
        assert!(reads != Reads::All || seconds <= 2, "what anybody gets gives way at once: {seconds} s");
        drop(attack);
    }
    service.stop().await;
}

/// An address of this machine that is not loopback, from which a client is limited. Nothing is sent.
fn limited_address() -> IpAddr {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect("192.0.2.1:9").expect("these tests need an address besides loopback");
    socket.local_addr().unwrap().ip()
}

async fn one_client_has_a_share_of_the_connections(house: House) {
    let service = house.start_with(&["--max-connections", "8"]).await;
    for asked in Asked::both(&service) {
        let attack = Attack::begin(limited_address(), &asked, (4, Reads::Nothing));
        attack.is_at_work(8).await;
        let established = attack.established.load(SeqCst);
        // One may begin its request at the very moment when it is to give way.
        assert!((2..=3).contains(&established), "a quarter of the connections: {established}");
        for _ in 0..10 {
            assert!(answers(&asked).await, "others have the rest at once");
            attack.second(&service);
        }
    }
    service.partner("Wallet").await.get("/v1/customers").await.is(200);
    service.stop().await;
}

async fn what_is_not_read_takes_little_memory(house: House) {
    let service = house.start().await;
    let [rest, grpc] = Asked::both(&service);
    for asked in [rest, grpc] {
        // 250 responses on each of eight connections, and no time passes.
        let attack = Attack::begin(Ipv4Addr::LOCALHOST.into(), &asked, (250, Reads::Nothing));
        attack.is_at_work(8).await;
        while attack.ended.load(SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        assert!(answers(&asked).await);
    }
    service.stop().await;
}

async fn idle_connections_give_way_to_bystanders(house: House) {
    let service = house.start_with(&["--max-connections", "4"]).await;
    let wallet = service.partner("Wallet").await;
    let mut idle = Vec::new();
    for _ in 0..16 {
        idle.push(TcpStream::connect(service.http).await.unwrap());
    }
    wallet.get("/v1/customers").await.is(200);
    exchange((service.http, Http::Two), (&Method::GET, "/healthz"), &[], Vec::new()).await.is(200);
    service.stop().await;
}

async fn raw(service: &Service, token: &str, method: &str, body: &[u8]) -> tonic::Status {
    let fields =
        [("content-type", "application/grpc"), ("te", "trailers"), ("authorization", token), ("x-request-id", "r-1")];
    let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let target = format!("/customerd.v1.{method}");
    let answer: Answer = exchange((service.grpc, Http::Two), (&Method::POST, &target), &fields, body.to_vec()).await;
    tonic::Status::from_header_map(&answer.headers).unwrap_or_else(|| panic!("{answer:?}"))
}

async fn messages_that_do_not_parse_are_the_callers_fault(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    let token = format!("Bearer {}", wallet.token);
    let bodies: [&[u8]; 9] = [
        b"\0\0\0\0\x02\xff\xff",     // no tag
        b"\0\0\0\0\x03\x0a\x05x",    // a string longer than its message
        b"\0\0\0\0\x03\x0a\x01\xff", // a string that is no UTF-8
        b"\0\0\0\0\x02\x08\x01",     // another type than the field's
        b"\0\0\0\0\x0a\x0a",         // cut off
        b"\0\0\0",                   // cut off in its head
        b"",                         // none
        b"\x07\0\0\0\0",             // an unknown flag
        b"\0\xff\xff\xff\xff",       // longer than can be
    ];
    for method in ["CustomerService/CreateCustomer", "AuthService/CreateToken", "WebhookService/WatchEvents"] {
        for body in bodies {
            let status = raw(&service, &token, method, body).await;
            if body == b"\0\xff\xff\xff\xff" {
                let sizes = [Code::OutOfRange, Code::ResourceExhausted];
                assert!(sizes.contains(&status.code()), "{method}: {status:?}");
                continue;
            }
            assert_eq!(status.code(), Code::InvalidArgument, "{method} {body:?}: {status:?}");
            let details = status.get_error_details();
            let info = details.error_info().unwrap();
            assert_eq!((info.reason.as_str(), info.domain.as_str()), ("VALIDATION_FAILED", "customerd"));
            assert_eq!(details.bad_request().unwrap().field_violations[0].reason, "MALFORMED_MESSAGE");
            assert_eq!(details.request_info().unwrap().request_id, "r-1");
        }
    }
    service.stop().await;
}
