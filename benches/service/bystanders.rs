//! Signed calls of bystanders while somebody sends thousands of requests that never end.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use futures::future::join_all;
use http::{Method, Request};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::client::Partner;
use super::server::Server;
use super::table::{Bar, Row, Table, median};

const ROUNDS: usize = 5;
const CALLERS: usize = 4;
/// Calls of each caller in a round, half of them reads.
const CALLS: usize = 250;
/// HTTP/2 connections of the attacker, with all the streams that each may have.
const CONNECTIONS: usize = 5;
const STREAMS: usize = 256;
/// HTTP/1 connections of the attacker, each with 0.9 MB of a body.
const LARGE: usize = 100;

pub async fn measure(table: &mut Table) {
    let server = Server::start(&[]);
    let profile = server.profile();
    let partner = Partner::sign_in(&profile).await;
    let address: SocketAddr = profile.base_url.trim_start_matches("http://").trim_end_matches("/v1").parse().unwrap();
    let mut number = 0;
    calls(&partner, &mut number).await;
    let (mut quiet, mut beside, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let alone = p99(calls(&partner, &mut number).await);
        let attack = Attack::start(address).await;
        let attacked = p99(calls(&partner, &mut number).await);
        drop(attack);
        quiet.push(alone);
        beside.push(attacked);
        ratios.push(attacked / alone);
    }
    table.add(Row {
        what: "p99 of others' signed calls beside 1,280 requests over HTTP/2 and 100 large ones over HTTP/1 that never end",
        measured: format!("{:.2} ms", median(beside)),
        floor: format!("{:.2} ms", median(quiet)),
        figure: median(ratios),
        unit: "",
        bar: Bar::AtMost(2.0),
    });
}

/// Every call's time in milliseconds. Each must succeed.
async fn calls(partner: &Partner, number: &mut u64) -> Vec<f64> {
    let first = *number;
    *number += (CALLERS * CALLS) as u64;
    let callers = (0..CALLERS).map(|caller| async move {
        let mut connection = partner.connect().await;
        let mut times = Vec::with_capacity(CALLS);
        for call in 0..CALLS {
            let number = first + (caller * CALLS + call) as u64;
            let body = serde_json::json!({
                "chainId": super::client::chain_id(number), "externalId": super::client::external_id(number),
            });
            let request = match call % 2 {
                0 => partner.signed(Method::GET, "/v1/customers?pageSize=1", b""),
                _ => partner.signed(Method::POST, "/v1/customers", body.to_string().as_bytes()),
            };
            let begun = Instant::now();
            let (status, body) = connection.send(request).await;
            times.push(begun.elapsed().as_secs_f64() * 1000.0);
            assert!((200..300).contains(&status), "{status}: {}", String::from_utf8_lossy(&body));
        }
        times
    });
    join_all(callers).await.concat()
}

fn p99(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() * 99 / 100]
}

/// Requests that go on until it is dropped; those that are refused are sent again.
struct Attack {
    _tasks: JoinSet<()>,
}

impl Attack {
    async fn start(address: SocketAddr) -> Self {
        let mut tasks = JoinSet::new();
        for _ in 0..CONNECTIONS {
            tasks.spawn(streams(address));
        }
        for _ in 0..LARGE {
            tasks.spawn(large(address));
        }
        // Until the attack is all there; the figure is of what follows.
        tokio::time::sleep(Duration::from_millis(500)).await;
        Self { _tasks: tasks }
    }
}

async fn streams(address: SocketAddr) {
    loop {
        let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
        let Ok((sender, connection)) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await else {
            continue;
        };
        let requests = (0..STREAMS).map(|_| {
            let mut sender = sender.clone();
            async move {
                let one = futures::stream::once(async { Ok::<_, std::convert::Infallible>(Bytes::from_static(b"{")) });
                let body = Body::from_stream(futures::StreamExt::chain(one, futures::stream::pending()));
                let request = Request::post(format!("http://{address}/v1/auth/token"));
                let request = request.header("content-type", "application/json").body(body).unwrap();
                let _ = sender.send_request(request).await;
            }
        });
        tokio::spawn(connection);
        join_all(requests).await;
    }
}

async fn large(address: SocketAddr) {
    let head = "POST /v1/auth/token HTTP/1.1\r\nhost: attack\r\ncontent-type: application/json\r\ncontent-length: 1000000\r\n\r\n";
    loop {
        let Ok(mut stream) = TcpStream::connect(address).await else { continue };
        let part = vec![b' '; 900_000];
        if stream.write_all(head.as_bytes()).await.is_ok() && stream.write_all(&part).await.is_ok() {
            let mut end = [0; 512];
            let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut end).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
