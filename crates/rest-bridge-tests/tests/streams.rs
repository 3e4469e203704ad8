//! Server streaming: NDJSON and server-sent events.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "the tests read Tokio's paused clock")]

mod support;

use std::sync::atomic::Ordering;

use axum::body::Body;
use http::Request;
use http_body_util::BodyExt as _;
use rest_bridge::Options;
use rest_bridge_tests::library::Shelves;
use rest_bridge_tests::rest;
use rest_bridge_tests::testing::library_server::LibraryServer;
use support::Talk;
use tonic::service::Routes;
use tower::ServiceExt as _;

#[tokio::test]
async fn accept_decides() {
    let mut talk = Talk::new();
    for accept in ["application/json", "application/x-ndjson", "text/event-stream", "*/*", "text/*", "text/html"] {
        talk.send("GET /v1/books", &[("accept", accept)], "").await;
    }
    talk.ask("GET /v1/tail").await;
    for accept in ["application/json", "text/event-stream;q=0.5, application/x-ndjson;q=0.4", "*/*, text/event-stream"]
    {
        talk.send("GET /v1/tail", &[("accept", accept)], "").await;
    }
    insta::assert_snapshot!(talk.text);
}

#[tokio::test]
async fn failures_are_visible() {
    let mut talk = Talk::new();
    talk.ask("GET /v1/tail?cursor=missing").await;
    talk.ask("GET /v1/tail?failAfter=1").await;
    talk.send("GET /v1/tail?failAfter=1", &[("accept", "text/event-stream"), ("x-request-id", "r-1")], "").await;
    talk.ask("GET /v1/tail?failAfter=x").await;
    insta::assert_snapshot!(talk.text);
}

#[tokio::test]
async fn resuming() {
    let mut talk = Talk::new();
    let accept = ("accept", "text/event-stream");
    talk.send("GET /v1/tail", &[accept, ("last-event-id", "41-")], "").await;
    talk.send("GET /v1/tail?cursor=7-", &[accept, ("last-event-id", "41-")], "").await;
    insta::assert_snapshot!(talk.text);
}

fn silent(accept: &str) -> Request<Body> {
    Request::get("/v1/tail?cursor=silent").header("accept", accept).body(Body::empty()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn silence_is_filled_in_every_form() {
    for (accept, alive) in [("text/event-stream", &b": keep-alive\n\n"[..]), ("application/x-ndjson", b"\n")] {
        let app = rest::router(support::transport(), (), Options::default());
        let mut body = app.oneshot(silent(accept)).await.unwrap().into_body();
        let before = tokio::time::Instant::now();
        let mut frames = Vec::new();
        for _ in 0..4 {
            let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
            frames.push((before.elapsed().as_secs(), frame == alive));
        }
        assert_eq!(frames, [(0, false), (0, false), (12, true), (24, true)], "{accept}");
    }
}

#[tokio::test]
async fn dropping_the_request_drops_the_call() {
    let shelves = Shelves::default();
    let dropped = shelves.dropped.clone();
    let app = rest::router(Routes::new(LibraryServer::new(shelves)), (), Options::default());

    let mut body = app.clone().oneshot(silent("application/x-ndjson")).await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    assert_eq!(dropped.load(Ordering::Relaxed), 0);
    drop(body);
    assert_eq!(dropped.load(Ordering::Relaxed), 1);

    let request = Request::get("/v1/books/never").body(Body::empty()).unwrap();
    let mut answer = Box::pin(app.oneshot(request));
    assert!(futures::poll!(&mut answer).is_pending());
    assert_eq!(dropped.load(Ordering::Relaxed), 1);
    drop(answer);
    assert_eq!(dropped.load(Ordering::Relaxed), 2);
}
