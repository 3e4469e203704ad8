//! Peers that do not read, do not finish, or hold too many connections; on both kinds of listener.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use customerd::clock::Clock;
use customerd::domain::Timestamp;
use customerd::serve::{Clients, Limits};
use h2::client::{Builder, SendRequest};
use http::Request;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;

use super::house::{House, connect, h1, mirror, open_at, request, rest, text, waiting};

const SECOND: Duration = Duration::from_secs(1);

fn clock() -> Clock {
    Clock::manual(Timestamp::from_unix_seconds(1_795_347_600), 1)
}

/// The same listener as REST has, and as gRPC has.
async fn both(clock: &Clock, limits: &Limits, router: &Router) -> [House; 2] {
    let rest = open_at(clock.clone(), limits.clone(), router.clone(), |it| it).await;
    [rest, open_at(clock.clone(), limits.clone(), router.clone(), |it| it.http2_only()).await]
}

/// A client that gives each stream so large a window, and answers PINGs.
struct Reader {
    sender: SendRequest<Bytes>,
    pings: h2::PingPong,
}

async fn reader(house: &House, window: u32) -> Reader {
    let io = connect(house.addr).await;
    let (sender, mut connection) = Builder::new().initial_window_size(window).handshake::<_, Bytes>(io).await.unwrap();
    let pings = connection.ping_pong().unwrap();
    tokio::spawn(connection);
    Reader { sender, pings }
}

impl Reader {
    /// A response whose head has come.
    async fn get(&mut self, path: &str) -> h2::RecvStream {
        let request = Request::get(format!("http://localhost{path}")).body(()).unwrap();
        let mut sender = self.sender.clone().ready().await.unwrap();
        let (response, _) = sender.send_request(request, true).unwrap();
        response.await.unwrap().into_body()
    }

    /// Lets a second pass; whether the connection is there, and answers.
    async fn second(&mut self, clock: &Clock) -> bool {
        clock.advance(SECOND);
        self.pings.ping(h2::Ping::opaque()).await.is_ok()
    }

    /// How many seconds it takes until the connection is gone.
    async fn lasts(&mut self, clock: &Clock) -> u32 {
        for seconds in 1..=3600 {
            if !self.second(clock).await {
                return seconds;
            }
        }
        panic!("open after an hour");
    }
}

/// Parts of a byte without end: none of them is handed out before there is room for it.
fn endless() -> Router {
    let parts = || async {
        Body::from_stream(futures::stream::repeat_with(|| Ok::<_, std::convert::Infallible>(Bytes::from_static(b"x"))))
    };
    Router::new().route("/endless", get(parts)).route("/small", get(|| async { "x" }))
}

#[tokio::test]
async fn of_who_stands_for_many_only_the_stream_is_reset_that_nobody_reads() {
    let clock = clock();
    let trusted = || Clients::new(vec!["127.0.0.1/32".parse().unwrap()], None);
    let limits = Limits { streams: 4, ..Limits::default() };
    let rest = open_at(clock.clone(), limits.clone(), endless(), |it| it.clients(trusted())).await;
    let grpc = open_at(clock.clone(), limits, endless(), |it| it.clients(trusted()).http2_only()).await;
    for house in [rest, grpc] {
        let mut peer = reader(&house, 1).await;
        // More than one connection may have stalled, and more streams at once than one client may have.
        let mut unread = Vec::new();
        for _ in 0..12 {
            unread.push(peer.get("/endless").await);
        }
        for second in 0..100 {
            assert!(peer.second(&clock).await, "cut after {second} s");
            assert_eq!(peer.get("/small").await.data().await.unwrap().unwrap(), "x");
        }
        for mut stream in unread {
            assert_eq!(stream.data().await.unwrap().unwrap(), "x");
            let reset = stream.data().await.unwrap().unwrap_err();
            assert!(reset.is_reset() && reset.is_remote(), "{reset}");
        }
    }
}

fn big() -> Router {
    Router::new().route("/big", get(|| async { "x".repeat(1 << 16) })).route("/small", get(|| async { "x" }))
}

#[tokio::test]
async fn a_peer_that_never_opens_the_window_gets_goaway_and_is_closed() {
    let clock = clock();
    for house in both(&clock, &Limits::default(), &big()).await {
        let mut peer = reader(&house, 0).await;
        let _unread = (peer.get("/big").await, peer.get("/small").await);
        let lasted = peer.lasts(&clock).await;
        assert!((59..=65).contains(&lasted), "30 s until GOAWAY, 30 s until it is closed: {lasted}");
    }
}

