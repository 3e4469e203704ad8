//! Receivers that answer badly, without end, or not at all.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod outbound_network;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use customerd::clock::Clock;
use customerd::domain::Timestamp;
use customerd::domain::delivery::Outcome;
use customerd::domain::reach::Reach;
use customerd::outbound::{Answer, BODY_MAX, Client, Error, SNIPPET_MAX, Target};
use http::{HeaderMap, HeaderValue};
use outbound_network::{SILENT, TestNetwork, options, post};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What a receiver does once it has read a request.
#[derive(Clone)]
enum Script {
    /// These bytes, then wait until the client hangs up.
    Say(Vec<u8>),
    /// These bytes, then hang up.
    SayAndClose(Vec<u8>),
    /// These bytes, then those over and over until the client hangs up.
    Repeat(Vec<u8>, Vec<u8>),
}

/// A receiver for one connection. Its task ends with the client's hanging up, and gives what was read and how many
/// bytes could be written.
async fn receiver(script: Script) -> (String, JoinHandle<(String, usize)>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}/hook?x=1", listener.local_addr().unwrap());
    (url, tokio::spawn(async move { serve(listener.accept().await.unwrap().0, script).await }))
}

async fn serve(mut stream: TcpStream, script: Script) -> (String, usize) {
    let (mut seen, mut written) = (Vec::new(), 0);
    while read_some(&mut stream, &mut seen).await {
        if !seen.ends_with(b"{}") {
            continue;
        }
        let (once, again) = match &script {
            Script::Say(once) | Script::SayAndClose(once) => (once, None),
            Script::Repeat(once, again) => (once, Some(again)),
        };
        written += write_some(&mut stream, once).await;
        while let Some(again) = again {
            match write_some(&mut stream, again).await {
                0 => break,
                count => written += count,
            }
        }
        if matches!(script, Script::SayAndClose(_)) {
            break;
        }
    }
    (String::from_utf8(seen).unwrap(), written)
}

async fn read_some(stream: &mut TcpStream, seen: &mut Vec<u8>) -> bool {
    stream.read_buf(seen).await.unwrap_or(0) > 0
}

async fn write_some(stream: &mut TcpStream, bytes: &[u8]) -> usize {
    if stream.write_all(bytes).await.is_ok() { bytes.len() } else { 0 }
}

fn client() -> Client {
    Client::new(options(&Arc::new(TestNetwork::new()))).unwrap()
}

fn hasty(deadline: Duration) -> Client {
    let mut options = options(&Arc::new(TestNetwork::new()));
    options.deadline = deadline;
    Client::new(options).unwrap()
}

async fn answer_to(script: Script) -> Answer {
    let (url, _) = receiver(script).await;
    post(&client(), &url, Reach::Private).await
}

fn say(text: impl Into<Vec<u8>>) -> Script {
    Script::Say(text.into())
}

