//! Protocols, timers and limits of a connection.

use std::time::Duration;

use customerd::serve::Limits;
use http::{StatusCode, Version};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::house::{connect, h1, h2, mirror, open, patient, request, rest, text};

const SOON: Duration = Duration::from_millis(50);

#[tokio::test]
async fn both_protocols_on_one_port() {
    let house = open(patient(), mirror(), |it| it).await;
    let answer = h1(connect(house.addr).await).await.send_request(request("/")).await.unwrap();
    assert_eq!(text(answer).await, "HTTP/1.1 127.0.0.1 tls=false");
    let answer = h2(connect(house.addr).await).await.send_request(request("/")).await.unwrap();
    assert_eq!(text(answer).await, "HTTP/2.0 127.0.0.1 tls=false");
}

#[tokio::test]
async fn the_grpc_listener_explains_itself_to_http1() {
    let house = open(patient(), mirror(), |it| it.http2_only()).await;
    let mut stream = connect(house.addr).await;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let answer = rest(stream).await;
    assert!(answer.starts_with("HTTP/1.1 505 HTTP Version Not Supported\r\n"), "{answer}");
    assert!(answer.ends_with("This is the gRPC listener: it speaks HTTP/2 only. REST has its own.\n"), "{answer}");
    let answer = h2(connect(house.addr).await).await.send_request(request("/")).await.unwrap();
    assert_eq!((answer.status(), answer.version()), (StatusCode::OK, Version::HTTP_2));
}

#[tokio::test]
async fn http1_needs_exactly_one_host() {
    let house = open(patient(), mirror(), |it| it).await;
    for hosts in ["", "host: a\r\nhost: a\r\n", "host: a\r\nHost: b\r\n"] {
        let mut stream = connect(house.addr).await;
        stream.write_all(format!("GET / HTTP/1.1\r\n{hosts}\r\n").as_bytes()).await.unwrap();
        let answer = rest(stream).await;
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{hosts:?}: {answer}");
    }
    let mut stream = connect(house.addr).await;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    assert!(rest(stream).await.starts_with("HTTP/1.0 200"));
}

#[tokio::test]
async fn slow_headers_are_cut() {
    let limits = Limits { header_timeout: SOON, ..patient() };
    let house = open(limits, mirror(), |it| it).await;
    // Nothing at all; the start of a line; and the second request of a connection.
    let silent = connect(house.addr).await;
    assert_eq!(rest(silent).await, "");
    let mut slow = connect(house.addr).await;
    slow.write_all(b"GET / HTTP/1.1\r\nhos").await.unwrap();
    assert_eq!(rest(slow).await, "");
    let mut second = connect(house.addr).await;
    second.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut first = vec![0; 12];
    second.read_exact(&mut first).await.unwrap();
    assert_eq!(first, b"HTTP/1.1 200");
    second.write_all(b"GET / HTTP/1.1\r\nx: ").await.unwrap();
    assert!(rest(second).await.ends_with("HTTP/1.1 127.0.0.1 tls=false"));
}

#[tokio::test]
async fn trickling_headers_are_cut() {
    let house = open(Limits { header_timeout: SOON, header_bytes: 16 << 20, ..patient() }, mirror(), |it| it).await;
    let (mut reader, mut writer) = connect(house.addr).await.into_split();
    writer.write_all(b"GET / HTTP/1.1\r\nx: ").await.unwrap();
    // One byte after another, as fast as they are taken, until the socket refuses them.
    let trickle = async {
        while writer.write_all(b"y").await.is_ok() && writer.flush().await.is_ok() {
            tokio::task::yield_now().await
        }
    };
    let mut answer = Vec::new();
    let (_, _) = tokio::join!(trickle, reader.read_to_end(&mut answer));
    assert_eq!(answer, b"", "cut, not answered 431");
}

#[tokio::test]
async fn resting_connections_are_closed() {
    let house = open(Limits { idle_timeout: SOON, ..patient() }, mirror(), |it| it).await;
    let mut stream = connect(house.addr).await;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    assert!(rest(stream).await.ends_with("tls=false"), "the server closes, and only after the answer");
    let (mut sender, connection) = hyper::client::conn::http2::handshake::<_, _, axum::body::Body>(
        hyper_util::rt::TokioExecutor::new(),
        hyper_util::rt::TokioIo::new(connect(house.addr).await),
    )
    .await
    .unwrap();
    let connection = tokio::spawn(connection);
    sender.ready().await.unwrap();
    assert!(connection.await.unwrap().is_ok(), "GOAWAY without an error");
}

#[tokio::test]
async fn a_long_header_list_is_refused() {
    let limits = Limits { header_bytes: 8192, ..patient() };
    let house = open(limits, mirror(), |it| it).await;
    let with = |size: usize| {
        let mut request = request("/");
        request.headers_mut().insert("x-long", "y".repeat(size).parse().unwrap());
        request
    };
    let mut client = h1(connect(house.addr).await).await;
    assert_eq!(client.send_request(with(7000)).await.unwrap().status(), StatusCode::OK);
    let refused = h1(connect(house.addr).await).await.send_request(with(9000)).await.unwrap();
    assert_eq!(refused.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    let mut client = h2(connect(house.addr).await).await;
    assert_eq!(client.send_request(with(7000)).await.unwrap().status(), StatusCode::OK);
    let refused = client.send_request(with(9000)).await;
    assert!(refused.is_err() || refused.unwrap().status() == StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
}

#[tokio::test]
async fn what_the_parser_refuses_itself_has_no_content() {
    let house = open(Limits { header_bytes: 8192, ..patient() }, mirror(), |it| it).await;
    let long = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "y".repeat(20_000));
    for (sent, status) in [("BAD\r\n\r\n", "400"), (long.as_str(), "431")] {
        let mut stream = connect(house.addr).await;
        // It may hang up before it has taken everything.
        let _ = stream.write_all(sent.as_bytes()).await;
        let answer = rest(stream).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(answer.contains("\r\ncontent-length: 0\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
    }
}
