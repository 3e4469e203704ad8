//! `tonic::Status` as problem documents.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use support::Talk;

#[tokio::test]
async fn by_rule() {
    let mut talk = Talk::new();
    for id in ["missing", "broken", "busy", "odd", "late"] {
        talk.send(&format!("GET /v1/books/{id}"), &[("x-request-id", "req-1")], "").await;
    }
    insta::assert_snapshot!(talk.text);
}
