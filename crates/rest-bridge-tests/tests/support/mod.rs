//! Sends requests through the router and shows the answers.
#![allow(dead_code, reason = "each test file uses a part of it")]

use axum::Router;
use axum::body::Body;
use http::Request;
use http_body_util::BodyExt as _;
use rest_bridge::{Options, Transport};
use rest_bridge_tests::library::Shelves;
use rest_bridge_tests::rest;
use rest_bridge_tests::testing::library_server::LibraryServer;
use tonic::service::Routes;
use tower::ServiceExt as _;

/// The services of this process under the generated clients.
pub(crate) fn transport() -> Transport {
    Routes::new(LibraryServer::new(Shelves)).into()
}

/// The routes with no gate and the default options.
pub(crate) fn server() -> Router {
    rest::router(transport(), (), Options::default())
}

/// A request without body.
pub(crate) async fn get(app: &Router, target: &str) -> String {
    send(app, "GET", target, &[], "").await
}

/// A request with a JSON body.
pub(crate) async fn post(app: &Router, target: &str, body: &str) -> String {
    send(app, "POST", target, &[("content-type", "application/json")], body).await
}

/// Status line, headers in order of their names, an empty line, the body.
pub(crate) async fn send(app: &Router, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> String {
    let body = if body.is_empty() { Body::empty() } else { Body::from(body.to_owned()) };
    send_body(app, method, target, headers, body).await
}

/// The same with any body.
pub(crate) async fn send_body(
    app: &Router,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: Body,
) -> String {
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = app.clone().oneshot(request.body(body).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let mut lines: Vec<String> =
        parts.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    lines.sort();
    lines.insert(0, parts.status.to_string());
    format!("{}\n\n{}", lines.join("\n"), String::from_utf8(body.to_vec()).unwrap())
}
