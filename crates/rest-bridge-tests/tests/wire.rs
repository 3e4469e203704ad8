//! The generated routes over the real router, request by request.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use support::{get, post, server};

#[tokio::test]
async fn a_get_and_a_post() {
    let app = server();
    insta::assert_snapshot!(get(&app, "/v1/books/7").await, @r#"
    200 OK
    content-type: application/json

    {"id":"7","title":"Book 7","genre":"fiction","pages":320,"reads":"9007199254740993","createdAt":"2026-01-01T00:00:00.250Z","tags":[""]}
    "#);
    insta::assert_snapshot!(post(&app, "/v1/shelves/a%2Fb/books", r#"{"title":"x","tags":["1",2]}"#).await, @r#"
    400 Bad Request
    content-type: application/problem+json

    {"type":"about:blank","title":"Validation failed","status":400,"detail":"tags[1]: must be a string, not a number","instance":"/v1/shelves/a%2Fb/books","code":"VALIDATION_FAILED","errors":[{"field":"tags[1]","code":"INVALID_TYPE","message":"must be a string, not a number"}]}
    "#);
}
