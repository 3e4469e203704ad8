//! Peers that mean no good, against the whole service: bystanders' calls go on.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use tokio::net::TcpStream;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::support::{Answer, House, Http, everywhere, exchange};

everywhere![
    peers_that_do_not_read_do_not_fill_the_connections_for_good,
    idle_connections_give_way_to_bystanders,
    messages_that_do_not_parse_are_the_callers_fault,
];

/// A connection with responses that it never reads. Ends with the connection.
async fn unread(addr: SocketAddr, request: impl Fn() -> Request<()>) -> tokio::task::JoinHandle<()> {
    let io = TcpStream::connect(addr).await.unwrap();
    let mut builder = h2::client::Builder::new();
    let (mut sender, connection) = builder.initial_window_size(0).handshake::<_, Bytes>(io).await.unwrap();
    let open = tokio::spawn(async move {
        // Closed in order or not.
        let _ = connection.await;
    });
    let mut bodies = Vec::new();
    for _ in 0..4 {
        sender = sender.ready().await.unwrap();
        let (response, _) = sender.send_request(request(), true).unwrap();
        bodies.push(response.await.unwrap().into_body());
    }
    tokio::spawn(async move {
        let _held = (sender, bodies);
        let _ = open.await;
    })
}

async fn peers_that_do_not_read_do_not_fill_the_connections_for_good(house: House) {
    let service = house.start_with(&["--max-connections", "8"]).await;
    let wallet = service.partner("Wallet").await;
    let rest = || Request::get("https://customers.test/openapi.json").body(()).unwrap();
    // A gRPC stream whose first message is ready, and waits for the window.
    let grpc = || {
        let watch = Request::post("http://customers.test/grpc.health.v1.Health/Watch");
        watch.header("content-type", "application/grpc").header("te", "trailers").body(()).unwrap()
    };
    let mut attackers = Vec::new();
    for _ in 0..7 {
        attackers.push(unread(service.http, rest).await);
    }
    let _ = grpc;
    // One place is left; then none.
    wallet.get("/v1/customers").await.is(200);
    attackers.push(unread(service.http, rest).await);
    assert!(wallet.get("/v1/customers").attempt().await.is_none(), "refused while all are in flight");
    while !attackers.iter().all(tokio::task::JoinHandle::is_finished) {
        service.wait(Duration::from_secs(1));
        tokio::task::yield_now().await;
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
                assert_eq!(status.code(), Code::OutOfRange, "{method}: {status:?}");
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