#[tokio::test]
async fn the_request_as_sent_and_its_answer() {
    let (url, task) =
        receiver(Script::SayAndClose(b"HTTP/1.1 202 Accepted\r\ncontent-length: 3\r\n\r\nyes".into())).await;
    let client = client();
    let headers = HeaderMap::from_iter([
        (http::header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (http::header::ACCEPT_ENCODING, HeaderValue::from_static("gzip")),
    ]);
    let body = Bytes::from_static(b"{}");
    let answer = client.post(&Target::new(&url, Reach::Private).unwrap(), headers, body).await;
    assert_eq!((answer.status, answer.error.clone(), answer.snippet.as_deref()), (Some(202), None, Some("yes")));
    let attempt = answer.into_attempt(Timestamp(5));
    assert_eq!(
        (attempt.at, attempt.outcome(), attempt.response.as_deref()),
        (Timestamp(5), Outcome::Delivered, Some("yes"))
    );
    let port = url.trim_start_matches("http://127.0.0.1:").trim_end_matches("/hook?x=1");
    insta::assert_snapshot!(task.await.unwrap().0.replace(port, "PORT").replace(env!("CARGO_PKG_VERSION"), "VERSION").replace('\r', ""), @r"
    POST /hook?x=1 HTTP/1.1
    content-type: application/json
    accept-encoding: identity
    user-agent: customerd/VERSION
    host: 127.0.0.1:PORT
    content-length: 2

    {}
    ");
}

#[tokio::test]
async fn connections_are_reused() {
    let (url, _) = receiver(say("HTTP/1.1 204 No Content\r\n\r\n")).await;
    let client = client();
    for _ in 0..3 {
        let answer = post(&client, &url, Reach::Private).await;
        assert_eq!((answer.status, answer.error, answer.snippet), (Some(204), None, None));
    }
    assert_eq!(client.connections(), 1);
}

#[tokio::test]
async fn redirects_are_answers_not_directions() {
    let (target, target_task) = receiver(say("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")).await;
    for status in [301, 302, 303, 307, 308] {
        let text = format!(
            "HTTP/1.1 {status} Elsewhere\r\nlocation: {target}\r\nrefresh: 0; url={target}\r\ncontent-length: 0\r\n\r\n"
        );
        let (url, _) = receiver(say(text)).await;
        let client = client();
        let answer = post(&client, &url, Reach::Private).await;
        assert_eq!((answer.status, client.connections()), (Some(status), 1));
        assert_eq!(answer.into_attempt(Timestamp(0)).outcome(), Outcome::Failed);
    }
    assert!(!target_task.is_finished());
}

#[tokio::test]
async fn retry_after_and_gone_come_through() {
    let busy = answer_to(say("HTTP/1.1 429 Slow\r\nretry-after: 17\r\ncontent-length: 0\r\n\r\n")).await;
    assert_eq!((busy.status, busy.retry_after), (Some(429), Some(Duration::from_secs(17))));
    let gone = answer_to(say("HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n")).await;
    assert_eq!(gone.into_attempt(Timestamp(0)).outcome(), Outcome::Gone);
}

#[tokio::test]
async fn a_slow_body_is_cut_at_the_deadline() {
    let (url, task) = receiver(say("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\npart")).await;
    let answer = post(&hasty(Duration::from_secs(1)), &url, Reach::Private).await;
    assert_eq!(
        (answer.status, answer.error.clone(), answer.snippet.as_deref()),
        (Some(200), Some(Error::Deadline), Some("part"))
    );
    assert!(answer.latency >= Duration::from_secs(1));
    assert_eq!(answer.into_attempt(Timestamp(0)).outcome(), Outcome::Failed);
    // The connection is closed: the receiver's task comes to its end.
    task.await.unwrap();
}

#[tokio::test]
async fn silence_is_cut_at_the_deadline() {
    let (url, task) = receiver(say("")).await;
    let answer = post(&hasty(Duration::from_millis(300)), &url, Reach::Private).await;
    assert_eq!((answer.status, answer.error), (None, Some(Error::Deadline)));
    task.await.unwrap();
}

#[tokio::test]
async fn a_silent_name_server_is_cut_at_the_deadline() {
    let network = Arc::new(TestNetwork::new());
    let clock = Clock::manual(Timestamp(0), 1);
    let mut options = options(&network);
    options.clock = clock.clone();
    let client = Client::new(options).unwrap();
    let url = format!("https://{SILENT}/");
    let (answer, ()) = tokio::join!(post(&client, &url, Reach::Global), async {
        clock.advance(Duration::from_secs(15));
    });
    assert_eq!((answer.error, answer.latency), (Some(Error::Deadline), Duration::from_secs(15)));
    assert_eq!(client.connections(), 0);
}

#[tokio::test]
async fn an_endless_body_is_capped_and_its_connection_closed() {
    let plain = ("HTTP/1.1 200 OK\r\n\r\n", vec![b'x'; 8192]);
    let mut chunk = b"2000\r\n".to_vec();
    chunk.extend_from_slice(&[b'x'; 8192]);
    chunk.extend_from_slice(b"\r\n");
    for (head, again) in [plain, ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", chunk)] {
        let (url, task) = receiver(Script::Repeat(head.into(), again)).await;
        let answer = post(&client(), &url, Reach::Private).await;
        assert_eq!((answer.status, answer.error.clone()), (Some(200), None));
        assert_eq!(answer.snippet.as_deref(), Some("x".repeat(SNIPPET_MAX).as_str()));
        assert_eq!(answer.into_attempt(Timestamp(0)).outcome(), Outcome::Delivered);
        // It ends because the client hung up; the kernel's buffers hold what was not read.
        assert!(task.await.unwrap().1 > BODY_MAX);
    }
}

#[tokio::test]
async fn a_body_of_exactly_the_limit_leaves_the_connection_open() {
    for (length, connections) in [(BODY_MAX, 1), (BODY_MAX * 40, 2)] {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{}", "x".repeat(length));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move {
            loop {
                tokio::spawn(serve(listener.accept().await.unwrap().0, say(head.clone())));
            }
        });
        let client = client();
        for _ in 0..2 {
            assert_eq!(post(&client, &url, Reach::Private).await.error, None);
        }
        assert_eq!(client.connections(), connections, "{length}");
    }
}

