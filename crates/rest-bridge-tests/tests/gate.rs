//! The application's hook, and the order of the checks around it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::HashMap;

use axum::Router;
use http::{HeaderName, StatusCode};
use rest_bridge::{Gate, Incoming, Options, Problem};
use rest_bridge_tests::rest;
use support::{JSON, Talk, transport};
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// Wants a pass, and shows what it saw of the request.
#[derive(Debug)]
struct Turnstile;

fn refused(reason: &str, message: &str) -> Status {
    let details = ErrorDetails::with_error_info(reason, "gate", HashMap::new());
    Status::with_error_details(Code::Unauthenticated, message, details)
}

impl Gate for Turnstile {
    async fn admit(&self, call: &Incoming<'_>, _: Result<MetadataMap, Status>) -> Result<MetadataMap, Status> {
        if !call.headers.contains_key("x-pass") {
            let message = format!(
                "{} {} {} {:?} {} bytes",
                call.method,
                call.uri,
                call.route.template,
                call.version,
                call.body.unwrap().len()
            );
            return Err(refused("PASS_MISSING", &message));
        }
        let mut metadata = MetadataMap::new();
        metadata.insert("x-evidence", MetadataValue::from_static("seen"));
        metadata.insert("traceparent", MetadataValue::from_static("gate"));
        Ok(metadata)
    }

    async fn invalid(&self, call: &Incoming<'_>, metadata: &MetadataMap, status: Status) -> Status {
        let pass = call.headers.get("x-pass").is_some_and(|pass| pass == "false");
        if pass { refused("PASS_INVALID", &format!("{metadata:?}")) } else { status }
    }

    fn problem(&self, code: Code, reason: Option<&str>) -> Problem {
        match reason {
            Some(reason @ ("PASS_MISSING" | "PASS_INVALID")) => Problem {
                status: StatusCode::UNAUTHORIZED,
                code: reason.to_owned().into(),
                title: "No pass".into(),
                kind: "https://example.com/no-pass".into(),
            },
            _ => Problem::standard(code, reason),
        }
    }
}

fn app() -> Router {
    rest::router(transport(), Turnstile, Options { body_limit: 32, ..Options::default() })
}

const LINE: &str = "POST /v1/shelves/s/books?x=1";

#[tokio::test]
async fn the_order_of_checks() {
    let mut talk = Talk::with(app());
    let pass = ("x-pass", "true");
    talk.send("POST /v2", &[], "{").await;
    talk.send(LINE, &[("content-type", "text/html")], &"x".repeat(33)).await;
    talk.send(LINE, &[("content-type", "text/html"), ("accept", "text/html")], "{").await;
    talk.send(LINE, &[JSON[0], ("accept", "text/html")], "{").await;
    talk.send(LINE, JSON, "{").await;
    talk.send(LINE, &[JSON[0], ("x-pass", "false"), ("authorization", "Bearer a")], "{").await;
    talk.send(LINE, &[JSON[0], pass], "{").await;
    talk.send(LINE, &[JSON[0], pass], "{}").await;
    insta::assert_snapshot!(talk.text);
}

#[tokio::test]
async fn only_listed_headers_become_metadata() {
    let mut talk = Talk::with(app());
    let headers = [
        JSON[0],
        ("x-pass", "true"),
        ("authorization", "Bearer a"),
        ("idempotency-key", "k"),
        ("accept-language", "nds"),
        ("traceparent", "client"),
        ("tracestate", "a=b"),
        ("x-evidence", "forged"),
        ("x-internal", "forged"),
        ("grpc-status", "0"),
        ("cookie", "a=b"),
    ];
    talk.send("POST /v1/shelves/s/books", &headers, "{}").await;
    insta::assert_snapshot!(talk.text);
}

#[tokio::test]
async fn the_lists_are_options() {
    let options = Options {
        forward: vec![HeaderName::from_static("x-internal")],
        reply: vec![HeaderName::from_static("internal"), HeaderName::from_static("x-request-id")],
        ..Options::default()
    };
    let mut talk = Talk::with(rest::router(transport(), (), options));
    talk.send("POST /v1/shelves/s/books", &[JSON[0], ("x-internal", "1"), ("authorization", "b")], "{}").await;
    talk.ask("GET /v1/books/missing").await;
    insta::assert_snapshot!(talk.text);
}

#[tokio::test]
async fn a_nested_router_shows_the_target_as_sent() {
    let mut talk = Talk::with(Router::new().nest("/api", app()));
    talk.ask("GET /api/v1/books/7?a=b").await;
    talk.ask("GET /api/v2").await;
    insta::assert_snapshot!(talk.text);
}