#[tokio::test]
async fn what_is_buffered_for_a_peer_is_unread_all_the_same() {
    let clock = clock();
    for house in both(&clock, &Limits::default(), &big()).await {
        // One byte of the only chunk leaves; the rest waits below the body, which is over.
        let mut peer = reader(&house, 1).await;
        let _unread = peer.get("/big").await;
        let lasted = peer.lasts(&clock).await;
        assert!((59..=65).contains(&lasted), "{lasted}");
    }
}

#[tokio::test]
async fn more_than_eight_stalled_responses_end_the_connection() {
    let clock = clock();
    for house in both(&clock, &Limits::default(), &big()).await {
        let mut peer = reader(&house, 0).await;
        let mut unread = Vec::new();
        for _ in 0..9 {
            unread.push(peer.get("/big").await);
        }
        let lasted = peer.lasts(&clock).await;
        assert!((29..=35).contains(&lasted), "{lasted}");
    }
}

#[tokio::test]
async fn a_byte_now_and_then_is_not_reading() {
    let clock = clock();
    for house in both(&clock, &Limits::default(), &big()).await {
        let io = connect(house.addr).await;
        let (sender, mut connection) = Builder::new().initial_window_size(0).handshake::<_, Bytes>(io).await.unwrap();
        let pings = connection.ping_pong().unwrap();
        let (widen, mut windows) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = &mut connection => return,
                    Some(window) = windows.recv() => connection.set_initial_window_size(window).unwrap(),
                }
            }
        });
        let mut peer = Reader { sender, pings };
        let _read = peer.get("/big").await;
        let mut seconds = 0;
        while peer.second(&clock).await {
            seconds += 1;
            if seconds % 9 == 0 {
                let _ = widen.send(seconds / 9);
            }
            assert!(seconds < 65, "{seconds}");
        }
        assert!(seconds >= 58, "{seconds}");
    }
}

#[tokio::test]
async fn who_does_not_read_most_is_cut_when_too_much_is_in_memory() {
    let clock = clock();
    let limits = Limits { response_bytes: 3 << 16, ..Limits::default() };
    for house in both(&clock, &limits, &big()).await {
        let (mut one, mut more) = (reader(&house, 0).await, reader(&house, 0).await);
        let _held = (one.get("/big").await, more.get("/big").await, more.get("/big").await);
        assert!(one.second(&clock).await && more.second(&clock).await, "as much as may be");
        let mut third = reader(&house, 1 << 16).await;
        while more.second(&clock).await {
            let mut read = third.get("/big").await;
            while let Some(data) = read.data().await {
                let data = data.unwrap();
                read.flow_control().release_capacity(data.len()).unwrap();
            }
        }
        assert!(one.second(&clock).await && third.second(&clock).await);
    }
}

#[tokio::test]
async fn a_slow_but_steady_reader_is_left_alone() {
    let clock = clock();
    for house in both(&clock, &Limits::default(), &big()).await {
        let mut peer = reader(&house, 1 << 12).await;
        let mut body = peer.get("/big").await;
        let (mut read, mut seconds) = (0, 0);
        while let Some(data) = body.data().await {
            let data = data.unwrap();
            read += data.len();
            for _ in 0..20 {
                assert!(peer.second(&clock).await, "cut after {seconds} s and {read} bytes");
                seconds += 1;
            }
            body.flow_control().release_capacity(data.len()).unwrap();
        }
        assert_eq!(read, 1 << 16);
        assert!(seconds >= 300, "{seconds} s is not slow");
    }
}

#[tokio::test]
async fn a_stream_that_waits_for_its_source_is_left_alone_until_the_window_closes() {
    let clock = clock();
    let (events, source) = mpsc::unbounded_channel::<Bytes>();
    let source = std::sync::Arc::new(std::sync::Mutex::new(Some(source)));
    let follow = move || {
        let source = source.lock().unwrap().take().unwrap();
        let stream = tokio_stream::wrappers::UnboundedReceiverStream::new(source);
        async { Body::from_stream(tokio_stream::StreamExt::map(stream, Ok::<_, std::convert::Infallible>)) }
    };
    let router = Router::new().route("/events", get(follow));
    let house = open_at(clock.clone(), Limits::default(), router, |it| it).await;
    let io = connect(house.addr).await;
    let (sender, mut connection) = Builder::new().initial_window_size(100).handshake::<_, Bytes>(io).await.unwrap();
    let pings = connection.ping_pong().unwrap();
    let (close, closed) = tokio::sync::oneshot::channel::<()>();
    tokio::spawn(async move {
        tokio::select! {
            _ = &mut connection => return,
            _ = closed => connection.set_initial_window_size(0).unwrap(),
        }
        let _ = connection.await;
    });
    let mut peer = Reader { sender, pings };
    let mut body = peer.get("/events").await;
    for _ in 0..200 {
        assert!(peer.second(&clock).await, "an idle stream is not stalled");
    }
    events.send(Bytes::from_static(b"first")).unwrap();
    assert_eq!(body.data().await.unwrap().unwrap(), "first");
    close.send(()).unwrap();
    for _ in 0..100 {
        assert!(peer.second(&clock).await, "there is nothing to take");
    }
    events.send(Bytes::from_static(b"second")).unwrap();
    let lasted = peer.lasts(&clock).await;
    assert!((59..=65).contains(&lasted), "{lasted}");
}