/// 64 KiB of zeros in 96 bytes, as often as fits: 40 MiB if anybody unpacked it.
#[tokio::test]
async fn a_gzip_bomb_stays_packed() {
    let member = hex::decode(concat!(
        "1f8b0800000000000203edc101010000008090feafee080a0000000000000000000000000000000000000000000000000000",
        "000000000000000000000000000000000000000000000000000000000000000000000000006aeb8e97d700000100"
    ))
    .unwrap();
    let bomb = member.repeat(640);
    let mut text =
        format!("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n", bomb.len()).into_bytes();
    text.extend_from_slice(&bomb);
    let answer = answer_to(say(text)).await;
    assert_eq!((answer.status, answer.error), (Some(200), None));
    assert!(answer.snippet.unwrap().starts_with("\\u{1f}\u{fffd}\\u{8}\\u{0}"));
}

#[tokio::test]
async fn floods_of_headers_are_refused() {
    let many = "x-flood: 1\r\n".repeat(101);
    let large = format!("x-flood: {}\r\n", "1".repeat(17 * 1024));
    for headers in [many, large] {
        let answer = answer_to(say(format!("HTTP/1.1 200 OK\r\n{headers}content-length: 0\r\n\r\n"))).await;
        assert_eq!((answer.status, answer.error), (None, Some(Error::TooLarge)));
    }
    let (url, task) = receiver(Script::Repeat(b"HTTP/1.1 200 OK\r\n".into(), b"x-flood: 1\r\n".repeat(500))).await;
    assert_eq!(post(&client(), &url, Reach::Private).await.error, Some(Error::TooLarge));
    task.await.unwrap();
}

#[tokio::test]
async fn interim_responses_are_skipped_but_not_without_end() {
    let hint = "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n";
    let few = format!("{}HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", hint.repeat(3));
    assert_eq!(answer_to(say(few)).await.status, Some(200));
    for interim in [hint, "HTTP/1.1 100 Continue\r\n\r\n"] {
        let (url, task) = receiver(Script::Repeat(Vec::new(), interim.repeat(100).into())).await;
        let answer = post(&client(), &url, Reach::Private).await;
        assert_eq!((answer.status, answer.error), (None, Some(Error::TooLarge)));
        task.await.unwrap();
    }
}

#[tokio::test]
async fn what_is_not_http_or_breaks_off() {
    for (bytes, status, error) in [
        ("SSH-2.0-OpenSSH_9.2\r\n", None, Error::Protocol),
        ("HTTP/1.1 99999 x\r\n\r\n", None, Error::Protocol),
        ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", None, Error::Protocol),
        ("HTTP/1.1 200 OK\r\nx", None, Error::Closed),
        ("", None, Error::Closed),
        ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\npart", Some(200), Error::Closed),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", Some(200), Error::Closed),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n", Some(200), Error::Closed),
    ] {
        let answer = answer_to(Script::SayAndClose(bytes.into())).await;
        assert_eq!((answer.status, answer.error), (status, Some(error)), "{bytes:?}");
    }
}

#[tokio::test]
async fn nobody_there() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let answer = post(&client(), &url, Reach::Private).await;
    assert_eq!(answer.error, Some(Error::Connect(std::io::ErrorKind::ConnectionRefused)));
}
