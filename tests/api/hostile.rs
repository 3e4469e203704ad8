//! Peers that mean no good, against the whole service: bystanders' calls go on.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use tokio::net::TcpStream;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::support::{Answer, House, Http, everywhere, exchange, try_exchange};

everywhere![
    peers_that_do_not_read_do_not_fill_the_connections_for_good,
    idle_connections_give_way_to_bystanders,
    messages_that_do_not_parse_are_the_callers_fault,
];

/// A request that is answered with a body, on a listener.
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
}

/// A connection with four responses that it never reads. Ends with the connection.
async fn unread(asked: &Asked) -> tokio::task::JoinHandle<()> {
    let io = TcpStream::connect(asked.to).await.unwrap();
    let mut builder = h2::client::Builder::new();
    let (mut sender, connection) = builder.initial_window_size(0).handshake::<_, Bytes>(io).await.unwrap();
    let open = tokio::spawn(async move {
        // Closed in order or not.
        let _ = connection.await;
    });
    let mut bodies = Vec::new();
    for _ in 0..4 {
        sender = sender.ready().await.unwrap();
        let (response, mut body) = sender.send_request(asked.request(), asked.body.is_empty()).unwrap();
        if !asked.body.is_empty() {
            body.send_data(Bytes::from_static(asked.body), true).unwrap();
        }
        bodies.push(response.await.unwrap().into_body());
    }
    tokio::spawn(async move {
        let _held = (sender, bodies);
        let _ = open.await;
    })
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

async fn peers_that_do_not_read_do_not_fill_the_connections_for_good(house: House) {
    let service = house.start_with(&["--max-connections", "8"]).await;
    let wallet = service.partner("Wallet").await;
    let rest = Asked { to: service.http, method: Method::GET, path: "/openapi.json", body: b"" };
    // A stream whose first message is ready.
    let watch = "/grpc.health.v1.Health/Watch";
    let grpc = Asked { to: service.grpc, method: Method::POST, path: watch, body: b"\0\0\0\0\0" };
    for (asked, other) in [(&rest, &grpc), (&grpc, &rest)] {
        let mut attackers = Vec::new();
        for _ in 0..7 {
            attackers.push(unread(asked).await);
        }
        // One place is left; then none.
        assert!(answers(asked).await);
        attackers.push(unread(asked).await);
        assert!(!answers(asked).await, "refused while all are in flight");
        let mut seconds = 0;
        while !attackers.iter().all(tokio::task::JoinHandle::is_finished) {
            service.wait(Duration::from_secs(1));
            seconds += 1;
            assert!(answers(other).await && seconds < 1800, "{seconds} s");
        }
        assert!(answers(asked).await);
    }
    wallet.get("/v1/customers").await.is(200);
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

async fn raw(service: &crate::support::Service, token: &str, method: &str, body: &[u8]) -> tonic::Status {
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
