//! Which path and method lead where.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use support::{JSON, Talk};

#[tokio::test]
async fn paths() {
    let mut talk = Talk::new();
    for line in [
        "GET /v1/books/7",
        "GET /v1/books/count",
        "GET /v1/shelves/s%201/books/7",
        "GET /v1/books/a%2Fb",
        "GET /v1/books/a:b",
        "GET /v1/archives/x",
        "GET /v1/archives/x%2Fy",
        "GET /v1/files/a/b%2Fc/d%20e",
        "GET /v1/files",
        "POST /v1/books/7:print",
        "POST /v1/books/a:b:print",
        "POST /v1/print/7:print",
    ] {
        talk.ask(line).await;
    }
    insta::assert_snapshot!(talk.text);
}

#[tokio::test]
async fn no_such_path() {
    let mut talk = Talk::new();
    for line in [
        "GET /",
        "GET /v1/bookz",
        "GET /v1/books/",
        "GET /v1/books/7/",
        "GET /v1//books",
        "GET /v1/%62ooks",
        "GET /v1/archives/x/y",
        "GET /v1/books/%zz",
        "GET /v1/books/%ff",
        "GET /v1/scalars/seven/red",
        "GET /v1/scalars/7/pink",
    ] {
        talk.ask(line).await;
    }
    let deep = format!("GET {}", "/v1".repeat(40));
    talk.ask(&deep).await;
    insta::assert_snapshot!(talk.text);
}

#[tokio::test]
async fn methods() {
    let mut talk = Talk::new();
    for line in [
        "HEAD /v1/books/7",
        "HEAD /v1/books/missing",
        "HEAD /v1/tail",
        "OPTIONS /v1/books/7",
        "OPTIONS /v1/books",
        "OPTIONS /v1/nothing",
        "POST /v1/books/7",
        "DELETE /v1/books/count",
        "PUT /v1/echo",
        "GET /v1/books/7:print",
        "POST /v1/books/7:",
        "DELETE /v1/books/7",
    ] {
        talk.ask(line).await;
    }
    talk.send("PUT /v1/echo/a%2Fb/blue", JSON, r#"{"fInt32":3}"#).await;
    insta::assert_snapshot!(talk.text);
}
