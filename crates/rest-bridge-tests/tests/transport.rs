//! The same answers through a connection, and deadlines.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "the tests read Tokio's paused clock")]

mod support;

use std::time::Duration;

use rest_bridge::{Local, Options};
use rest_bridge_tests::library::Shelves;
use rest_bridge_tests::rest;
use rest_bridge_tests::testing::library_server::LibraryServer;
use support::Talk;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::service::Routes;
use tonic::transport::{Endpoint, Server};

async fn conversation(talk: &mut Talk) {
    talk.ask("GET /v1/books/7").await;
    talk.ask("GET /v1/books/missing").await;
    talk.ask("GET /v1/books/broken").await;
    talk.ask("DELETE /v1/books/7").await;
    talk.ask("GET /v1/tail?failAfter=1").await;
    talk.json("POST /v1/echo", r#"{"fInt64":"9","choice":1}"#).await;
    talk.json("POST /v1/echo", r#"{"fInt64":"9","cString":"x"}"#).await;
}

#[tokio::test]
async fn a_channel_gives_the_same_answers() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = LibraryServer::new(Shelves::default());
    tokio::spawn(Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener)));
    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy();

    let mut remote = Talk::with(rest::router(channel, (), Options::default()));
    conversation(&mut remote).await;
    let mut local = Talk::new();
    conversation(&mut local).await;
    assert_eq!(remote.text, local.text);

    let routes = Routes::new(LibraryServer::new(Shelves::default()));
    let mut routed = Talk::with(rest::router(routes, (), Options::default()));
    conversation(&mut routed).await;
    assert_eq!(routed.text, local.text);
}

#[tokio::test]
async fn a_service_that_is_not_there() {
    let mut talk = Talk::with(rest::router(Local::new(), (), Options::default()));
    talk.ask("GET /v1/books/7").await;
    insta::assert_snapshot!(talk.text);
}

#[tokio::test]
async fn nobody_there() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy();
    let mut talk = Talk::with(rest::router(channel, (), Options::default()));
    talk.ask("GET /v1/books/7").await;
    insta::assert_snapshot!(talk.text);
}

#[tokio::test(start_paused = true)]
async fn deadlines() {
    let options = Options { deadline: Some(Duration::from_secs(30)), ..Options::default() };
    let mut talk = Talk::with(rest::router(support::transport(), (), options));
    let mut waited = Vec::new();
    for headers in [
        vec![],
        vec![("request-timeout", "2.5")],
        vec![("grpc-timeout", "1500m")],
        vec![("request-timeout", "60"), ("grpc-timeout", "1H")],
        vec![("request-timeout", "soon")],
    ] {
        let before = tokio::time::Instant::now();
        talk.send("GET /v1/books/never", &headers, "").await;
        waited.push(before.elapsed().as_millis());
    }
    // Tokio's timer is exact to the millisecond after the one asked for.
    assert_eq!(waited.iter().map(|ms| ms / 10 * 10).collect::<Vec<_>>(), [30_000, 2_500, 1_500, 30_000, 0]);
    insta::assert_snapshot!(talk.text);
}
