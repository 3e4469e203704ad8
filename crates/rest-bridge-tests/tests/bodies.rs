//! Bodies: what is read, what is refused, and with which words.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use axum::body::Body;
use http_body_util::BodyExt as _;
use rest_bridge::Options;
use rest_bridge_tests::rest;
use support::{JSON, Talk, transport};
use tower::ServiceExt as _;

#[tokio::test]
async fn the_body_is_the_message_or_a_field() {
    let mut talk = Talk::new();
    talk.json("POST /v1/shelves/s/books", r#"{"title":"T","genre":"non_fiction","tags":["x"]}"#).await;
    talk.json("POST /v1/shelves/s/books", " {\n\t\"title\" : null , \"tags\" : [ ] }\r\n").await;
    talk.ask("POST /v1/shelves/s/books").await;
    talk.json("PATCH /v1/books/7?dryRun=true", r#"{"title":"T","createdAt":"2026-01-01T00:00:00+01:00"}"#).await;
    talk.json("PATCH /v1/books/7", "null").await;
    talk.json("PATCH /v1/books/7", r#"{"created_at":"today"}"#).await;
    talk.json("POST /v1/free", r#"{"b":[1,null,{"c":"d"}],"a":-0.5e3}"#).await;
    insta::assert_snapshot!(talk.text);
}

#[tokio::test]
async fn what_the_path_gives_the_body_must_not() {
    let mut talk = Talk::new();
    talk.json("POST /v1/shelves/s/books", r#"{"shelf":"t"}"#).await;
    // Nor is it among the known fields.
    talk.json("POST /v1/shelves/s/books", r#"{"shelv":"t"}"#).await;
    talk.json("PUT /v1/echo/x/blue", r#"{"nested":{"leaf":{"text":"y"}}}"#).await;
    talk.json("PUT /v1/echo/x/blue", r#"{"color":"green"}"#).await;
    talk.json("PUT /v1/echo/x/blue", r#"{"nested":{"leaf":{"number":"1"}}}"#).await;
    insta::assert_snapshot!(talk.text);
}

#[tokio::test]
async fn no_body_where_none_belongs() {
    let mut talk = Talk::new();
    talk.json("GET /v1/books/7", "{}").await;
    talk.json("DELETE /v1/books/7", " ").await;
    talk.send("POST /v1/books/7:print", &[], "{}").await;
    insta::assert_snapshot!(talk.text);
}

#[tokio::test]
async fn types_and_sizes() {
    let mut talk = Talk::with(rest::router(transport(), (), Options { body_limit: 16, ..Options::default() }));
    let line = "POST /v1/shelves/s/books";
    for content_type in [
        "text/plain",
        "application/json; charset=latin-1",
        "application/json; version=1",
        "application/merge-patch+json",
        "application/json; charset=\"UTF-8\"",
        "Application/JSON;charset=utf-8",
    ] {
        talk.send(line, &[("content-type", content_type)], "{}").await;
    }
    talk.send(line, &[], "{}").await;
    talk.send(line, &[JSON[0], JSON[0]], "{}").await;
    talk.send(line, &[JSON[0], ("content-encoding", "gzip")], "{}").await;
    talk.json(line, r#"{"title":"1234"}"#).await;
    talk.json(line, r#"{"title":"12345"}"#).await;
    let pieces = futures::stream::iter([r#"{"title":"#, r#""12345"}"#].map(Ok::<_, std::io::Error>));
    talk.send_body(line, JSON, Body::from_stream(pieces)).await;
    let broken = futures::stream::iter([Err::<&str, _>(std::io::Error::other("reset"))]);
    talk.send_body(line, JSON, Body::from_stream(broken)).await;
    insta::assert_snapshot!(talk.text);
}

#[tokio::test]
async fn a_large_answer_comes_through() {
    let request = http::Request::get("/v1/books/huge").body(Body::empty()).unwrap();
    let answer = support::server().oneshot(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.into_body().collect().await.unwrap().to_bytes().len() > 5 << 20);
}

#[tokio::test]
async fn accept() {
    let mut talk = Talk::new();
    for accept in ["application/json", "application/*;q=0.1", "*/*", "text/html, */*;q=0.01"] {
        talk.send("HEAD /v1/books/count", &[("accept", accept)], "").await;
    }
    for accept in ["text/html", "application/json;q=0, text/html", "application/x-ndjson", "application/json;q=2"] {
        talk.send("GET /v1/books/count", &[("accept", accept)], "").await;
    }
    talk.send("DELETE /v1/books/7", &[("accept", "text/html")], "").await;
    // A field without members prefers nothing, and takes nothing from another line.
    talk.send("HEAD /v1/books/count", &[("accept", "")], "").await;
    talk.send("HEAD /v1/books/count", &[("accept", ""), ("accept", "text/html")], "").await;
    insta::assert_snapshot!(talk.text);
}
