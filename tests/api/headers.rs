//! Headers that every response carries, on every route.

use customerd::api::rest::ROUTES;
use http::Method;

use crate::support::{Answer, House, Http, everywhere, exchange};

everywhere![
    every_route_forbids_caching_and_sniffing,
    hsts_is_sent_where_the_public_url_is_https,
    health_has_a_listener_of_its_own
];

/// Beside the generated routes.
const OTHERS: [&str; 9] = [
    "/",
    "/docs",
    "/openapi.json",
    "/.well-known/jwks.json",
    "/verify/x",
    "/healthz",
    "/readyz",
    "/metrics",
    "/nowhere",
];
/// What may be kept: it is the same for everybody.
const PUBLIC: [&str; 3] = ["/docs", "/openapi.json", "/.well-known/jwks.json"];

fn check(path: &str, answer: &Answer, hsts: bool) {
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}: {answer:?}");
    let cached = answer.header("cache-control").unwrap();
    assert_eq!(cached != "no-store", PUBLIC.contains(&path), "{path}: {cached}");
    assert_eq!(answer.header("strict-transport-security"), hsts.then_some("max-age=31536000"), "{path}");
}

/// A segment for each parameter of a template.
fn path_of(template: &str) -> String {
    let one = |part: &str| if part.starts_with('{') { "01a2033b-0000-7000-8000-000000000001" } else { part }.to_owned();
    template.split('/').map(one).collect::<Vec<_>>().join("/")
}

async fn every_route_forbids_caching_and_sniffing(house: House) {
    let service = house.start().await;
    let wallet = service.partner("Wallet").await;
    assert!(ROUTES.len() > 40, "{}", ROUTES.len());
    for route in ROUTES.iter().filter(|route| !route.streaming) {
        let (method, path) = (route.method.as_str(), path_of(route.template));
        // Answered or refused, signed or not.
        let signed = wallet.call(method, &path).attempt().await.unwrap();
        check(&path, &signed, true);
        check(&path, &exchange((service.http, Http::One), (&route.method, &path), &[], Vec::new()).await, true);
    }
    for path in OTHERS {
        for version in [Http::One, Http::Two] {
            check(path, &exchange((service.http, version), (&Method::GET, path), &[], Vec::new()).await, true);
        }
    }
    let answer = wallet.post("/v1/auth/token", &serde_json::json!({})).bare().await;
    check("/v1/auth/token", &answer, true);
    // What the gRPC listener says to those who speak HTTP/1.
    let refused = exchange((service.grpc, Http::One), (&Method::GET, "/"), &[], Vec::new()).await.is(505);
    check("/", &refused, false);
    service.stop().await;
}

async fn hsts_is_sent_where_the_public_url_is_https(house: House) {
    let service = house.start_with(&["--public-url", "http://customers.test"]).await;
    let answer = exchange((service.http, Http::One), (&Method::GET, "/openapi.json"), &[], Vec::new()).await;
    check("/openapi.json", &answer, false);
    service.stop().await;
}

async fn health_has_a_listener_of_its_own(house: House) {
    let service = house.start_with(&["--health-addr", "127.0.0.1:0"]).await;
    assert!(!service.health().is_empty());
    for health in service.health() {
        for path in ["/healthz", "/readyz", "/metrics"] {
            let answer = exchange((health, Http::One), (&Method::GET, path), &[], Vec::new()).await.is(200);
            check(path, &answer, false);
        }
        exchange((health, Http::One), (&Method::GET, "/openapi.json"), &[], Vec::new()).await.is(404);
    }
    for path in ["/healthz", "/readyz", "/metrics"] {
        exchange((service.http, Http::One), (&Method::GET, path), &[], Vec::new())
            .await
            .refuses(404, "ROUTE_NOT_FOUND");
    }
    service.stop().await;
}
