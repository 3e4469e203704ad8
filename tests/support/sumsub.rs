//! A stand-in for Sumsub that follows its documentation: it checks the signature and the clock (±60 s), answers with
//! its error bodies, makes one applicant of one user, and signs callbacks.
#![allow(clippy::unwrap_used, dead_code, reason = "test support: fails by panicking; each test uses a part of it")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::hmac;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use customerd::kyc::{Sumsub, SumsubConfig};
use serde_json::{Value, json};
use url::Url;
use uuid::Uuid;

pub(crate) const APP_TOKEN: &str = "sbx:standin.token";
pub(crate) const SECRET: &str = "standin-secret";
pub(crate) const WEBHOOK_SECRET: &str = "standin-webhook-secret";
pub(crate) const LEVEL: &str = "basic-kyc-level";

/// The stand-in's clock unless a test moves it.
pub(crate) const NOW_S: i64 = 1_700_000_000;

/// What the next answers are instead of the documented ones.
#[derive(Clone)]
pub(crate) enum Fault {
    Hang,
    Answer(u16, &'static [(&'static str, &'static str)], String),
}

pub(crate) struct Seen {
    pub(crate) now_s: i64,
    pub(crate) fault: Option<Fault>,
    /// Applicant by user.
    pub(crate) applicants: BTreeMap<String, String>,
    /// Requests that passed every check.
    pub(crate) requests: Vec<(HeaderMap, String)>,
}

#[derive(Clone)]
pub(crate) struct StandIn {
    pub(crate) base: Url,
    pub(crate) seen: Arc<Mutex<Seen>>,
}

impl StandIn {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let seen = Seen { now_s: NOW_S, fault: None, applicants: BTreeMap::new(), requests: vec![] };
        let it = Self { base, seen: Arc::new(Mutex::new(seen)) };
        let router = Router::new().fallback(answer).with_state(it.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        it
    }

    pub(crate) fn config(&self) -> SumsubConfig {
        SumsubConfig {
            base: self.base.clone(),
            app_token: APP_TOKEN.into(),
            secret: SECRET.into(),
            webhook_secret: WEBHOOK_SECRET.into(),
            level: LEVEL.into(),
            link_ttl: Duration::from_secs(1800),
            deadline: Duration::from_secs(30),
        }
    }

    pub(crate) fn client(&self) -> Sumsub {
        Sumsub::new(self.config()).unwrap()
    }
}

async fn answer(State(it): State<StandIn>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 64 * 1024).await.unwrap();
    let (method, headers) = (head.method, head.headers);
    let fault = it.seen.lock().unwrap().fault.clone();
    match fault {
        Some(Fault::Hang) => return std::future::pending().await,
        Some(Fault::Answer(status, headers, body)) => {
            return (StatusCode::from_u16(status).unwrap(), axum::response::AppendHeaders(headers.to_vec()), body)
                .into_response();
        }
        None => {}
    }
    let mut seen = it.seen.lock().unwrap();
    let path = head.uri.path_and_query().unwrap().as_str();
    if let Err((code, name)) = authenticated(&seen, &headers, &[method.as_str().as_bytes(), path.as_bytes(), &body]) {
        return error(401, code, name);
    }
    if (method.as_str(), path) != ("POST", "/resources/sdkIntegrations/levels/-/websdkLink") {
        return error(404, 1000, "not-found");
    }
    let Ok(request) = serde_json::from_slice::<Value>(&body) else { return error(400, 1001, "bad-request") };
    if request["levelName"] != LEVEL {
        return error(404, 1002, "level-not-found");
    }
    let user = request["userId"].as_str().unwrap().to_owned();
    let next = format!("applicant-{}", seen.applicants.len() + 1);
    let applicant = seen.applicants.entry(user).or_insert(next).clone();
    let text = String::from_utf8(body.to_vec()).unwrap();
    seen.requests.push((headers, text));
    let link = format!("https://in.sumsub.example/websdk/p/{applicant}-{}", seen.requests.len());
    axum::Json(json!({ "url": link })).into_response()
}

fn authenticated(seen: &Seen, headers: &HeaderMap, parts: &[&[u8]]) -> Result<(), (u32, &'static str)> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if header("x-app-token") != APP_TOKEN {
        return Err((4005, "app-token-invalid"));
    }
    let ts = header("x-app-access-ts");
    if !ts.parse::<i64>().is_ok_and(|ts| (ts - seen.now_s).abs() <= 60) {
        return Err((4007, "app-token-timestamp-out-of-range"));
    }
    let mut signed = ts.as_bytes().to_vec();
    signed.extend(parts.concat());
    if header("x-app-access-sig") != hmac_hex(hmac::HMAC_SHA256, SECRET, &signed) {
        return Err((4003, "app-token-signature-mismatch"));
    }
    Ok(())
}

fn error(status: u16, code: u32, name: &str) -> Response {
    let body = json!({
        "description": "Something about you, (and private)",
        "code": status,
        "correlationId": "req-63f92830-4d68-4eee-98d5-875d53a12258",
        "errorCode": code,
        "errorName": name,
    });
    (StatusCode::from_u16(status).unwrap(), axum::Json(body)).into_response()
}

pub(crate) fn hmac_hex(algorithm: hmac::Algorithm, secret: &str, body: &[u8]) -> String {
    hex::encode(hmac::sign(&hmac::Key::new(algorithm, secret.as_bytes()), body))
}

/// A callback as it goes over the wire.
#[derive(Clone, Debug)]
pub(crate) struct Signed {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Signed {
    /// Signed with HMAC-SHA256, as webhooks are by default.
    pub(crate) fn new(body: &Value) -> Self {
        Self::with(WEBHOOK_SECRET, body)
    }

    /// Signed with somebody's secret.
    pub(crate) fn with(secret: &str, body: &Value) -> Self {
        let body = serde_json::to_vec(body).unwrap();
        let digest = hmac_hex(hmac::HMAC_SHA256, secret, &body);
        let mut headers = HeaderMap::new();
        headers.insert("x-payload-digest", digest.parse().unwrap());
        headers.insert("x-payload-digest-alg", "HMAC_SHA256_HEX".parse().unwrap());
        Self { headers, body }
    }
}

/// The body of a callback of some type, made at some millisecond of [`NOW_S`].
pub(crate) fn event(kind: &str, customer: Uuid, at_ms: u32) -> Value {
    json!({
        "applicantId": "applicant-1",
        "inspectionId": "5cb56e8e0a975a35f333cb84",
        "correlationId": "req-63f92830-4d68-4eee-98d5-875d53a12258",
        "levelName": LEVEL,
        "externalUserId": customer.to_string(),
        "type": kind,
        "sandboxMode": false,
        "reviewStatus": "pending",
        "createdAtMs": format!("2023-11-14 22:13:20.{at_ms:03}"),
        "clientId": "customerd",
    })
}

/// `applicantReviewed` with a result.
pub(crate) fn reviewed(customer: Uuid, at_ms: u32, result: Value) -> Value {
    let mut body = event("applicantReviewed", customer, at_ms);
    body["reviewStatus"] = "completed".into();
    body["reviewResult"] = result;
    body
}
