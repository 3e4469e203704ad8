//! Sends requests through the router and writes down what was said.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::fmt::Write as _;

use axum::Router;
use axum::body::Body;
use http::Request;
use http_body_util::BodyExt as _;
use rest_bridge::{Local, Options, Transport};
use rest_bridge_tests::library::Shelves;
use rest_bridge_tests::rest;
use rest_bridge_tests::testing::library_server::LibraryServer;
use tower::ServiceExt as _;

/// A JSON body's header.
pub(crate) const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

/// The services of this process under the generated clients.
pub(crate) fn transport() -> Transport {
    Local::new().service(LibraryServer::new(Shelves::default())).into()
}

/// The routes with no gate and the default options.
pub(crate) fn server() -> Router {
    rest::router(transport(), (), Options::default())
}

/// A conversation: requests and answers, as text.
pub(crate) struct Talk {
    pub(crate) app: Router,
    pub(crate) text: String,
}

impl Talk {
    pub(crate) fn new() -> Self {
        Self::with(server())
    }

    pub(crate) fn with(app: Router) -> Self {
        Self { app, text: String::new() }
    }

    /// A request without body or headers: `GET /v1/books`.
    pub(crate) async fn ask(&mut self, line: &str) {
        self.send(line, &[], "").await;
    }

    /// A request with a JSON body.
    pub(crate) async fn json(&mut self, line: &str, body: &str) {
        self.send(line, JSON, body).await;
    }

    pub(crate) async fn send(&mut self, line: &str, headers: &[(&str, &str)], body: &str) {
        let _ = writeln!(self.text, ">>> {line}");
        for (name, value) in headers {
            let _ = writeln!(self.text, "{name}: {value}");
        }
        if !body.is_empty() {
            let _ = writeln!(self.text, "{body}");
        }
        let body = if body.is_empty() { Body::empty() } else { Body::from(body.to_owned()) };
        self.send_body(line, headers, body).await;
    }

    pub(crate) async fn send_body(&mut self, line: &str, headers: &[(&str, &str)], body: Body) {
        let (method, target) = line.split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.app.clone().oneshot(request.body(body).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let mut lines: Vec<String> =
            parts.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        lines.sort();
        let _ = writeln!(self.text, "<<< {}", parts.status);
        for line in lines {
            let _ = writeln!(self.text, "{line}");
        }
        let _ = writeln!(self.text, "{}\n", String::from_utf8(body.to_vec()).unwrap());
    }
}