#[tokio::test]
async fn an_http1_peer_that_does_not_read_is_cut() {
    let clock = clock();
    let huge = Router::new().route("/", get(|| async { Body::from(vec![b'x'; 64 << 20]) }));
    let house = open_at(clock.clone(), Limits::default(), huge, |it| it).await;
    let mut stream = connect(house.addr).await;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    stream.readable().await.unwrap();
    // Nothing is read while the clock runs: what the kernel holds comes, and then the end.
    let mut second = h1(connect(house.addr).await).await;
    for _ in 0..100 {
        clock.advance(SECOND);
        assert_eq!(second.send_request(request("/none")).await.unwrap().status(), 404);
    }
    assert!(rest(stream).await.len() < 64 << 20);
}

/// Lets seconds pass until the server closes; how many.
async fn closes_after(clock: &Clock, mut stream: tokio::net::TcpStream) -> u32 {
    let closed = tokio::spawn(async move { stream.read_to_end(&mut Vec::new()).await });
    for seconds in 1..=600 {
        clock.advance(SECOND);
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
        if closed.is_finished() {
            return seconds;
        }
    }
    panic!("open after ten minutes");
}

#[tokio::test]
async fn no_first_line_escapes_the_time_for_headers() {
    let clock = clock();
    let limits = Limits { idle_timeout: 3600 * SECOND, ..Limits::default() };
    for house in both(&clock, &limits, &mirror()).await {
        for begun in ["", "G", "PRI", "PRI / HTTP/1.1\r\nhost: a\r\nx: ", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r"] {
            let mut stream = connect(house.addr).await;
            stream.write_all(begun.as_bytes()).await.unwrap();
            let seconds = closes_after(&clock, stream).await;
            assert!(seconds >= 9, "{begun:?}: {seconds} s");
        }
    }
}

#[tokio::test]
async fn http2_headers_have_their_time_beside_other_streams() {
    let clock = clock();
    let (router, mut handlers) = waiting();
    let limits = Limits { idle_timeout: 3600 * SECOND, ..Limits::default() };
    for house in both(&clock, &limits, &router).await {
        let mut stream = connect(house.addr).await;
        // The preface, SETTINGS, a whole GET /wait (RFC 7541: 2, 6, and literals for :path and :authority), and a part of another.
        let block = b"\x82\x86\x04\x05/wait\x41\x01a";
        let whole = [&[0, 0, u8::try_from(block.len()).unwrap(), 1, 5, 0, 0, 0, 1][..], block].concat();
        let part = [0, 0, 20, 1, 5, 0, 0, 0, 3, 0x82];
        let bytes = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", &whole[..], &part].concat();
        stream.write_all(&bytes).await.unwrap();
        let in_flight = handlers.recv().await.unwrap();
        let seconds = closes_after(&clock, stream).await;
        assert!(seconds >= 9, "{seconds} s");
        drop(in_flight);
    }
}

#[tokio::test]
async fn at_the_limit_an_idle_connection_gives_way() {
    let clock = clock();
    let limits = Limits { connections: 2, ..Limits::default() };
    let house = open_at(clock.clone(), limits, mirror(), |it| it).await;
    let silent = connect(house.addr).await;
    let mut used = h1(connect(house.addr).await).await;
    assert_eq!(used.send_request(request("/")).await.unwrap().status(), 200);
    let mut new = h1(connect(house.addr).await).await;
    assert_eq!(new.send_request(request("/")).await.unwrap().status(), 200);
    assert_eq!(rest(silent).await, "", "the one that never asked");
    assert_eq!(used.send_request(request("/")).await.unwrap().status(), 200);
}

#[tokio::test]
async fn at_the_limit_no_request_in_flight_gives_way() {
    let clock = clock();
    let (router, mut handlers) = waiting();
    let house = open_at(clock.clone(), Limits { connections: 1, ..Limits::default() }, router, |it| it).await;
    let mut first = h1(connect(house.addr).await).await;
    let answer = tokio::spawn(first.send_request(request("/wait")));
    let release = handlers.recv().await.unwrap();
    assert_eq!(rest(connect(house.addr).await).await, "", "refused");
    release.send(()).unwrap();
    assert_eq!(text(answer.await.unwrap().unwrap()).await, "finished");
}
